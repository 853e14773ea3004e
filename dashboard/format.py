"""Values as people read them: short on the page, exact on hover, harmless in a spreadsheet."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable
from typing import Any

from storage.units import format_instant, format_size, parse_instant

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN = re.compile(r"([\\*_\[\]<>$~#|:!])")
Row = dict[str, Any]


def size(size_bytes: int) -> str:
    """`55.43 MB`, 1024-based."""
    return format_size(size_bytes)


def limit(size_bytes: int) -> str:
    """A limit as a size; 0 is none."""
    return format_size(size_bytes) if size_bytes else "none"


def exact_size(size_bytes: int) -> str:
    """`58,124,511 bytes`."""
    return f"{size_bytes:,} byte{'' if abs(size_bytes) == 1 else 's'}"


def change(show: Callable[[int], str], by: int, since: str) -> str:
    """`+1.50 KB in 30 days`, `no change in 30 days`."""
    if by == 0:
        return f"no change {since}"
    return f"{'+' if by > 0 else '-'}{show(abs(by))} {since}"


def moved(daily: list[Row], name: str, show: Callable[[int], str], days: int) -> str:
    """What changed over the last days, or since the first listing where that is younger."""
    if len(daily) < 2:
        return f"first listed {daily[0]['day']}" if daily else "never listed"
    since = f"in {days} days" if len(daily) > days else f"since {daily[0]['day']}"
    return change(show, daily[-1][name] - daily[0][name], since)


def signed(show: Callable[[int], str], by: int) -> str:
    """`+1.50 KB`, `-3`, `0 B`."""
    return f"{'+' if by > 0 else '-' if by < 0 else ''}{show(abs(by))}"


def count(number: int) -> str:
    """`1,907`."""
    return f"{number:,}"


def share(part: float | None) -> str:
    """`97 %`, or a dash where nothing is known."""
    return "—" if part is None else f"{part:.0%}".replace("%", " %")


def day(instant: str | None) -> str:
    """The UTC day of an instant, or a dash."""
    return instant[:10] if instant else "—"


def minute(at: dt.datetime) -> str:
    """`2026-11-01 09:30 UTC`."""
    return f"{at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def exact_instant(instant: str | None) -> str:
    """RFC 3339, or an empty text."""
    return format_instant(parse_instant(instant)) if instant else ""


def span(duration: dt.timedelta) -> str:
    """`42 s`, `12 min`, `5 h`, `3 days`; never negative."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} days"


def cut(text: str, letters: int) -> str:
    """The beginning of a long text; control characters escaped."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= letters else shown[: letters - 1] + "…"


def tail(text: str, letters: int) -> str:
    """The end of a long text."""
    return text if len(text) <= letters else "…" + text[-(letters - 1) :]


def plain(text: str) -> str:
    """A text that Markdown shows as it is, but for `code`."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def guarded(rows: Iterable[Row]) -> list[Row]:
    """Rows whose texts no spreadsheet takes for a formula."""
    return [{name: _guarded(value) for name, value in row.items()} for row in rows]


def _guarded(value: Any) -> Any:
    dangerous = isinstance(value, str) and value.startswith(FORMULA_STARTS)
    return f"'{value}" if dangerous else value
