"""S3 Inventory reports instead of LIST: CSV, Parquet and ORC, manifest and checksums verified.

A report is a folder with `manifest.json`. Only the latest versions that are no delete marker are
files. `files[].key` resolves against the bucket, on disk against the nearest folder above that
has it.
"""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import obstore
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, orc, parquet

from storage.config import Inventory
from storage.errors import BackendError, ConfigError
from storage.listing.columns import Listing, batch
from storage.objectstore import first_line, get, listed, open_store
from storage.paths import path_text

MANIFEST = "manifest.json"
_PARENTS = 6


@dataclass(frozen=True)
class Report:
    """One inventory report: its name (the manifest's path) and its snapshot instant."""

    name: str
    snapshot_at: dt.datetime
    manifest: dict[str, Any]


def reports(inventory: Inventory) -> list[Report]:
    """Every report at the location, oldest first.

    Raises BackendError for a location that cannot be read or a manifest that cannot be parsed,
    ConfigError for a format that is not supported.
    """
    if inventory.format != "s3":
        raise ConfigError(f"inventory format '{inventory.format}' is not supported yet: use s3.")
    try:
        store = open_store(inventory.location, create=False)
        names = [o.name for o in listed(store) if o.name.endswith(f"/{MANIFEST}")]
        found = [_report(name, get(store, name)) for name in names]
    except (obstore.exceptions.BaseError, OSError) as error:
        raise BackendError(
            f"inventory {inventory.location}: cannot be read: {first_line(error)}."
        ) from None
    return sorted(found, key=lambda report: (report.snapshot_at, report.name))


def _report(name: str, data: bytes) -> Report:
    try:
        manifest = json.loads(data)
        created = int(manifest["creationTimestamp"]) / 1000
        return Report(name, dt.datetime.fromtimestamp(created, dt.UTC), manifest)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BackendError(f"inventory manifest {name}: not an S3 manifest: {error!r}.") from None


def read_report(inventory: Inventory, report: Report) -> Listing:
    """The files of one report. Reading it raises BackendError where it is not whole."""
    return Listing(_batches(inventory, report), [], report.snapshot_at, "inventory", report.name)


def _batches(inventory: Inventory, report: Report) -> Iterator[pa.RecordBatch]:
    _verify_manifest(inventory, report)
    for key, expected in _data_files(report):
        data = _data_file(inventory.location, report.name, key)
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != expected:
            raise BackendError(
                f"inventory {report.name}: {key} does not match its MD5checksum: "
                "the report is not used."
            )
        yield from _rows(report, data)


def _data_files(report: Report) -> list[tuple[str, str]]:
    try:
        return [(str(e["key"]), str(e["MD5checksum"])) for e in report.manifest["files"]]
    except (LookupError, TypeError) as error:
        raise BackendError(f"inventory {report.name}: not an S3 manifest: {error!r}.") from None


def _verify_manifest(inventory: Inventory, report: Report) -> None:
    store = open_store(inventory.location, create=False)
    try:
        expected = get(store, report.name.removesuffix(".json") + ".checksum").decode().strip()
    except FileNotFoundError:
        return
    actual = hashlib.md5(get(store, report.name), usedforsecurity=False).hexdigest()
    if actual != expected:
        raise BackendError(f"inventory {report.name}: does not match manifest.checksum: not used.")


def _data_file(location: str, report: str, key: str) -> bytes:
    """A data file by its key: in the location, else in a folder above it."""
    place = location.rstrip("/")
    for _ in range(_PARENTS):
        try:
            return get(open_store(place, create=False), key)
        except FileNotFoundError:
            place = place.rpartition("/")[0]
            if not place or place.endswith(("/", ":")):
                break
    raise BackendError(f"inventory {report}: its data file {key} is not there: not used.")


def _rows(report: Report, data: bytes) -> Iterator[pa.RecordBatch]:
    try:
        kind = str(report.manifest["fileFormat"]).upper()
        if kind == "CSV":
            schema = [name.strip() for name in str(report.manifest["fileSchema"]).split(",")]
            yield from (_csv_batch(table) for table in _csv(data, schema))
        elif kind == "PARQUET":
            yield from (_typed_batch(t) for t in _tables(parquet.read_table(io.BytesIO(data))))
        elif kind == "ORC":
            yield from (_typed_batch(t) for t in _tables(orc.read_table(io.BytesIO(data))))
        else:
            raise BackendError(f"inventory {report.name}: fileFormat '{kind}' is not known.")
    except (pa.ArrowException, OSError, EOFError, LookupError, ValueError, zlib.error) as error:
        raise BackendError(f"inventory {report.name}: cannot be read: {error!r}.") from None


def _csv(data: bytes, schema: list[str]) -> Iterable[pa.RecordBatch]:
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    if not data.strip():
        return []
    text = dict.fromkeys(schema, pa.string())
    return csv.open_csv(
        io.BytesIO(data),
        read_options=csv.ReadOptions(column_names=schema),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=text, strings_can_be_null=True, null_values=[""]
        ),
    )


def _tables(table: pa.Table) -> list[pa.RecordBatch]:
    return table.to_batches()


def _csv_batch(rows: pa.RecordBatch) -> pa.RecordBatch:
    rows = _latest(rows)
    column = dict(zip(rows.schema.names, rows.columns, strict=True))
    at = column.get("LastModifiedDate")
    return batch(
        {
            "path": _decoded(column["Key"]),
            "size_bytes": _or_zero(column.get("Size"), rows.num_rows),
            "etag": column.get("ETag"),
            "modified_at": None if at is None else _instants(at),
            "tier": column.get("StorageClass"),
        },
        rows.num_rows,
    )


def _typed_batch(rows: pa.RecordBatch) -> pa.RecordBatch:
    names = {name.replace("_", "").lower(): name for name in rows.schema.names}
    rows = rows.rename_columns([name.replace("_", "").lower() for name in names.values()])
    rows = _latest(rows)
    column = dict(zip(rows.schema.names, rows.columns, strict=True))
    at = column.get("lastmodifieddate")
    return batch(
        {
            "path": [path_text(key) for key in column["key"].cast(pa.binary()).to_pylist()],
            "size_bytes": _or_zero(column.get("size"), rows.num_rows),
            "etag": _text(column.get("etag")),
            "modified_at": None if at is None else at.cast(pa.timestamp("us", "UTC")),
            "tier": _text(column.get("storageclass")),
        },
        rows.num_rows,
    )


def _latest(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Without older versions and delete markers, where the report has them."""
    for name, unwanted in (("islatest", "false"), ("isdeletemarker", "true")):
        for column in rows.schema.names:
            if column.lower() == name:
                values = pc.call_function("utf8_lower", [rows[column].cast(pa.string())])
                wanted = pc.call_function("not_equal", [pc.fill_null(values, ""), unwanted])
                rows = rows.filter(wanted)
    return rows


def _decoded(keys: pa.Array) -> list[str]:
    """Keys of a CSV report are URL-encoded, with + for a space."""
    return [
        path_text(unquote_to_bytes(key.replace("+", " "))) if "%" in key or "+" in key
        else path_text(key)
        for key in keys.to_pylist()
    ]  # fmt: skip


def _or_zero(sizes: Any, count: int) -> Any:
    if sizes is None:
        return [0] * count
    return pc.fill_null(pc.cast(sizes, pa.int64()), 0)


def _instants(texts: Any) -> Any:
    return [dt.datetime.fromisoformat(t) if t else None for t in texts.to_pylist()]


def _text(values: Any) -> Any:
    return None if values is None else values.cast(pa.string())
