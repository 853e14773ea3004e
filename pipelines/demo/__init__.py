"""The main job: mount real files, read them as two users, ingest, crawl, report, check."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipelines.demo import reads
from pipelines.demo.place import Place, prepare
from storage.units import format_size

Say = Callable[[str], None]


def run_demo(source: str | None, into: str, say: Say) -> bool:
    """Run the whole flow on the files of `source` (default: Python's standard library).

    Everything it makes stands in `into`. Returns whether every check passed.
    Raises UsageError for a `source` or `into` that cannot be used.
    """
    started = time.monotonic()
    place = prepare(source, into, say)
    from pipelines.demo import checks, reports, served  # engine and orchestrator: seconds of import

    plan = reads.plan(place.source, place.readers)
    say(f"Reading {plan.files} files ({format_size(plan.size_bytes)}) as "
        f"{' and '.join(reader.name for reader in place.readers)} …")  # fmt: skip
    done = reads.through_mount(place, plan, say)
    say("Ingesting, crawling and computing, as Dagster runs …")
    _govern(place, plan, say)
    reports.show(place, say)
    results = checks.all_checks(place, plan, done)
    say("Starting the REST server and asking it …")
    results += served.checks(place, plan)
    for check in results:
        say(check.line())
    passed = all(check.passed for check in results)
    say(f"{sum(c.passed for c in results)} of {len(results)} checks passed "
        f"in {time.monotonic() - started:.0f} s.")  # fmt: skip
    if passed:
        reports.next_steps(place, say)
    return passed


def _govern(place: Place, plan: reads.Plan, say: Say) -> None:
    """Two teams with a quota each, the first one's soft limit crossed; then the three runs."""
    from lake import change
    from pipelines import commands

    say(commands.ingest(place.config, ()))
    commands.crawl(place.config, "", None, allow_removal=False)
    for number, reader in enumerate(place.readers):
        change.add_members(place.config, [(reader.name, reader.team)], None, "demo")
        owned = plan.bytes_of(reader)
        soft = owned // 2 if number == 0 else owned * 2
        limits = {"team": reader.team, "backend": "", "soft_bytes": max(soft, 1),
                  "hard_bytes": max(owned * 4, 1), "grace_seconds": 0}  # fmt: skip
        change.set_quota(place.config, limits, "demo")
    say(commands.refresh(place.config, None, rebuild=False))
