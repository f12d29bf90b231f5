"""Makes every picture of the README from one real study.

Usage: python experiments/pictures/make.py [FOLDER]; needs chromium and ``pip install pyte pillow``.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pictures import hparams_page
from pictures.board import board
from pictures.browser import Page, browser
from pictures.terminal import moments, watch
from PIL import Image

from tune_seeds import SeedResults

_HERE = Path(__file__).parent


def main() -> None:
    """Run the study in a terminal, then look at it in every view."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _HERE
    with tempfile.TemporaryDirectory() as storage:
        study = f"{storage}/digits"
        command = [sys.executable, str(_HERE / "digits.py"), storage]
        env = {"PYTHONPATH": f"{_HERE.parents[1]}", "RAY_AUTH_MODE": "disabled"}
        screens = moments(
            watch(command, env),
            [lambda text: re.search(r" ([5-9]|1\d)/15 configs", text) is not None, _finished],
        )
        results = SeedResults(study)
        report = results.report(Path(storage) / "report.html")
        with browser(1000, 610) as page:
            for number, screen in enumerate(screens, 1):
                (Path(storage) / "screen.html").write_text(screen)
                page.open(f"file://{storage}/screen.html")
                time.sleep(0.5)
                _save(page, folder / f"terminal-{number}.png")
            page.resize(1100, 1000)
            for scheme in ("light", "dark"):
                page.prefer(scheme)
                page.open(f"file://{report}")
                page.wait_for("document.querySelectorAll('figure .main-svg').length >= 5")
                time.sleep(1)
                _save(page, folder / f"report-{scheme}.png")
            _save(page, Path(storage) / "whole.png", whole=True)
            page.prefer("light")
            with board(study) as server:
                page.resize(1900, 960)
                n_rows = len(server.wait_for_rows(17))
                hparams_page.visit(page, server.url, n_rows)
                hparams_page.show_metrics(page, results.best.group)
                page.wait_for(hparams_page.n_charts(at_least=5))
                time.sleep(2)
                _save(page, folder / "hparams.png")
                hparams_page.choose_view(page, "parallel")
                time.sleep(2)
                _save(page, folder / "hparams-parallel.png")


def _finished(text: str) -> bool:
    return "complete" in text and "waiting" in text


def _save(page: Page, file: Path, *, whole: bool = False) -> None:
    """A PNG of 128 colours: small, and no difference to be seen in flat graphics."""
    page.screenshot(file, whole=whole)
    with Image.open(file) as image:
        image.convert("RGB").quantize(128).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
