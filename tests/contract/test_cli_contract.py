"""The command line as the outside world may rely on it: columns, bodies, exit codes, one line."""

import csv
import datetime as dt
import importlib.metadata
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import crawl, ingest
from pipelines.refresh import refresh
from storage import clock
from tests.home import Home

WARPDRIVE = Path(sys.executable).with_name("warpdrive")
NOW = clock.now()
HOSTILE = 'we"ird,\n\x1b[31mname\r'
DATA_COMMANDS = (
    ("usage",), ("stale",), ("growth",), ("quota", "list"), ("user", "ann"), ("backends",),
    ("team", "list"),
)  # fmt: skip
COMMANDS = (
    *DATA_COMMANDS, ("demo",), ("mount",), ("ingest",), ("crawl",), ("refresh",), ("quota", "set"),
    ("quota", "delete"), ("team", "add"), ("team", "remove"), ("team", "import"), ("dashboard",),
    ("doctor",),
)  # fmt: skip
HEADERS = {
    ("usage",): "group,backend,files,bytes,last_access,read_count,write_count,bytes_read,"
    "bytes_written,touched_bytes",
    ("stale",): "backend,path,size_bytes,last_modified,last_access,owner,evidence,coverage",
    ("growth",): "date,backend,file_count,total_bytes,added_bytes,removed_bytes",
    ("growth", "--by", "team"): "date,team,file_count,total_bytes,added_bytes,removed_bytes",
    ("growth", "--forecast", "3"): "date,backend,file_count,total_bytes,added_bytes,removed_bytes,"
    "low_bytes,high_bytes",
    ("quota", "list"): "team,backend,soft_bytes,hard_bytes,usage_bytes,status,grace_until",
    ("user", "ann"): "backend,path,day,read_count,write_count,bytes_read,bytes_written,last_access",
    ("backends",): "name,type,file_count,total_bytes,state,crawled_at,coverage",
    ("team", "list"): "user,team,since",
}
KEYS = {
    ("usage",): ["group_name", "backend_name", "file_count", "total_bytes", "last_access",
                 "bytes_read", "read_count", "write_count", "bytes_written", "touched_bytes"],
    ("stale", "--days", "0"): ["backend_name", "path", "size_bytes", "last_modified",
                               "last_access", "evidence", "coverage", "owner"],
    ("growth",): ["date", "total_bytes", "file_count", "added_bytes", "removed_bytes"],
    ("growth", "--by", "backend"): ["date", "total_bytes", "file_count", "backend_name",
                                    "added_bytes", "removed_bytes"],
    ("quota", "list"): ["ID", "TeamName", "BackendName", "SoftLimit", "HardLimit",
                        "current_usage", "usage_percent", "exceeded", "soft_exceeded", "status",
                        "grace_until"],
    ("user", "ann"): ["BackendName", "Path", "UserID", "Date", "ReadCount", "BytesRead",
                      "LastAccess", "WriteCount", "BytesWritten"],
    ("backends",): ["name", "type", "file_count", "total_bytes", "state", "crawled_at",
                    "coverage", "verified_at", "checked", "agree", "agreement_low",
                    "agreement_high"],
    ("team", "list"): ["user_id", "team_name", "since"],
}  # fmt: skip
TITLES = {
    ("usage",): ("Storage Usage", "GROUP                BACKEND            FILES        BYTES",
                 "  (no usage data)"),
    ("stale",): ("Stale Data (not accessed in 90 days)",
                 "BACKEND         PATH                                   SIZE LAST ACCESS",
                 "  (no stale files found)"),
    ("growth",): ("Storage Growth", "DATE       BACKEND            FILES        BYTES",
                  "  (no growth data)"),
    ("quota", "list"): ("Quotas", "TEAM            BACKEND           SOFT LIMIT   HARD LIMIT",
                        "  (no quotas configured)"),
    ("team", "list"): ("Teams", "USER                           TEAM", "  (no teams)"),
}  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A lake with files, events, teams and quotas; only read by the tests."""
    home = Home(tmp_path_factory.mktemp("contract"), extra=(
        "ownership: {ignore_owners: [root, nobody], rules: "
        "[{backend: data, prefix: ruled, team: vision}]}"
    ))  # fmt: skip
    for path, size in (("a.bin", 5000), ("dir/b.bin", 20), (HOSTILE, 7), ("ruled/c", 1)):
        place = home.root() / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"x" * size)
        os.utime(place, (1_577_836_800, 1_577_836_800))  # 2020-01-01
    at = (NOW - dt.timedelta(days=1)).replace(microsecond=123_456).isoformat()
    events = [
        {"ts": at, "user": user, "backend": "data", "path": path, "op": op, "bytes_read": 3}
        for user, path, op in (("ann", "a.bin", "write"), ("bob", "a.bin", "read"),
                               ("ann", HOSTILE, "write"), ("e\x1b[2Jvil", "dir/b.bin", "read"))
    ]  # fmt: skip
    home.land("all.jsonl", *events)
    ingest.ingest(home.lake, str(home.landing), ingest.Window(NOW, dt.timedelta(days=400)))
    crawl.crawl(home.lake, home.config.backend("data"), crawl.CrawlOptions(NOW))
    assert home.run("team", "add", "ann", "vision").code == 0
    assert home.run("quota", "set", "--team", "vision", "--soft", "1KB", "--hard", "1GB").code == 0
    refresh(home.config, now=NOW)
    return home


def one_line(said, code):
    """A refusal: nothing on stdout, one line on stderr, the exit code."""
    assert said.code == code, said
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(home, command):
    """On stdout, exit 0, and the example is of that command."""
    said = home.run(*command, "--help")
    assert (said.code, said.err) == (0, "")
    words = [word for word in command if word != "ann"]
    assert "Example: warpdrive " + " ".join(words) in " ".join(said.out.split())


def test_the_program_names_itself_and_its_commands(home):
    """`--help` and `-h` answer on stdout; no command at all is wrong usage."""
    said = home.run("--help")
    assert (said.code, said.err) == (0, "")
    assert said.out == home.run("-h").out
    for command in {c[0] for c in COMMANDS}:
        assert f"  {command} " in said.out
    nothing = home.run()
    assert (nothing.code, nothing.out) == (2, "")
    assert "Usage: warpdrive" in nothing.err


@pytest.mark.parametrize(("command", "header"), HEADERS.items(), ids=map(" ".join, HEADERS))
def test_csv_columns_in_order(full, command, header):
    """Exactly the columns of the interface, LF, nothing on stderr."""
    said = full.run(*command, "--format", "csv")
    assert (said.code, said.err) == (0, "")
    assert said.out.split("\n")[0] == header
    assert said.rows


@pytest.mark.parametrize(("command", "keys"), KEYS.items(), ids=map(" ".join, KEYS))
def test_json_is_the_body_of_the_server(full, command, keys):
    """The contract's keys in its order, one line, instants RFC 3339."""
    said = full.run(*command, "--format", "json")
    rows = json.loads(said.out)
    assert (said.code, said.out.count("\n")) == (0, 1)
    assert rows
    assert [list(row) for row in rows] == [keys] * len(rows)


