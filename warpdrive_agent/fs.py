# pyright: reportIncompatibleMethodOverride=false
# pyfuse3 types handlers as plain coroutines that answer `bytes`; wrapped ones and a memoryview
# are as good.
"""The FUSE shell over the agent. Only this module and mount.py import pyfuse3 and trio.

Rules: a handler fails with an errno, never with another exception, which would kill the mount.
A read that needs no waiting has no `await` before its answer: its bytes lie in a shared buffer.
What may wait runs in a thread.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat as modes
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, StatvfsData

from storage.backends import Stat
from storage.paths import path_bytes, path_text
from warpdrive_agent.agent import Agent
from warpdrive_agent.handle import Handle
from warpdrive_agent.namespace import Namespace, Node

T = TypeVar("T")
Handler = Callable[..., Awaitable[T]]
NAME_BYTES = 255
FILES_BIG = 2**32
WAITING_READS = 128
log = logging.getLogger("warpdrive.mount")


def guarded(handler: Handler[T]) -> Handler[T]:
    """Turn every failure of a handler into an errno."""
    name = handler.__name__

    async def timed(fs: WarpdriveFS, *args: Any) -> T:
        begin = time.perf_counter()
        try:
            return await handler(fs, *args)
        finally:
            fs.metrics.fuse_operation(name).observe(time.perf_counter() - begin)

    @functools.wraps(handler)
    async def run(*args: Any) -> T:
        try:
            return await timed(*args)
        except FUSEError:
            raise
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None
        except Exception:
            log.exception("%s failed", name)
            raise FUSEError(errno.EIO) from None

    return run


@dataclass
class OpenFolder:
    """A folder that a program lists, and what was found in it."""

    node: Node
    ctx: Any
    entries: list[tuple[bytes, Node, Stat]]
    told: bool = False


class WarpdriveFS(pyfuse3.Operations):
    """Handlers of one read-only mount."""

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(self, agent: Agent, *, level: str, remote_seconds: float) -> None:
        super().__init__()
        self.metrics = agent.metrics
        self._agent = agent
        self._reads = agent.metrics.fuse_operation("read")
        self._names = Namespace(agent.config.backends)
        self._direct = level == "exact"
        self._keeps_cache = level == "fast"
        self._remote_seconds = remote_seconds
        self._born_ns = time.time_ns()
        self._files: dict[int, Handle] = {}
        self._opened: dict[int, Node] = {}
        self._folders: dict[int, OpenFolder] = {}
        self._next_handle = 1
        self._waiting = trio.CapacityLimiter(WAITING_READS)

    def finish(self) -> None:
        """The mount is over: record what programs still had open."""
        for handle in self._files.values():
            handle.close()
        self._files.clear()

    # ---- names and attributes

    @guarded
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> EntryAttributes:
        """Find a name in a folder."""
        parent = self._node(parent_inode)
        if name in (b".", b".."):
            raise FUSEError(errno.ENOENT)
        if len(name) > NAME_BYTES:
            raise FUSEError(errno.ENAMETOOLONG)
        node = self._names.child(parent, name, path_text(name))
        if node is None:
            raise FUSEError(errno.ENOENT)
        stat = await self._stat(node, ctx)
        node = self._names.child(parent, name, path_text(name)) or node  # others came meanwhile
        node = self._names.current(node, stat.identity)
        return self._attributes(node, stat, self._names.keep(node))

    @guarded
    async def getattr(self, inode: int, ctx: Any) -> EntryAttributes:
        """What is known of an inode."""
        node = self._node(inode)
        stat = await (self._stat_open(node, ctx) if node.handles else self._stat(node, ctx))
        return self._attributes(node, stat, inode)

    @guarded
    async def readlink(self, inode: int, ctx: Any) -> bytes:
        """The target of a symlink, as the backend has it: the kernel follows it."""
        del ctx
        node = self._node(inode)
        source = self._source(node)
        return path_bytes(await self._may_wait(source.slow, source.readlink, node.path))

    async def forget(self, inode_list: Any) -> None:
        """The kernel let go of inodes."""
        for inode, lookups in inode_list:
            self._names.forget(inode, lookups)

    # ---- files

    @guarded
    async def open(self, inode: int, flags: int, ctx: Any) -> FileInfo:
        """Open for reading."""
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_CREAT):
            raise FUSEError(errno.EROFS)
        node = self._node(inode)
        source = self._source(node)
        handle = await self._may_wait(
            source.slow, self._agent.open, node.backend, node.path, ctx.uid, ctx.pid
        )
        if self._names.current(node, handle.opened.stat.identity) is not node:
            handle.close(used=False)
            raise FUSEError(errno.ESTALE)  # the kernel looks the name up again and comes back
        version = handle.opened.stat.version
        keep, known = self._keeps_cache and node.version == version, node.version
        node.version = version
        number = self._number()
        self._files[number] = handle
        self._opened[number] = node
        node.handles = node.handles or {}
        node.handles[number] = handle
        if known not in ("", version):  # the kernel may still believe in the old size
            try:
                await trio.to_thread.run_sync(pyfuse3.invalidate_inode, inode, True)
            except BaseException:
                self._close(number)
                raise
        return FileInfo(fh=number, direct_io=self._direct, keep_cache=keep)

    async def read(self, fh: int, off: int, size: int) -> bytes | memoryview:
        """Bytes of an open file, fewer than asked only at its end."""
        try:
            handle = self._files[fh]
            data = handle.ready(off, size)
            if data is not None:
                self._reads.observe(handle.took_ns * 1e-9)
                return data
            return await self._waited_read(handle, off, size)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from None
        except KeyError:
            raise FUSEError(errno.EBADF) from None
        except Exception:
            log.exception("read failed")
            raise FUSEError(errno.EIO) from None

    @guarded
    async def release(self, fh: int) -> None:
        """The last user of an open file closed it: its event is recorded."""
        self._close(fh)

    # ---- folders

    @guarded
    async def opendir(self, inode: int, ctx: Any) -> int:
        """List a folder once; `readdir` tells it in pieces."""
        node = self._node(inode)
        number = self._number()
        self._folders[number] = OpenFolder(node, ctx, await self._entries(node, ctx))
        return number

    async def _entries(self, node: Node, ctx: Any) -> list[tuple[bytes, Node, Stat]]:
        entries: dict[bytes, tuple[bytes, Node, Stat]] = {}
        if node.backend is not None:
            source = self._source(node)
            try:
                found = await self._may_wait(
                    source.slow, self._agent.list, node.backend, node.path, ctx.uid, ctx.pid
                )
            except FileNotFoundError:
                if node.place is None or not node.place.children:
                    raise
                found = []
            for entry in found:
                self._add(entries, node, path_bytes(entry.name), entry.stat)
        for name in node.place.children if node.place else ():
            child = self._names.child(node, name, path_text(name))
            if child is not None:
                self._add(entries, node, name, await self._stat_or_none(child, ctx))
        return list(entries.values())

    @guarded
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        """Tell the next entries of an open folder, with their attributes."""
        folder = self._folders[fh]
        if start_id == 0 and folder.told:  # rewinddir: from the front, as it is by now
            folder.entries = await self._entries(folder.node, folder.ctx)
        folder.told = True
        entries = folder.entries
        for index in range(start_id, len(entries)):
            name, node, stat = entries[index]
            node = self._names.child(self._node(node.parent), name, path_text(name)) or node
            node = self._names.current(node, stat.identity)
            attributes = self._attributes(node, stat, self._names.number(node))
            if not pyfuse3.readdir_reply(token, name, attributes, index + 1):
                return
            self._names.keep(node)

    @guarded
    async def releasedir(self, fh: int) -> None:
        """The folder was closed."""
        self._folders.pop(fh, None)

    # ---- the rest

    @guarded
    async def statfs(self, ctx: Any) -> StatvfsData:
        """Room: of the one local backend there is, else plenty and read-only."""
        del ctx
        found = StatvfsData()
        spaces = [source.space() for source in self._agent.sources.values()]
        for name in ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files",
                     "f_ffree", "f_favail"):  # fmt: skip
            big = 4096 if name.endswith("size") else FILES_BIG
            known = spaces[0] if len(spaces) == 1 else None
            setattr(found, name, big if known is None else getattr(known, name))
        found.f_namemax = NAME_BYTES
        return found

    @guarded
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        """One extended attribute, where the backend has it."""
        del ctx
        if not name.startswith(b"user."):
            raise FUSEError(pyfuse3.ENOATTR)
        found = (await self._xattrs(inode)).get(os.fsdecode(name))
        if found is None:
            raise FUSEError(pyfuse3.ENOATTR)
        return found

    @guarded
    async def listxattr(self, inode: int, ctx: Any) -> list[bytes]:
        """The names of the extended attributes."""
        del ctx
        return [os.fsencode(name) for name in await self._xattrs(inode)]

    # ---- helpers

    def _node(self, inode: int) -> Node:
        node = self._names.node(inode)
        if node is None:
            raise FUSEError(errno.ESTALE)
        return node

    def _source(self, node: Node) -> Any:
        if node.backend is None:
            raise FUSEError(errno.EINVAL)
        return self._agent.sources[node.backend]

    def _close(self, number: int) -> None:
        handle, node = self._files.pop(number, None), self._opened.pop(number, None)
        if node is not None and node.handles is not None:
            node.handles.pop(number, None)
        if handle is not None:
            handle.close()

    def _number(self) -> int:
        number, self._next_handle = self._next_handle, self._next_handle + 1
        return number

    async def _may_wait(self, slow: bool, call: Callable[..., T], *args: Any) -> T:
        if not slow:
            return call(*args)
        return await trio.to_thread.run_sync(call, *args, abandon_on_cancel=True)

    async def _waited_read(self, handle: Handle, offset: int, size: int) -> bytes:
        begin = time.perf_counter()
        data = await trio.to_thread.run_sync(
            handle.read, offset, size, abandon_on_cancel=True, limiter=self._waiting
        )
        self._reads.observe(time.perf_counter() - begin)
        return data

    async def _stat(self, node: Node, ctx: Any) -> Stat:
        if node.backend is not None:
            source = self._source(node)
            try:
                return await self._may_wait(
                    source.slow, self._agent.stat, node.backend, node.path, ctx.uid, ctx.pid
                )
            except FileNotFoundError:
                if node.place is None:
                    raise
        return Stat(modes.S_IFDIR | 0o555, 0, self._born_ns, os.getuid(), os.getgid(), "", links=2)

    async def _stat_open(self, node: Node, ctx: Any) -> Stat:
        handle = next(iter((node.handles or {}).values()))
        try:
            return await self._may_wait(
                self._source(node).slow, self._agent.stat_open, handle, ctx.uid, ctx.pid
            )
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return await self._stat(node, ctx)  # it was closed meanwhile

    async def _stat_or_none(self, node: Node, ctx: Any) -> Stat | None:
        try:
            return await self._stat(node, ctx)
        except OSError:
            return None

    def _add(self, entries: dict[bytes, Any], node: Node, name: bytes, stat: Stat | None) -> None:
        child = self._names.child(node, name, path_text(name))
        if stat is not None and child is not None:
            entries[name] = (name, child, stat)

    async def _xattrs(self, inode: int) -> dict[str, bytes]:
        node = self._node(inode)
        if node.backend is None:
            return {}
        source = self._source(node)
        return await self._may_wait(source.slow, source.xattrs, node.path)

    def _attributes(self, node: Node, stat: Stat, inode: int) -> EntryAttributes:
        found = EntryAttributes()
        found.st_ino = inode
        found.st_mode = stat.mode
        found.st_nlink = stat.links
        found.st_uid, found.st_gid = stat.uid, stat.gid
        found.st_size = stat.size_bytes
        found.st_blocks = -(-stat.size_bytes // 512) if stat.blocks < 0 else stat.blocks
        found.st_mtime_ns = stat.modified_ns
        found.st_ctime_ns = stat.changed_ns or stat.modified_ns
        found.st_atime_ns = stat.accessed_ns or stat.modified_ns
        source = self._agent.sources.get(node.backend or "")
        seconds = self._remote_seconds if source is None or source.slow else 1.0
        found.entry_timeout = found.attr_timeout = seconds
        return found


async def _read_only(*args: Any) -> Any:
    del args
    raise FUSEError(errno.EROFS)


for _mutation in ("setattr", "mknod", "mkdir", "unlink", "rmdir", "symlink", "rename", "link",
                  "write", "setxattr", "removexattr", "create"):  # fmt: skip
    setattr(WarpdriveFS, _mutation, _read_only)
