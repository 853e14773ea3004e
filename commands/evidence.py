"""Where numbers come from: ownership rules, the ledger of telemetry, changes, the audit log."""

from __future__ import annotations

from typing import Any

import click

from commands.options import MAX_DEPTH, Asked, Whole, backend_option, common, emit, formatted
from storage.errors import UsageError, WarpdriveError
from storage.paths import split_place
from storage.units import parse_day


@click.group()
def rule() -> None:
    """Prefixes that belong to a team, whoever wrote them.

    Example: warpdrive rule add training:datasets/imagenet vision --preview
    """


@rule.command("list")
@formatted
@common
def rule_list(fmt: str, **o: Any) -> None:
    """Every rule with the files and bytes it decides about.

    Example: warpdrive rule list --format csv
    """
    emit("rule", Asked(o).reader.rules(), fmt)


@rule.command("add")
@click.argument("place", metavar="BACKEND:PREFIX")
@click.argument("team_name", metavar="TEAM")
@click.option("--preview", is_flag=True, help="Show what it would take from others; save nothing.")
@formatted
@common
def rule_add(place: str, team_name: str, preview: bool, fmt: str, **o: Any) -> None:
    """Let a prefix belong to a team; the longest prefix decides.

    Example: warpdrive rule add training:datasets/imagenet vision --preview
    """
    asked = Asked(o, as_of=False)
    backend, prefix = split_place(place)
    if not team_name:
        raise UsageError(f"rule for '{place}': the team is empty: name one.")
    if preview:
        emit("rule", [asked.reader.rule_preview(backend, prefix, team_name)], fmt)
        return
    asked.changes.add_rule({"backend": backend, "prefix": prefix, "team": team_name})
    click.echo(f"{place} belongs to {team_name}. Reports follow at the next refresh.")


@rule.command("remove")
@click.argument("place", metavar="BACKEND:PREFIX")
@common
def rule_remove(place: str, **o: Any) -> None:
    """Remove the rule of a prefix.

    Example: warpdrive rule remove training:datasets/imagenet
    """
    Asked(o).changes.remove_rule(*split_place(place))
    click.echo(f"The rule of {place} is removed. Reports follow at the next refresh.")


@click.command()
@click.option("--node", default="", metavar="NAME", help="Only this node.")
@click.option("--hours", default=24, show_default=True, type=Whole(1, 876_000),
              help="So many landing hours back.")  # fmt: skip
@formatted
@common
def ledger(node: str, hours: int, fmt: str, **o: Any) -> None:
    """What arrived, per node and hour, and what is missing.

    Example: warpdrive ledger --hours 48
    """
    emit("ledger", Asked(o).reader.ledger(node, hours), fmt)


@click.command()
@click.argument("day1")
@click.argument("day2")
@click.option("--by", default="team", show_default=True, metavar="KIND",
              help="team, prefix or backend.")  # fmt: skip
@click.option("--depth", default=1, show_default=True, type=Whole(1, MAX_DEPTH),
              help="Path segments of a prefix.")  # fmt: skip
@formatted
@common
def diff(day1: str, day2: str, by: str, depth: int, fmt: str, **o: Any) -> None:
    """What changed from the end of DAY1 to the end of DAY2, and whose it is.

    Example: warpdrive diff 2026-10-01 2026-11-01 --by team
    """
    rows = Asked(o).reader.diff(parse_day(day1, "DAY1"), parse_day(day2, "DAY2"), by, depth)
    emit("diff", rows, fmt)


@click.command("audit-log")
@click.option("--limit", default=100, show_default=True, type=Whole(0),
              help="At most so many rows; 0 = all.")  # fmt: skip
@formatted
@common
def audit_log(limit: int, fmt: str, **o: Any) -> None:
    """Who changed quotas, teams, aliases and rules, newest first.

    Example: warpdrive audit-log --limit 20
    """
    emit("audit-log", Asked(o, as_of=False).reader.audit_log(limit), fmt)


@click.command()
@backend_option
@click.option("--sample", default=1000, show_default=True, type=Whole(1),
              help="So many rows of the index and live objects.")  # fmt: skip
@click.option("--seed", default=0, type=Whole(0),
              help="Draw the sample of an audit with this seed again; 0: a new one.")  # fmt: skip
@formatted
@common
def verify(backend: str, sample: int, seed: int, fmt: str, **o: Any) -> None:
    """Check random rows of the index against the store, and random live objects against it.

    Example: warpdrive verify --backend training --sample 2000
    """
    asked = Asked(o)
    if asked.as_of:
        raise UsageError("--as-of: the store can only be asked as it is now: leave it away.")
    rows, failed = _audited(asked, backend, sample, seed)
    emit("verify", rows, fmt)
    if failed:
        told = (f"backend '{name}' could not be verified: {why}" for name, why in failed.items())
        raise WarpdriveError("; ".join(told))


def _audited(
    asked: Asked, backend: str, sample: int, seed: int
) -> tuple[list[dict[str, Any]], Any]:
    if (server := asked.server) is not None:
        from commands.remote import RUN_SECONDS

        params = {"backend": backend, "sample": sample, "seed": seed}
        told = server.send("POST", "/verify", params, seconds=RUN_SECONDS)
        return told.get("audits") or [], told.get("failed")
    from pipelines import commands

    return commands.verify(asked.config, backend, sample, seed)
