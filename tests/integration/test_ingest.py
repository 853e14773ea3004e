"""Landing zone to `events`: exactly once, whatever happens on the way."""

import datetime as dt
import gzip
import json
import multiprocessing
import os
import shutil

import obstore
import polars as pl
import pytest

from lake.schemas import EVENTS, LEDGER, QUARANTINE
from lake.store import Lake
from pipelines import commands, importing, ingest
from pipelines.fold import fold
from storage import clock
from storage.errors import LakeError, UsageError
from storage.landing import compress, hour_of, segment_name
from storage.objectstore import listed, open_store

NOW = clock.now()
HOUR = hour_of(NOW)
EARLIER = hour_of(NOW - dt.timedelta(hours=3))
WINDOW = ingest.Window(NOW, dt.timedelta(days=400))
BOOT = "0123456789abcdef"


def event(path, **more):
    """One read of one byte an hour ago."""
    at = (NOW - dt.timedelta(hours=1)).isoformat()
    return {"ts": at, "user": "ann", "backend": "data", "path": path, "op": "read",
            "bytes_read": 1, **more}  # fmt: skip


def segment(home, paths, first=1, hour=HOUR, node="n1", raw=None):
    """Land an agent's segment that holds one read of each path."""
    lines = b"".join(json.dumps(event(path)).encode() + b"\n" for path in paths)
    name = segment_name(hour, node, BOOT, first, first + len(paths) - 1)
    home.land(name, raw=compress([lines]) if raw is None else raw)
    return name


def run(home, hours=None):
    return ingest.ingest(home.lake, str(home.landing), WINDOW, hours)


def paths(home):
    return sorted(home.lake.scan(EVENTS).collect()["path"].to_list())


def quarantined(home):
    return home.lake.scan(QUARANTINE).sort("object", "line").collect().to_dicts()


def states(home):
    rows = ingest.ledger(home.lake).sort("object").to_dicts()
    return {row["object"]: (row["state"], row["duplicate_of"]) for row in rows}


def test_twice_changes_nothing(home):
    """The ledger remembers what was ingested."""
    segment(home, ["a", "b"])
    home.land("loose.jsonl", event("c"))
    assert run(home).events == 3
    versions = home.lake.versions()
    assert run(home).objects == 0
    assert home.lake.versions() == versions
    assert paths(home) == ["a", "b", "c"]


def test_good_lines_of_a_bad_object_are_accepted(home):
    """The ledger counts lines, events and refusals of every object."""
    home.land("mixed.jsonl", raw=json.dumps(event("a")).encode() + b"\nbad\n\n")
    report = run(home)
    assert (report.events, report.quarantined) == (1, 1)
    row = ingest.ledger(home.lake).row(0, named=True)
    assert (row["lines"], row["events"], row["quarantined"], row["bytes_read"]) == (2, 1, 1, 1)


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.jsonl.zst"])
def test_a_damaged_object_is_one_quarantined_row_and_stops_nothing(home, name):
    """Line 0 stands for the whole object."""
    lines = json.dumps(event("lost")).encode() + b"\n"
    packed = gzip.compress(lines) if name.endswith("gz") else compress([lines])
    home.land(name, raw=packed[:-4])
    home.land("whole.jsonl", event("a"))
    run(home)
    assert paths(home) == ["a"]
    (row,) = quarantined(home)
    assert (row["object"], row["line"]) == (name, 0)
    assert "damaged" in row["reason"]


def test_a_damaged_object_does_not_beat_the_whole_one(home):
    """The same range comes again, later and whole: its events count."""
    segment(home, ["a", "b"], hour=EARLIER, raw=b"torn")
    run(home)
    segment(home, ["a", "b"])
    run(home)
    assert paths(home) == ["a", "b"]


def test_an_object_that_was_damaged_and_is_mended_counts(home):
    """Another size under the same name is read again; the old rows go."""
    name = segment(home, ["a", "b"], raw=b"torn")
    run(home)
    assert len(quarantined(home)) == 1
    segment(home, ["a", "b"])
    run(home)
    assert paths(home) == ["a", "b"]
    assert quarantined(home) == []
    assert states(home) == {name: ("ingested", "")}


def test_the_same_range_under_another_hour_counts_once(home):
    """An agent that sealed twice, or a copied folder."""
    first = segment(home, ["a", "b"], hour=EARLIER)
    second = segment(home, ["a", "b"])
    run(home)
    assert paths(home) == ["a", "b"]
    assert states(home) == {first: ("ingested", ""), second: ("duplicate", first)}


