"""A Plotly figure that can be saved as a picture."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from tune_seeds.core import checks
from tune_seeds.store.directory import full_location
from tune_seeds.views.figures import style


class StudyFigure(go.Figure):
    """A ``plotly.graph_objects.Figure`` of a study, with one more method.

    Everything that Plotly's own figures can do it can do: ``show()``, ``update_layout(...)``,
    ``write_html(...)``.
    """

    def save_png(
        self, path: str | Path, *, width: int = 900, height: int | None = None, scale: float = 2
    ) -> Path:
        """Write the figure as a PNG; kaleido draws it in a Chromium without a window.

        Args:
            path: ends in ``.png``; ``write_image`` takes ``.svg`` and ``.pdf`` too.
            width: in layout pixels, at least 1: wider leaves more room between the marks.
            height: likewise; the figure's own if None, or 500.
            scale: pixels of the picture for each layout pixel, above 0; higher is sharper.

        Returns:
            Where it was written.

        Raises:
            ValueError: the name has another ending.
            FileNotFoundError: its folder does not exist; none is made.
            ModuleNotFoundError: kaleido is not installed.
            RuntimeError: there is no Chrome or Chromium.
        """
        file = Path(full_location(checks.path("path", path)))
        if file.suffix.lower() != ".png":
            raise ValueError(
                f"a picture ends in .png, got {str(path)!r}; figure.write_image(...) writes .svg "
                "and .pdf, figure.write_html(...) .html"
            )
        if not file.parent.is_dir():
            raise FileNotFoundError(
                f"there is no folder {file.parent}; make it, or write elsewhere"
            )
        if find_spec("kaleido") is None:
            raise ModuleNotFoundError(
                "a PNG needs the package kaleido, and Chrome or Chromium: "
                "pip install 'tune-seeds[png]'. figure.write_html('figure.html') needs neither"
            )
        tall: Any = self.layout.height or 500
        try:
            self.write_image(file, width=width, height=height or tall, scale=scale)
        except RuntimeError as error:
            # Plotly's own words for it are a page long.
            if "chrome" in str(error).lower():
                raise RuntimeError(
                    "kaleido found no Chrome or Chromium to draw with: install one (`apt install "
                    "chromium`, or `plotly_get_chrome`, which downloads one)"
                ) from error
            raise
        return file


def figure(traces: list[dict[str, Any]], **layout: Any) -> StudyFigure:
    """A figure of traces, in the style of all."""
    return StudyFigure(data=traces, layout=style.layout(**layout))
