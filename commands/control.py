"""What people decide: quotas and teams."""

from __future__ import annotations

from typing import Any

import click

from commands.options import (
    Asked,
    backend_names,
    backend_option,
    common,
    emit,
    formatted,
    note,
    team_names,
    team_option,
    who,
)
from storage.units import format_size, parse_duration, parse_instant, parse_size


@click.group()
def quota() -> None:
    """Limits of teams.

    Example: warpdrive quota set --team vision --hard 500TB
    """


@quota.command("list")
@click.option("--team", default="", metavar="NAME", help="Only this team.",
              shell_complete=team_names)  # fmt: skip
@backend_option
@formatted
@common
def quota_list(team: str, backend: str, fmt: str, **o: Any) -> None:
    """Every quota with what its team owns.

    Example: warpdrive quota list --format csv
    """
    emit("quota", Asked(o).reader.quota(team, backend), fmt)


@quota.command("set")
@team_option
@click.option("--backend", default="all", show_default=True, metavar="NAME", help="Where.",
              shell_complete=backend_names)  # fmt: skip
@click.option("--soft", default="0", show_default=True, metavar="SIZE", help="0 = no soft limit.")
@click.option("--hard", default="0", show_default=True, metavar="SIZE", help="0 = no hard limit.")
@click.option("--grace", default="0", metavar="TIME",
              help="How long soft may be crossed, e.g. 7d; default: for ever.")  # fmt: skip
@common
def quota_set(team: str, backend: str, soft: str, hard: str, grace: str, **o: Any) -> None:
    """Set the limits of a team.

    Example: warpdrive quota set --team vision --soft 400TB
    """
    from lake.change import set_quota

    asked = Asked(o)
    where = "" if backend == "all" else backend
    limits = {
        "team": team, "backend": where,
        "soft_bytes": parse_size(soft, "--soft"), "hard_bytes": parse_size(hard, "--hard"),
        "grace_seconds": int(parse_duration(grace, "--grace").total_seconds()),
    }  # fmt: skip
    config = asked.config
    set_quota(config, limits, who())
    if where and where not in {b.name for b in config.backends}:
        note(f"Note: backend '{where}' is not in the config.")
    click.echo(
        f'Quota set for team "{team}" (backend={backend or "all"}, '
        f"soft={format_size(limits['soft_bytes'])}, hard={format_size(limits['hard_bytes'])})"
    )


@quota.command("delete")
@team_option
@click.option("--backend", default="all", show_default=True, metavar="NAME", help="Where.",
              shell_complete=backend_names)  # fmt: skip
@common
def quota_delete(team: str, backend: str, **o: Any) -> None:
    """Remove the limits of a team.

    Example: warpdrive quota delete --team vision
    """
    from lake.change import delete_quota

    delete_quota(Asked(o).config, team, "" if backend == "all" else backend, who())
    click.echo(f'Quota deleted for team "{team}" (backend={backend or "all"})')


@click.group()
def team() -> None:
    """Who is in which team.

    Example: warpdrive team import teams.csv
    """


since_option = click.option(
    "--since", default="", metavar="TIME", help="Valid from (default: from the beginning)."
)


@team.command("list")
@formatted
@common
def team_list(fmt: str, **o: Any) -> None:
    """Every member of every team.

    Example: warpdrive team list --format csv
    """
    emit("team", Asked(o).reader.team(), fmt)


@team.command("add")
@click.argument("user")
@click.argument("team_name", metavar="TEAM")
@since_option
@common
def team_add(user: str, team_name: str, since: str, **o: Any) -> None:
    """Put a user into a team.

    Example: warpdrive team add alice vision
    """
    _members(o, [(user, team_name)], since)


@team.command("import")
@click.argument("file", metavar="FILE.csv")
@since_option
@common
def team_import(file: str, since: str, **o: Any) -> None:
    """Add the members that a CSV with user_id,team_name lists; removes nobody.

    Example: warpdrive team import teams.csv
    """
    from lake.change import read_members

    _members(o, read_members(file), since)


@team.command("remove")
@click.argument("user")
@click.argument("team_name", metavar="TEAM")
@since_option
@common
def team_remove(user: str, team_name: str, since: str, **o: Any) -> None:
    """Take a user out of a team.

    Example: warpdrive team remove alice vision
    """
    from lake.change import remove_member

    at = parse_instant(since, "--since") if since else None
    remove_member(Asked(o).config, (user, team_name), at, who())
    click.echo(f"Removed {user} from {team_name}. Reports follow at the next refresh.")


def _members(options: dict[str, Any], pairs: list[tuple[str, str]], since: str) -> None:
    from lake.change import add_members

    at = parse_instant(since, "--since") if since else None
    new = add_members(Asked(options).config, pairs, at, who())
    click.echo(f"{new} of {len(pairs)} memberships are new. Reports follow at the next refresh.")
