"""Query parameters: declared once, read as text, refused by name; never a silent default."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from api.errors import ApiError
from lake import cursor
from storage.errors import UsageError, nearest
from storage.units import MAX_DAYS, parse_day, parse_days, parse_instant, parse_size

MAX_INT = 2**63 - 1
_FIRST_YEAR, _LAST_YEAR = 1971, 2199


@dataclass(frozen=True)
class Param:
    """One query parameter: how its text is read, what it is when absent, how OpenAPI shows it."""

    name: str
    read: Callable[[str, str], Any]
    default: Any
    schema: dict[str, Any]
    doc: str
    required: bool = False
    names: str = ""
    """`backend` or `team` where the value names one: OpenAPI lists those the caller may see."""
    example: Any = field(default=None, compare=False)


def read(params: Sequence[Param], query: bytes) -> dict[str, Any]:
    """The values of a query. Raises ApiError 400 for an unknown name or a value that is wrong.

    The first of repeated parameters counts.
    """
    known = {param.name: param for param in params}
    given: dict[str, str] = {}
    for name, text in _pairs(query):
        if name not in known:
            near = nearest(name, known)
            listed = ", ".join(known) or "none"
            raise ApiError(
                400, f"unknown parameter '{name}'." + (f" Did you mean '{near}'?" if near else ""),
                hint=f"Known: {listed}.", param=name,
            )  # fmt: skip
        given.setdefault(name, text)
    return {name: _value(param, given.get(name)) for name, param in known.items()}


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except (ValueError, UnicodeDecodeError):
        raise ApiError(400, "the query is not percent-encoded UTF-8.") from None


def _value(param: Param, text: str | None) -> Any:
    if text is None:
        if param.required:
            raise ApiError(400, f"{param.name} is required.", hint=param.doc, param=param.name)
        return param.default
    if "\0" in text:
        raise ApiError(400, f"{param.name} has a NUL character.", param=param.name)
    try:
        return param.read(text, param.name)
    except UsageError as error:
        raise ApiError(400, str(error), hint=param.doc, param=param.name) from None


def _text(text: str, _what: str) -> str:
    return text


def _some(text: str, what: str) -> str:
    if not text:
        raise UsageError(f"{what} is required.")
    return text


def _integer(low: int, high: int = MAX_INT) -> Callable[[str, str], int]:
    def parse(text: str, what: str) -> int:
        digits = re.fullmatch(r"-?[0-9]{1,19}", text)
        if not digits or not low <= int(text) <= high:
            upper = f" to {high}" if high < MAX_INT else " or more"
            raise UsageError(f"{what} '{text[:100]}' is not a whole number of {low}{upper}.")
        return int(text)

    return parse


def _choice(allowed: Sequence[str]) -> Callable[[str, str], str]:
    def parse(text: str, what: str) -> str:
        if text not in allowed:
            near = nearest(text, allowed)
            hint = f" Did you mean '{near}'?" if near else ""
            listed = ", ".join(filter(None, allowed))
            raise UsageError(f"{what} '{text[:100]}' is none of {listed}.{hint}")
        return text

    return parse


def _instant(text: str, what: str) -> Any:
    if "T" not in text.upper():  # the day alone, or a space, is for the command line
        raise UsageError(f"{what} '{text[:100]}' is not a time such as 2026-11-01T00:00:00Z.")
    at = parse_instant(text, what)
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise UsageError(f"{what} '{text}' is not in the years {_FIRST_YEAR} to {_LAST_YEAR}.")
    return at


def number(name: str, default: int, doc: str, *, low: int = 0, high: int = MAX_INT) -> Param:
    """A whole number within bounds."""
    schema = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    return Param(name, _integer(low, high), default, schema, doc)


def choice(name: str, default: str, allowed: Sequence[str], doc: str) -> Param:
    """One of a few words."""
    listed = list(allowed) if default or "" not in allowed else [v for v in allowed if v]
    schema: dict[str, Any] = {"type": "string", "enum": listed}
    shown = schema | ({"default": default} if default else {})
    return Param(name, _choice(allowed), default, shown, doc)


def text(name: str, doc: str, *, names: str = "", required: bool = False) -> Param:
    """Free text; with `names`, that of a backend or team. What is required is not empty."""
    schema: dict[str, Any] = {"type": "string", **({"minLength": 1} if required else {})}
    return Param(name, _some if required else _text, "", schema, doc, required, names)


BACKEND = text("backend", "Only this backend; empty or `all`: every one.", names="backend")
AS_OF = Param("as_of", _instant, None, {"type": "string", "format": "date-time"},
              "Answer as of this instant (RFC 3339); default: that of the last refresh.",
              example="2026-11-01T00:00:00Z")  # fmt: skip
SINCE = Param("since", _instant, None, {"type": "string", "format": "date-time"},
              "Valid from this instant (RFC 3339); default: from the beginning.")  # fmt: skip
SIZE = Param("min_size", parse_size, 0, {
    "type": "string", "default": "0",
    "pattern": r"^([0-9]{1,5}(\.[0-9]{1,3})?[KMGT]?B|[0-9]{1,15})?$",
}, "At least so many bytes: `1048576`, `1GB`, `2.5TB` (1024-based).", example="1GB")  # fmt: skip


def _cursor(text: str, _what: str) -> str:
    cursor.key(text)
    return text


CURSOR = Param("cursor", _cursor, "", {"type": "string", "contentEncoding": "base64url"},
               "Where the page before ended: its header `X-Next-Cursor`.")  # fmt: skip


def days(name: str, default: int, doc: str) -> Param:
    """A number of days, `30` or `30d`."""
    schema = {"type": "string", "pattern": r"^([0-9]{1,4}|[12][0-9]{4}|3[0-5][0-9]{3})d?$"}
    return Param(name, parse_days, default, schema | {"default": str(default)}, doc)


MAX_ROWS = 1_000_000
LIMIT_0 = f"0 = all, where that is no more than {MAX_ROWS}."


def limit(default: int) -> Param:
    """At most so many rows; 0 is all of them, within the server's page size."""
    return number("limit", default, f"At most so many rows; {LIMIT_0}", high=MAX_ROWS)


def whole_days(name: str, default: int, doc: str) -> Param:
    """A number of days without a unit."""
    return number(name, default, doc, high=MAX_DAYS)


def day(name: str, doc: str) -> Param:
    """A UTC day, required."""
    return Param(name, parse_day, None, {"type": "string", "format": "date"}, doc, required=True)
