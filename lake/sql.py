"""The one way a text gets into SQL and predicates."""

from __future__ import annotations

from storage.errors import UsageError


def quoted(text: str) -> str:
    """A text as an SQL literal. Raises UsageError for bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!a} is not UTF-8: names in the lake are.") from None
    return "'" + text.replace("'", "''") + "'"