def test_csv_is_exact_for_hostile_paths(full):
    """A path with quotes, commas, line ends and escapes comes out as it went in."""
    out = full.run("stale", "--days", "0", "--limit", "0", "--format", "csv").out
    assert HOSTILE in [row["path"] for row in csv.DictReader(io.StringIO(out, newline=""))]
    assert "\r\n" not in out


def test_csv_instants_and_sizes_are_exact(full):
    """UTC with seconds, bytes as they are."""
    (row,) = [r for r in full.run("usage", "--format", "csv").rows if r["group"] == "ann"]
    expected = (NOW - dt.timedelta(days=1)).strftime("%Y-%m-%d %H:%M:%S")
    assert (row["files"], row["bytes"], row["last_access"]) == ("2", "5007", expected)
    (stale,) = full.run("stale", "--min-size", "20", "--format", "csv").rows or [None]
    assert stale is None or stale["last_modified"] == "2020-01-01 00:00:00"


@pytest.mark.parametrize("command", DATA_COMMANDS, ids=" ".join)
def test_tables_escape_what_would_steer_a_terminal(full, command):
    """No control character but the line ends reaches the terminal."""
    extra = ("--days", "0") if command == ("stale",) else ()
    said = full.run(*command, *extra)
    assert (said.code, said.err) == (0, "")
    assert all(line.isprintable() for line in said.out.split("\n"))


