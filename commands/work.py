"""Work on the lake and on this machine: ingest, crawl, refresh, dashboard, doctor, demo."""

from __future__ import annotations

from typing import Any

import click

from commands.options import (
    COMMON,
    HERE,
    Asked,
    Whole,
    backend_option,
    common,
    emit,
    formatted,
    refuse,
)
from storage.errors import UsageError, WarpdriveError


@click.command()
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
    asked = Asked(o)
    if paths and (start or end):
        raise UsageError("--from and --to are for landing hours: leave the files away.")
    if (server := asked.server) is not None:
        from commands.sending import send

        if not paths:
            raise UsageError("--server ingests by itself what has landed: name files to send.")
        click.echo(send(server, paths))
        return
    from pipelines import commands

    if start or end:
        hours = commands.hours_between(start, end)
        click.echo(commands.reingest(asked.config, hours))
    else:
        click.echo(commands.ingest(asked.config, paths))


@click.command()
@backend_option
@click.option("--allow-removal", is_flag=True, help="Let a held mass removal through.")
@formatted
@common
def crawl(backend: str, allow_removal: bool, fmt: str, **o: Any) -> None:
    """List the backends, or take their new inventory reports.

    Example: warpdrive crawl --backend training
    """
    rows = _crawled(Asked(o), backend, allow_removal=allow_removal)
    emit("crawl", rows, fmt)
    failed = [row["backend"] for row in rows if row["state"] == "failed"]
    if failed:
        raise WarpdriveError(f"crawl failed for {', '.join(failed)}: see the column error.")


def _crawled(asked: Asked, backend: str, *, allow_removal: bool) -> list[dict[str, Any]]:
    if (server := asked.server) is not None:
        from commands.remote import RUN_SECONDS

        if asked.as_of:
            raise UsageError("--as-of: a server crawls as of now: leave it away.")
        params = {"backend": backend, "allow_removal": "true" if allow_removal else ""}
        told = server.send("POST", "/crawl", params, seconds=RUN_SECONDS)
        rows: list[dict[str, Any]] = told.get("backends") or []
        return rows
    from pipelines import commands

    return commands.crawl(asked.config, backend, asked.as_of, allow_removal=allow_removal)


@click.command()
@click.option("--rebuild", is_flag=True, help="Fold every day again from the events.")
@click.option("--watch", is_flag=True, help="Go on: ingest what lands and refresh, until Ctrl+C.")
@common
def refresh(rebuild: bool, watch: bool, **o: Any) -> None:
    """Compute all reports and publish them.

    Example: warpdrive refresh --watch
    """
    from pipelines import commands

    asked = Asked(o, local="a server refreshes after events and crawls by itself")
    if watch and asked.as_of:
        raise UsageError("--watch keeps up with the present: leave --as-of away.")
    click.echo(commands.refresh(asked.config, asked.as_of, rebuild=rebuild))
    if watch:
        commands.watch(asked.config, click.echo)


@click.command()
@click.option("--port", default=8501, show_default=True, type=Whole(1, 65535))
@click.option("--address", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Where to listen; where other machines reach it, people sign in.")  # fmt: skip
@common
def dashboard(port: int, address: str, **o: Any) -> None:
    """Open the dashboard on this machine.

    Example: warpdrive dashboard --port 8501
    """
    from dashboard.serve import serve

    asked = Asked(o, local="the dashboard reads the lake itself", as_of=False)
    serve(asked.config, port, address)


@click.command()
@common
def doctor(**o: Any) -> None:
    """Check config, lake, landing zone, backends and FUSE; says what to do.

    Example: warpdrive doctor
    """
    from storage.doctor import examine
    from warpdrive_agent.capability import mount_problem

    found = [*examine(Asked(o, local=HERE, as_of=False).config), ("mount", mount_problem() or "")]
    for name, problem in found:
        click.echo(f"{'FAIL' if problem else 'PASS'} {name}{': ' if problem else ''}{problem}")
    if any(problem for _, problem in found):
        raise WarpdriveError("doctor found problems: see the lines that begin with FAIL.")


@click.command()
@click.argument("source", required=False, metavar="[DIR]")
@click.option("--into", default="warpdrive-demo", show_default=True, metavar="DIR",
              help="Where the demo keeps its lake, config and reports.")  # fmt: skip
@common
def demo(source: str | None, into: str, **o: Any) -> None:
    """Run the whole flow on real files and check it: mount, read, ingest, crawl, report.

    Example: warpdrive demo /usr/share/doc
    """
    from pipelines.demo import run_demo

    refuse(o, COMMON, "the demo makes its own lake and config")
    if not run_demo(source, into, click.echo):
        raise WarpdriveError("the demo failed: see the lines that begin with FAIL.")
