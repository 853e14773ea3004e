"""Files of an inventory report: found, read as Arrow batches, keys made paths."""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, orc, parquet

from storage.backendconfig import Inventory
from storage.errors import BackendError
from storage.listing.arrays import strings
from storage.listing.arrow import call, integers, texts
from storage.objectstore import get, open_store
from storage.paths import path_text

_PARENTS = 6
_ROWS = 131_072
Columns = dict[str, pa.Array]


@dataclass(frozen=True)
class Report:
    """One inventory report: its name (the manifest's path) and its snapshot instant."""

    name: str
    snapshot_at: dt.datetime
    manifest: dict[str, Any]


def damaged(report: str, why: str) -> BackendError:
    """The error of a report that is not used."""
    return BackendError(f"inventory {report}: {why}: the report is not used.")


def checked_manifest(inventory: Inventory, report: Report, checksum: str) -> bool:
    """Whether the checksum file is there; raises BackendError where it does not match."""
    store = open_store(inventory.location, create=False)
    try:
        told = get(store, checksum).decode("ascii", "replace").strip().strip('"')
    except FileNotFoundError:
        return False
    if hashlib.md5(get(store, report.name), usedforsecurity=False).hexdigest() != told.lower():
        raise damaged(report.name, f"the manifest does not match {checksum.rpartition('/')[2]}")
    return True


def data_file(location: str, report: str, key: str) -> bytes:
    """A data file by its key: in the location, else in a folder above it."""
    place = location.rstrip("/")
    for _ in range(_PARENTS):
        try:
            return get(open_store(place, create=False), key)
        except FileNotFoundError:
            place = place.rpartition("/")[0]
            if not place or place.endswith(("/", ":")):
                break
    raise damaged(report, f"its data file {key} is not there")


def tables(
    report: str, kind: str, data: bytes, header: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """The rows of a data file; column names in small letters without - and _.

    `kind`: CSV, PARQUET or ORC. `header`: columns of a CSV that does not name them itself.
    """
    try:
        for rows in _READERS[kind](data, header):
            names = [name.replace("_", "").replace("-", "").lower() for name in rows.schema.names]
            yield rows.rename_columns(names)
    except KeyError:
        raise damaged(report, f"its format '{kind}' is not known") from None
    except (pa.ArrowException, OSError, EOFError, LookupError, ValueError, zlib.error) as error:
        raise damaged(report, f"it cannot be read ({error!r})") from None


def _csv(data: bytes, header: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    if not data.strip():
        return
    names = list(header) if header else next(_csv_lines(data))
    yield from csv.open_csv(
        pa.BufferReader(data),
        read_options=csv.ReadOptions(column_names=list(header) if header else None),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=True,
            null_values=[""], quoted_strings_can_be_null=True,
        ),
    )  # fmt: skip


def _csv_lines(data: bytes) -> Iterator[list[str]]:
    first = data[: data.find(b"\n") + 1] or data
    yield [name.strip().strip('"') for name in first.decode("utf-8-sig").strip().split(",")]


def _parquet(data: bytes, _header: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    file = parquet.ParquetFile(pa.BufferReader(data))
    unread = {"bucket", "replication_status", "encryption_status", "object_access_control_list"}
    names = [name for name in file.schema_arrow.names if name not in unread]
    yield from file.iter_batches(_ROWS, columns=names, use_threads=False)


def _orc(data: bytes, _header: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    file = orc.ORCFile(io.BytesIO(data))
    for stripe in range(file.nstripes):
        yield file.read_stripe(stripe)


_READERS = {"CSV": _csv, "PARQUET": _parquet, "ORC": _orc}


def columns(rows: pa.RecordBatch) -> Columns:
    """The columns of a batch by name."""
    return dict(zip(rows.schema.names, rows.columns, strict=True))


def without(rows: pa.RecordBatch, name: str, unwanted: str) -> pa.RecordBatch:
    """The rows whose column `name` (where there is one) does not say `unwanted` (true or false)."""
    if name not in rows.schema.names:
        return rows
    said = rows[rows.schema.names.index(name)]
    if pa.types.is_boolean(said.type):
        drop = said if unwanted == "true" else call("invert", said)
        return rows.filter(call("or_kleene", call("is_null", drop), call("invert", drop)))
    one = pc.SetLookupOptions(texts([unwanted]), skip_nulls=True)
    small = call("utf8_lower", said.cast(pa.string()))
    return rows.filter(call("invert", call("is_in", small, options=one)))


def paths(keys: pa.Array, *, encoded: bool) -> pa.Array:
    """Keys as text, the way of `storage.paths`; `encoded`: URL-encoded, with + for a space."""
    raw = keys.cast(pa.binary())
    if encoded:
        raw = _decoded(raw)
    escape = pc.MatchSubstringOptions("\\")
    if not call("any", call("match_substring", raw, options=escape)).as_py():
        with contextlib.suppress(pa.ArrowInvalid):  # not UTF-8: one by one, below
            return raw.cast(pa.string())
    return texts([path_text(key) for key in raw.to_pylist()])


def _decoded(raw: pa.Array) -> pa.Array:
    signs = pc.MatchSubstringOptions("[%+]")
    found = call("match_substring_regex", raw, options=signs)
    coded = call("and_kleene", found, call("is_valid", raw))
    where = call("indices_nonzero", coded)
    if not len(where):
        return raw
    plain = [unquote_to_bytes(key.replace(b"+", b" ")) for key in raw.take(where).to_pylist()]
    return call("replace_with_mask", raw, coded, strings(plain).view(pa.binary()))


def sizes(values: pa.Array | None, count: int) -> pa.Array:
    """Sizes in bytes; a missing one is 0. Raises ArrowInvalid for what is no number."""
    if values is None:
        return integers(np.zeros(count))
    number = values if pa.types.is_integer(values.type) else values.cast(pa.string())
    found = number.cast(pa.int64())
    if not found.null_count:
        return found
    return call("coalesce", found, integers(np.zeros(count)))


def instants(values: pa.Array | None) -> pa.Array | None:
    """Instants in UTC microseconds, from texts (RFC 3339) or timestamps."""
    if values is None:
        return None
    if not pa.types.is_timestamp(values.type):
        return values.cast(pa.string()).cast(pa.timestamp("us", "UTC"))
    return values.cast(pa.timestamp("us", "UTC"), safe=False)


def text(values: pa.Array | None) -> pa.Array | None:
    """A text column, quotes around values taken away."""
    if values is None:
        return None
    plain = values.cast(pa.string())
    quoted = pc.MatchSubstringOptions('"')
    if not call("any", call("match_substring", plain, options=quoted)).as_py():
        return plain
    return call("utf8_trim", plain, options=pc.TrimOptions(characters='"'))