def test_messages_escape_what_would_steer_a_terminal(full):
    """A refusal repeats the value, harmlessly."""
    err = one_line(full.run("user", "no\x1b[31mbody"), 2)
    assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize(("command", "told"), TITLES.items(), ids=map(" ".join, TITLES))
def test_tables_have_the_columns_of_the_contract(full, command, told):
    """Title, a rule of 60, the headings where the Go version had them."""
    title, heading, _ = told
    lines = full.run(*command).out.split("\n")
    assert lines[0] == title
    assert lines[1] == "─" * 60
    assert lines[2].startswith(heading)


@pytest.mark.parametrize(("command", "told"), TITLES.items(), ids=map(" ".join, TITLES))
def test_an_empty_lake_says_so(home, command, told):
    """Exit 0, the note on stderr, the empty line of the report on stdout."""
    said = home.run(*command)
    assert said.code == 0
    assert said.out.split("\n")[-2] == told[2]
    assert said.err == "Nothing is published yet: run `warpdrive refresh`.\n"
    assert home.run(*command, "--format", "json").out == "[]\n"
    assert len(home.run(*command, "--format", "csv").out.split("\n")) == 2
    assert not (home.folder / "lake").exists()


def test_an_empty_lake_knows_its_backends(home):
    """Registered backends are always there, with 0 and a state."""
    (row,) = home.run("backends", "--format", "csv").rows
    assert (row["name"], row["file_count"], row["state"]) == ("data", "0", "never crawled")


