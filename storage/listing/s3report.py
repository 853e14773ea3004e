"""S3 Inventory: CSV, Parquet and ORC.

A report is a folder with `manifest.json`. Every data file must match the MD5 that the manifest
names, and the manifest its `manifest.checksum`; copies of reports often leave that one behind,
and with every MD5 right it adds nothing. Only latest versions that are no delete marker are files.
`files[].key` resolves against the bucket, on disk against the nearest folder above that has it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator

import pyarrow as pa

from storage.backendconfig import Backend, Inventory
from storage.errors import BackendError
from storage.listing.columns import batch
from storage.listing.reportfiles import (
    Report,
    checked_manifest,
    columns,
    damaged,
    data_file,
    instants,
    paths,
    sizes,
    tables,
    text,
    without,
)  # fmt: skip

MANIFEST = "manifest.json"


def finished(name: str, _names: set[str]) -> bool:
    """Whether a manifest tells of a finished report: S3 writes it last but for its checksum."""
    return name.rpartition("/")[2] == MANIFEST


def report(name: str, data: bytes) -> Report:
    """A report from its manifest. Raises BackendError where that is none."""
    try:
        manifest = json.loads(data)
        created = int(manifest["creationTimestamp"]) / 1000
        return Report(name, dt.datetime.fromtimestamp(created, dt.UTC), manifest)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BackendError(f"inventory manifest {name}: not an S3 manifest: {error!r}.") from None


def is_of(backend: Backend, found: Report) -> bool:
    """Whether a report is of the backend's bucket; not known where either does not say."""
    told, ours = found.manifest.get("sourceBucket"), backend.options.get("bucket")
    return not told or not ours or told == ours


def wanted(backend: Backend) -> str:
    """What the reports should be of."""
    return f"bucket '{backend.options.get('bucket')}'"


def rows(_backend: Backend, inventory: Inventory, found: Report) -> Iterator[pa.RecordBatch]:
    """The files of a report, in the columns LISTED."""
    checked_manifest(inventory, found, found.name.removesuffix(".json") + ".checksum")
    kind = str(found.manifest.get("fileFormat")).upper()
    header = None
    if kind == "CSV":
        header = [name.strip() for name in str(found.manifest.get("fileSchema")).split(",")]
    for key, expected in _data_files(found):
        data = data_file(inventory.location, found.name, key)
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != expected:
            raise damaged(found.name, f"{key} does not match its MD5checksum")
        for part in tables(found.name, kind, data, header):
            yield _listed(found.name, part, encoded=kind == "CSV")


def _data_files(found: Report) -> list[tuple[str, str]]:
    try:
        return [(str(e["key"]), str(e["MD5checksum"])) for e in found.manifest["files"]]
    except (LookupError, TypeError) as error:
        raise BackendError(f"inventory {found.name}: not an S3 manifest: {error!r}.") from None


def _listed(name: str, part: pa.RecordBatch, *, encoded: bool) -> pa.RecordBatch:
    try:
        live = without(without(part, "islatest", "false"), "isdeletemarker", "true")
        column = columns(live)
        return batch(
            {
                "path": paths(column["key"], encoded=encoded),
                "size_bytes": sizes(column.get("size"), live.num_rows),
                "etag": text(column.get("etag")),
                "modified_at": instants(column.get("lastmodifieddate")),
                "tier": text(column.get("storageclass")),
            },
            live.num_rows,
        )
    except (pa.ArrowException, LookupError, ValueError) as error:
        raise damaged(name, f"it cannot be read ({error!r})") from None
