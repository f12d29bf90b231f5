"""A study that is checked and may run: handed to Ray Tune, restored, confirmed."""
