"""One HPARAMS row per config in TensorBoard."""
