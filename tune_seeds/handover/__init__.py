"""What is taken out of a study: configs with their checkpoints, modules, other tools' files."""
