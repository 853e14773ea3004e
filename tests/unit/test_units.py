"""Sizes, durations, days and instants as people write them."""

import datetime as dt

import pytest

from storage.errors import UsageError
from storage.units import (
    MAX_BYTES,
    csv_instant,
    format_instant,
    format_size,
    parse_days,
    parse_duration,
    parse_instant,
    parse_size,
)


@pytest.mark.parametrize(("text", "size"), [
    ("", 0), ("0", 0), ("1024", 1024), (1024, 1024), ("5B", 5), ("1KB", 1024), ("1kb", 1024),
    ("1 MB", 1024**2), ("2.5GB", 2_684_354_560), ("1TB", 1024**4), ("1PB", 1024**5),
    (".5KB", 512), ("8191PB", 8191 * 1024**5), (str(MAX_BYTES), MAX_BYTES),
])  # fmt: skip
def test_sizes_that_are_read(text, size):
    """Units are 1024-based, of any case, with a fraction if there is a unit."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [
    "potato", "10XB", "-1", "-1KB", "1.5", "NaNKB", "infGB", "1e30TB", "1e3", "8192PB", "1KiB",
    "9" * 30, "9" * 5000, "9" * 400 + ".5GB", "1,5GB", "GB", True,
])  # fmt: skip
def test_sizes_that_are_refused_by_name_and_value(text):
    """A size that cannot be is named; it is never a default and never too large to hold."""
    with pytest.raises(UsageError, match=r"--min-size '.*' is not a size") as told:
        parse_size(text, "--min-size")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("size", "text"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.00 KB"), (1536, "1.50 KB"), (1024**2, "1.00 MB"),
    (5 * 1024**3, "5.00 GB"), (1024**5, "1.00 PB"), (2**63 - 1, "8192.00 PB"), (-2048, "-2.00 KB"),
])  # fmt: skip
def test_sizes_that_are_shown(size, text):
    """As the Go version printed them."""
    assert format_size(size) == text


@pytest.mark.parametrize(("text", "seconds"), [
    ("0", 0), ("5s", 5), ("1h30m", 5400), ("7d", 604_800), ("2w", 1_209_600), ("1.5s", 1.5),
    ("250ms", 0.25), ("10us", 1e-5), ("400d", 400 * 86_400),
])  # fmt: skip
def test_durations_that_are_read(text, seconds):
    """Go's syntax with days and weeks."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["5", "-5s", "5 s", "s", "5x", "", "9" * 400 + "d", "inf", True])
def test_durations_that_are_refused(text):
    """A number without a unit, a sign or junk is no duration."""
    with pytest.raises(UsageError, match=r"--grace '"):
        parse_duration(text, "--grace")


def test_days():
    """Whole days with or without d, up to a hundred years."""
    assert [parse_days(t) for t in ("0", "30", "30d", " 7d ")] == [0, 30, 30, 7]
    for text in ("x", "-1", "1.5", "", "d", "36501", "9" * 5000, "٣"):
        with pytest.raises(UsageError, match="--period"):
            parse_days(text, "--period")


def test_instants():
    """UTC; an offset is converted, none means UTC."""
    noon = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
    for text in ("2026-11-01T12:00:00Z", "2026-11-01 12:00", "2026-11-01T14:00:00+02:00"):
        assert parse_instant(text) == noon
    assert format_instant(noon) == "2026-11-01T12:00:00Z"
    for text in ("2026-11-01T12:00:00.999999Z", "2026-11-01T14:00:00+02:00", "2026-11-01 12:00Z"):
        assert csv_instant(text) == "2026-11-01 12:00:00"
    for text in ("", "noon", "2026-13-01", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(UsageError, match=r"--as-of '"):
            parse_instant(text, "--as-of")
