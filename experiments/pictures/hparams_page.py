"""What a person does and sees on TensorBoard's HPARAMS page, which is made of shadow roots."""

from __future__ import annotations

from pictures.browser import Page

# All elements that match, through every shadow root.
_DEEP = """
const deep = (selector, root = document) => [
  ...root.querySelectorAll(selector),
  ...[...root.querySelectorAll('*')].flatMap(e => e.shadowRoot ? deep(selector, e.shadowRoot) : []),
];
"""


def visit(page: Page, url: str, n_rows: int) -> None:
    """Open the page and wait for its table."""
    page.open(f"{url}#hparams")
    page.wait_for(f"(() => {{ {_DEEP} return rows().length >= {min(n_rows, 5)};\n{_ROWS} }})()")


# The table is virtual: it holds the cells of the rows in sight, each cell's content in a slot.
_ROWS = """
function rows() {
  const table = deep('vaadin-grid').find(g => g.offsetParent !== null || g.offsetHeight > 0);
  if (!table) return [];
  const bodies = [...table.shadowRoot.querySelectorAll('tbody tr')];
  const text = cell => {
    const slot = cell.querySelector('slot');
    return slot ? slot.assignedNodes().map(n => n.textContent).join(' ').trim() : '';
  };
  return bodies.filter(tr => !tr.hidden && tr.offsetHeight > 0)
    .map(tr => [...tr.querySelectorAll('td')].map(text)).filter(r => r.some(c => c));
}
"""


def read_rows(page: Page) -> list[list[str]]:
    """The cells in sight, row by row, as they are written on the page."""
    return page.evaluate(f"(() => {{ {_DEEP} return rows();\n{_ROWS} }})()")


def show_metrics(page: Page, row: str) -> None:
    """Tick "Show Metrics" of a row: its seeds' curves open below it."""
    clicked = page.evaluate(
        f"""(() => {{ {_DEEP}
        const table = deep('vaadin-grid').find(g => g.offsetHeight > 0);
        for (const tr of table.shadowRoot.querySelectorAll('tbody tr')) {{
          const nodes = [...tr.querySelectorAll('slot')].flatMap(s => s.assignedNodes());
          if (!nodes.some(n => n.textContent.trim() === {row!r})) continue;
          for (const node of nodes) {{
            const box = node.querySelector && (node.querySelector('paper-checkbox, input'));
            if (box) {{ box.click(); return true; }}
          }}
        }}
        return false; }})()"""
    )
    if not clicked:
        raise LookupError(f"no row {row} in sight")


def choose_view(page: Page, title: str) -> None:
    """Choose the table, the parallel coordinates or the scatter plot matrix."""
    page.evaluate(
        f"""(() => {{ {_DEEP}
        deep('paper-tab').find(t => t.textContent.trim().toLowerCase().startsWith({title!r}))
          .click(); }})()"""
    )


def n_charts(*, at_least: int) -> str:
    """A condition for ``Page.wait_for``: so many charts are drawn."""
    return f"(() => {{ {_DEEP} return deep('vz-line-chart2').length >= {at_least}; }})()"
