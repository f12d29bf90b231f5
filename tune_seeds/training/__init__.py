"""One run: seeded, trained through Lightning or a plain function, paused and resumed exactly."""
