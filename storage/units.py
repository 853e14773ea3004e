"""Sizes, durations and instants: how people write them and how we print them."""

from __future__ import annotations

import datetime as dt
import math
import re

from storage.errors import UsageError

UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
MAX_BYTES = 2**63 - 1
MAX_DAYS = 36_500
MAX_DIGITS = 40
MAX_GAPS = 10**12
"""Missing numbers before one object: a sender may claim any, and their sum must fit."""
_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([KMGTP]?B)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w)")
_SECONDS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3,
    "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0,
}  # fmt: skip


def parse_size(text: str | int, what: str = "size") -> int:
    """Bytes from `500TB`, `2.5 gb`, `1024` or an empty text (0); units are 1024-based.

    Raises UsageError for anything else, negatives and more than 2^63 - 1 bytes included.
    """
    if isinstance(text, bool):
        raise _bad_size(text, what)
    stripped = str(text).strip()
    if stripped == "":
        return 0
    match = _SIZE.fullmatch(stripped)
    number, unit = match.groups() if match else ("", None)
    if not number or len(number) > MAX_DIGITS or (unit is None and "." in number):
        raise _bad_size(text, what)
    power = 1024 ** UNITS.index((unit or "B").upper())
    size = int(number) * power if number.isdigit() else int(float(number) * power)
    if size > MAX_BYTES:
        raise _bad_size(text, what)
    return size


def _bad_size(text: object, what: str) -> UsageError:
    return UsageError(
        f"{what} '{text}' is not a size: write bytes (1048576) or a number with one of "
        f"{', '.join(UNITS)} (500GB, 1024-based), up to 8191PB."
    )


def format_size(size_bytes: int) -> str:
    """`512 B`, `1.50 KB` … `8191.00 PB`: 1024-based, two decimals above bytes."""
    if abs(size_bytes) < 1024:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in UNITS[1:]:
        value /= 1024
        if abs(value) < 1024 or unit == UNITS[-1]:
            return f"{value:.2f} {unit}"
    raise AssertionError(size_bytes)


def parse_duration(text: str | float, what: str = "duration") -> dt.timedelta:
    """A time span from `5s`, `1h30m`, `400d`, `2w` (Go syntax plus days and weeks), or `0`.

    Raises UsageError for anything else, negatives included.
    """
    stripped = str(text).strip()
    if stripped == "0" and not isinstance(text, bool):
        return dt.timedelta(0)
    parts = _DURATION.findall(stripped)
    if not parts or "".join(n + u for n, u in parts) != stripped:
        raise UsageError(
            f"{what} '{text}' is not a duration: write a number with ms, s, m, h, d or w, "
            "such as 5s, 1h30m or 90d."
        )
    try:
        return dt.timedelta(seconds=math.fsum(float(n) * _SECONDS[u] for n, u in parts))
    except OverflowError:
        raise UsageError(f"{what} '{text}' is too long: at most 999999999d.") from None


def parse_days(text: str, what: str = "days") -> int:
    """Whole days from `30` or `30d`. Raises UsageError for anything else, negatives included."""
    digits = text.strip().removesuffix("d")
    if not re.fullmatch(r"[0-9]{1,9}", digits) or int(digits) > MAX_DAYS:
        raise UsageError(f"{what} '{text}' is not a number of days: write 30 or 30d.")
    return int(digits)


def parse_instant(text: str, what: str = "time") -> dt.datetime:
    """A UTC instant from RFC 3339 (`2026-11-01T00:00:00Z`), with a space for the T, or a day.

    A text without an offset is UTC. Raises UsageError for anything else.
    """
    stripped = text.strip()
    try:
        found = dt.datetime.fromisoformat(stripped)
        return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{what} '{text}' is not a time: write 2026-11-01 or 2026-11-01T00:00:00Z (UTC)."
        ) from None


def parse_day(text: str, what: str = "day") -> dt.date:
    """A UTC day from `YYYY-MM-DD`. Raises UsageError for anything else."""
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{what} '{text}' is not a day: write YYYY-MM-DD.") from None


def format_instant(at: dt.datetime) -> str:
    """RFC 3339 in UTC with `Z`; microseconds only where there are any."""
    return at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def csv_instant(text: str) -> str:
    """`YYYY-MM-DD HH:MM:SS` in UTC of an instant as `format_instant` writes it.

    Raises UsageError for what is no instant.
    """
    ours = len(text) >= len("2026-11-01T12:00:00Z") and text[10] == "T" and text[-1] == "Z"
    if ours:  # every instant of our own tables: not worth parsing a thousand times
        return f"{text[:10]} {text[11:19]}"
    return parse_instant(text).strftime("%Y-%m-%d %H:%M:%S")
