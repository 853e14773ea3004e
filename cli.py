"""The `warpdrive` command: parse, one call, print. Results to stdout, all else to stderr.

Imports that cost time stand inside the commands that need them.
"""

from __future__ import annotations

import datetime as dt
import getpass
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from storage.errors import UsageError, WarpdriveError
from storage.units import (
    MAX_DAYS,
    format_size,
    parse_days,
    parse_duration,
    parse_instant,
    parse_size,
)

F = TypeVar("F", bound=Callable[..., Any])
FIRST_YEAR, LAST_YEAR = 1971, 2199
COMMON = ("config", "as_of", "tenant", "server")


def common(command: F) -> F:
    """The options that every command takes, before its name and after it."""
    for option in reversed((
        click.option("--config", metavar="FILE", help="Config file (default: $WARPDRIVE_CONFIG, "
                     "./warpdrive.yaml, /etc/warpdrive/config.yaml)."),
        click.option("--as-of", metavar="TIME", help="Answer as of this instant (UTC)."),
        click.option("--tenant", metavar="NAME", help="Use the config file of this tenant."),
        click.option("--server", metavar="URL", help="Ask a server instead of the local lake."),
    )):  # fmt: skip
        command = option(command)
    return command


def formatted(command: F) -> F:
    """The option of commands that print rows."""
    return click.option(
        "--format", "fmt", default="table", show_default=True, help="How to print the rows.",
        type=click.Choice(["table", "csv", "json"]),
    )(command)  # fmt: skip


backend_option = click.option("--backend", default="", metavar="NAME", help="Only this backend.")


class Asked:
    """What the common options say, wherever they stood."""

    def __init__(self, options: dict[str, Any]) -> None:
        outer = click.get_current_context().find_root().params
        given = {name: options.pop(name) or outer.get(name) for name in COMMON}
        if given["server"]:
            raise UsageError(
                f"--server '{given['server']}': this version reads the local lake only; "
                "leave --server away."
            )
        self._config, self._tenant = given["config"], given["tenant"]
        self.as_of = _as_of(given["as_of"]) if given["as_of"] else None

    @property
    def config(self) -> Any:
        """The config, of the tenant where one is named."""
        from storage.config import load_config

        found = load_config(self._config)
        return load_config(found.tenant(self._tenant)) if self._tenant else found

    @property
    def reader(self) -> Any:
        """The read model; says on stderr how old its answers are."""
        from lake.read import Reader

        reader = Reader(self.config, self.as_of)
        _age(reader)
        return reader


def _as_of(text: str) -> dt.datetime:
    at = parse_instant(text, "--as-of")
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise UsageError(f"--as-of '{text}' is not in the years {FIRST_YEAR} to {LAST_YEAR}.")
    return at


def _age(reader: Any) -> None:
    from storage import clock

    if reader.as_of is None:
        note("Nothing is published yet: run `warpdrive refresh`.")
    elif reader.published_at is not None and sys.stderr.isatty():
        minutes = (clock.now() - reader.published_at).total_seconds() / 60
        note(f"As of {reader.as_of:%Y-%m-%d %H:%M:%S} UTC, published {minutes:.0f} min ago.")


def note(text: str) -> None:
    """A line for people, on stderr."""
    click.echo(text, err=True)


def emit(report: str, rows: list[dict[str, Any]], fmt: str, **how: Any) -> None:
    """Print a report: the only way rows leave a command."""
    from lake.text import render

    sys.stdout.write(render(report, rows, fmt, **how))
    sys.stdout.flush()  # a reader who has left is noticed here, not at exit


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@common
def app(**_: Any) -> None:
    """WarpDrive: who owns what data, what nobody touches, what grows, who is over quota.

    Example: warpdrive usage --group-by team --format csv
    """


@app.command()
@click.option("--group-by", default="user", show_default=True, metavar="KIND",
              help="user, team, backend or prefix.")  # fmt: skip
@backend_option
@click.option("--attribution", default="owner", show_default=True, metavar="KIND",
              help="owner: stored by owner. access: what the group ever touched.")  # fmt: skip
@click.option("--depth", default=1, show_default=True, type=click.IntRange(1),
              help="Path segments of a prefix.")  # fmt: skip
@formatted
@common
def usage(group_by: str, backend: str, attribution: str, depth: int, fmt: str, **o: Any) -> None:
    """Stored files and bytes per group and backend.

    Example: warpdrive usage --group-by team --backend training
    """
    rows = Asked(o).reader.usage(group_by, backend, attribution, depth)
    emit("usage", rows, fmt)


