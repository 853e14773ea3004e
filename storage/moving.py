"""Copy or move files and folders between backends: `warpdrive move`.

Every file is read back and compared by sha256 before anything is deleted, and nothing that exists
is overwritten: a file that is there already is compared instead, so that an interrupted move goes
on when it is started again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from storage import overlap
from storage.backends import Source, Stat, open_backend
from storage.config import Backend
from storage.errors import BackendError, UsageError, WarpdriveError
from storage.objectfiles import NAME_BYTES
from storage.paths import path_bytes, path_text
from storage.targets import Target, open_target

CHUNK_BYTES = 8 * 1024**2
MAX_NAMED = 5


@dataclass(frozen=True)
class Place:
    """A file or folder of a backend; the root is the empty path."""

    backend: Backend
    path: str

    def __str__(self) -> str:
        return f"{self.backend.name}:{self.path}"


@dataclass(frozen=True)
class Item:
    """One file to be moved."""

    source: str
    target: str
    stat: Stat


@dataclass(frozen=True)
class Folder:
    """One folder on the way, empty ones too."""

    source: str
    target: str
    stat: Stat


@dataclass
class Plan:
    """What a move does: its files, the folders they stand in (deepest first)."""

    items: list[Item] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Entries that are no regular files: symlinks, sockets, devices. They stay."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(item.stat.size_bytes for item in self.items)

    @property
    def left(self) -> str:
        """What stays, as a sentence without its stop; empty where everything goes."""
        if not self.skipped:
            return ""
        count = len(self.skipped)
        return (
            f"{count} entries are no regular files and stay where they are: {_named(self.skipped)}"
        )


@dataclass
class Progress:
    """How far a move is."""

    files: int
    bytes: int
    files_done: int = 0
    bytes_done: int = 0
    done: bool = False


def place(backend: Backend, path: str) -> Place:
    """A checked place. Raises UsageError for a path that no file system can hold."""
    trimmed = path.strip("/")
    try:
        raw = path_bytes(trimmed)
    except (ValueError, UnicodeError):
        raise UsageError(f"{path!a} is not the text of a path: `warpdrive stale` prints "
                         "paths as they are written here.") from None  # fmt: skip
    if wrong := [part for part in raw.split(b"/") if raw and not _holdable(part)]:
        raise UsageError(f"'{backend.name}:{path}': the name {path_text(wrong[0])!a} is refused: "
                         "no '..', '.', NUL, empty or overlong name is moved.")  # fmt: skip
    return Place(backend, trimmed)


def _holdable(part: bytes) -> bool:
    return part not in (b"", b".", b"..") and b"\0" not in part and len(part) <= NAME_BYTES


def move(
    src: Place, dst: Place, *, into: bool, workers: int, delete: bool,
    watch: Callable[[Progress], None] = lambda _: None,
) -> tuple[Plan, Place]:  # fmt: skip
    """Copy `src` to `dst`, verify all of it, then delete the original with `delete`.

    `into`: the user wrote a folder, so a file keeps its name in it. Returns what was moved and
    where to. Raises UsageError, BackendError; the original is whole then.
    """
    with closing(open_backend(src.backend)) as source, closing(open_target(dst.backend)) as target:
        with closing(open_backend(dst.backend)) as back:
            dst, plan = prepared(source, back, (src, dst), into=into)
            overlap.refuse_alias(src, dst, source, target)
            _make_folders(plan, dst, target)
            _each(plan, workers, lambda item: _copied(source, back, target, item), watch)
        if plan.left:
            raise BackendError(f"{plan.left}. The files were copied; nothing is deleted.")
        if delete:
            _delete(src, source, plan, workers)
    return plan, dst


def planned(src: Place, dst: Place, *, into: bool) -> tuple[Plan, Place]:
    """What `move` would do; changes nothing."""
    with closing(open_backend(src.backend)) as source, closing(open_backend(dst.backend)) as back:
        dst, plan = prepared(source, back, (src, dst), into=into)
        return plan, dst


def prepared(
    source: Source, back: Source, ends: tuple[Place, Place], *, into: bool
) -> tuple[Place, Plan]:
    """The destination as it will be called, and the plan. Raises UsageError, BackendError."""
    src, dst = ends
    try:
        found = source.stat(src.path)
    except OSError as error:
        raise BackendError(f"{src}: {_why(error)}.") from None
    if not found.is_folder and (into or not dst.path or _is_folder(back, dst.path)):
        name = src.path.rsplit("/", 1)[-1]
        dst = Place(dst.backend, f"{dst.path}/{name}".lstrip("/"))
    overlap.refuse(src, dst)
    if found.is_file:
        return dst, Plan([Item(src.path, dst.path, found)])
    if not found.is_folder:
        raise UsageError(f"{src} is neither a file nor a folder: only those are moved.")
    plan = Plan()
    _list(source, Folder(src.path, dst.path, found), plan)
    hidden = getattr(source, "hidden", 0)
    if hidden:
        raise UsageError(
            f"{src}: {hidden} keys below it have names that no file system can hold ('..', empty, "
            "NUL, over 255 bytes): rename them with the store's own tools; nothing was copied."
        )
    return dst, plan


def _is_folder(back: Source, path: str) -> bool:
    try:
        return back.stat(path).is_folder
    except OSError:
        return False


def _list(source: Source, top: Folder, plan: Plan) -> None:
    """Everything below a folder, before anything is written: what is copied is not found again."""
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        plan.folders.append(folder)
        try:
            entries = source.list(folder.source)
        except OSError as error:
            raise BackendError(
                f"{source.name}:{folder.source}: cannot be listed: {_why(error)}."
            ) from None
        for entry in entries:
            path, there = (f"{at}/{entry.name}".lstrip("/")
                           for at in (folder.source, folder.target))  # fmt: skip
            if entry.stat is None:
                continue  # it vanished
            if entry.stat.is_folder:
                waiting.append(Folder(path, there, entry.stat))
            elif entry.stat.is_file:
                plan.items.append(Item(path, there, entry.stat))
            else:
                plan.skipped.append(path)
    plan.folders.sort(key=lambda one: -one.source.count("/") if one.source else 1)


def _make_folders(plan: Plan, dst: Place, target: Target) -> None:
    """Every folder of the destination, before its files: closed where the original is closed."""
    for folder in reversed(plan.folders):
        try:
            target.make_folder(folder.target, folder.stat)
        except OSError as error:
            raise BackendError(
                f"{dst.backend.name}:{folder.target}: the folder cannot be made: {_why(error)}."
            ) from None


def _each(
    plan: Plan, workers: int, work: Callable[[Item], None], watch: Callable[[Progress], None]
) -> None:
    """Do it for every file, `workers` at a time. Raises the failures when all have ended."""
    progress, failed = Progress(len(plan.items), plan.size_bytes), []
    lock, stop = threading.Lock(), threading.Event()

    def once(item: Item) -> None:
        if stop.is_set():
            return
        try:
            work(item)
        except (OSError, WarpdriveError) as error:
            failed.append((item.source, error))
            return
        with lock:
            progress.files_done += 1
            progress.bytes_done += item.stat.size_bytes
            watch(progress)

    with futures.ThreadPoolExecutor(workers) as pool:
        try:
            for done in futures.as_completed([pool.submit(once, item) for item in plan.items]):
                done.result()
        finally:
            stop.set()  # Ctrl+C: what has begun is finished, nothing new begins
    if failed:
        named = [f"{path}: {_why(error)}" for path, error in sorted(failed, key=lambda f: f[0])]
        raise BackendError(
            f"{len(failed)} of {len(plan.items)} files failed: {_named(named)}. "
            "Nothing is deleted; run it again to go on."
        )
    progress.done = True
    watch(progress)


def _copied(source: Source, back: Source, target: Target, item: Item) -> None:
    """Copy a file unless it is there, and compare what is there with the original."""
    reader = source.open(item.source)
    try:
        if reader.stat.version != item.stat.version:
            raise BackendError("it changed while it was listed")
        digest = hashlib.sha256()
        try:
            target.write(item.target, _parts(reader, digest), reader.stat)
        except FileExistsError:
            if overlap.same_file(source, back, item):
                raise BackendError(f"{item.target} is the same file") from None
            digest = hashlib.sha256()
            for _ in _parts(reader, digest):
                pass
    finally:
        reader.close()
    _compare(back, item, digest.hexdigest())
    if source.stat(item.source).version != item.stat.version:
        raise BackendError("it changed while it was copied")


def _parts(reader: Any, digest: Any) -> Iterator[bytes]:
    offset, size = 0, reader.stat.size_bytes
    while offset < size:
        part = reader.read(offset, min(CHUNK_BYTES, size - offset))
        if not part:
            raise BackendError(f"it ends at byte {offset} instead of {size}")
        digest.update(part)
        offset += len(part)
        yield part


def _compare(back: Source, item: Item, expected: str) -> None:
    there = back.open(item.target)
    try:
        if there.stat.size_bytes != item.stat.size_bytes:
            raise BackendError(
                f"{item.target} is there with {there.stat.size_bytes} bytes instead of "
                f"{item.stat.size_bytes}: remove it or choose another name"
            )
        digest = hashlib.sha256()
        for _ in _parts(there, digest):
            pass
    finally:
        there.close()
    if digest.hexdigest() != expected:
        raise BackendError(
            f"{item.target} is there with another content: remove it or choose another name"
        )


def _delete(src: Place, source: Source, plan: Plan, workers: int) -> None:
    """Delete what was verified, unless it changed since; then the folders that are empty."""
    with closing(open_target(src.backend)) as origin:

        def once(item: Item) -> None:
            if source.stat(item.source).version != item.stat.version:
                raise BackendError("it changed after it was copied and stays")
            origin.remove(item.source)

        _each(plan, workers, once, lambda _: None)
        for folder in plan.folders:
            if folder.source:
                origin.remove_folder(folder.source)


def _why(error: BaseException) -> str:
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(told).rstrip(".")


def _named(texts: list[str]) -> str:
    more = f"; and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
    return "; ".join(texts[:MAX_NAMED]) + more
