"""The figures of a study: pure functions from a ``StudyRecord`` to a Plotly figure, one per file.

Plotly takes a second to import, so whoever imports one of the modules does so when a figure is
asked for; ``plot.Plots``, the ``plot`` of results, can be imported at no cost.
"""
