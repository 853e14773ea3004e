"""Tables as HTML: short values, the exact ones on hover, everything escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Row = dict[str, Any]
MAX_ROWS = 200


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and what hovering tells. `mark` is a class of style.css.

    A `fill` is a share drawn as a bar under the text, full at 1 and above.
    """

    text: str
    hover: str = ""
    mark: str = ""
    fill: float | None = None


@dataclass(frozen=True)
class Column:
    """A heading, how to show a row's cell, and whether it is a number."""

    heading: str
    cell: Callable[[Row], Cell]
    number: bool = False


def table(label: str, columns: Sequence[Column], rows: Sequence[Row], *, csv: str = "") -> str:
    """The first rows as a table; says how many more the CSV holds."""
    head = "".join(f"<th scope=col{_side(c)}>{escape(c.heading)}</th>" for c in columns)
    body = "".join(
        "<tr>" + "".join(_cell(column, column.cell(row)) for column in columns) + "</tr>"
        for row in rows[:MAX_ROWS]
    )
    more = len(rows) - MAX_ROWS
    rest = f"<p class=wd-note>{more:,} more rows are in {escape(csv)}.</p>" if more > 0 else ""
    return (
        f'<div class=wd-scroll tabindex=0 role=region aria-label="{escape(label)}">'
        f"<table class=wd-table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"</div>{rest}"
    )


def text(name: str, other: str = "—") -> Callable[[Row], Cell]:
    """A cell that shows a text as it is, `other` for an empty one."""
    return lambda row: Cell(str(row[name] or other))


def card(label: str, value: Cell, note: str = "") -> str:
    """One number with its label."""
    return (
        f"<div class=wd-card><div class=wd-label>{escape(label)}</div>"
        f'<div class="wd-value {value.mark}" title="{escape(value.hover)}">'
        f"{escape(value.text)}</div><div class=wd-note>{escape(note)}</div></div>"
    )


def _cell(column: Column, cell: Cell) -> str:
    hover = f' title="{escape(cell.hover)}"' if cell.hover else ""
    shown = escape(cell.text)
    if cell.fill is not None:
        width = max(0.0, min(1.0, cell.fill)) * 100
        shown += (
            f'<div class="wd-meter {cell.mark}" aria-hidden=true>'
            f'<div class=wd-fill style="width:{width:.1f}%"></div></div>'
        )
    elif cell.mark:
        shown = f'<span class="wd-badge {cell.mark}">{shown}</span>'
    return f"<td{_side(column)}{hover}>{shown}</td>"


def _side(column: Column) -> str:
    return " class=wd-number" if column.number else ""
