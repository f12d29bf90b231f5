"""The race between configs: a pure state machine from reports to decisions."""