USAGE_ERRORS = {
    "unknown command": (("usagee",), "usagee"),
    "unknown subcommand": (("quota", "lst"), "lst"),
    "no subcommand value": (("quota", "set"), "--team"),
    "unknown option": (("usage", "--grup-by", "team"), "--grup-by"),
    "missing argument": (("user",), "ID"),
    "unknown format": (("usage", "--format", "xml"), "xml"),
    "unknown group": (("usage", "--group-by", "tem"), "'tem'. Did you mean 'team'? Known: backend"),
    "unknown attribution": (("usage", "--attribution", "x"), "'x'"),
    "bad depth": (("usage", "--group-by", "prefix", "--depth", "0"), "depth"),
    "unknown backend in usage": (("usage", "--backend", "dta"), "'dta'. Did you mean 'data'?"),
    "unknown backend in stale": (("stale", "--backend", "x"), "no backend 'x'"),
    "unknown backend in growth": (("growth", "--backend", "x"), "no backend 'x'"),
    "unknown backend in quota": (("quota", "list", "--backend", "x"), "no backend 'x'"),
    "unknown backend in user": (("user", "ann", "--backend", "x"), "no backend 'x'"),
    "unknown backend in crawl": (("crawl", "--backend", "x"), "no backend 'x'"),
    "unknown team": (("quota", "list", "--team", "visio"), "'visio'. Did you mean 'vision'?"),
    "unknown user": (("user", "nobody-here"), "nobody-here"),
    "bad size": (("stale", "--min-size", "10XB"), "--min-size '10XB'"),
    "negative size": (("stale", "--min-size", "-1KB"), "-1KB"),
    "huge size": (("stale", "--min-size", "1e30TB"), "1e30TB"),
    "bad days": (("stale", "--days", "abc"), "abc"),
    "negative days": (("stale", "--days", "-1"), "-1"),
    "days beyond the calendar": (("stale", "--days", "99999999999"), "99999999999"),
    "negative limit": (("stale", "--limit", "-1"), "'-1' is not a whole number of 0 or more"),
    "days in other digits": (("stale", "--days", "٣"), "'٣' is not a whole number of 0 to 36500"),
    "days with a line": (("stale", "--days", "1_0"), "'1_0' is not a whole number of 0 to 36500"),
    "a limit that no number holds": (("stale", "--limit", "9" * 20), "of 0 or more"),
    "a depth over that of REST": (("usage", "--depth", "65"), "'65' is not a whole number of 1"),
    "size in other digits": (("stale", "--min-size", "٣KB"), "--min-size '٣KB'"),
    "an empty server": (
        ("quota", "set", "--team", "t", "--server", ""),
        "--server '': it is empty",
    ),
    "an empty as-of": (("usage", "--as-of", ""), "--as-of '': it is empty"),
    "an empty tenant": (("--tenant", "", "usage"), "--tenant '': it is empty"),
    "an as-of to serve": (("serve", "--as-of", "2026-01-01"), "this command is about now"),
    "an as-of of the log": (("audit-log", "--as-of", "2026-01-01"), "this command is about now"),
    "an as-of of the agent": (("--as-of", "2026-01-01", "status"), "this command is about now"),
    "bad period": (("growth", "--period", "x"), "--period 'x'"),
    "negative period": (("growth", "--period", "-5"), "-5"),
    "bad by": (("growth", "--by", "user"), "--by 'user'"),
    "bad forecast": (("growth", "--forecast", "soon"), "--forecast 'soon'"),
    "bad as-of": (("usage", "--as-of", "yesterday"), "--as-of 'yesterday'"),
    "as-of before all calendars": (("usage", "--as-of", "0001-01-01"), "--as-of '0001-01-01'"),
    "as-of after them": (("stale", "--as-of", "9999-12-31"), "--as-of '9999-12-31'"),
    "a server that is none": (("usage", "--server", "x"), "--server 'x'"),
    "a password in the address": (("usage", "--server", "http://u:p@h"), "WARPDRIVE_TOKEN"),
    "a server and a tenant": (("usage", "--server", "http://h", "--tenant", "t"), "--tenant 't'"),
    "a server to mount": (("mount", "--server", "http://h"), "--server 'http://h'"),
    "a server to refresh": (("refresh", "--server", "http://h"), "--server 'http://h'"),
    "a change as of then": (("team", "add", "a", "b", "--as-of", "2026-01-01"), "--as-of"),
    "unknown tenant": (("usage", "--tenant", "bio"), "no tenant 'bio'"),
    "bad quota size": (("quota", "set", "--team", "t", "--hard", "10XB"), "--hard '10XB'"),
    "negative quota": (("quota", "set", "--team", "t", "--hard", "-1"), "-1"),
    "soft above hard": (("quota", "set", "--team", "t", "--soft", "2", "--hard", "1"), "2 > 1"),
    "empty team": (("quota", "set", "--team", "", "--hard", "1"), "team_name"),
    "bad grace": (("quota", "set", "--team", "t", "--grace", "7"), "--grace '7'"),
    "endless grace": (("quota", "set", "--team", "t", "--grace", "999999999d"), "--grace"),
    "no such quota": (("quota", "delete", "--team", "vision", "--backend", "data"), "vision"),
    "blank team": (("team", "add", "ann", " "), "' ' is no name: it is blank"),
    "endless team": (("quota", "set", "--team", "t" * 201, "--hard", "1"), "over 200 characters"),
    "empty user in add": (("team", "add", "", "t"), "required"),
    "not a member": (("team", "remove", "bob", "vision"), "'bob'"),
    "bad since": (("team", "add", "a", "b", "--since", "x"), "--since 'x'"),
    "no such file": (("ingest", "missing.jsonl"), "missing.jsonl"),
    "to without from": (("ingest", "--to", "2026-01-01"), "--from"),
    "from after to": (("ingest", "--from", "2026-02-01", "--to", "2026-01-01"), "2026-02-01"),
    "files and hours": (("ingest", "x.jsonl", "--from", "2026-01-01"), "--from"),
    "watch and as-of": (("refresh", "--watch", "--as-of", "2026-01-01"), "--watch"),
    "daemon and foreground": (("mount", "--daemon", "--foreground"), "--daemon"),
}


@pytest.mark.parametrize(("command", "told"), USAGE_ERRORS.values(), ids=USAGE_ERRORS)
def test_wrong_usage_is_one_line_and_exit_2(full, command, told):
    """Value, place and way out; nothing is written."""
    before = written(full)
    assert told in one_line(full.run(*command), 2)
    assert written(full) == before


def written(home):
    """Every file of the lake but the leases, which each change takes and gives back."""
    found = (str(path) for path in (home.folder / "lake").rglob("*"))
    return sorted(path for path in found if "/_leases/" not in path)


