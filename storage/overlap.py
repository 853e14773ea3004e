"""Whether the two ends of a move are one place: it would delete what it has just copied."""

from __future__ import annotations

import os
import secrets
import stat as modes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.backends import Stat
from storage.errors import UsageError
from storage.options import url_of
from storage.paths import path_bytes

if TYPE_CHECKING:
    from storage.backends import Source
    from storage.config import Backend
    from storage.moving import Item, Place
    from storage.targets import Target

ENDPOINTS = ("endpoint_url", "endpoint", "account", "host")


def refuse(src: Place, dst: Place) -> None:
    """Raise UsageError where `dst` is `src` or lies in it, by name, by symlink or by inode."""
    here, there = local_path(src), local_path(dst)
    if here is not None and there is not None:
        own = _inode(here)
        nested = own is not None and own in [_inode(path) for path in (there, *there.parents)]
        if nested or _within(str(there), str(here)):
            raise _refusal(src, dst)
    elif _service(src.backend) == _service(dst.backend) and _within(_key(dst), _key(src)):
        raise _refusal(src, dst)


def refuse_alias(src: Place, dst: Place, source: Source, target: Target) -> None:
    """Raise UsageError where two addresses lead to one bucket: a probe is seen through both.

    Only asked where keys and bucket are alike and the endpoints are not; the probe goes again.
    """
    mine, theirs = _service(src.backend), _service(dst.backend)
    alike = (mine[0], mine[1]) == (theirs[0], theirs[1]) and mine != theirs
    if not alike or local_path(src) is not None or not _within(_key(dst), _key(src)):
        return
    roots = [_root_key(place.backend) for place in (src, dst)]
    probe = f"{max(roots, key=len)}/.warpdrive-move-{secrets.token_hex(16)}".lstrip("/")
    seen_as, written_as = (probe.removeprefix(root).lstrip("/") for root in roots)
    target.write(written_as, iter([b"x"]), Stat(modes.S_IFREG | 0o600, 1, 0, 0, 0, ""))
    try:
        source.stat(seen_as)
    except OSError:
        return
    finally:
        target.remove(written_as)
    raise _refusal(src, dst)


def same_file(source: Any, back: Any, item: Item) -> bool:
    """Whether a local source and destination are one inode: a hard link, a bind mount."""
    if not (source.local and back.local):
        return False
    mine, theirs = (
        _inode(Path(os.fsdecode(os.path.join(os.fsencode(end.root), path_bytes(path)))))
        for end, path in ((source, item.source), (back, item.target))
    )
    return mine is not None and mine == theirs


def local_path(place: Place) -> Path | None:
    """The real path of a place on this machine, symlinks resolved; None for one elsewhere."""
    scheme, mark, rest = url_of(place.backend).partition("://")
    if mark and scheme not in ("file", "local"):
        return None
    root = rest if mark else scheme
    return Path(
        os.path.realpath(os.fsdecode(os.path.join(os.fsencode(root), path_bytes(place.path))))
    )


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _within(inner: str, outer: str) -> bool:
    return f"{inner.strip('/')}/".startswith(f"{outer.strip('/')}/".lstrip("/"))


def _service(backend: Backend) -> tuple[str, str, tuple[str, ...]]:
    """Scheme, bucket and endpoint."""
    scheme, _, rest = url_of(backend).partition("://")
    ends = tuple(backend.options.get(key, "").rstrip("/") for key in ENDPOINTS)
    return scheme, rest.partition("/")[0], ends


def _root_key(backend: Backend) -> str:
    return url_of(backend).partition("://")[2].partition("/")[2].strip("/")


def _key(place: Place) -> str:
    return f"{_root_key(place.backend)}/{place.path}".strip("/")


def _refusal(src: Place, dst: Place) -> UsageError:
    return UsageError(
        f"{dst} is {src} itself, or lies in it: nothing is moved onto itself. "
        "Name another destination."
    )
