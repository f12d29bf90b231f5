"""What ``LightningTrainer`` takes, checked where it is made and against the rungs of a study."""
