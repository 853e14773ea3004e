"""Every row of the interface's table of commands, walked from the outside."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands import crawl
from tests.home import Home

COMMON = ("--config", "--as-of", "--tenant", "--server")
# Command → its own options with the default that --help shows (None: it shows none), its arguments.
TABLE = {
    "usage": ({"--group-by": "user", "--backend": None, "--attribution": "owner", "--depth": "1",
               "--format": "table"}, ""),
    "stale": ({"--days": "90", "--min-size": "0", "--backend": None, "--limit": "1000",
               "--format": "table"}, ""),
    "growth": ({"--backend": None, "--period": "30d", "--by": None, "--forecast": None,
                "--format": "table"}, ""),
    "quota list": ({"--team": None, "--backend": None, "--format": "table"}, ""),
    "quota set": ({"--team": "required", "--backend": "all", "--soft": "0", "--hard": "0",
                   "--grace": None}, ""),
    "quota delete": ({"--team": "required", "--backend": "all"}, ""),
    "user": ({"--backend": None, "--limit": None, "--format": "table"}, "ID"),
    "backends": ({"--format": "table"}, ""),
    "team list": ({"--format": "table"}, ""),
    "team add": ({"--since": None}, "USER TEAM"),
    "team remove": ({"--since": None}, "USER TEAM"),
    "team import": ({"--since": None}, "FILE.csv"),
    "alias list": ({"--format": "table"}, ""),
    "alias add": ({"--since": None}, "NAME CANONICAL"),
    "alias remove": ({"--since": None}, "NAME"),
    "rule list": ({"--format": "table"}, ""),
    "rule add": ({"--preview": None, "--format": "table"}, "BACKEND:PREFIX TEAM"),
    "rule remove": ({}, "BACKEND:PREFIX"),
    "ledger": ({"--node": None, "--hours": "24", "--format": "table"}, ""),
    "diff": ({"--by": "team", "--depth": "1", "--format": "table"}, "DAY1 DAY2"),
    "audit-log": ({"--limit": "100", "--format": "table"}, ""),
    "verify": ({"--backend": None, "--sample": "1000", "--seed": None, "--format": "table"}, ""),
    "ingest": ({"--from": None, "--to": None}, "[FILE|DIR]..."),
    "crawl": ({"--backend": None, "--allow-removal": None, "--format": "table"}, ""),
    "refresh": ({"--rebuild": None, "--watch": None}, ""),
    "mount": ({"--daemon": None, "--foreground": None}, ""),
    "warm": ({"--backend": "required", "--prefix": None, "--recursive": "True",
              "--max-size": "0", "--workers": "32"}, ""),
    "stats": ({}, ""),
    "status": ({}, ""),
    "move": ({"--src": "required", "--dst": "required", "--delete": None, "--dry-run": None,
              "--workers": "8"}, ""),
    "dashboard": ({"--port": "8501", "--address": "127.0.0.1"}, ""),
    "demo": ({"--into": "warpdrive-demo"}, "[DIR]"),
    "doctor": ({}, ""),
    "spool check": ({}, "DIR"),
    "serve": ({"--addr": None, "--allow-unauthenticated": None}, ""),
    "token create": ({"--subject": "required", "--role": "required", "--for-tenant": None,
                      "--team": None, "--expires": "90d"}, ""),
}  # fmt: skip
COLUMNS = {
    "usage": "group,backend,files,bytes,last_access,read_count,write_count,bytes_read,"
    "bytes_written,touched_bytes",
    "stale": "backend,path,size_bytes,last_modified,last_access,owner,evidence,coverage",
    "growth": "date,backend,file_count,total_bytes,added_bytes,removed_bytes",
    "growth --forecast 2": "date,backend,file_count,total_bytes,added_bytes,removed_bytes,"
    "low_bytes,high_bytes",
    "quota list": "team,backend,soft_bytes,hard_bytes,usage_bytes,status,grace_until",
    "user ann": "backend,path,day,read_count,write_count,bytes_read,bytes_written,last_access",
    "backends": "name,type,file_count,total_bytes,state,crawled_at,coverage",
    "team list": "user,team,since",
    "alias list": "name,canonical,since",
    "rule list": "backend,prefix,team,since,files,bytes",
    "rule add data:x vision --preview": "backend,prefix,team,since,files,bytes",
    "ledger": "node,hour,events,objects,gaps,duplicates,late_seconds,quarantined,drops",
    "diff 2026-01-01 2026-02-01": "group,backend,added_files,added_bytes,removed_files,"
    "removed_bytes,changed_bytes",
    "audit-log": "at,who,action,object,before,after",
    "verify": "backend,checked,agree,agreement_low,agreement_high,lag_seconds",
    "crawl": "backend,source,state,files,bytes,added,removed,seconds,error",
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A lake with one file, one member, one rule and one quota; only read by the tests."""
    home = Home(tmp_path_factory.mktemp("interface"))
    (home.root() / "x").write_bytes(b"x" * 10)
    for args in (("team", "add", "ann", "vision"), ("rule", "add", "data:x", "vision"),
                 ("quota", "set", "--team", "vision", "--hard", "5")):  # fmt: skip
        assert home.run(*args).code == 0
    crawl(home.config, "", None, allow_removal=False)
    assert home.run("refresh").code == 0
    return home


