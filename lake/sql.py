"""How texts, instants and paths get into SQL and predicates, and instants out of it."""

from __future__ import annotations

import datetime as dt

from storage.errors import UsageError

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def quoted(text: str) -> str:
    """A text as an SQL literal. Raises UsageError for bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!a} is not UTF-8: names in the lake are.") from None
    return "'" + text.replace("'", "''") + "'"


def us(expression: str, name: str = "") -> str:
    """An instant as microseconds; the suffix of its name is taken away with the conversion."""
    return f"cast({expression} as bigint) as {name or expression}_us"


def instant_text(microseconds: int | None) -> str | None:
    """As the published documents have it: RFC 3339 with Z, digits in threes, none for zero."""
    if microseconds is None:
        return None
    at = EPOCH + dt.timedelta(microseconds=microseconds)
    digits = at.microsecond and ("milliseconds" if at.microsecond % 1000 == 0 else "microseconds")
    return at.isoformat(timespec=digits or "seconds").removesuffix("+00:00") + "Z"


def at_sql(at: dt.datetime) -> str:
    """An instant as SQL."""
    microseconds = (at - EPOCH) // dt.timedelta(microseconds=1)
    return f"arrow_cast({microseconds}, 'Timestamp(Microsecond, Some(\"UTC\"))')"


def below(prefix: str, path: str = "path") -> str:
    """Whether a path is `prefix` or lies below it; the empty prefix holds everything."""
    if not prefix:
        return "true"
    return f"({path} = {quoted(prefix)} or starts_with({path}, {quoted(prefix + '/')}))"


def segments(path: str, depth: int) -> str:
    """The first `depth` segments of a path."""
    return f"array_to_string(array_slice(string_to_array({path}, '/'), 1, {depth}), '/')"


def only(column: str, value: str) -> str:
    """A further condition on a column; none for `all` and the empty value."""
    return "" if value in ("", "all") else f" and {column} = {quoted(value)}"


def limited(limit: int) -> str:
    """At most so many rows; 0 is no limit."""
    return f" limit {limit}" if limit else ""
