"""Results that print themselves, in a terminal and in a notebook, and turn into a DataFrame."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


class Shown:
    """A result with a table: ``print(result)``, a notebook's cell, and ``result.to_frame()``.

    A subclass says what its rows are; without that it is one row of its fields.
    """

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """The result as a table: one row per thing that it says something of."""
        import pandas as pd  # it takes half a second to import

        return pd.DataFrame(list(self._rows()))

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        yield dict(_cells(self))

    def _title(self) -> str:
        """What the table is about, in one line; none if empty."""
        return ""

    def _notes(self) -> Sequence[str]:
        """What has to be known beside the table, a line each."""
        return ()

    def __str__(self) -> str:
        """The title, the table, and what has to be known beside it."""
        frame = self.to_frame()
        table = "(empty)"
        if len(frame):
            table = frame.to_string(
                index=False, na_rep="", float_format=lambda x: f"{x:.5g}", max_colwidth=60
            )
        return "\n".join(line for line in (self._title(), table, *self._notes()) if line)

    def __repr__(self) -> str:
        """As it prints: the fields one by one would be a wall of text."""
        return str(self)

    def _repr_html_(self) -> str:
        """The same for notebooks; every string is escaped."""
        frame = self.to_frame()
        table = frame.to_html(
            index=False, na_rep="", float_format=lambda x: f"{x:.5g}", max_rows=60
        )
        title, notes = escape(self._title()), escape("\n".join(self._notes()))
        return (
            (f"<p>{title}</p>" if title else "") + table + (f"<pre>{notes}</pre>" if notes else "")
        )


def _cells(value: object) -> Iterator[tuple[str, Any]]:
    """The fields of a dataclass as the cells of one row; what is nested gets longer names."""
    for field in dataclasses.fields(cast(Any, value)):
        if not field.repr:
            continue
        inner: object = getattr(value, field.name)
        if dataclasses.is_dataclass(inner) and not isinstance(inner, type):
            for name, cell in _cells(inner):
                yield f"{field.name}_{name}", cell
        elif isinstance(inner, np.ndarray):
            yield field.name, tuple(cast(list[Any], inner.tolist()))
        else:
            yield field.name, inner
