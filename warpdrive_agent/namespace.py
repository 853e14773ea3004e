"""One tree over all backends, and the inodes by which the kernel knows its nodes.

A backend is mounted at its `mount_path`; the longest one wins. Folders between the root and a
mount path exist only here; where another backend lies below them, both are shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from storage.config import Backend
from warpdrive_agent.handle import Handle

ROOT = 1


@dataclass
class Place:
    """A folder on the way to a mount path, the mount path included."""

    children: dict[bytes, Place] = field(default_factory=dict)
    backend: str | None = None


class Node:
    """Something the kernel knows: a path of a backend, a place of the tree, or both."""

    __slots__ = ("backend", "handles", "ino", "lookups", "name", "parent", "path", "place",
                 "version")  # fmt: skip

    def __init__(self, parent: int, name: bytes, backend: str | None, path: str) -> None:
        self.ino = 0
        self.parent = parent
        self.name = name
        self.backend = backend
        self.path = path
        self.place: Place | None = None
        self.lookups = 0
        self.handles: dict[int, Handle] | None = None
        """Who has it open; all of them the same file, whatever is at the path by now."""
        self.version = ""
        """The version whose bytes the kernel may still have in its page cache."""


class Namespace:
    """Nodes by inode number. Not thread-safe: it belongs to the mount's loop."""

    def __init__(self, backends: Iterable[Backend]) -> None:
        self._tree = _tree(backends)
        self._next = ROOT + 1
        self._names: dict[tuple[int, bytes], Node] = {}
        root = Node(0, b"", self._tree.backend, "")
        root.ino, root.place, root.lookups = ROOT, self._tree, 1
        self._nodes = {ROOT: root}

    def node(self, ino: int) -> Node | None:
        """The node of an inode number the kernel was given."""
        return self._nodes.get(ino)

    def child(self, parent: Node, name: bytes, text: str) -> Node | None:
        """The node called `name` in a folder (`text` is its text), or None if there can be none.

        It is not counted as known to the kernel before `keep`.
        """
        known = self._names.get((parent.ino, name))
        if known is not None:
            return known
        place = parent.place.children.get(name) if parent.place else None
        if place is not None and place.backend is not None:
            found = Node(parent.ino, name, place.backend, "")
        elif parent.backend is not None:
            path = f"{parent.path}/{text}" if parent.path else text
            found = Node(parent.ino, name, parent.backend, path)
        elif place is not None:
            found = Node(parent.ino, name, None, "")
        else:
            return None
        found.place = place
        return found

    def keep(self, node: Node) -> int:
        """Count one more reference by the kernel; the inode number."""
        if not node.ino:
            node.ino, self._next = self._next, self._next + 1
            self._nodes[node.ino] = node
            self._names[node.parent, node.name] = node
        node.lookups += 1
        return node.ino

    def current(self, node: Node, identity: str) -> Node:
        """The node of a name that has been found to be the file of that `identity`.

        A node that programs have open stays theirs: where the name is another file's by now, it
        gets a node of its own, so that neither sees the pages or the size of the other.
        """
        opened = next(iter(node.handles.values())).opened.stat.identity if node.handles else ""
        if opened in ("", identity):
            return node
        self.detach(node)
        found = Node(node.parent, node.name, node.backend, node.path)
        found.place = node.place
        return found

    def detach(self, node: Node) -> None:
        """Take a node's name away: it lives on for those who have it open."""
        if self._names.get((node.parent, node.name)) is node:
            del self._names[node.parent, node.name]

    def number(self, node: Node) -> int:
        """The inode number a node has, or will have if it is kept next."""
        return node.ino or self._next

    def forget(self, ino: int, lookups: int) -> None:
        """The kernel let go of that many references."""
        node = self._nodes.get(ino)
        if node is None or ino == ROOT:
            return
        node.lookups -= lookups
        if node.lookups <= 0:
            del self._nodes[ino]
            self.detach(node)

    def __len__(self) -> int:
        return len(self._nodes)


def _tree(backends: Iterable[Backend]) -> Place:
    root = Place()
    for backend in backends:
        place = root
        for part in backend.mount_path.strip("/").split("/"):
            if part:
                place = place.children.setdefault(part.encode(), Place())
        place.backend = backend.name
    return root
