"""The objects of one page of ListObjectsV2, as columns.

Objects of a page nearly always say the same fields in the same order. Then the places of every
`<` are a table, one row an object, and a field is the text between two of its columns: what is
done for each object is done by numpy. Other pages are searched field by field.
"""

from __future__ import annotations

import html
import re
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa

from storage.listing.arrays import etags, strings
from storage.listing.arrow import Numbers, integers, texts

FIELDS = (b"Key", b"LastModified", b"ETag", b"Size", b"StorageClass", b"DisplayName", b"ID")
_PATTERNS = {name: re.compile(rb"<%s>([^<]*)</" % name) for name in FIELDS}
_FIRST, _LAST = b"<Contents>", b"</Contents>"
_OPEN, _CLOSE = b"<>"
_INSTANT = pa.timestamp("us", "UTC")


class Objects:
    """The objects of a page: keys and fields, in the order of the page."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        first = body.find(_FIRST)
        self._empty = first < 0
        self._bytes = np.frombuffer(body, np.uint8)[first : body.rfind(_LAST) + len(_LAST)]
        self._names: list[bytes] = []
        self._opens = None if self._empty else self._alike(body[first : body.find(_LAST, first)])

    def _alike(self, entry: bytes) -> Numbers | None:
        """Where the tags of each object begin, a row each; None where one is unlike the first."""
        names = [part.partition(b">")[0] for part in entry.split(b"<")[1:]] + [_LAST[1:-1]]
        opens = np.flatnonzero(self._bytes == _OPEN)
        if not len(opens) or len(opens) % len(names):
            return None
        opens = opens.reshape(-1, len(names))
        ends = opens + np.array([len(name) + 1 for name in names])
        if ends.max() >= len(self._bytes) or (self._bytes[ends] != _CLOSE).any():
            return None
        # No two fields are as long and have these in common: `<` and three letters, or `<ID>`.
        heads = np.ndarray(len(self._bytes) - 3, np.uint32, self._bytes, 0, (1,))[opens]
        if (heads != heads[0]).any():
            return None
        self._names = names
        return opens

    def _places(self, field: bytes) -> tuple[Numbers, Numbers] | None:
        """Where the texts of a field begin and end; None where they have to be searched."""
        if self._opens is None or self._names.count(field) != 1:
            return None
        place = self._names.index(field)
        return self._opens[:, place] + len(field) + 2, self._opens[:, place + 1]

    def _between(self, begins: Numbers, ends: Numbers) -> Numbers:
        """Those texts, one behind the other."""
        lengths = ends - begins
        length = int(lengths[0])
        if length and (lengths == length).all():
            every = (len(self._bytes) - length + 1, length)
            return np.ndarray(every, np.uint8, self._bytes, 0, (1, 1))[begins].reshape(-1)
        before = np.cumsum(lengths)
        where = np.repeat(begins - before + lengths, lengths)
        where += np.arange(before[-1])
        return self._bytes[where]

    def keys(self) -> list[bytes]:
        """Every key exactly as it is."""
        if self._empty:
            return []
        found = self._places(b"Key")
        if found is None:
            return decoded(self._body, _PATTERNS[b"Key"].findall(self._body))
        begins, ends = found  # with the `<` behind each key, which no text has
        return _decoded(self._body, self._between(begins, ends + 1)[:-1].tobytes())

    def texts(self, field: bytes) -> pa.Array:
        """One field; null where an object has none."""
        found = self._places(field)
        return self._searched(field) if found is None else self._array(*found)

    def etags(self) -> pa.Array:
        """Etags without their quotes, which are escaped or not."""
        found = self._places(b"ETag")
        if found is not None:
            begins, ends = found
            for mark in (b"&quot;", b'"'):
                inner = begins + len(mark), ends - len(mark)
                if (inner[0] <= inner[1]).all() and self._all(begins, mark, inner[1]):
                    return self._array(*inner)
        return etags(self.texts(b"ETag"))

    def sizes(self) -> pa.Array:
        """Int64."""
        found = self._places(b"Size")
        if found is None:
            return self._searched(b"Size").cast(pa.int64())
        each = self._between(found[0], found[1] + 1)[:-1].tobytes().split(b"<")
        return integers(np.array([*map(int, each)], np.int64))

    def modified(self) -> pa.Array:
        """Instants, in UTC microseconds."""
        found = self._places(b"LastModified")
        if found is not None:
            begins, ends = found
            length = int(ends[0] - begins[0]) - 1
            alike = length > 0 and bool((ends - begins == length + 1).all())
            if alike and (self._bytes[ends - 1] == ord("Z")).all():
                each = self._between(begins, ends - 1).view(f"S{length}")
                whole = integers(each.astype("datetime64[us]").view(np.int64)).buffers()
                return pa.Array.from_buffers(_INSTANT, len(begins), whole)
        return self.texts(b"LastModified").cast(_INSTANT)

    def _all(self, begins: Numbers, mark: bytes, others: Numbers) -> bool:
        """Whether all of these places have a mark."""
        wanted = np.frombuffer(mark, np.uint8)
        rows = (self._between(at, at + len(mark)).reshape(-1, len(mark)) for at in (begins, others))
        return all(bool((found == wanted).all()) for found in rows)

    def _array(self, begins: Numbers, ends: Numbers) -> pa.Array:
        offsets = np.zeros(len(begins) + 1, np.int32)
        np.cumsum(ends - begins, out=offsets[1:])
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._between(begins, ends))]
        return pa.Array.from_buffers(pa.string(), len(begins), buffers)

    def _searched(self, field: bytes) -> pa.Array:
        entries = self._body.split(_FIRST)[1:]
        found = _PATTERNS[field].findall(self._body)
        if len(found) == len(entries):
            return strings(found)
        each = map(_PATTERNS[field].search, entries)
        return texts([m and m[1].decode() for m in each])


def decoded(body: bytes, keys: list[bytes]) -> list[bytes]:
    """Keys of a page as they are."""
    return _decoded(body, b"<".join(keys)) if keys else []


def _decoded(body: bytes, joined: bytes) -> list[bytes]:
    """Keys with a `<` between each two: decoded all at once unless one has a new line."""
    if b"<EncodingType>url" not in body:
        return [html.unescape(each.decode()).encode() for each in joined.split(b"<")]
    joined = joined.replace(b"<", b"\n").replace(b"%2F", b"/").replace(b"+", b" ")
    if b"&" in joined:  # an & of a key comes as %26, but Ceph escapes ' for XML only
        joined = html.unescape(joined.decode()).encode()
    if b"%0A" in joined:
        return [unquote_to_bytes(each) for each in joined.split(b"\n")]
    return (unquote_to_bytes(joined) if b"%" in joined else joined).split(b"\n")
