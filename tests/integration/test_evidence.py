"""Where numbers come from: rules, ledger, diff and audit log, by the command line."""

import datetime as dt
import json

from lake.metrics.ledger import by_node_and_hour
from lake.schemas import AGENTS
from pipelines.crawl import CrawlOptions, crawl
from pipelines.ingest import Window, ingest, ledger
from pipelines.refresh import refresh
from storage.landing import compress, segment_name

MONDAY = dt.datetime(2026, 11, 2, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
BOOT = "00000000000000aa"


def segment(home, hour, first, last, node="n1", user="ann"):
    """Land a segment of events `first` to `last`, every one a write of its own file."""
    events = [
        {"ts": f"{hour}:10:00Z", "user": user, "backend": "data", "path": f"{user}/f{seq}",
         "op": "write", "bytes_read": 0, "seq": seq, "boot": BOOT, "node": node}
        for seq in range(first, last + 1)
    ]  # fmt: skip
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    name = segment_name(hour, node, BOOT, first, last)
    home.land(name, raw=compress(lines))


def write(home, name, size):
    """A file of the backend."""
    path = home.root() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def crawled(home, at):
    """Crawl the backend as if at an instant."""
    return crawl(home.lake, home.config.backend("data"), CrawlOptions(at, allow_removal=True))


def refreshed(home, at):
    """Publish the reports as of an instant."""
    refresh(home.config, now=at, as_of=at)


def test_a_rule_is_previewed_saved_used_and_removed(home):
    """The preview counts what would change hands; the longest prefix decides afterwards."""
    for name, size in (("a/x", 10), ("a/b/y", 20), ("ab/z", 40)):
        write(home, name, size)
    crawled(home, MONDAY)
    refreshed(home, MONDAY)
    shown = home.run("rule", "add", "data:a", "red", "--preview", "--format", "csv")
    assert shown.out == "backend,prefix,team,since,files,bytes\ndata,a,red,,2,30\n"
    assert home.run("rule", "list", "--format", "csv").rows == []
    assert home.run("rule", "add", "data:a", "red").code == 0
    assert home.run("rule", "add", "data:a/b/", "blue").code == 0
    refreshed(home, MONDAY + DAY)
    owned = {r["group"]: int(r["bytes"]) for r in
             home.run("usage", "--group-by", "team", "--format", "csv").rows}  # fmt: skip
    assert owned == {"red": 10, "blue": 20, "unassigned": 40}
    rules = home.run("rule", "list", "--format", "csv").rows
    assert [(r["prefix"], r["team"], r["files"], r["bytes"]) for r in rules] == [
        ("a", "red", "1", "10"),
        ("a/b", "blue", "1", "20"),
    ]
    assert home.run("rule", "remove", "data:a/b").code == 0
    gone = home.run("rule", "remove", "data:a/b")
    assert (gone.code, gone.err.count("\n")) == (2, 1)
    refreshed(home, MONDAY + 2 * DAY)
    owned = {r["group"]: int(r["bytes"]) for r in
             home.run("usage", "--group-by", "team", "--format", "csv").rows}  # fmt: skip
    assert owned == {"red": 30, "unassigned": 40}


def test_wrong_rules_are_refused(home):
    """A place without a backend, and a backend that is not there, are named."""
    for place in ("a/b", ":a", "nope:a"):
        said = home.run("rule", "add", place, "red")
        assert said.code == 2
        assert place.split(":", maxsplit=1)[0] in said.err
        assert said.err.count("\n") == 1


def test_every_change_is_in_the_audit_log(home):
    """Who, what, before and after; newest first."""
    home.run("team", "add", "ann", "red")
    home.run("quota", "set", "--team", "red", "--hard", "1KB")
    home.run("quota", "set", "--team", "red", "--hard", "2KB")
    home.run("rule", "add", "data:a", "red")
    home.run("quota", "delete", "--team", "red")
    rows = home.run("audit-log", "--format", "csv").rows
    assert [r["action"] for r in rows] == [
        "quota delete", "rule add", "quota set", "quota set", "team add",
    ]  # fmt: skip
    assert all(r["who"] for r in rows)
    assert json.loads(rows[2]["before"])["hard_bytes"] == 1024
    assert json.loads(rows[2]["after"])["hard_bytes"] == 2048
    assert rows[0]["after"] == ""
    assert len(home.run("audit-log", "--limit", "2", "--format", "csv").rows) == 2


def test_the_ledger_counts_gaps_duplicates_and_refused_lines(home):
    """Numbers 4 and 5 never arrived, one segment came twice, one line was refused."""
    segment(home, "2026-11-02T10", 1, 3)
    segment(home, "2026-11-02T10", 6, 7)
    segment(home, "2026-11-02T11", 8, 8)
    segment(home, "2026-11-02T11", 6, 7)
    home.land("dt=2026-11-02/hour=11/node=n2/odd.jsonl", raw=b"no json\n")
    now = dt.datetime.now(dt.UTC)
    ingest(home.lake, str(home.landing), Window(now, now - MONDAY + 30 * DAY))
    refreshed(home, now)
    rows = home.run("ledger", "--hours", "800000", "--format", "csv").rows
    found = {
        (r["node"], r["hour"]): tuple(
            int(r[name]) for name in ("events", "objects", "gaps", "duplicates", "quarantined")
        )
        for r in rows
    }
    assert found == {
        ("n1", "2026-11-02T10"): (5, 2, 2, 0, 0),
        ("n1", "2026-11-02T11"): (1, 2, 0, 1, 0),
        ("n2", "2026-11-02T11"): (0, 1, 0, 0, 1),
    }
    only = home.run("ledger", "--hours", "800000", "--node", "n2", "--format", "csv").rows
    assert [r["node"] for r in only] == ["n2"]


def test_diff_says_what_changed_and_whose_it_is(home):
    """Added, removed and grown bytes between two days add up to what growth shows."""
    write(home, "ann/f1", 100)
    gone = write(home, "ann/f2", 7)
    brief = write(home, "ann/brief", 50)
    crawled(home, MONDAY)
    gone.unlink()
    brief.unlink()
    write(home, "ann/f1", 130)
    write(home, "bob/new", 11)
    crawled(home, MONDAY + DAY)
    brief = write(home, "ann/brief", 50)
    crawled(home, MONDAY + 2 * DAY)
    home.run("rule", "add", "data:ann", "red")
    refreshed(home, MONDAY + 3 * DAY)
    days = ("2026-11-02", "2026-11-04")
    rows = home.run("diff", *days, "--format", "csv").out.splitlines()
    assert rows == [
        "group,backend,added_files,added_bytes,removed_files,removed_bytes,changed_bytes",
        "unassigned,data,1,11,0,0,0",
        "red,data,0,0,1,7,30",
    ]
    prefixes = home.run("diff", *days, "--by", "prefix", "--format", "csv").rows
    assert {r["group"]: r["added_bytes"] for r in prefixes} == {"ann": "0", "bob": "11"}
    growth = home.run("growth", "--period", "0", "--format", "csv").rows
    assert [int(r["total_bytes"]) for r in growth][:3] == [157, 141, 191]
    assert 157 + 11 - 7 + 30 == 191


def test_diff_refuses_days_that_are_none(home):
    """Days in the wrong order, and texts that are no days, are named."""
    for days in (("2026-11-02", "2026-11-01"), ("yesterday", "2026-11-01")):
        said = home.run("diff", *days)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert days[0] in said.err


def test_a_preview_leaves_what_a_longer_rule_keeps(home):
    """Only what another team has now and no longer prefix decides about would change hands."""
    for name, size in (("a/x", 10), ("a/b/y", 20), ("a/c/z", 40)):
        write(home, name, size)
    crawled(home, MONDAY)
    assert home.run("rule", "add", "data:a/b", "blue").code == 0
    refreshed(home, MONDAY)
    shown = home.run("rule", "add", "data:a", "red", "--preview", "--format", "csv")
    assert shown.rows[0]["files"] == "2"
    assert shown.rows[0]["bytes"] == "50"
    assert home.run("rule", "add", "data:a", "red").code == 0
    refreshed(home, MONDAY + DAY)
    owned = {r["group"]: int(r["bytes"]) for r in
             home.run("usage", "--group-by", "team", "--format", "csv").rows}  # fmt: skip
    assert owned == {"red": 50, "blue": 20}


def test_a_forecast_says_its_bounds_and_how_wrong_it_was_in_the_past(home):
    """The table has the interval, stderr the method and its error; JSON has both."""
    for day in range(12):
        write(home, "a", 1024 * (day + 1))
        crawled(home, MONDAY + day * DAY)
    refreshed(home, MONDAY + 11 * DAY)
    said = home.run("growth", "--forecast", "2")
    assert said.out.splitlines()[2].split()[-2:] == ["LOW", "HIGH"]
    assert said.out.splitlines()[-1].split()[-4:] == ["14.00", "KB", "14.00", "KB"]
    assert said.err.splitlines()[-1] == (
        "data: drift, wrong by 0 B on average 2 days ahead in its own past."
    )
    last = json.loads(home.run("growth", "--forecast", "2", "--format", "json").out)[-1]
    assert (last["method"], last["error_bytes"], last["error_days"]) == ("drift", 0, 2)
    assert (last["low_bytes"], last["high_bytes"]) == (14 * 1024, 14 * 1024)


def test_a_sender_that_claims_absurd_numbers_does_not_turn_gaps_around(home):
    """The gaps of an object are bounded, so that their sum fits; both engines agree."""
    segment(home, "2026-11-02T10", 2**62, 2**62)
    segment(home, "2026-11-02T10", 2**63 - 1, 2**63 - 1)
    now = dt.datetime.now(dt.UTC)
    ingest(home.lake, str(home.landing), Window(now, now - MONDAY + 30 * DAY))
    refreshed(home, now)
    (row,) = home.run("ledger", "--hours", "800000", "--format", "csv").rows
    assert (row["events"], row["gaps"]) == ("2", "2000000000000")
    found = by_node_and_hour(ledger(home.lake).lazy(), home.lake.scan(AGENTS)).collect()
    assert found["gaps"].to_list() == [2 * 10**12]
