"""What Ray Tune is told: searcher, scheduler, options, resources."""
