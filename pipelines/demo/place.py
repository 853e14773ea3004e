"""Where the demo happens: its folder, its source files, its readers, its config."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.config import Config, load_config
from storage.errors import UsageError

MARKER = ".warpdrive-demo"
BACKEND = "demo"
_TEAMS = ("vision", "speech")
_LEFT_OUT = ("site-packages", "__pycache__", "dist-packages")
# Kept from one demo to the next: the Dagster instance, with the runs in it.
_MADE = ("lake", "landing", "cache", "source", "reports", "warpdrive.yaml")
_CONFIG = """\
# Made by `warpdrive demo`. Try: warpdrive --config {folder}/warpdrive.yaml usage --group-by team
lake: {{root: ./lake}}
cache: {{path: ./cache}}
mount_point: {mount}
allow_other: {allow_other}
telemetry:
  enabled: true
  sink: objectstore
  landing: ./landing
  level: exact            # every byte that a program reads goes through the agent, and is counted
  sample_metadata_ops: 1  # keep every stat and list
backends:
  - name: {backend}
    type: local
    mount_path: /{backend}
    config: {{root: {source}}}
ownership:
  # The files' own owner does not count here: whoever reads a file most owns it.
  ignore_owners: {ignored}
"""


@dataclass(frozen=True)
class Reader:
    """An OS user who reads, and the team it is put into."""

    name: str
    uid: int
    gid: int
    team: str


@dataclass(frozen=True)
class Place:
    """The demo's folder and what it works on."""

    folder: Path
    source: Path
    mount: Path
    readers: tuple[Reader, ...]
    config: Config


def prepare(source: str | None, into: str, say: Callable[[str], None]) -> Place:
    """Make the folder afresh and write its config. Raises UsageError."""
    folder = Path(into).absolute()
    _clear(folder)
    files = _source(source, folder)
    readers = _readers(say)
    mount = Path(tempfile.mkdtemp(prefix="warpdrive-demo-"))
    mount.chmod(0o755)  # the other readers must get there
    text = _CONFIG.format(
        folder=folder, mount=json.dumps(str(mount)), source=json.dumps(str(files)),
        backend=BACKEND, allow_other=str(os.geteuid() == 0).lower(),
        ignored=json.dumps(_ignored(files)),
    )  # fmt: skip
    (folder / "warpdrive.yaml").write_text(text, encoding="utf-8")
    say(f"Files: {files}")
    return Place(folder, files, mount, readers, load_config(str(folder / "warpdrive.yaml")))


def _clear(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder: name another one with --into.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise UsageError(
            f"{folder}: is not empty and no demo's folder: name another one with --into."
        )
    for name in _MADE:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _source(source: str | None, folder: Path) -> Path:
    if source is None:
        copy = folder / "source"
        library = sysconfig.get_paths()["stdlib"]
        shutil.copytree(library, copy, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        _forget_the_copying(copy)
        return copy
    path = Path(source).absolute()
    if not path.is_dir():
        raise UsageError(f"{source}: no such folder: name one with files to read.")
    if folder == path or path in folder.parents or folder in path.parents:
        raise UsageError(
            f"{source}: holds the demo's own folder {folder}, or lies in it: "
            "name another one with --into."
        )
    return path


def _forget_the_copying(copy: Path) -> None:
    """Access times as old as the files: those of the copy tell of the copying, not of use."""
    for path in copy.rglob("*"):
        if path.is_file() and not path.is_symlink():
            modified = path.stat().st_mtime_ns
            os.utime(path, ns=(modified, modified))


def _readers(say: Callable[[str], None]) -> tuple[Reader, ...]:
    """Two unprivileged users of this machine; only ourselves where we may not become others."""
    if os.geteuid() != 0:
        say("One reader only: becoming a second user needs root.")
        return (_reader(pwd.getpwuid(os.geteuid()), _TEAMS[0]),)
    others = sorted(
        (user for user in pwd.getpwall() if 0 < user.pw_uid < 65534),
        key=lambda user: (user.pw_uid < 1000, user.pw_uid),
    )
    if len(others) < 2:
        say("One reader only: this machine has no two other users.")
        return (_reader(pwd.getpwuid(0), _TEAMS[0]),)
    return tuple(_reader(user, team) for user, team in zip(others[:2], _TEAMS, strict=True))


def _reader(user: pwd.struct_passwd, team: str) -> Reader:
    return Reader(user.pw_name, user.pw_uid, user.pw_gid, team)


def _ignored(files: Path) -> list[str]:
    """The usual owners that do not count, and those of the files."""
    owners = {path.lstat().st_uid for path in files.rglob("*")}
    return sorted({"root", "nobody", "0", "65534"} | {_name(uid) for uid in owners})


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
