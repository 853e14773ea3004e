"""Make .venv what requirements.lock says. Needs nothing but Python; a second run touches nothing.

`setup.py chromium` and `setup.py uv` print where that program is, after installing it if need be;
`setup.py extra` adds what only the races and the cluster need (requirements-extra.lock).
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
INTO_VENV = ["--python", str(VENV / "bin" / "python")]
STAMP = VENV / ".warpdrive-setup"
LOCK = ROOT / "requirements.lock"
EXTRA_LOCK = ROOT / "requirements-extra.lock"
OWN_UV = ROOT / ".uv"

MOUNT_PACKAGES = ["libfuse3-dev", "fuse3", "pkg-config", "gcc", "libc6-dev", "python3-dev"]
# What pyfuse3 includes: compiling it asks for compiler, libc, libfuse and Python at once.
FUSE_PROBE = b"#define FUSE_USE_VERSION 35\n#include <Python.h>\n#include <fuse3/fuse_lowlevel.h>\n"


class SetupError(Exception):
    """What is missing, and what to do about it."""


def main(arguments: Sequence[str]) -> int:
    try:
        with one_at_a_time():
            if arguments:
                print(
                    {
                        "chromium": chromium,
                        "uv": find_uv,
                        "extra": extra,
                        "prometheus": prometheus,
                        "postgres": postgres,
                    }[arguments[0]]()
                )
            else:
                fill_venv()
    except SetupError as error:
        say(str(error))
        return 1
    except subprocess.CalledProcessError as error:
        say(f"{Path(error.cmd[0]).name} failed, see above")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def fill_venv() -> None:
    can_mount = fuse_headers()
    packages, project = fingerprints(can_mount=can_mount)
    if stamped() == [packages, project]:
        return
    if stamped()[:1] != [packages]:
        can_mount = can_mount or install_packages(MOUNT_PACKAGES, "mounting needs", fuse_headers)
        packages, _ = fingerprints(can_mount=can_mount)
        install_lock(can_mount=can_mount)
        STAMP.write_text(packages)
    editable = ["--no-deps", "--no-build-isolation", "--editable", "."]
    run(find_uv(), "pip", "install", *INTO_VENV, *editable)
    STAMP.write_text(f"{packages}\n{project}")


def install_lock(*, can_mount: bool) -> None:
    uv = find_uv()
    if not stamped():
        new_venv(uv)
    STAMP.unlink(missing_ok=True)
    started = time.monotonic()
    say("filling .venv from requirements.lock (the first time takes a few minutes)")
    if not (can_mount and sync(uv, LOCK.read_text(), may_fail=True)):
        sync(uv, without(LOCK.read_text(), "pyfuse3"))
        say("pyfuse3 is left out: everything but the mount works")
    say(f"done in {time.monotonic() - started:.0f} s")


def sync(uv: str, lock: str, *, may_fail: bool = False) -> bool:
    """The build constraints pin (with hashes) what building an sdist downloads."""
    with temporary_file(lock) as path:
        command = [uv, "pip", "sync", "--require-hashes", "--build-constraints", path, path]
        return run(*command, *INTO_VENV, may_fail=may_fail)


def extra() -> str:
    """Ray and the peers of the races, beside what is there: hundreds of megabytes few need."""
    run(find_uv(), "pip", "install", "--require-hashes", "-r", str(EXTRA_LOCK), *INTO_VENV)
    return str(VENV)


def new_venv(uv: str) -> None:
    """Without a stamp nobody knows how far an earlier run came."""
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    elif VENV.exists():
        shutil.rmtree(VENV)
    run(uv, "venv", "--python", sys.executable, str(VENV))


def stamped() -> list[str]:
    """The fingerprints .venv was filled for; none if it is absent, broken or half full."""
    if STAMP.is_file() and works(str(VENV / "bin" / "python"), "-c", "import click"):
        return STAMP.read_text().split("\n")
    return []


def fingerprints(*, can_mount: bool) -> list[str]:
    """What makes the packages out of date, and what the project: the second needs no network.

    Scripts hold the path of .venv, so moving it counts.
    """
    packages = [LOCK.read_text(), sys.version.split()[0], sys.base_prefix, str(VENV), can_mount]
    project = [(ROOT / "pyproject.toml").read_text(), Path(__file__).read_text()]
    return [hashlib.sha256(repr(parts).encode()).hexdigest() for parts in (packages, project)]


def blocks(lock: str) -> Iterator[tuple[str, str]]:
    """Each requirement of a lock with its hashes and comments: (name, text)."""
    name, lines = "", list[str]()
    for line in lock.splitlines(keepends=True):
        if line[0].isalnum():
            yield name, "".join(lines)
            name, lines = line.split("==")[0], []
        lines.append(line)
    yield name, "".join(lines)


def without(lock: str, name: str) -> str:
    return "".join(text for key, text in blocks(lock) if key != name)


def only(lock: str, name: str) -> str:
    return "".join(text for key, text in blocks(lock) if key == name)


def find_uv() -> str:
    """The one on PATH, else our own, which pip makes from the lock in .uv."""
    for candidate in (shutil.which("uv"), str(OWN_UV / "bin" / "uv")):
        if candidate and works(candidate, "--version"):
            return candidate
    say("installing uv into .uv")
    with temporary_file(only(LOCK.read_text(), "uv")) as requirements:
        pip = [*own_pip(), "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run(*pip, "--only-binary=:all:", "--require-hashes", "--requirement", requirements)
    return str(OWN_UV / "bin" / "uv")


def own_pip() -> list[str]:
    """A pip that installs into .uv. Debian keeps ensurepip and pip in packages of their own."""
    shutil.rmtree(OWN_UV, ignore_errors=True)
    python = str(OWN_UV / "bin" / "python")
    venv = [sys.executable, "-m", "venv", str(OWN_UV)]
    if not has_ensurepip() and works(sys.executable, "-m", "pip", "--version"):
        run(*venv, "--without-pip")
        return [sys.executable, "-m", "pip", "--python", python]
    if not has_ensurepip() and not install_packages(
        ["python3-venv"], "without uv, setup needs", has_ensurepip
    ):
        raise SetupError("no way to get uv")
    run(*venv)
    return [python, "-m", "pip"]


def has_ensurepip() -> bool:
    """Asked of a new process: this one remembers what was missing before apt ran."""
    return works(sys.executable, "-c", "import ensurepip, venv")


def fuse_headers() -> bool:
    """Can pyfuse3 be built here?"""
    if not works("pkg-config", "--exists", "fuse3 >= 3.2"):
        return False
    flags = subprocess.check_output(["pkg-config", "--cflags", "fuse3"], text=True)
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    include = f"-I{sysconfig.get_path('include')}"
    probe = [*compiler, *flags.split(), include, "-fsyntax-only", "-xc", "-"]
    return works(*probe, stdin=FUSE_PROBE)


def chromium() -> str:
    """$CHROMIUM, else one on PATH, else the distribution's."""
    named = os.environ.get("CHROMIUM")
    if named and not os.access(named, os.X_OK):
        raise SetupError(f"CHROMIUM={named} is not a program")
    if not named and not chromium_on_path():
        install_packages(["chromium"], "the UI tests need", lambda: chromium_on_path() is not None)
    found = named or chromium_on_path()
    if not found:
        raise SetupError("no browser; CHROMIUM=/path names one")
    return found


