r"""The landing zone: names of its objects and the wire format of events.

One line of JSON per event. The first ten keys are the Go version's and always there (`error`
only when it is not empty); the rest is left out when it has its default.

Object names are `dt=YYYY-MM-DD/hour=HH/node=N/<rest>`, where the hour is that of sealing and N is
percent-encoded. `<rest>` is `<boot>-<first seq>-<last seq>.jsonl.zst` for an agent's segment (a
batch that came by HTTP under a key has a boot of twice the length) and
`<sha256>-<start>-<end>.jsonl.zst` under the node `@import` for an imported file: the bytes
`[start, end)` of a log whose first `end` bytes have that sha256.
"""

from __future__ import annotations

import datetime as dt
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

import msgspec
import zstandard

from storage.units import MAX_BYTES

IMPORT_NODE = "@import"
SUFFIXES = (".jsonl.zst", ".jsonl.gz", ".jsonl", ".json", ".json.gz", ".json.zst")
ZSTD_LEVEL = 3
MAX_ZSTD_WINDOW_BYTES = 8 * 1024**2
_STEP_BYTES = 4096
_SEGMENT = re.compile(r"([0-9a-f]{16}(?:[0-9a-f]{16})?)-(\d+)-(\d+)\.jsonl\.zst", re.ASCII)
_IMPORT = re.compile(r"([0-9a-f]{64})-(\d+)-(\d+)\.jsonl\.zst", re.ASCII)
_FOLDERS = re.compile(
    r"(?:.*/)?dt=(\d{4}-\d{2}-\d{2})/hour=(\d{2})/(?:node=([^/]*)/)?([^/]+)", re.ASCII
)


class Event(msgspec.Struct, omit_defaults=True, gc=False):
    """One access, or the fold of several by one open handle, as it travels."""

    ts: dt.datetime
    """The last operation folded, UTC."""
    user: str
    """The name if known, else `uid:<n>`; `unknown` only without a uid."""
    backend: str
    path: str
    """Relative to the backend, no leading `/`; bytes that are not UTF-8 as `\\xNN`."""
    op: str
    """read, write, stat, list, or agent for the agent's own heartbeats."""
    bytes_read: int
    cache_hit: bool
    """No byte of it was fetched from the backend."""
    node: str
    latency_ms: float
    """The mean per operation folded."""
    error: str = ""
    """The errno name of a failed operation."""
    bytes_written: int = 0
    count: int = 1
    """Operations folded into this event."""
    weight: float = 1.0
    """1 / sampling rate."""
    ts_open: dt.datetime | None = None
    uid: int | None = None
    job: str = ""
    pod: str = ""
    seq: int | None = None
    boot: str = ""
    bytes_hit: int = 0
    bytes_miss: int = 0
    kernel_cached: bool = False
    """An open and release that the kernel's page cache served."""
    size: int | None = None
    """Size of the file in bytes when it was opened."""
    backends: list[str] | None = None
    """Only op agent: the backends this node mounts."""
    drops: int | None = None
    """Only op agent: events lost on this node since the recorder started."""


_ENCODER = msgspec.json.Encoder()


def encode(events: Sequence[Event]) -> bytes:
    """JSON lines, one event each, every line ended. Keeps the GIL: pass at most 2,000."""
    return _ENCODER.encode_lines(events)


@dataclass(frozen=True)
class Landed:
    """What the name of a landed object says. Sequence numbers and offsets are inclusive-first."""

    name: str
    hour: str
    """`YYYY-MM-DDTHH` of sealing (UTC); empty where the name does not tell."""
    node: str
    boot: str = ""
    first: int | None = None
    last: int | None = None
    """Last sequence number, or the end offset of an import."""
    prefix_sha256: str = ""
    """Only imports: sha256 of the log's first `last` bytes."""