CONFIGS = {
    "not there": (None, "cannot be read"),
    "unset variable": ("lake: {root: '${WD_UNSET}'}", ":1: the environment variable 'WD_UNSET'"),
    "unknown key": ("lake: {rot: x}", ":1: lake.rot: unknown key. Did you mean 'root'?"),
    "unknown top key": ("\nbackend: []", ":2: backend: unknown key. Did you mean 'backends'?"),
    "not YAML": ("a: [", "not valid YAML"),
    "no mapping": ("- a", "not a mapping"),
    "a key twice": ("lake: {}\nlake: {}", ":2: 'lake' stands twice"),
    "bad size": ("cache: {max_size: 10XB}", ":1: cache.max_size: max_size '10XB'"),
    "bad duration": ("lake: {retention: soon}", ":1: lake.retention"),
    "endless retention": ("lake: {retention: 999999d}", ":1: lake.retention"),
    "a day that is none": ("lake: {root: 2026-13-45}", "not valid YAML"),
    "itself": ("lake: &a {root: *a}", ""),
    "aliases of aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
            for before, name in zip("abcdefghi", "bcdefghij", strict=True)
        ), ":1: a: unknown key",
    ),
    "a list for a key": ("lake:\n  ? [a, b]\n  : x", ":2: a key is a list or a mapping"),
    "endless buckets": ("lake: {buckets: 99999999999999999999}", ":1: lake.buckets"),
    "a root no table can have": ("lake: {root: my%20lake}", ":1: lake.root: '"),
    "a root with NUL": ('lake: {root: "a\\0b"}', ":1: lake.root: '"),
    "a name no table can have": (
        "backends: [{name: a%20b, type: s3}]", ":1: backends[0].name: 'a%20b' is not"
    ),
    "bad type": ("backends: [{name: a}]", ":1: backends[0].type"),
    "bad choice": ("telemetry: {level: fst}", "Did you mean 'fast'?"),
    "two names": (
        "backends:\n- {name: a, type: s3}\n- {name: a, type: s3}", ":3: backends[1].name"
    ),
    "not UTF-8": (b"lake: \xff", "cannot be read"),
    "no root": ("backends: [{name: a, type: local}]", "config.root"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), CONFIGS.values(), ids=CONFIGS)
def test_a_wrong_config_is_one_line_and_exit_1(home, text, told):
    """File, line and key, and the nearest key there is."""
    if text is None:
        home.file.unlink()
    else:
        home.file.write_bytes(text if isinstance(text, bytes) else text.encode())
    err = one_line(home.run("usage"), 1)
    assert told in err
    assert "warpdrive.yaml" in err


def test_options_stand_before_and_after_the_command(full, home):
    """The same answer either way; the nearer one wins."""
    args = ("usage", "--format", "csv")
    config = ("--config", full.file)
    after = home.run(*args, *config)
    assert after.out == home.run(*config, *args).out == full.run(*args).out
    assert home.run("--config", "nowhere.yaml", *args, *config).out == after.out
    past = ("--as-of", "2020-06-01")
    assert full.run(*past, *args).out == full.run(*args, *past).out
    assert full.run(*past, *args).rows == []


def test_another_as_of_is_asked_of_the_tables(full):
    """The published answer and the computed one are the same rows."""
    as_of = ("--as-of", NOW.isoformat())
    later = ("--as-of", (NOW + dt.timedelta(seconds=1)).isoformat())
    for command in DATA_COMMANDS:
        told = full.run(*command, "--format", "csv", *as_of).out
        assert told == full.run(*command, "--format", "csv").out
        assert told == full.run(*command, "--format", "csv", *later).out, command


def test_a_quota_is_seen_at_once(new_home):
    """Set, list, set again with the same number, delete."""
    home = new_home()
    said = home.run("quota", "set", "--team", "vision", "--soft", "1KB", "--hard", "2.5GB")
    assert said.out == 'Quota set for team "vision" (backend=all, soft=1.00 KB, hard=2.50 GB)\n'
    home.run("quota", "set", "--team", "vision", "--backend", "data", "--hard", "5")
    (first, second) = json.loads(home.run("quota", "list", "--format", "json").out)
    assert (first["ID"], first["BackendName"], first["HardLimit"]) == (1, "", 2_684_354_560)
    assert (second["ID"], second["BackendName"], second["status"]) == (2, "data", "OK")
    home.run("quota", "set", "--team", "vision", "--hard", "7")
    assert json.loads(home.run("quota", "list", "--format", "json").out)[0]["ID"] == 1
    home.run("quota", "delete", "--team", "vision")
    (row,) = home.run("quota", "list", "--format", "csv").rows
    assert (row["team"], row["backend"], row["hard_bytes"]) == ("vision", "data", "5")
    note = home.run("quota", "set", "--team", "vision", "--backend", "later", "--hard", "5")
    assert note.code == 0
    assert "'later' is not in the config" in note.err


