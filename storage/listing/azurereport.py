"""Azure Blob Inventory: CSV and Parquet.

A report is used when its manifest says Succeeded, matches its checksum, covers the whole
container, and every data file has the size that it names and all together the rows that it counts.
`Name` is container/blob. Snapshots, older versions, deleted blobs and folders are no files.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from storage.backendconfig import Backend, Inventory
from storage.errors import BackendError
from storage.listing.arrow import call, texts
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

MANIFEST = "-manifest.json"
_NARROW = ("excludePrefix", "creationTime", "lastModified")


def finished(name: str, names: set[str]) -> bool:
    """Whether the run is done: the checksum of the manifest appears then."""
    return _checksum(name) in names


def _checksum(name: str) -> str:
    return name.removesuffix(".json") + ".checksum"


def report(name: str, data: bytes) -> Report:
    """A report from its manifest. Raises BackendError where that is none."""
    try:
        manifest = json.loads(data)
        started = dt.datetime.fromisoformat(manifest["inventoryStartTime"])
        if started.tzinfo is None:
            started = started.replace(tzinfo=dt.UTC)
        return Report(name, started.astimezone(dt.UTC), manifest)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise BackendError(
            f"inventory manifest {name}: not an Azure manifest: {error!r}."
        ) from None


def is_of(backend: Backend, found: Report) -> bool:
    """Whether a rule may cover the backend's container: no prefix, or one in it."""
    container = _container(backend)
    prefixes = _filters(found).get("prefixMatch") or []
    return not prefixes or any(str(p).partition("/")[0] == container for p in prefixes)


def wanted(backend: Backend) -> str:
    """What the reports should be of."""
    return f"container '{_container(backend)}'"


def _container(backend: Backend) -> str:
    return str(backend.options.get("container", ""))


def _filters(found: Report) -> dict[str, Any]:
    rule = found.manifest.get("ruleDefinition")
    filters = rule.get("filters") if isinstance(rule, dict) else None
    return filters if isinstance(filters, dict) else {}


def rows(backend: Backend, inventory: Inventory, found: Report) -> Iterator[pa.RecordBatch]:
    """The files of a report, in the columns LISTED."""
    _check_whole(backend, inventory, found)
    count, mine = 0, 0
    kind = str(found.manifest["ruleDefinition"].get("format", "")).upper()
    for blob, size in _data_files(found):
        data = data_file(inventory.location, found.name, blob)
        if len(data) != size:
            raise damaged(found.name, f"{blob} has {len(data)} bytes of {size}")
        for part in tables(found.name, kind, data, None):
            count += part.num_rows
            listed = _listed(found.name, part, f"{_container(backend)}/")
            mine += listed.num_rows
            yield listed
    told = found.manifest.get("summary", {}).get("objectCount")
    if told != count:
        raise damaged(found.name, f"it has {count} of the {told} rows that its manifest counts")


def _check_whole(backend: Backend, inventory: Inventory, found: Report) -> None:
    status = found.manifest.get("status")
    if status != "Succeeded":
        raise damaged(found.name, f"its status is '{status}'")
    if not checked_manifest(inventory, found, _checksum(found.name)):
        raise damaged(found.name, "its checksum is not there")
    rule = found.manifest.get("ruleDefinition")
    if not isinstance(rule, dict) or str(rule.get("objectType", "blob")).lower() != "blob":
        raise damaged(found.name, "its rule is not one of blobs")
    if not isinstance(found.manifest.get("summary"), dict):
        raise damaged(found.name, "its manifest counts no rows")
    filters = _filters(found)
    whole = {_container(backend), f"{_container(backend)}/"}
    prefixes = filters.get("prefixMatch") or []
    narrow = [name for name in _NARROW if filters.get(name)]
    if narrow or (prefixes and not whole & set(map(str, prefixes))):
        raise damaged(
            found.name,
            f"its rule leaves out a part of container '{_container(backend)}' "
            f"({', '.join(narrow) or 'prefixMatch'})",
        )


def _data_files(found: Report) -> list[tuple[str, int]]:
    try:
        return [(str(e["blob"]), int(e["size"])) for e in found.manifest["files"]]
    except (LookupError, TypeError, ValueError) as error:
        raise BackendError(f"inventory {found.name}: not an Azure manifest: {error!r}.") from None


def _listed(name: str, part: pa.RecordBatch, container: str) -> pa.RecordBatch:
    try:
        live = without(part, "iscurrentversion", "false")
        live = without(without(live, "deleted", "true"), "hdiisfolder", "true")
        live = _without_snapshots(live)
        live = live.filter(
            call("starts_with", columns(live)["name"].cast(pa.binary()),
                 options=pc.MatchSubstringOptions(container))
        )  # fmt: skip
        column = columns(live)
        head = pc.ReplaceSliceOptions(0, len(container.encode()), "")
        keys = call("binary_replace_slice", column["name"].cast(pa.binary()), options=head)
        return batch(
            {
                "path": paths(keys, encoded=False),
                "size_bytes": sizes(column.get("contentlength"), live.num_rows),
                "etag": text(column.get("etag")),
                "modified_at": instants(column.get("lastmodified")),
                "native_access_at": instants(column.get("lastaccesstime")),
                "owner": text(column.get("owner")),
                "tier": text(column.get("accesstier")),
            },
            live.num_rows,
        )
    except (pa.ArrowException, LookupError, ValueError) as error:
        raise damaged(name, f"it cannot be read ({error!r})") from None


def _without_snapshots(rows: pa.RecordBatch) -> pa.RecordBatch:
    """A snapshot is named by its instant; the blob itself has none."""
    if "snapshot" not in rows.schema.names:
        return rows
    said = rows[rows.schema.names.index("snapshot")]
    if pa.types.is_string(said.type) or pa.types.is_binary(said.type):
        none = pc.SetLookupOptions(texts([""]), skip_nulls=True)
        empty = call("is_in", said.cast(pa.string()), options=none)
        return rows.filter(call("or", call("is_null", said), empty))
    return rows.filter(call("is_null", said))
