"""The node agent: mount, what it says of itself, its cache and its spool."""

from __future__ import annotations

import time
from typing import Any

import click

from commands.options import HERE, Asked, Whole, common, refuse
from commands.progress import ProgressLine
from storage.errors import UsageError, WarpdriveError
from storage.units import format_size, parse_instant, parse_size

RULE = "─" * 36


@click.command()
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
    run_mount(Asked(o, local=HERE, as_of=False).config, daemon=daemon)


@click.command()
@common
def stats(**o: Any) -> None:
    """The block cache of the running agent.

    Example: warpdrive stats
    """
    from warpdrive_agent.control import agent_stats

    found = agent_stats(Asked(o, local=HERE, as_of=False).config)
    click.echo(f"WarpDrive Cache Statistics\n{RULE}")
    click.echo("\n".join(_cache_lines(found)))


@click.command()
@common
def status(**o: Any) -> None:
    """Mount, backends, cache, telemetry and the age of the reports.

    Example: warpdrive status
    """
    from warpdrive_agent.control import agent_status

    config = Asked(o, local=HERE, as_of=False).config
    found = agent_status(config)
    telemetry = found["telemetry"]
    lines = ["WarpDrive Status", RULE]
    lines.append(f"Mount Point: {found['mount_point']} ({_state(found)})")
    lines.append(f"Backends: {len(found['backends'])} configured")
    lines += [f"  - {b['name']} ({b['type']}) at {b['mount_path']}" for b in found["backends"]]
    lines += ["Cache", *(f"  {line}" for line in _cache_lines(found["cache"] or {}))]
    lines += ["Telemetry", f"  Enabled: {str(telemetry['enabled']).lower()}"]
    lines.append(f"  Sink: {telemetry['sink']}")
    for name in ("recorded", "dropped", "uploaded_segments"):
        if name in telemetry:
            lines.append(f"  {name.replace('_', ' ').title()}: {telemetry[name]}")
    click.echo("\n".join([*lines, *_lake_lines(config)]))


def _state(found: dict[str, Any]) -> str:
    if not found["mounted"]:
        return "not mounted"
    return "mounted" if found["running"] else "mounted, but its agent does not answer"


def _cache_lines(found: dict[str, int]) -> list[str]:
    hits, misses = found.get("hits", 0), found.get("misses", 0)
    lines = [
        f"Hits: {hits}",
        f"Misses: {misses}",
        f"Evictions: {found.get('evictions', 0)}",
        f"Bytes Cached: {format_size(found.get('bytes_cached', 0))}",
    ]
    return [*lines, f"Hit Rate: {hits / (hits + misses):.1%}"] if hits + misses else lines


def _lake_lines(config: Any) -> list[str]:
    from lake.published import current
    from storage import clock

    found = current(config.lake.root)
    if not found.as_of:
        return ["Reports", "  none yet: run `warpdrive refresh`"]
    age = (clock.now() - parse_instant(found.published_at)).total_seconds() / 60
    lag = found.ingest_lag_seconds
    lines = ["Reports", f"  As of: {found.as_of}",
             f"  Published: {found.published_at} ({age:.0f} min ago)"]  # fmt: skip
    if lag is not None:
        lines.append(f"  Ingest Lag: {lag:.0f} s (p95)")
    lines.append("Coverage")
    for row in found.rows("backends"):
        cover = "no agent reports" if row["coverage"] is None else f"{row['coverage']:.0%}"
        crawled = str(row["crawled_at"] or "")[:19] or "never"
        lines.append(f"  {row['name']}: {cover}, listing {row['state']}, crawled {crawled}")
    return lines


@click.command()
@click.option("--backend", required=True, metavar="NAME", help="The backend to read from.")
@click.option("--prefix", default="", metavar="PATH", help="Only below this folder.")
@click.option("--recursive", default=True, show_default=True, type=bool, help="With subfolders.")
@click.option("--max-size", default="0", show_default=True, help="At most so much; 0 = all.")
@click.option("--workers", default=32, show_default=True, type=Whole(1, 1024))
@common
def warm(backend: str, prefix: str, recursive: bool, max_size: str, workers: int, **o: Any) -> None:
    """Fill the cache ahead of use; a rerun goes on where it ended.

    Example: warpdrive warm --backend training --prefix datasets/imagenet
    """
    from warpdrive_agent.control import warm_cache
    from warpdrive_agent.warm import WarmOrder

    limit = parse_size(max_size, "--max-size")
    order = WarmOrder(backend, prefix.strip("/"), recursive, limit, workers)
    steps = warm_cache(Asked(o, local=HERE, as_of=False).config, order)
    for name, value in (
        ("Backend", backend), ("Prefix", order.prefix or "/"),
        ("Recursive", str(recursive).lower()),
        ("Max Size", format_size(limit) if limit else "unlimited"), ("Workers", workers),
    ):  # fmt: skip
        click.echo(f"{name + ':':<11}{value}")
    line = ProgressLine()
    try:
        last = _followed(steps, line)
    except KeyboardInterrupt:
        click.echo("Warning: Warming interrupted; what is cached stays. Run it again to go on.")
        return
    if last.failed:
        raise WarpdriveError(f"{last.failed} files could not be warmed: {'; '.join(last.errors)}")
    click.echo(f"Done: Cache warming complete in {time.monotonic() - line.started:.1f}s")


def _followed(steps: Any, line: ProgressLine) -> Any:
    """The last step."""
    step = None
    for step in steps:
        line.show((step.files_done, step.files), (step.bytes_done, step.bytes), last=step.done)
    return step


@click.group()
def spool() -> None:
    """Events that wait on this node's disk.

    Example: warpdrive spool check /var/cache/warpdrive/spool
    """


@spool.command("check")
@click.argument("folder", metavar="DIR")
@common
def spool_check(folder: str, **o: Any) -> None:
    """What a spool holds, and what is wrong with it; changes nothing.

    Example: warpdrive spool check /var/cache/warpdrive/spool
    """
    refuse(o, ("server",), HERE)
    from warpdrive_agent.spoolcheck import OK, check_spool, counters

    rows = check_spool(folder)
    click.echo(f"{'FILE':<50} {'BOOT':<16} {'FIRST':>10} {'LAST':>10} {'EVENTS':>8} PROBLEM")
    for row in rows:
        click.echo(
            f"{row.file or '-':<50} {row.boot:<16} {row.first:>10} {row.last:>10} "
            f"{row.events:>8} {row.problem}"
        )
    for name, value in counters(folder).items():
        click.echo(f"{name}: {value}")
    bad = [row for row in rows if row.problem != OK and not row.problem.startswith("gap")]
    if bad:
        raise WarpdriveError(f"{len(bad)} problems in the spool {folder}: see the rows above.")