def options(text):
    """Long options that a help page lists, with the default it shows, or `required`."""
    found = {}
    page = text.split("Options:\n", 1)[1]
    for entry in re.split(r"\n  (?=-)", "\n" + page)[1:]:
        (name, *_) = re.findall(r"--[a-z-]+", entry)
        words = " ".join(entry.split())
        shown = re.search(r"\[(?:default: ([^;\]]*)[^\]]*|(required))\]$", words)
        found[name] = next(filter(None, shown.groups())) if shown else None
    return found


@pytest.mark.parametrize("command", TABLE)
def test_a_command_has_exactly_its_options_and_defaults(home, command):
    """No option more, none less; the four common ones; the example names the command."""
    own, arguments = TABLE[command]
    said = home.run(*command.split(), "--help")
    assert (said.code, said.err) == (0, "")
    assert options(said.out) == {**own, **dict.fromkeys((*COMMON, "--help"))}
    usage = " ".join(said.out.split("\n\n")[0].split())
    assert usage == f"Usage: warpdrive {command} [OPTIONS]{f' {arguments}' if arguments else ''}"
    assert f"Example: warpdrive {command}" in " ".join(said.out.split())


def test_there_is_no_command_beside_the_table(home):
    """Every command of the top page, and every one of a group, is a row above."""

    def listed(*group):
        page = home.run(*group, "--help").out.split("Commands:\n", 1)
        return [line.split()[0] for line in page[1].splitlines() if line[:3].strip()] if page[
            1:] else []  # fmt: skip

    found = set()
    for name in listed():
        inner = listed(name) if "COMMAND" in home.run(name, "--help").out else []
        found |= {f"{name} {sub}" for sub in inner} or {name}
    assert found == set(TABLE)


@pytest.mark.parametrize("command", COLUMNS)
def test_csv_begins_with_exactly_its_columns(lake, command):
    """The header of the interface, LF, whatever the rows are."""
    said = lake.run(*command.split(), "--format", "csv")
    assert (said.code, said.err) == (0, "")
    assert said.out.split("\n")[0] == COLUMNS[command]
    assert "\r" not in said.out


def test_status_shows_mount_cache_backends_telemetry_lake_and_coverage(lake):
    """Without an agent it says so, and what the config and the reports say."""
    said = lake.run("status")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "WarpDrive Status"
    assert "Mount Point: /data (not mounted)" in lines
    assert lines[3:5] == ["Backends: 1 configured", "  - data (local) at /data"]
    for heading in ("Cache", "Telemetry", "Reports", "Coverage"):
        assert heading in lines
    assert any(line.startswith("  Published: ") and line.endswith("min ago)") for line in lines)
    assert lines[-1].startswith("  data: no agent reports, listing complete, crawled 20")


@pytest.mark.parametrize("option", ["--config", "--as-of", "--tenant", "--server"])
def test_nothing_is_silently_ignored(home, option):
    """The demo takes none of the common options, wherever they stand."""
    for args in ((option, "x", "demo"), ("demo", option, "x")):
        said = home.run(*args)
        assert said.code == 2
        assert said.err.startswith(f"error: {option} 'x': the demo makes its own")


def test_a_full_disk_is_one_line_and_exit_1(lake):
    """Rows that cannot be written are a failed run, not a traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "import cli; cli.run()", "usage", "--config", str(lake.file)],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: the rows cannot be written: No space left on device.\n"
