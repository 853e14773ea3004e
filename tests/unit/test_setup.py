"""The two commands of the README stand on what is asserted here; nothing needs a network."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
EXTRA_LOCK = (ROOT / "requirements-extra.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Spelled apart, or this file would be its own finding.
REGISTRY_HOSTS = [
    "pypi" + ".org",
    "files." + "pythonhosted",
    "registry.npm" + "js",
    "npm" + "js.org",
]


# What few need and `make setup` leaves out.
EXTRA = {"ray", "bench"}


def direct_requirements(*, extra: bool = False) -> list[Requirement]:
    """What pyproject.toml asks for: by `make setup`, or by `tools/setup extra`."""
    project = PROJECT["project"]
    groups = project["optional-dependencies"].items()
    chosen = [lines for name, lines in groups if (name in EXTRA) == extra]
    return [Requirement(line) for lines in [project["dependencies"], *chosen] for line in lines]


def locked(lock: str) -> dict[str, list[str]]:
    """Name -> its blocks, read independently of tools/setup.py."""
    found: dict[str, list[str]] = {}
    for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE)[1:]:
        found.setdefault(block.split("==")[0], []).append(block)
    return found


def locked_versions(name: str, lock: str = LOCK) -> list[Version]:
    lines = [block.split()[0] for block in locked(lock)[name]]
    return [Version(line.split("==")[1]) for line in lines]


@pytest.fixture
def setup_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/setup.py, with a PATH on which there is nothing."""
    spec = importlib.util.spec_from_file_location("project_setup", ROOT / "tools" / "setup.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "stamp")
    return module


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("requirement", direct_requirements(), ids=str)
def test_every_direct_requirement_is_locked(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    assert all(version in requirement.specifier for version in locked_versions(name))


@pytest.mark.parametrize("requirement", direct_requirements(extra=True), ids=str)
def test_the_extra_lock_agrees_with_the_other(requirement: Requirement) -> None:
    name = canonicalize_name(requirement.name)
    versions = locked_versions(name, EXTRA_LOCK)
    assert all(version in requirement.specifier for version in versions)
    if name in locked(LOCK):
        assert versions == locked_versions(name)


def test_every_block_of_the_lock_pins_one_version_by_hash() -> None:
    blocks = [block for same_name in locked(LOCK).values() for block in same_name]
    assert len(blocks) > 100
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


def test_the_lock_names_what_pyproject_asks_for_and_nothing_more() -> None:
    """Else somebody edited pyproject.toml and forgot `make lock`."""
    via_us = {
        name
        for name, blocks in locked(LOCK).items()
        if "warpdrive (pyproject.toml)" in "".join(blocks)
    }
    assert via_us == {canonicalize_name(requirement.name) for requirement in direct_requirements()}


@pytest.mark.parametrize(
    "word", ["http:", "https:", "file:", "://", "-url", "--find-links", "/home/"]
)
def test_the_lock_names_no_place(word: str) -> None:
    assert word not in LOCK
    assert word not in EXTRA_LOCK


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_nothing_committed_names_a_registry(host: str) -> None:
    """Whoever installs this chooses the index."""
    search = ["git", "-c", "safe.directory=*", "grep", "-lIF", "-e", host]
    done = subprocess.run(search, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr


def test_without_fuse_only_pyfuse3_leaves_the_lock(setup_module: ModuleType) -> None:
    left = setup_module.without(LOCK, "pyfuse3")
    everything = locked(LOCK)
    del everything["pyfuse3"]
    assert locked(left) == everything
    assert left.startswith(LOCK[:40])


def test_uv_alone_is_taken_from_the_lock(setup_module: ModuleType) -> None:
    assert locked(setup_module.only(LOCK, "uv")) == {"uv": locked(LOCK)["uv"]}


def test_a_machine_with_nothing_cannot_build_the_mount(setup_module: ModuleType) -> None:
    assert not setup_module.fuse_headers()


def test_libfuse_without_a_compiler_is_not_enough(setup_module: ModuleType, tmp_path: Path) -> None:
    program(tmp_path, "pkg-config", "exit 0")
    assert not setup_module.fuse_headers()


def test_without_apt_one_line_says_what_to_install(
    setup_module: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not setup_module.install_packages(["libfuse3-dev"], "mounting needs", lambda: False)
    line = "setup: mounting needs what is not here: sudo apt-get install libfuse3-dev\n"
    assert capsys.readouterr().err == line


def test_an_apt_that_fails_is_no_failure(
    setup_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "apt-get", "echo offline >&2; exit 100")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not setup_module.install_packages(["fuse3"], "mounting needs", lambda: False)


def test_apt_is_left_alone_by_a_user_who_may_not(
    setup_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = tmp_path / "called"
    program(tmp_path, "apt-get", f"echo >{called}")
    program(tmp_path, "sudo", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not setup_module.install_packages(["fuse3"], "mounting needs", lambda: False)
    assert not called.exists()


def test_the_browser_is_the_one_named_then_the_one_on_the_path(
    setup_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(setup_module.SetupError, match="CHROMIUM=/path"):
        setup_module.chromium()
    on_path = program(tmp_path, "google-chrome", "")
    assert setup_module.chromium() == str(on_path)
    named = program(tmp_path, "my-browser", "")
    monkeypatch.setenv("CHROMIUM", str(named))
    assert setup_module.chromium() == str(named)


def test_a_venv_counts_only_when_it_runs_and_is_stamped(setup_module: ModuleType) -> None:
    """No stamp: an interrupted run. No Python: the one it was made from is gone."""
    (setup_module.VENV / "bin").mkdir(parents=True)
    setup_module.STAMP.write_text("as it was")
    assert setup_module.stamped() == []
    (setup_module.VENV / "bin" / "python").symlink_to(sys.executable)
    (setup_module.VENV / "pyvenv.cfg").write_text((Path(sys.prefix) / "pyvenv.cfg").read_text())
    assert setup_module.stamped() == []


def test_fingerprints_tell_packages_from_project(
    setup_module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed lock needs the network, a changed pyproject.toml must not."""
    packages, project = setup_module.fingerprints(can_mount=True)
    assert setup_module.fingerprints(can_mount=True) == [packages, project]
    assert setup_module.fingerprints(can_mount=False)[0] != packages
    (tmp_path / "pyproject.toml").write_text("[project]")
    monkeypatch.setattr(setup_module, "ROOT", tmp_path)
    assert setup_module.fingerprints(can_mount=True)[0] == packages
    assert setup_module.fingerprints(can_mount=True)[1] != project
    (tmp_path / "requirements.lock").write_text(LOCK + "\n")
    monkeypatch.setattr(setup_module, "LOCK", tmp_path / "requirements.lock")
    assert setup_module.fingerprints(can_mount=True)[0] != packages
