"""What people decide: quotas, teams and aliases."""

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
)
from storage.units import (
    format_instant,
    format_size,
    parse_duration,
    parse_instant,
    parse_size,
)


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
    where = "" if backend == "all" else backend
    limits = {
        "team": team, "backend": where,
        "soft_bytes": parse_size(soft, "--soft"), "hard_bytes": parse_size(hard, "--hard"),
        "grace_seconds": int(parse_duration(grace, "--grace").total_seconds()),
    }  # fmt: skip
    if told := Asked(o).changes.set_quota(limits):
        note(f"Note: {told}")
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
    Asked(o).changes.delete_quota(team, "" if backend == "all" else backend)
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
    _told(*Asked(o).changes.add_member(user, team_name, _checked(since)))


@team.command("import")
@click.argument("file", metavar="FILE.csv")
@since_option
@common
def team_import(file: str, since: str, **o: Any) -> None:
    """Add the members that a CSV with user_id,team_name lists; removes nobody.

    Example: warpdrive team import teams.csv
    """
    _told(*Asked(o).changes.import_members(file, _checked(since)))


@team.command("remove")
@click.argument("user")
@click.argument("team_name", metavar="TEAM")
@since_option
@common
def team_remove(user: str, team_name: str, since: str, **o: Any) -> None:
    """Take a user out of a team.

    Example: warpdrive team remove alice vision
    """
    Asked(o).changes.remove_member(user, team_name, _checked(since))
    click.echo(f"Removed {user} from {team_name}. Reports follow at the next refresh.")


@click.group()
def alias() -> None:
    """Names that are one person.

    Example: warpdrive alias add uid:1017 alice
    """


@alias.command("list")
@formatted
@common
def alias_list(fmt: str, **o: Any) -> None:
    """Every name that counts as another one.

    Example: warpdrive alias list --format csv
    """
    emit("alias", Asked(o).reader.aliases(), fmt)


@alias.command("add")
@click.argument("name")
@click.argument("canonical")
@since_option
@common
def alias_add(name: str, canonical: str, since: str, **o: Any) -> None:
    """Let NAME count as CANONICAL: one owner, one user, one member of a team.

    Example: warpdrive alias add uid:1017 alice
    """
    Asked(o).changes.add_alias(name, canonical, _checked(since))
    click.echo(f"{name} counts as {canonical}. Reports follow at the next refresh.")


@alias.command("remove")
@click.argument("name")
@since_option
@common
def alias_remove(name: str, since: str, **o: Any) -> None:
    """Let NAME count for itself again.

    Example: warpdrive alias remove uid:1017
    """
    Asked(o).changes.remove_alias(name, _checked(since))
    click.echo(f"{name} is no alias any more. Reports follow at the next refresh.")


def _checked(since: str) -> str:
    return format_instant(parse_instant(since, "--since")) if since else ""


def _told(new: int, given: int) -> None:
    click.echo(f"{new} of {given} memberships are new. Reports follow at the next refresh.")
