"""Private names of ``LightningModule``, seen in Lightning 2.5.6, 2.6.0 and 2.6.6."""

from __future__ import annotations

from typing import Any


def forget_metric_names(attributes: dict[str, Any]) -> None:
    """Let a module find the names of its torchmetrics anew.

    ``LightningModule.log`` keeps a table from the ``id`` of each metric to its name. In another
    process the ids are others; where the table is None, Lightning makes it again.

    Args:
        attributes: a copy of a module's ``__dict__``, which is changed.
    """
    if attributes.get("_metric_attributes") is not None:
        attributes["_metric_attributes"] = None
