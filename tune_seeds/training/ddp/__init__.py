"""A run on several workers: processes that train together with DDP, kept by their trial."""
