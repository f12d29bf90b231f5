"""Runs a command in a terminal of its own and takes pictures of it; needs ``pip install pyte``."""

from __future__ import annotations

import fcntl
import html
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyte

_COLORS = {
    "green": "#3fb950",
    "red": "#ff7b72",
    "cyan": "#56d4dd",
    "brown": "#d29922",
    "magenta": "#f778ba",
    "black": "#484f58",
    "brightblack": "#484f58",
}


def watch(
    command: Sequence[str], env: Mapping[str, str], columns: int = 120, lines: int = 30
) -> Iterator[pyte.Screen]:
    """The screen after each piece of output, until the command ends; the last one twice."""
    screen = pyte.Screen(columns, lines)
    stream = pyte.ByteStream(screen)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env={**os.environ, **env}
    )
    os.close(follower)
    try:
        while True:
            ready, _, _ = select.select([leader], [], [], 0.5)
            if not ready:
                if process.poll() is not None:
                    break
                continue
            try:
                data = os.read(leader, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not data:
                break
            stream.feed(data)
            more, _, _ = select.select([leader], [], [], 0.05)
            if not more:  # otherwise it is in the middle of drawing
                yield screen
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(timeout=60)
        os.close(leader)
    yield screen


def moments(screens: Iterator[pyte.Screen], due: Sequence[Callable[[str], bool]]) -> list[str]:
    """The screen as HTML at the first time each condition on its text holds, and at the end."""
    pictures: list[str] = []
    screen, waiting, looked = None, list(due), 0.0
    for screen in screens:
        if time.monotonic() - looked < 0.1:
            continue
        looked = time.monotonic()
        if waiting and waiting[0]("\n".join(screen.display)):
            waiting.pop(0)
            pictures.append(as_html(screen))
    assert screen is not None
    return [*pictures, as_html(screen)]


def as_html(screen: pyte.Screen) -> str:
    """A page that looks like the terminal."""
    rows = []
    for y in range(screen.lines):
        cells = []
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            by_number = f"#{cell.fg}" if re.fullmatch("[0-9a-f]{6}", cell.fg) else "#d1d5da"
            style = f"color:{_COLORS.get(cell.fg, by_number)};" + "font-weight:bold;" * cell.bold
            cells.append(f'<span style="{style}">{html.escape(cell.data)}</span>')
        rows.append("".join(cells))
    return (
        '<meta charset="utf-8"><body style="margin:0;background:#0d1117"><pre style="margin:12px;'
        'font:14px/1.25 DejaVu Sans Mono,monospace">' + "\n".join(rows) + "</pre>"
    )
