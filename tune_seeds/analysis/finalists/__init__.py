"""From a race to the statistics of its finalists, in the metric's own direction.

Finalists are the groups that hold every epoch on every seed of the study; ``possible_best`` also
looks at those that were stopped. The numbers themselves are computed by ``tune_seeds.statistics``.
"""