def test_the_same_bytes_under_another_name_count_once(home):
    """Packed or not, what is in it decides."""
    line = json.dumps(event("a")).encode() + b"\n"
    home.land("one.jsonl", raw=line)
    home.land("two.jsonl.gz", raw=gzip.compress(line))
    run(home)
    assert paths(home) == ["a"]
    assert states(home)["two.jsonl.gz"] == ("duplicate", "one.jsonl")


def test_a_late_winner_takes_the_place_of_the_loser(home):
    """Which of two counts does not depend on which came first, nor do the days folded of them."""
    late = segment(home, ["a", "b"])
    run(home)
    fold(home.lake)
    early = segment(home, ["a", "b"], hour=EARLIER)
    run(home)
    assert paths(home) == ["a", "b"]
    assert states(home) == {early: ("ingested", ""), late: ("duplicate", early)}
    objects = home.lake.scan(EVENTS).select("object").unique().collect()["object"].to_list()
    assert objects == [early]
    fold(home.lake)
    folded = home.lake.scan(ingest_access()).collect()
    assert folded["read_count"].sum() == 2


def ingest_access():
    from lake.schemas import ACCESS_DAILY

    return ACCESS_DAILY


def test_only_the_hours_asked_for_are_ingested(home):
    """What lies in other hours waits."""
    segment(home, ["a"], hour=EARLIER)
    segment(home, ["b"], first=2)
    run(home, [HOUR])
    assert paths(home) == ["b"]
    assert ingest.pending_hours(home.lake, str(home.landing), WINDOW) == {EARLIER}
    run(home)
    assert paths(home) == ["a", "b"]


def test_what_no_store_can_name_stops_nothing(home, caplog):
    """Names with control characters or not in UTF-8, loops, pipes: told once, and left out."""
    segment(home, ["a"])
    for name in (b"two\nlines.jsonl", b"latin\xff.jsonl", b"bad\x7f/x.jsonl"):
        home.land(os.fsdecode(name), event("hidden"))
    (home.landing / "up").symlink_to(".")
    (home.landing / "self.jsonl").symlink_to("self.jsonl")
    (home.landing / "gone.jsonl").symlink_to("nowhere")
    (home.landing / "folder.jsonl").mkdir()
    os.mkfifo(home.landing / "pipe.jsonl")
    home.land("z.jsonl", event("b"))
    assert run(home).events == 2
    assert paths(home) == ["a", "b"]
    (told,) = [r.getMessage() for r in caplog.records if r.name == "storage.localobjects"]
    assert "is left out" in told
    assert "(4 more are left out)" in told
    assert "\n" not in told
    assert run(home).objects == 0


def test_a_closed_folder_of_the_landing_zone_stops_nothing(home, caplog, monkeypatch):
    """The other nodes' events count; it is told where the closed one is."""
    closed = home.land("dt=2026-11-01/hour=09/node=a/x.jsonl", event("hidden")).parent
    home.land("dt=2026-11-01/hour=09/node=b/x.jsonl", event("a"))
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).rstrip("/") == str(closed):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert run(home).events == 1
    assert "'dt=2026-11-01/hour=09/node=a/' is left out: Permission denied." in caplog.text
    monkeypatch.undo()
    assert run(home).events == 1
    assert paths(home) == ["a", "hidden"]


def test_a_key_that_obstore_cannot_express_stops_nothing(home, moto_server, monkeypatch, caplog):
    """`a//b` in a bucket: its folder is left out, all others are ingested, before it and after."""
    for name, value in moto_server.environ().items():
        monkeypatch.setenv(name, value)
    keys = ("a//lost.jsonl", "a/b.jsonl", "dt=2026-11-01/hour=09/node=n/x.jsonl", "z.jsonl",
            "dt=2026-11-01/hour=09/node=n/../x.jsonl", "0.jsonl")  # fmt: skip
    bodies = {f"l/{key}": json.dumps(event(key)).encode() for key in keys}
    url = f"s3://{moto_server.bucket(bodies)}/l"
    assert ingest.ingest(home.lake, url, WINDOW).events == 2
    assert paths(home) == ["0.jsonl", "z.jsonl"]
    assert "a/ is left out" in caplog.text
    assert "dt=2026-11-01/hour=09/node=n/ is left out" in caplog.text


