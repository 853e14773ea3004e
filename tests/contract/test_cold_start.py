"""What a cold command may load: counted in modules, which no machine's speed can blur."""

import json
import os
import subprocess
import sys

import pytest

from tests.home import Home

SCRIPT = """
import json, sys
before = set(sys.modules)
sys.argv = ['warpdrive', *sys.argv[1:]]
import cli
code = 1
try:
    cli.main()
    code = 0
except SystemExit as end:
    code = end.code
theirs = sorted({name.partition('.')[0] for name in set(sys.modules) - before
                 if 'site-packages' in (getattr(sys.modules[name], '__file__', '') or '')})
print(json.dumps(theirs), file=sys.stderr)
sys.exit(code)
"""
PUBLISHED = ("usage", "usage --group-by team --attribution access", "stale", "stale --limit 10",
             "stale --days 31 --min-size 1KB", "stale --days 0", "stale --backend data",
             "growth", "growth --by team --period 0", "growth --forecast 5", "quota list",
             "backends", "team list")  # fmt: skip
ASKED = ("stale --days 1095", "stale --limit 0", "user ann", "usage --group-by prefix --depth 2",
         "ledger", "rule list", "audit-log", "diff 2026-01-01 2026-12-31",
         *(f"{asked} --as-of 2026-06-01" for asked in (
             "usage", "usage --group-by prefix --depth 2", "usage --attribution access",
             "stale", "stale --days 7", "growth", "growth --by team", "quota list", "backends",
             "user ann", "team list", "rule list", "diff 2026-01-01 2026-02-01")))  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """A published lake with one file, one event and one quota; only read by the tests."""
    home = Home(tmp_path_factory.mktemp("cold"))
    (home.root() / "x").write_bytes(b"x" * 10)
    home.land("a.jsonl", {"ts": "2026-01-01T00:00:00Z", "user": "ann", "backend": "data",
                          "path": "x", "op": "write"})  # fmt: skip
    for args in (("ingest",), ("crawl",), ("rule", "add", "data:x", "vision"),
                 ("quota", "set", "--team", "vision", "--hard", "5"), ("refresh",)):  # fmt: skip
        assert home.run(*args).code == 0
    return home


def loaded(lake, command, fmt):
    """Third-party packages that a cold command loads; it succeeds and prints."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command.split(), "--format", fmt],
        env={**os.environ, "WARPDRIVE_CONFIG": str(lake.file)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("fmt", ["csv", "table", "json"])
@pytest.mark.parametrize("command", PUBLISHED)
def test_a_published_answer_needs_click_and_yaml_only(lake, command, fmt):
    """Nothing else that is installed is imported."""
    assert loaded(lake, command, fmt) == {"click", "yaml"}


@pytest.mark.parametrize("command", ASKED)
def test_other_questions_need_the_tables_engine_only(lake, command):
    """deltalake answers; polars, pyarrow and the rest stay away."""
    assert loaded(lake, command, "csv") == {
        "click", "yaml", "deltalake", "arro3", "typing_extensions",
    }  # fmt: skip


def completions(words, lake):
    """What the shell is offered for a half-written command line."""
    environ = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1),
               "_WARPDRIVE_COMPLETE": "bash_complete", "WARPDRIVE_CONFIG": str(lake.file),
               }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", "import cli; cli.main()"], env={**os.environ, **environ},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(("words", "offered"), [
    (["warpdrive", "us"], ["usage", "user"]),
    (["warpdrive", "quota", "s"], ["set"]),
    (["warpdrive", "usage", "--att"], ["--attribution"]),
    (["warpdrive", "usage", "--format", ""], ["table", "csv", "json"]),
    (["warpdrive", "nonsense", "--x"], []),
    (["warpdrive", "usage", "--backend", "d"], ["data"]),
    (["warpdrive", "quota", "set", "--team", ""], ["vision"]),
    (["warpdrive", "usage", "--group-by", ""], ["user", "team", "backend", "prefix"]),
])  # fmt: skip
def test_the_shell_completes(lake, words, offered):
    """Commands, options and values; what is wrong offers nothing and says nothing."""
    assert completions(words, lake) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    """The script that the documentation tells to source."""
    done = subprocess.run(
        [sys.executable, "-c", "import cli; cli.main()"],
        env={**os.environ, "_WARPDRIVE_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "_WARPDRIVE_COMPLETE" in done.stdout
    assert done.stderr == ""