def test_teams_are_imported_whole_or_not_at_all(new_home):
    """File order, repeats, a BOM and more columns are fine; one bad line imports nothing."""
    home = new_home()
    file = home.folder / "teams.csv"
    file.write_text("\ufeffteam_name,user_id,floor\nvision,ann,1\nnlp,bob,2\nvision,ann,1\n")
    assert home.run("team", "import", file).out.startswith("2 of 3 memberships are new.")
    expected = [("ann", "vision"), ("bob", "nlp")]

    def shown():
        rows = home.run("team", "list", "--format", "csv").rows
        return [(row["user"], row["team"]) for row in rows]

    assert shown() == expected
    assert home.run("team", "import", file).out.startswith("0 of 3 memberships are new.")
    for data in (b"user_id,team_name\ncid,nlp\ndan,\n", b"user,team\na,b\n", b"\xff\xfe", b"",
                 b'user_id,team_name\ncid,"nlp\n', b"user_id,team_name\ncid\n",
                 b"user_id,team_name\nci\0d,nlp\n"):  # fmt: skip
        file.write_bytes(data)
        told = one_line(home.run("team", "import", file), 2)
        assert "teams.csv" in told or "ci\\x00d" in told
        assert shown() == expected
    assert "missing.csv" in one_line(home.run("team", "import", "missing.csv"), 2)
    assert str(home.folder) in one_line(home.run("team", "import", home.folder), 2)


def test_a_damaged_lake_is_one_line_and_exit_1(new_home):
    """What is published may be damaged, and the lake may be a file."""
    home = new_home()
    assert home.run("quota", "set", "--team", "t", "--hard", "1").code == 0
    published = home.folder / "lake" / "published"
    for document in published.glob("*/quota.json"):
        document.write_text("{")
    assert "refresh" in one_line(home.run("quota", "list"), 1)
    (published / "CURRENT").write_text("[]")
    assert "CURRENT" in one_line(home.run("quota", "list"), 1)
    (published / "CURRENT").unlink()
    home.file.write_text("lake: {root: ./warpdrive.yaml}\n")
    assert "warpdrive.yaml" in one_line(home.run("usage"), 1)
    assert "warpdrive.yaml" in one_line(home.run("quota", "set", "--team", "t", "--hard", "1"), 1)


def environ(home):
    return {**os.environ, "WARPDRIVE_CONFIG": str(home.file)}


def test_a_reader_who_leaves_is_no_error(full):
    """`warpdrive stale | head` prints no traceback, however little there is to print."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [WARPDRIVE, "usage"], env=environ(full), stdout=write, stderr=subprocess.PIPE, text=True,
        check=False,
    )  # fmt: skip
    os.close(write)
    assert done.stderr == ""


def test_both_names_are_installed_and_answer(full):
    """`warpdrive` and `warpdrive-ctl` are one program."""
    for name in ("warpdrive", "warpdrive-ctl"):
        done = subprocess.run(
            [WARPDRIVE.with_name(name), "team", "list", "--format", "csv"], env=environ(full),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "user,team,since\nann,vision,\n"
        told = subprocess.run(
            [WARPDRIVE.with_name(name), "--version"], capture_output=True, text=True, check=True
        )
        version = importlib.metadata.version("warpdrive")
        assert (told.stdout, told.stderr) == (f"warpdrive {version}\n", "")


@pytest.mark.parametrize("command", [
    ("team", "add", b"\xff", "t"), ("quota", "set", "--team", b"\xff"), ("user", b"\xff"),
    ("usage", "--backend", b"\xff"),
], ids=["team add", "quota set", "user", "usage"])  # fmt: skip
def test_arguments_that_are_not_text_are_refused(full, command):
    """One line, no traceback."""
    done = subprocess.run(
        [WARPDRIVE, *command], env=environ(full), capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


def test_doctor_says_what_is_wrong_and_exits_1(home):
    """A PASS or FAIL a line; a backend that is not there is found."""
    home.root().rmdir()
    said = home.run("doctor")
    assert said.code == 1
    assert all(line.startswith(("PASS ", "FAIL ")) for line in said.out.splitlines())
    assert any(line.startswith("FAIL backend data") for line in said.out.splitlines())