def test_a_file_that_cannot_be_read_does_not_stop_the_others(home):
    """It is told, with exit 2, once the others are ingested; pipes and '' are refused at once."""
    logs = home.folder / "logs"
    logs.mkdir()
    for name in ("a", "c"):
        (logs / f"{name}.jsonl").write_text(json.dumps(event(name)) + "\n")
    (logs / "b.jsonl.gz").write_bytes(b"not packed")
    os.mkfifo(home.folder / "pipe.jsonl")
    for wrong, why in (("", "'' names no file"), (home.folder / "pipe.jsonl", "is a pipe")):
        said = home.run("ingest", logs, wrong)
        assert (said.code, said.out) == (2, "")
        assert why in said.err
    said = home.run("ingest", logs)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error: {logs}/b.jsonl.gz: cannot be read: ")
    assert "of 2 files. Ingested 2 events" in said.err
    assert paths(home) == ["a", "c"]


def test_a_folder_lists_as_its_store_does(home):
    """The ledger knows objects by what the store said of them."""
    home.land("a b/100%/c#d.jsonl", event("a"))
    home.land("\u00e9.jsonl", event("b"))
    home.land("unfinished.jsonl#12", event("c"))
    (home.landing / "link").symlink_to("a b")
    store = open_store(str(home.landing))
    theirs = sorted(
        (o["path"], o["size"], o["last_modified"], o["e_tag"])
        for batch in obstore.list(store) for o in batch
    )  # fmt: skip
    assert sorted(map(tuple, listed(store))) == theirs
    assert [info.name for info in listed(store, "a b")] == ["a b/100%/c#d.jsonl"]
    assert list(listed(store, "none")) == []


@pytest.mark.parametrize("hour", ["2001-01-01T00", "2199-01-01T00"])
def test_an_hour_that_cannot_be_is_skewed(home, hour):
    """The events count all the same."""
    segment(home, ["a"], hour=hour)
    run(home)
    assert paths(home) == ["a"]
    assert home.lake.scan(EVENTS).collect()["hour"].to_list() == [ingest.SKEWED]


def _ingest_in_child(root, landing, start):
    start.wait()
    ingest.ingest(Lake(root), landing, ingest.Window(clock.now(), dt.timedelta(days=400)))


def test_two_ingests_at_once_count_everything_once(home):
    """The second waits for the lease of the first."""
    for number in range(6):
        segment(home, [f"p{number}"], first=number + 1)
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    args = (home.config.lake.root, str(home.landing), start)
    children = [context.Process(target=_ingest_in_child, args=args) for _ in range(2)]
    for child in children:
        child.start()
    start.set()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert paths(home) == [f"p{number}" for number in range(6)]


def test_reingest_sorts_an_hour_and_changes_no_number(home):
    """A backfill replaces rows by the same rows."""
    segment(home, ["b", "a"])
    home.land(f"{segment_name(HOUR, 'n2', BOOT, 1, 1)}", raw=b"torn")
    run(home)
    before = ingest.ledger(home.lake).drop("ingested_at").sort("object")
    ingest.reingest(home.lake, str(home.landing), WINDOW, [HOUR])
    assert paths(home) == ["a", "b"]
    assert len(quarantined(home)) == 1
    assert ingest.ledger(home.lake).drop("ingested_at").sort("object").equals(before)


def test_reingest_refuses_an_hour_whose_objects_are_gone(home):
    """The rows there are worth more than the rows that could be read now."""
    gone = segment(home, ["a"])
    segment(home, ["b"], first=2)
    run(home)
    (home.landing / gone).unlink()
    with pytest.raises(LakeError, match=gone.replace("+", ".")):
        ingest.reingest(home.lake, str(home.landing), WINDOW, [HOUR])
    assert paths(home) == ["a", "b"]


def land(home, *files):
    """What `warpdrive ingest FILE…` does, without Dagster."""
    said = commands.import_files(home.config, [str(file) for file in files])
    run(home)
    return said


def line(path):
    return json.dumps(event(path)) + "\n"


