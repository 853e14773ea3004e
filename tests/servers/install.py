"""Where Azurite and Ceph are: downloaded once into .artifacts/servers, never installed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PLACE = HERE.parents[1] / ".artifacts" / "servers"
CEPH_PACKAGES = ("radosgw", "ceph-mon", "ceph-osd", "ceph-common")


def azurite() -> Path:
    """The program `azurite-blob`, by npm and our lock file. Needs Node.js 20."""
    folder = PLACE / "azurite"
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    with _alone("azurite"):
        if not program.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / "azurite" / name, folder / name)
            _run("npm", "ci", "--no-audit", "--no-fund", cwd=folder)
    return program


def ceph() -> Path:
    """The folder where Debian's packages of Ceph and what they need are unpacked."""
    root = PLACE / "ceph"
    with _alone("ceph"):
        if not (root / ".complete").exists():
            archives = PLACE / "debs"
            (archives / "partial").mkdir(parents=True, exist_ok=True)
            _run(
                "apt-get", "install", "-qq", "--yes", "--download-only", "--no-install-recommends",
                "-oDebug::NoLocking=1", f"-oDir::Cache::archives={archives}", *CEPH_PACKAGES,
                cwd=archives,
            )  # fmt: skip
            root.mkdir(parents=True, exist_ok=True)
            for package in sorted(archives.glob("*.deb")):
                _run("dpkg", "-x", str(package), str(root), cwd=archives)
            shutil.rmtree(archives)
            (root / ".complete").touch()
    return root


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Two test runs may want the same server at once."""
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