@app.command()
@click.option("--days", default=90, show_default=True, type=click.IntRange(0, MAX_DAYS),
              help="Not touched for so many days.")  # fmt: skip
@click.option("--min-size", default="0", show_default=True, help="At least this size, e.g. 1GB.")
@backend_option
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(0),
              help="At most so many rows; 0 = no limit.")  # fmt: skip
@formatted
@common
def stale(days: int, min_size: str, backend: str, limit: int, fmt: str, **o: Any) -> None:
    """Files that nobody has touched, largest first.

    Example: warpdrive stale --days 90 --min-size 1GB --format csv
    """
    rows = Asked(o).reader.stale(days, parse_size(min_size, "--min-size"), backend, limit)
    emit("stale", rows, fmt, title=f"Stale Data (not accessed in {days} days)")


@app.command()
@backend_option
@click.option("--period", default="30d", show_default=True, metavar="DAYS",
              help="So many days back, 30 or 30d; 0 = whole history.")  # fmt: skip
@click.option(
    "--by", default="", metavar="KIND", help="backend (default of table and csv) or team."
)
@click.option("--forecast", default="", metavar="DAYS", help="Go on for so many days.")
@formatted
@common
def growth(backend: str, period: str, by: str, forecast: str, fmt: str, **o: Any) -> None:
    """Files and bytes per day, from listings.

    Example: warpdrive growth --period 90 --backend training --format csv
    """
    from lake.reports import growth_columns

    if by not in ("", "backend", "team"):
        raise UsageError(f"--by '{by}' is neither backend nor team.")
    by = by or ("" if fmt == "json" else "backend")
    ahead = parse_days(forecast, "--forecast") if forecast else 0
    rows = Asked(o).reader.growth(backend, parse_days(period, "--period"), by, ahead)
    emit("growth", rows, fmt, columns=growth_columns(by, forecast=bool(ahead)))


@app.command()
@click.argument("user_id", metavar="ID")
@backend_option
@click.option("--limit", default=0, type=click.IntRange(0), help="At most so many rows; 0 = all.")
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


@app.command()
@formatted
@common
def backends(fmt: str, **o: Any) -> None:
    """Every backend: size, state of its crawl, telemetry coverage.

    Example: warpdrive backends --format json
    """
    emit("backends", Asked(o).reader.backends(), fmt)


@app.group()
def quota() -> None:
    """Limits of teams.

    Example: warpdrive quota set --team vision --hard 500TB
    """


@quota.command("list")
@click.option("--team", default="", metavar="NAME", help="Only this team.")
@backend_option
@formatted
@common
def quota_list(team: str, backend: str, fmt: str, **o: Any) -> None:
    """Every quota with what its team owns.

    Example: warpdrive quota list --format csv
    """
    emit("quota", Asked(o).reader.quota(team, backend), fmt)


@quota.command("set")
@click.option("--team", required=True, metavar="NAME", help="The team.")
@click.option("--backend", default="all", show_default=True, metavar="NAME", help="Where.")
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
    set_quota(config, limits, _who())
    if where and where not in {b.name for b in config.backends}:
        note(f"Note: backend '{where}' is not in the config.")
    click.echo(
        f'Quota set for team "{team}" (backend={backend or "all"}, '
        f"soft={format_size(limits['soft_bytes'])}, hard={format_size(limits['hard_bytes'])})"
    )


@quota.command("delete")
@click.option("--team", required=True, metavar="NAME", help="The team.")
@click.option("--backend", default="all", show_default=True, metavar="NAME", help="Where.")
@common
def quota_delete(team: str, backend: str, **o: Any) -> None:
    """Remove the limits of a team.

    Example: warpdrive quota delete --team vision
    """
    from lake.change import delete_quota

    delete_quota(Asked(o).config, team, "" if backend == "all" else backend, _who())
    click.echo(f'Quota deleted for team "{team}" (backend={backend or "all"})')


@app.group()
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
    remove_member(Asked(o).config, (user, team_name), at, _who())
    click.echo(f"Removed {user} from {team_name}. Reports follow at the next refresh.")


def _members(options: dict[str, Any], pairs: list[tuple[str, str]], since: str) -> None:
    from lake.change import add_members

    at = parse_instant(since, "--since") if since else None
    new = add_members(Asked(options).config, pairs, at, _who())
    click.echo(f"{new} of {len(pairs)} memberships are new. Reports follow at the next refresh.")