def chromium_on_path() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


def prometheus() -> str:
    """Prometheus, Alertmanager and their tools, else the distribution's."""
    tools = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")

    def there() -> bool:
        return all(map(shutil.which, tools))

    packages = ["prometheus", "prometheus-alertmanager"]
    if not there() and not install_packages(packages, "the tests of operations need", there):
        raise SetupError(f"not all of {', '.join(tools)} are on PATH")
    return str(shutil.which("prometheus"))


def postgres() -> str:
    """The folder of PostgreSQL's programs, else the distribution's."""

    def programs() -> list[Path]:
        found = shutil.which("postgres")
        debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        return ([Path(found)] if found else []) + debian

    if not programs() and not install_packages(
        ["postgresql"], "the tests of operations need", lambda: bool(programs())
    ):
        raise SetupError("no postgres")
    return str(programs()[-1].parent)


def install_packages(names: list[str], why: str, satisfied: Callable[[], bool]) -> bool:
    """Try apt where we may; if that is not enough, one line says what to do by hand."""
    if apt_prefix() is not None:
        say(f"{why} {' '.join(names)}: trying apt")
        apt_get("update")
        apt_get("install", "--yes", "--no-install-recommends", *names)
    if satisfied():
        return True
    say(f"{why} what is not here: sudo apt-get install {' '.join(names)}")
    return False


def apt_get(*arguments: str) -> bool:
    options = ["-qq", "-oAcquire::Retries=1", "-oAcquire::http::Timeout=20"]
    waiting = ["-oDPkg::Lock::Timeout=120"]
    prefix = [*(apt_prefix() or []), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    return works(*prefix, *options, *waiting, *arguments)


def apt_prefix() -> list[str] | None:
    """How to become root for apt: None if we may not, or there is no apt."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if works("sudo", "-n", "true") else None


def works(*command: str, stdin: bytes = b"") -> bool:
    """Does it exist and succeed? Quietly."""
    with suppress(OSError):
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        return done.returncode == 0
    return False


def run(*command: str, may_fail: bool = False) -> bool:
    """Run what installs: quiet, unless it fails or somebody watches."""
    quiet = ["--quiet"] if Path(command[0]).name == "uv" and not sys.stderr.isatty() else []
    full = [command[0], *quiet, *command[1:]]
    done = subprocess.run(full, cwd=ROOT, stdout=sys.stderr, check=not may_fail)
    return done.returncode == 0


@contextmanager
def temporary_file(text: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        yield file.name


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two terminals may say `make` at once."""
    with Path(__file__).open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
