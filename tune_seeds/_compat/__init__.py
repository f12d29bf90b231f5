"""Private names of Ray, Lightning, torch, HyperOpt and Optuna: the only place that uses them."""
