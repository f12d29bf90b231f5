"""Text of an experiment as people may see it: it can't move a cursor or turn what stands beside it.

Names, configs and error messages come from whoever wrote the experiment. A terminal obeys escape
sequences in them, and a browser the marks that reverse the direction of writing.
"""

from __future__ import annotations

import re

# Control characters of both kinds but tab and line feed, and the marks of bidirectional text.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text of several lines with every character that is obeyed in words.

    An escape becomes the four characters of its code, which no terminal obeys.
    """
    return _OBEYED.sub(lambda found: repr(found[0])[1:-1], text)


def in_one_line(text: str) -> str:
    """The same for a cell of a table: line feeds and tabs are in words too."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")