@pytest.mark.parametrize("part", [
    line("a"),
    line("a") + line("b")[:40],
    line("a") + line("b").rstrip("\n"),
    line("a").replace("\n", "\r\n") + line("b").rstrip("\n"),
    line("a") + line("a"),
    "",
], ids=["whole lines", "torn line", "no newline", "CRLF", "identical", "empty"])  # fmt: skip
def test_a_log_that_grew_goes_on_where_it_ended(home, part):
    """Every line counts once, also the one that was torn, also lines equal to earlier ones."""
    log = home.folder / "telemetry.jsonl"
    newline = "\r\n" if "\r" in part else "\n"
    whole = [*part.replace("\r", "").split("\n")]
    log.write_bytes(part.encode())
    land(home, log)
    rest = line("b")[40:] if part.endswith(line("b")[:40]) and len(whole) == 2 else ""
    if part and not part.endswith("\n"):
        rest = rest.rstrip("\n") + newline if rest else newline
    log.write_bytes(part.encode() + (rest + line("a") + line("c")).encode())
    land(home, log)
    expected = [json.loads(text)["path"] for text in log.read_text().splitlines()]
    assert paths(home) == sorted(expected)
    copy = home.folder / "copy.jsonl.gz"
    copy.write_bytes(gzip.compress(log.read_bytes()))
    assert land(home, copy).startswith("Landed 0 B new")
    assert paths(home) == sorted(expected)


def test_a_rotated_log_is_another_log(home):
    """The same name with other content is taken from its start."""
    log = home.folder / "telemetry.jsonl"
    log.write_text(line("a") + line("b"))
    land(home, log)
    log.write_text(line("c"))
    land(home, log)
    assert paths(home) == ["a", "b", "c"]


def test_a_log_longer_than_a_part_lands_in_parts(home, monkeypatch):
    """Parts end at line ends, and a second import knows all of them."""
    monkeypatch.setattr("pipelines.importing.PART_BYTES", 300)
    log = home.folder / "telemetry.jsonl"
    log.write_text("".join(line(f"p{n}") for n in range(20)))
    land(home, log)
    assert ingest.ledger(home.lake).height > 3
    land(home, log)
    assert paths(home) == sorted(f"p{n}" for n in range(20))


@pytest.mark.parametrize(("name", "data"), [
    ("cut.jsonl.gz", gzip.compress(line("a").encode())[:-5]),
    ("bad.jsonl.gz", gzip.compress(line("a").encode() * 50)[:30] + b"\xff" * 40),
    ("junk.jsonl.gz", b"junk"),
    ("cut.jsonl.zst", compress([line("a").encode()])[:-5]),
    ("junk.jsonl.zst", b"junk"),
], ids=["cut gzip", "bad gzip", "no gzip", "cut zstd", "no zstd"])  # fmt: skip
def test_a_file_that_cannot_be_unpacked_is_refused_whole(home, name, data):
    """One line names the file; nothing of it has landed."""
    file = home.folder / name
    file.write_bytes(data)
    with pytest.raises(UsageError, match=name):
        land(home, file)
    assert not list(home.landing.rglob("*.zst"))


def test_paths_that_are_no_event_files_are_refused(home):
    """A missing path, another kind of file and an empty folder, by name; nothing has landed."""
    (home.folder / "x.csv").write_text("a")
    (home.folder / "empty").mkdir()
    good = home.folder / "good.jsonl"
    good.write_text(line("a"))
    for wrong in ("missing.jsonl", "x.csv", "empty"):
        with pytest.raises(UsageError, match=wrong):
            land(home, good, home.folder / wrong)
    assert not list(home.landing.rglob("*.zst"))


def test_the_landing_zone_itself_as_files_counts_nothing_twice(home):
    """Segments ingested as files are known by what is in them."""
    segment(home, ["a", "b"])
    run(home)
    copy = home.folder / "copy"
    shutil.copytree(home.landing, copy)
    land(home, copy)
    assert paths(home) == ["a", "b"]


def test_a_landing_zone_that_cannot_be_listed_is_an_error_in_one_line(home):
    """Not a traceback of the store."""
    home.landing.write_text("a file where the folder should be")
    from storage.errors import BackendError

    with pytest.raises(BackendError, match="landing"):
        run(home)


def test_ledger_sums_are_those_of_the_tables(home):
    """Invariant 1 in numbers: lines = events + quarantined, per object."""
    segment(home, ["a", "b", "c"])
    home.land("mixed.jsonl", raw=line("d").encode() + b"bad\n" + line("e").encode())
    run(home)
    counted = ingest.ledger(home.lake).select("object", "events", "quarantined", "lines")
    events = home.lake.scan(EVENTS).group_by("object").len().collect()
    refused = home.lake.scan(QUARANTINE).group_by("object").len().collect()
    assert counted.filter(pl.col("events") + pl.col("quarantined") != pl.col("lines")).is_empty()
    assert counted["events"].sum() == events["len"].sum()
    assert counted["quarantined"].sum() == refused["len"].sum()
    assert home.lake.scan(LEDGER).collect().height == 2


