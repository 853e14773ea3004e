"""A lake of its own for a test: a folder, a config, and the command line."""

import contextlib
import csv
import io
import json
import os
from pathlib import Path
from typing import NamedTuple


class Said(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self):
        """The rows of a CSV report."""
        return list(csv.DictReader(io.StringIO(self.out, newline="")))


class Home:
    """A folder with a config, a lake, a landing zone and the command line.

    A backend is the name of a local one, or the mapping that the config says of it.
    """

    def __init__(self, folder: Path, backends=("data",), extra="") -> None:
        self.folder = folder
        self.landing = folder / "landing"
        self.file = folder / "warpdrive.yaml"
        lines = ["lake: {root: ./lake}", "telemetry: {landing: ./landing}", extra, "backends:"]
        for name in backends:
            if name.startswith("{"):
                lines.append(f"  - {name}")
                continue
            self.root(name).mkdir(parents=True, exist_ok=True)
            lines.append(f"  - {{name: {name}, type: local, config: {{root: ./roots/{name}}}}}")
        self.file.write_text("\n".join(lines if backends else [*lines[:3], "backends: []"]) + "\n")

    def root(self, name="data"):
        """The folder of a local backend."""
        return self.folder / "roots" / name

    @property
    def config(self):
        """The config, parsed."""
        from storage.config import load_config

        return load_config(str(self.file))

    @property
    def lake(self):
        """The lake."""
        from lake.store import Lake

        return Lake(self.config.lake.root)

    def land(self, name, *events, raw=None):
        """Put an object into the landing zone: events as JSON lines, or `raw` bytes."""
        place = self.landing / name
        place.parent.mkdir(parents=True, exist_ok=True)
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        place.write_bytes(lines if raw is None else raw)
        return place

    def run(self, *args):
        """Run a command in this process, as `warpdrive` would."""
        import sys

        import cli

        out, err = io.StringIO(), io.StringIO()
        argv, umask, environ = sys.argv, os.umask(0o027), dict(os.environ)
        sys.argv = ["warpdrive", *map(str, args)]
        os.environ["WARPDRIVE_CONFIG"] = str(self.file)
        os.environ.pop("DAGSTER_HOME", None)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                cli.main()
                code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = argv
            os.umask(umask)
            os.environ.clear()
            os.environ.update(environ)
        return Said(code, out.getvalue(), err.getvalue())
