"""Is what the config names there, and does it work? Each check says what to do if not."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from storage import clock
from storage.backends import open_backend
from storage.config import Backend, Config
from storage.errors import WarpdriveError, first_line
from storage.listing.objects import object_store
from storage.objectstore import get, listed, open_store
from storage.options import OBJECT_STORES
from storage.paths import path_text

MIN_FREE_BYTES = 1024**3
MAX_SKEW = dt.timedelta(seconds=60)
WRITERS = 8
TRIES = 3
LOOKED_AT = 1000
KEYS = 20
PROBE = ".warpdrive-doctor"
Check = tuple[str, str]
# What is said, and what to do about it; the first that fits.
_ADVICE = (
    ("RequestTimeTooSkewed", "set this machine's clock, by NTP for example"),
    ("InvalidAccessKeyId|SignatureDoesNotMatch|AuthenticationFailed|AuthorizationFailure",
     "check the keys under auth:, and that they are this store's"),
    ("no credentials|needs .*_env|environment variable",
     "set them where auth: says, or choose another auth.method"),
    ("AccessDenied|AuthorizationPermissionMismatch|status (code: )?40[13]|Permission denied",
     "grant this identity list and read there, and write on the lake and the landing zone"),
    ("NoSuchBucket|ContainerNotFound|ResourceNotFound|status (code: )?404",
     "create it, or correct its name and endpoint under config:"),
    ("set config.region", "then try again"),
    ("[Cc]onnection ?[Rr]efused|NewConnection|NameResolution|Timeout|sending request|timed out",
     "check endpoint_url, and that this machine may reach it"),
    ("No such file or directory|does not exist|not found",
     "create the folder, mount what should be there, or correct config.root"),
    ("Not a directory", "name a folder"),
    ("[Nn]o space left", "free some space"),
)  # fmt: skip


def examine(config: Config) -> Iterator[Check]:
    """(check, problem) for the lake, the landing zone and each backend; '' where all is well."""
    yield f"config {config.file}", ""
    for name, place in (("lake", config.lake.root), ("landing", config.telemetry.landing)):
        yield from _place(f"{name} {place}", place)
    for backend in config.backends:
        yield from _backend(backend)


def _place(what: str, place: str) -> Iterator[Check]:
    """A place that is written to: each further check makes sense only after the one before."""
    problem = _problem(lambda: _write_and_read(place))
    yield f"{what}: writable", problem
    if "://" not in place:
        yield f"{what}: free space", "" if problem else _free_space(place)
    if problem:
        return
    yield f"{what}: clock", _problem(lambda: _compare_clocks(place))
    yield f"{what}: {WRITERS} writers, one winner", _problem(lambda: _race(place))


def _backend(backend: Backend) -> Iterator[Check]:
    if backend.inventory is not None:
        location = backend.inventory.location
        yield f"backend {backend.name}: has reports", _problem(lambda: _has_reports(location))
        return
    found: list[str] = []
    problem = _problem(lambda: found.extend(_first_files(backend)))
    yield f"backend {backend.name}: lists", problem
    if not problem and found:
        yield f"backend {backend.name}: reads", _problem(lambda: _read(backend, found[0]))


def _problem(probe: Callable[[], object]) -> str:
    try:
        probe()
    except (WarpdriveError, BaseError, OSError, ValueError) as error:
        said = first_line(error)
        advice = next((a for pattern, a in _ADVICE if re.search(pattern, said)), "")
        return f"{said}. To do: {advice}." if advice else f"{said}."
    return ""


def _write_and_read(place: str) -> None:
    with _Probe(place) as probe:
        obstore.put(probe.store, probe.name("one"), b"one", use_multipart=False)
        if get(probe.store, probe.name("one")) != b"one":
            raise ValueError("what was written is not what is read")


def _free_space(place: str) -> str:
    free = shutil.disk_usage(place).free
    if free >= MIN_FREE_BYTES:
        return ""
    return (
        f"{free // 1024**2} MB free, at least {MIN_FREE_BYTES // 1024**2} MB are needed: "
        "free some, or move it to a larger disk."
    )


def _compare_clocks(place: str) -> None:
    """The store stamps what is written now: its clock against ours."""
    with _Probe(place) as probe:
        before = clock.now()
        obstore.put(probe.store, probe.name("clock"), b"", use_multipart=False)
        stamped: dt.datetime = obstore.head(probe.store, probe.name("clock"))["last_modified"]
        after = clock.now()
    skew = max(before - stamped, stamped - after)
    if skew > MAX_SKEW:
        raise ValueError(
            f"the store's clock and this machine's are {skew.total_seconds():.0f} s apart: events "
            "would be dated wrong: set both by NTP"
        )


def _race(place: str) -> None:
    """Create-if-absent must have one winner, else Delta loses rows: eight writers, twenty keys."""
    with _Probe(place) as probe:
        barrier = threading.Barrier(WRITERS)

        def write(writer: int) -> list[bool]:
            return [_wins(probe, f"race-{key}", writer, barrier) for key in range(KEYS)]

        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            won = list(pool.map(write, range(WRITERS)))
    winners = [sum(of_key) for of_key in zip(*won, strict=True)]
    wrong = sum(count != 1 for count in winners)
    if wrong:
        raise ValueError(
            f"create-if-absent had not one winner for {wrong} of {KEYS} keys (up to "
            f"{max(winners)}): Delta would lose rows here: keep the lake and the landing zone on a "
            "store that honours If-None-Match"
        )


def _wins(probe: _Probe, key: str, writer: int, barrier: threading.Barrier) -> bool:
    barrier.wait(60)
    try:
        obstore.put(
            probe.store, probe.name(key), str(writer).encode(), mode="create", use_multipart=False
        )
    except AlreadyExistsError:
        return False
    except BaseError:
        barrier.abort()
        raise
    return True


class _Probe:
    """Objects of our own in a place, gone when the block is left."""

    def __init__(self, place: str) -> None:
        self.store: Any = open_store(place)
        self._prefix = f"{PROBE}/{os.getpid()}-{clock.now():%H%M%S%f}"

    def name(self, key: str) -> str:
        """The name of an object of ours."""
        return f"{self._prefix}/{key}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if ours := [found.name for found in listed(self.store, self._prefix)]:
            obstore.delete(self.store, ours)


def _has_reports(location: str) -> None:
    if next(iter(listed(open_store(location, create=False))), None) is None:
        raise ValueError(f"no report at {location}: have the store write one there, or correct it")


def _first_files(backend: Backend) -> list[str]:
    """A path that can be read, if one of the first has bytes. Raises where it cannot be listed."""
    if backend.type == "local":
        return _first_local(Path(backend.root))
    if backend.type in OBJECT_STORES:
        # By the crawl's own lister: it takes every key, and says in a line why it cannot.
        page = object_store(backend, TRIES).page("", "")
        first = page.rows(0, len(page.keys)).select(["path", "size_bytes"]).to_pylist()
        return [row["path"] for row in first if row["size_bytes"] and _readable(row["path"])][:1]
    from storage.fsspecinfo import open_fsspec

    system, root = open_fsspec(backend)
    names = system.ls(root, detail=True)
    files = [info["name"] for info in names if info.get("type") == "file" and info.get("size")]
    return [path_text(name.removeprefix(root).lstrip("/")) for name in files[:1]]


def _readable(path: str) -> bool:
    """Whether obstore, which reads, takes this key as well."""
    return not {"", ".", ".."}.intersection(path.split("/"))


def _first_local(root: Path) -> list[str]:
    os.scandir(root).close()  # what walks below passes over a root that is not there
    looked = 0
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            file, looked = Path(folder, name), looked + 1
            if file.is_file() and not file.is_symlink() and file.stat().st_size:
                return [path_text(os.fsencode(file.relative_to(root)))]
        if looked >= LOOKED_AT:
            break
    return []


def _read(backend: Backend, path: str) -> None:
    source = open_backend(backend)
    try:
        if not source.read(path, 0, 1):
            raise ValueError(f"{path}: nothing is read of it")
    finally:
        source.close()