def test_an_hour_that_is_over_is_sealed_once_and_again_when_something_late_arrives(home):
    """Sorted, in one file, with the same rows; a second sealing has nothing to do."""
    from pipelines.reingest import seal

    later = ingest.Window(NOW + dt.timedelta(hours=12), WINDOW.retention)
    for first, names in ((1, ["c", "b"]), (3, ["a"])):
        segment(home, names, first=first)
        run(home)
    assert len(home.lake.parts(EVENTS)) == 2
    assert seal(home.lake, WINDOW) == []  # its stragglers have their time
    assert seal(home.lake, later) == [HOUR]
    assert home.lake.scan(EVENTS).collect()["path"].to_list() == ["a", "b", "c"]
    assert len(home.lake.parts(EVENTS)) == 1
    assert seal(home.lake, later) == []
    segment(home, ["0"], first=4)
    run(home)
    assert seal(home.lake, later) == [HOUR]
    assert home.lake.scan(EVENTS).collect()["path"].to_list() == ["0", "a", "b", "c"]


def test_an_hour_larger_than_what_is_sorted_at_a_time_is_sealed_in_order(home, monkeypatch):
    """Files follow each other without overlap."""
    from pipelines import reingest

    monkeypatch.setattr(reingest, "SORT_ROWS", 10)
    names = [f"p{number:03d}" for number in range(47)]
    segment(home, names[::-1])
    run(home)
    later = ingest.Window(NOW + dt.timedelta(hours=12), WINDOW.retention)
    assert reingest.seal(home.lake, later) == [HOUR]
    assert paths(home) == names
    assert len(home.lake.parts(EVENTS)) > 3


def test_an_hour_with_fewer_rows_than_its_ledger_counts_is_not_sealed(home, caplog):
    """The object is named; the rows stay."""
    from pipelines.reingest import seal

    name = segment(home, ["a", "b"])
    run(home)
    home.lake.delete(EVENTS, {"path": "a"})
    later = ingest.Window(NOW + dt.timedelta(hours=12), WINDOW.retention)
    assert seal(home.lake, later) == []
    assert name in caplog.text
    assert paths(home) == ["b"]


def test_when_a_winner_is_rewritten_its_loser_counts(home):
    """The loser still holds what the winner held."""
    home.land("a.jsonl", event("x"))
    home.land("b.jsonl", event("x"))
    run(home)
    assert states(home)["b.jsonl"] == ("duplicate", "a.jsonl")
    home.land("a.jsonl", event("other"))
    run(home)
    assert paths(home) == ["other", "x"]
    assert states(home)["b.jsonl"] == ("ingested", "")


def test_an_object_that_cannot_be_read_holds_up_no_other(home, monkeypatch):
    """It waits for the next ingest; nothing of it is in the ledger."""
    from pipelines import reading

    segment(home, ["a"])
    segment(home, ["b"], first=2)
    real = reading._local

    def failing(path):
        if "-1-1" in path.name:
            raise PermissionError(13, "denied")
        yield from real(path)

    with monkeypatch.context() as patch:
        patch.setattr(reading, "_local", failing)
        report = run(home)
    assert len(report.unread) == 1
    assert paths(home) == ["b"]
    run(home)
    assert paths(home) == ["a", "b"]


def test_an_object_too_large_to_be_held_is_read_in_pieces(home, monkeypatch):
    """Same rows, numbers and refusals; a line without an end is refused with its size."""
    from pipelines import batch, reading

    body = b"".join(line(f"p{n}").encode() for n in range(2000))
    long = b'{"path":"' + b"x" * 9_000_000 + b'"}\n'
    data = body + b"bad\n" + long + body + b"bad again"
    home.land("large.jsonl.gz", raw=gzip.compress(data))
    home.land("twin.jsonl", raw=data)
    home.land("torn.jsonl.gz", raw=gzip.compress(body + b"torn\n")[:-9])
    monkeypatch.setattr(batch, "HELD_BYTES", 1000)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 10_000)
    run(home)
    rows = home.lake.scan(EVENTS).sort("line").collect()
    assert rows["line"].to_list() == [*range(1, 2001), *range(2003, 4003)]
    assert rows["path"].to_list() == [f"p{n}" for n in range(2000)] * 2
    found = [(row["object"], row["line"], row["reason"][:30]) for row in quarantined(home)]
    assert [(name, number) for name, number, _ in found] == [
        ("large.jsonl.gz", 2001), ("large.jsonl.gz", 2002), ("large.jsonl.gz", 4003),
        ("torn.jsonl.gz", 0),
    ]  # fmt: skip
    assert found[1][2].startswith(f"line of {len(long) - 1} bytes")
    assert states(home)["twin.jsonl"] == ("duplicate", "large.jsonl.gz")


