"""Arrays that a run reports, as TensorBoard can show them, in the way of Ray's own logger."""

# TensorBoard's protocol messages carry no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ray.tune.utils import flatten_dict
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboardX import summary as tensorboardx

logger = logging.getLogger(__name__)

_VIDEO_FPS = 20  # as in Ray

# TensorBoard's own buckets, as tensorboardX's writer makes them.
_POSITIVE = 1e-12 * 1.1 ** np.arange(774)
_BINS = [*-_POSITIVE[::-1], 0.0, *_POSITIVE]


def media(result: Mapping[str, Any]) -> Iterator[Summary]:
    """The images, videos and histograms of one report.

    As Ray's logger has it: an array of three dimensions is an image (channel, height, width), of
    four a batch of them, of five a video (batch, time, channel, height, width; needs moviepy); any
    other array or list of numbers is a histogram.
    """
    report = {key: value for key, value in result.items() if key != "config"}
    for tag, value in flatten_dict(report, delimiter="/").items():
        if not isinstance(value, (list, np.ndarray)) or np.size(value) == 0:
            continue
        try:
            summary = _summary(tag, value)
        except (ValueError, TypeError) as error:  # ragged lists, text, a shape that is no image
            if tag not in _warned:
                _warned.add(tag)
                logger.warning("%r is not shown in TensorBoard: %s", tag, error)
            continue
        if summary is not None:
            yield summary


_warned: set[str] = set()


def _summary(tag: str, value: Any) -> Summary | None:
    match np.ndim(value) if isinstance(value, np.ndarray) else 1:
        case 3:
            made = tensorboardx.image(tag, value, dataformats="CHW")
        case 4:
            made = tensorboardx.image(tag, value, dataformats="NCHW")
        case 5:
            made = tensorboardx.video(tag, value, _VIDEO_FPS)
        case _:
            made = tensorboardx.histogram(tag, np.asarray(value), bins=_BINS)
    # The same message, of another module; its tag has lost characters that TensorBoard takes.
    summary = Summary.FromString(made.SerializeToString())
    if summary.value[0].WhichOneof("value") == "image" and not summary.value[0].image.height:
        return None  # moviepy is missing, as the log says
    summary.value[0].tag = tag
    return summary
