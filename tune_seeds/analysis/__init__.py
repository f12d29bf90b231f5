"""From a race to answers: standings, curves, contenders, costs. No Ray, no torch."""
