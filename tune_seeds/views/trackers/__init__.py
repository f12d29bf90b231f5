"""Runs and configs in W&B, MLflow, Aim, Comet and Lightning's loggers."""
