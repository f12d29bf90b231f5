"""What all figures share: colours, line styles, the template, text that Plotly can't misread."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tune_seeds.core.printable import in_one_line
from tune_seeds.views.labels import shortened

#: Colour-blind safe (after Okabe & Ito), each dark enough to be a line on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#9a6700", "#3a8fc4")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "triangle-up", "x", "star", "cross")

BACK, FRONT, QUIET, LINE, PANEL = "#ffffff", "#1b1f24", "#57606a", "#d0d7de", "#f6f8fa"
#: Opacity of what lies behind a mean: a band of one standard deviation.
BAND = 0.18
#: Pixels of one line of a legend.
LEGEND_ROW = 19

_DARK = {
    COLORS[0]: "#56b4e9",
    COLORS[1]: "#f08a4b",
    COLORS[2]: "#2cc79b",
    COLORS[3]: "#e3a3c6",
    COLORS[4]: "#f0e442",
    COLORS[5]: "#9fc9ff",
    BACK: "#0f1419",
    FRONT: "#e6e8eb",
    QUIET: "#9aa4af",
    LINE: "#343b44",
    PANEL: "#1a2027",
}
# Viridis without its ends, which can't be told from a dark or from a white background.
SCALE = ["#414487", "#35608d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#b5de2b"]

# Plotly reads a little HTML in its texts, %{...} in hover templates, and LaTeX between dollars.
_READ = re.compile("[&<>\"'%$]")


def safe(text: object, limit: int = 120) -> str:
    """Text of a study as Plotly shows it, literally, in one line of at most about ``limit``."""
    whole = shortened(in_one_line(str(text)), limit)
    return _READ.sub(lambda found: f"&#{ord(found[0])};", whole)


def faded(color: str, alpha: float = BAND) -> str:
    """A colour of the palette, so transparent that what lies under it is seen."""
    number = int(color[1:], 16)
    return f"rgba({number >> 16},{number >> 8 & 255},{number & 255},{alpha})"


def dark() -> dict[str, str]:
    """Every colour of the figures → the one that stands for it on a dark page."""
    return {**_DARK, **{faded(light): faded(other) for light, other in _DARK.items()}}


def shade(share: float) -> str:
    """A colour of the scale, by a place from 0 (dark) to 1 (bright)."""
    place = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    k = min(int(place), len(SCALE) - 2)
    ends = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in SCALE[k : k + 2]]
    mixed = [round(a + (b - a) * (place - k)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed)


def scale(*, reverse: bool = False) -> list[list[Any]]:
    """The scale as Plotly takes it; reversed where lower is better, so that bright is good."""
    colors = SCALE[::-1] if reverse else SCALE
    return [[k / (len(colors) - 1), color] for k, color in enumerate(colors)]


def layout(**more: Any) -> dict[str, Any]:
    """The layout of every figure; ``more`` goes over it."""
    return {"template": _template(), "margin": {"l": 8, "r": 16, "t": 8, "b": 8}, **more}


def legend_above(title: str = "") -> dict[str, Any]:
    """A legend in lines above the chart, where it takes no width from it."""
    return {
        "orientation": "h",
        "tracegroupgap": 0,
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "title": {"text": title, "side": "left"},
    }


def legend_below() -> dict[str, Any]:
    """A legend below the chart, in two columns, for entries that are long."""
    return {
        "orientation": "h",
        "entrywidth": 0.47,
        "entrywidthmode": "fraction",
        "tracegroupgap": 0,
        "x": 0,
        "xanchor": "left",
        "y": 0,
        "yref": "container",
        "yanchor": "bottom",
    }


def axis_title(text: str, note: str = "") -> dict[str, Any]:
    """The title of a horizontal axis, with a line below it for what has to be known."""
    return {"text": f"{text}<br><span style='font-size:11px'>{note}</span>" if note else text}


def heading(text: str, x: float, y: float) -> dict[str, Any]:
    """The name of one of several charts, over its left corner, as an annotation."""
    return {
        "text": text,
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": x,
        "y": y,
        "xanchor": "left",
        "yanchor": "bottom",
        "font": {"size": 12, "color": QUIET},
    }


def numbers(values: Sequence[float]) -> list[float | None]:
    """Values as JSON has them: None, which leaves a gap, for what is not finite."""
    return [value if abs(value) < float("inf") else None for value in values]


def bars(
    centers: Sequence[float], ends: Sequence[tuple[float, float]], color: str
) -> dict[str, Any]:
    """Error bars from a lower to an upper end; none where an end is not defined."""
    known = [low == low and high == high for low, high in ends]
    rows = list(zip(centers, ends, known, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "color": color,
        "thickness": 1.5,
        "width": 4,
        "array": numbers([high - at if there else 0.0 for at, (_, high), there in rows]),
        "arrayminus": numbers([at - low if there else 0.0 for at, (low, _), there in rows]),
    }


def _template() -> dict[str, Any]:
    axis = {
        "gridcolor": LINE,
        "linecolor": LINE,
        "zeroline": False,
        "automargin": True,
        "title": {"font": {"size": 12}},
    }
    return {
        "layout": {
            "paper_bgcolor": BACK,
            "plot_bgcolor": BACK,
            "colorway": list(COLORS),
            "font": {
                "color": FRONT,
                "size": 12,
                "family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
            },
            "hoverlabel": {"bgcolor": PANEL, "font": {"color": FRONT}, "align": "left"},
            "legend": {"bgcolor": BACK, "font": {"size": 11}},
            "modebar": {"bgcolor": BACK, "color": QUIET, "activecolor": FRONT},
            "xaxis": axis,
            "yaxis": axis,
        }
    }
