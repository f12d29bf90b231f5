"""Statistics over seeds: pure functions of score arrays, where higher is always better.

They know nothing of studies; ``tune_seeds.analysis.finalists`` brings them together with a race.
"""
