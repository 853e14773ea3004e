"""Inventory reports instead of LIST: S3 Inventory and Azure Blob Inventory, verified.

A location holds the reports of one inventory configuration. A report that is not complete is
never used; one that is not finished yet is left for a later crawl.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import obstore

from storage.backendconfig import Backend, Inventory
from storage.errors import BackendError, ConfigError
from storage.listing import azurereport, s3report
from storage.listing.columns import Listing
from storage.listing.reportfiles import Report
from storage.objectstore import first_line, get, listed, open_store

_FORMATS: dict[str, ModuleType] = {"s3": s3report, "azure": azurereport}


def reports(backend: Backend) -> list[Report]:
    """Every finished report of the backend, oldest first.

    Raises BackendError for a location that cannot be read, a manifest that cannot be parsed, or
    reports of which none is of this bucket; ConfigError for a format that is not supported.
    """
    inventory, kind = _of(backend)
    try:
        store = open_store(inventory.location, create=False)
        names = {o.name for o in listed(store)}
        manifests = sorted(name for name in names if name.endswith(kind.MANIFEST))
        found = [kind.report(n, get(store, n)) for n in manifests if kind.finished(n, names)]
    except (obstore.exceptions.BaseError, OSError) as error:
        raise BackendError(
            f"inventory {inventory.location}: cannot be read: {first_line(error)}."
        ) from None
    mine = [report for report in found if kind.is_of(backend, report)]
    if found and not mine:
        raise BackendError(
            f"inventory {inventory.location}: none of its {len(found)} reports is of "
            f"{kind.wanted(backend)}: name the folder of the right inventory."
        )
    return sorted(mine, key=lambda report: (report.snapshot_at, report.name))


def read_report(backend: Backend, report: Report) -> Listing:
    """The files of one report. Reading it raises BackendError where it is not whole."""
    inventory, kind = _of(backend)
    rows: Callable[..., object] = kind.rows
    return Listing(
        rows(backend, inventory, report),  # pyright: ignore[reportArgumentType]
        [], report.snapshot_at, "inventory", report.name,
    )  # fmt: skip


def _of(backend: Backend) -> tuple[Inventory, ModuleType]:
    inventory = backend.inventory
    assert inventory
    if inventory.format == "gcs":
        raise ConfigError(
            f"backend '{backend.name}': inventory format 'gcs' (Storage Insights) is not supported "
            "yet: take the inventory key away, and the bucket is listed."
        )
    return inventory, _FORMATS[inventory.format]
