"""Reports: usage, stale, growth, user, backends."""

from __future__ import annotations

from typing import Any

import click

from commands.options import (
    MAX_DEPTH,
    Asked,
    Whole,
    backend_option,
    common,
    emit,
    formatted,
    note,
    one_of,
)
from storage.errors import UsageError
from storage.units import MAX_DAYS, parse_days, parse_size

GROUPS = ("user", "team", "backend", "prefix")


@click.command()
@click.option("--group-by", default="user", show_default=True, metavar="KIND",
              help="user, team, backend or prefix.", shell_complete=one_of(*GROUPS))  # fmt: skip
@backend_option
@click.option("--attribution", default="owner", show_default=True, metavar="KIND",
              help="owner: stored by owner. access: what the group ever touched.",
              shell_complete=one_of("owner", "access"))  # fmt: skip
@click.option("--depth", default=1, show_default=True, type=Whole(1, MAX_DEPTH),
              help="Path segments of a prefix.")  # fmt: skip
@formatted
@common
def usage(group_by: str, backend: str, attribution: str, depth: int, fmt: str, **o: Any) -> None:
    """Stored files and bytes per group and backend.

    Example: warpdrive usage --group-by team --backend training
    """
    rows = Asked(o).reader.usage(group_by, backend, attribution, depth)
    emit("usage", rows, fmt)


@click.command()
@click.option("--days", default=90, show_default=True, type=Whole(0, MAX_DAYS),
              help="Not touched for so many days.")  # fmt: skip
@click.option("--min-size", default="0", show_default=True, help="At least this size, e.g. 1GB.")
@backend_option
@click.option("--limit", default=1000, show_default=True, type=Whole(0),
              help="At most so many rows; 0 = no limit.")  # fmt: skip
@formatted
@common
def stale(days: int, min_size: str, backend: str, limit: int, fmt: str, **o: Any) -> None:
    """Files that nobody has touched, largest first.

    Example: warpdrive stale --days 90 --min-size 1GB --format csv
    """
    rows = Asked(o).reader.stale(days, parse_size(min_size, "--min-size"), backend, limit)
    emit("stale", rows, fmt, title=f"Stale Data (not accessed in {days} days)")


@click.command()
@backend_option
@click.option("--period", default="30d", show_default=True, metavar="DAYS",
              help="So many days back, 30 or 30d; 0 = whole history.")  # fmt: skip
@click.option(
    "--by", default="", metavar="KIND", help="backend (default of table and csv) or team.",
    shell_complete=one_of("backend", "team"),
)  # fmt: skip
@click.option("--forecast", default="", metavar="DAYS", help="Go on for so many days.")
@formatted
@common
def growth(backend: str, period: str, by: str, forecast: str, fmt: str, **o: Any) -> None:
    """Files and bytes per day, from listings.

    Example: warpdrive growth --period 90 --backend training --format csv
    """
    from lake.reports import forecast_errors, growth_columns

    if by not in ("", "backend", "team"):
        raise UsageError(f"--by '{by}' is neither backend nor team.")
    by = by or ("" if fmt == "json" else "backend")
    ahead = parse_days(forecast, "--forecast") if forecast else 0
    rows = Asked(o).reader.growth(backend, parse_days(period, "--period"), by, ahead)
    emit("growth", rows, fmt, columns=growth_columns(by, forecast=bool(ahead)))
    for line in forecast_errors(rows) if fmt == "table" else ():
        note(line)


@click.command()
@click.argument("user_id", metavar="ID")
@backend_option
@click.option("--limit", default=0, type=Whole(0), help="At most so many rows; 0 = all.")
@formatted
@common
def user(user_id: str, backend: str, limit: int, fmt: str, **o: Any) -> None:
    """What one user touched, per file and day, newest first.

    Example: warpdrive user alice --limit 20
    """
    reader = Asked(o).reader
    rows = reader.user(user_id, backend, limit)
    if not rows and not reader.known_user(user_id):
        raise UsageError(f"no user '{user_id}': `warpdrive usage` lists the users there are.")
    emit("user", rows, fmt, title=f"User {user_id}")


@click.command()
@formatted
@common
def backends(fmt: str, **o: Any) -> None:
    """Every backend: size, state of its crawl, telemetry coverage.

    Example: warpdrive backends --format json
    """
    emit("backends", Asked(o).reader.backends(), fmt)