@app.command()
@click.argument("paths", nargs=-1, metavar="[FILE|DIR]...")
@click.option(
    "--from", "start", default="", metavar="TIME", help="Ingest landing hours again from."
)
@click.option("--to", "end", default="", metavar="TIME", help="Up to and without this instant.")
@common
def ingest(paths: tuple[str, ...], start: str, end: str, **o: Any) -> None:
    """Take events into the lake: what has landed, and the files named.

    Example: warpdrive ingest /var/log/warpdrive/telemetry.jsonl
    """
    from pipelines import commands

    asked = Asked(o)
    if paths and (start or end):
        raise UsageError("--from and --to are for landing hours: leave the files away.")
    if start or end:
        hours = commands.hours_between(start, end)
        click.echo(commands.reingest(asked.config, hours))
    else:
        click.echo(commands.ingest(asked.config, paths))


@app.command()
@backend_option
@click.option("--allow-removal", is_flag=True, help="Let a held mass removal through.")
@formatted
@common
def crawl(backend: str, allow_removal: bool, fmt: str, **o: Any) -> None:
    """List the backends, or take their new inventory reports.

    Example: warpdrive crawl --backend training
    """
    from pipelines import commands

    asked = Asked(o)
    rows = commands.crawl(asked.config, backend, asked.as_of, allow_removal=allow_removal)
    emit("crawl", rows, fmt)
    failed = [row["backend"] for row in rows if row["state"] == "failed"]
    if failed:
        raise WarpdriveError(f"crawl failed for {', '.join(failed)}: see the column error.")


@app.command()
@click.option("--rebuild", is_flag=True, help="Fold every day again from the events.")
@click.option("--watch", is_flag=True, help="Go on: ingest what lands and refresh, until Ctrl+C.")
@common
def refresh(rebuild: bool, watch: bool, **o: Any) -> None:
    """Compute all reports and publish them.

    Example: warpdrive refresh --watch
    """
    from pipelines import commands

    asked = Asked(o)
    if watch and asked.as_of:
        raise UsageError("--watch keeps up with the present: leave --as-of away.")
    click.echo(commands.refresh(asked.config, asked.as_of, rebuild=rebuild))
    if watch:
        commands.watch(asked.config, click.echo)


@app.command()
@click.option("--daemon", is_flag=True, help="Go to the background once the mount is usable.")
@click.option("--foreground", is_flag=True, help="Stay until Ctrl+C (the default).")
@common
def mount(daemon: bool, foreground: bool, **o: Any) -> None:
    """Mount all backends and record every access.

    Example: warpdrive mount --config /etc/warpdrive/config.yaml --daemon
    """
    from warpdrive_agent.mount import run_mount

    if daemon and foreground:
        raise UsageError("--daemon and --foreground exclude each other: give one of them.")
    run_mount(Asked(o).config, daemon=daemon)


@app.command()
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535))
@common
def dashboard(port: int, **o: Any) -> None:
    """Open the dashboard on this machine.

    Example: warpdrive dashboard --port 8501
    """
    from dashboard.serve import serve

    serve(Asked(o).config.file, port)


@app.command()
@common
def doctor(**o: Any) -> None:
    """Check config, lake, landing zone, backends and FUSE; says what to do.

    Example: warpdrive doctor
    """
    from storage.doctor import examine
    from warpdrive_agent.capability import mount_problem

    found = [*examine(Asked(o).config), ("mount", mount_problem() or "")]
    for name, problem in found:
        click.echo(f"{'FAIL' if problem else 'PASS'} {name}{': ' if problem else ''}{problem}")
    if any(problem for _, problem in found):
        raise WarpdriveError("doctor found problems: see the lines that begin with FAIL.")


@app.command()
@click.argument("source", required=False, metavar="[DIR]")
@click.option("--into", default="warpdrive-demo", show_default=True, metavar="DIR",
              help="Where the demo keeps its lake, config and reports.")  # fmt: skip
def demo(source: str | None, into: str) -> None:
    """Run the whole flow on real files and check it: mount, read, ingest, crawl, report.

    Example: warpdrive demo /usr/share/doc
    """
    from pipelines.demo import run_demo

    if not run_demo(source, into, click.echo):
        raise WarpdriveError("the demo failed: see the lines that begin with FAIL.")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid:{os.getuid()}"


def main() -> None:
    """Entry point, and the only error boundary: one line to stderr, a documented exit code."""
    os.umask(0o027)  # nothing of the lake, spool or cache is readable for the world
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        raise SystemExit(app(prog_name="warpdrive", standalone_mode=False) or 0)
    except WarpdriveError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        raise SystemExit(2) from None
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "warpdrive"
        _fail(f"{error.format_message().rstrip('.')}. See `{command} --help`.", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted.", 1)
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(text: str, exit_code: int) -> None:
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    click.echo(f"error: {shown}", err=True)
    raise SystemExit(exit_code) from None


if __name__ == "__main__":
    main()
