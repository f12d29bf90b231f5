"""Who goes on: one promotion policy per module, pure functions of the scores they hear."""