def hour_of(at: dt.datetime) -> str:
    """The landing hour of an instant, `YYYY-MM-DDTHH` UTC."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H")


def hour_start(hour: str) -> dt.datetime:
    """The instant at which a landing hour starts. Raises ValueError."""
    return dt.datetime.strptime(hour, "%Y-%m-%dT%H").replace(tzinfo=dt.UTC)


def folder_of(hour: str) -> str:
    """The folder of a landing hour, `dt=…/hour=…`."""
    day, _, clock = hour.partition("T")
    return f"dt={day}/hour={clock}"


def segment_name(hour: str, node: str, boot: str, first: int, last: int) -> str:
    """The object name of an agent's segment of events `first` to `last`."""
    return f"{folder_of(hour)}/node={quote(node, safe='')}/{boot}-{first}-{last}.jsonl.zst"


def import_name(hour: str, sha256: str, start: int, end: int) -> str:
    """The object name of the bytes `[start, end)` of a log; `sha256` is of its first `end`."""
    node = quote(IMPORT_NODE, safe="")
    return f"{folder_of(hour)}/node={node}/{sha256}-{start}-{end}.jsonl.zst"


def parse_name(name: str) -> Landed | None:
    """What an object's name says, or None if it is no event object."""
    if not name.endswith(SUFFIXES) or name.rsplit("/", 1)[-1].startswith("."):
        return None
    folders = _FOLDERS.fullmatch(name)
    if folders is None:
        return Landed(name, "", "")
    day, clock, node, rest = folders.groups()
    hour = _checked_hour(f"{day}T{clock}")
    node = unquote(node or "")
    if node == IMPORT_NODE and (part := _IMPORT.fullmatch(rest)):
        boot, sha256, first, last = "", *part.groups()
    elif segment := _SEGMENT.fullmatch(rest):
        (boot, first, last), sha256 = segment.groups(), ""
    else:
        return Landed(name, hour, node)
    if not int(first) <= int(last) <= MAX_BYTES:  # no range, or one that no column holds
        return Landed(name, hour, node)
    return Landed(name, hour, node, boot, int(first), int(last), sha256)


def _checked_hour(hour: str) -> str:
    try:
        hour_start(hour)
    except ValueError:
        return ""
    return hour


def compress(chunks: Iterable[bytes]) -> bytes:
    """One zstd frame over all chunks; the same chunks give the same bytes."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
    return b"".join([*map(compressor.compress, chunks), compressor.flush()])


def decompress(name: str, data: bytes, max_bytes: int) -> bytes:
    """The JSON lines of a landed object. Raises ValueError if damaged or over `max_bytes`."""
    return b"".join(unpacked(name, [data], max_bytes))


def unpacked(name: str, chunks: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """The JSON lines of a landed object, piece by piece.

    Raises ValueError if it is damaged or holds more than `max_bytes`.
    """
    pieces = chunks
    if name.endswith(".zst"):
        pieces = unzstd(_small(chunks))
    elif name.endswith(".gz"):
        pieces = _ungzip(_small(chunks))
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise ValueError(f"more than {max_bytes} bytes uncompressed")
        yield piece


def _small(chunks: Iterable[bytes]) -> Iterator[bytes]:
    # What a packed chunk unpacks to is bounded by its length only.
    for chunk in chunks:
        for at in range(0, len(chunk), _STEP_BYTES):
            yield chunk[at : at + _STEP_BYTES]


def unzstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of zstd frames. Raises ValueError if damaged or cut short.

    Pass small chunks: what comes of one is bounded by its length only.
    """
    # zstandard's own stream readers take a frame that is cut short for the end of the data.
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
    frame = decompressor.decompressobj()
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                frame = decompressor.decompressobj() if frame.eof else frame
                yield frame.decompress(rest)
                rest = frame.unused_data
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged zstd: {error}") from None
    if not frame.eof:
        raise ValueError("damaged zstd: ends before its end")


def _ungzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    begun = False
    for chunk in chunks:
        rest = chunk
        while rest:
            member = zlib.decompressobj(wbits=31) if member.eof else member
            begun = True
            try:
                yield member.decompress(rest)
            except zlib.error as error:
                raise ValueError(f"damaged gzip: {error}") from None
            rest = member.unused_data
    if not begun:
        raise ValueError("damaged gzip: it is empty")
    if not member.eof:
        raise ValueError("damaged gzip: ends before its end")