def test_a_gap_in_what_arrived_breaks_its_hour():
    """Coverage counts hours with unbroken heartbeats and every sequence number."""
    from lake.metrics.access import coverage
    from lake.metrics.ledger import broken_hours
    from lake.schemas import AGENTS

    at = dt.datetime(2026, 11, 20, 2, tzinfo=dt.UTC)
    beats = [
        ("2026-11-20", f"2026-11-20T{hour:02d}", "n", BOOT, 60, 100, 0, ["data"]) for hour in (1, 2)
    ]
    agents = pl.LazyFrame(beats, schema=AGENTS.schema, orient="row")
    rows = [
        (f"o{first}", f"2026-11-20T{hour:02d}", 1, "ingested", "", "n", BOOT, first, last, 1, 1, 0,
         0, 1, "x", at, at, at, None)
        for hour, first, last in ((1, 1, 50), (2, 52, 100))
    ]  # fmt: skip
    broken = broken_hours(pl.LazyFrame(rows, schema=LEDGER.schema, orient="row"))
    assert broken.collect().rows() == [("n", "2026-11-20T02")]
    window = dt.timedelta(hours=2)
    assert coverage(agents, at, window).rows() == [("data", 1.0)]
    assert coverage(agents, at, window, broken).rows() == [("data", 0.5)]


def test_an_object_that_is_rewritten_with_the_same_size_is_read_again(home):
    """Its etag tells; what was in it before does not count any more."""
    home.land("a.jsonl", event("a"), event("b"))
    run(home)
    home.land("a.jsonl", event("a"), event("c"))
    assert run(home).events == 2
    assert paths(home) == ["a", "c"]
    assert run(home).objects == 0


def test_an_object_that_is_touched_moves_no_event(home):
    """A landing zone that was copied or restored is read once, and not ingested again."""
    place = home.land("a.jsonl", event("a"))
    run(home)
    before = home.lake.version(EVENTS)
    os.utime(place, (1, 1))
    assert run(home).objects == 0
    assert home.lake.version(EVENTS) == before
    assert paths(home) == ["a"]
    assert ingest.pending_hours(home.lake, str(home.landing), WINDOW) == set()


@pytest.mark.parametrize("lines", [1, 2, 3])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_copy_of_the_first_part_of_a_log_counts_nothing(home, lines, end):
    """Cut at a line or within one; a log that goes on otherwise is another one."""
    log = home.folder / "telemetry.jsonl"
    log.write_text("".join(map(line, "abcd")))
    land(home, log)
    copy = home.folder / "copy.jsonl"
    text = "".join(map(line, "abcd"[:lines]))
    copy.write_text(text if end else text[:-5])
    assert land(home, copy).startswith("Landed 0 B new")
    assert paths(home) == ["a", "b", "c", "d"]
    copy.write_text(text + line("x"))
    land(home, copy)
    assert paths(home) == sorted([*"abcd", *"abcd"[:lines], "x"])


def test_a_log_is_imported_though_an_earlier_one_has_left_the_landing_zone(home):
    """What cannot be compared is another log."""
    log = home.folder / "telemetry.jsonl"
    log.write_text(line("a") + line("b"))
    land(home, log)
    shutil.rmtree(home.landing)
    copy = home.folder / "copy.jsonl"
    copy.write_text(line("c"))
    land(home, copy)
    assert paths(home) == ["a", "b", "c"]


def test_a_copy_of_a_log_that_landed_in_parts_counts_nothing(home, monkeypatch):
    """The copy ends in the second part."""
    monkeypatch.setattr(importing, "PART_BYTES", len(line("a")) + 1)
    log = home.folder / "telemetry.jsonl"
    log.write_text("".join(map(line, "abcdef")))
    land(home, log)
    copy = home.folder / "copy.jsonl"
    copy.write_text("".join(map(line, "abc")))
    assert land(home, copy).startswith("Landed 0 B new")
    assert paths(home) == list("abcdef")
