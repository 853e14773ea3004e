"""How every table is presented as an asset: layer, owner, columns, where each column comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from lake.schemas import Table
from pipelines.defs.columns import column_schema

OWNERS = ("team:storage-platform",)
Origins = Mapping[str, Sequence[tuple[Table, str]]]
"""Of a column: the (table, column) pairs that it is computed from."""


def spec(
    table: Table, layer: str, description: str, deps: Sequence[Table | str] = ()
) -> dg.AssetSpec:
    """The asset of a table in a layer, which is its group in the UI."""
    return dg.AssetSpec(
        table.name,
        group_name=layer,
        kinds={"deltalake", "polars"},
        owners=list(OWNERS),
        tags={"layer": layer},
        description=f"{description}\n\nOne row: {table.doc}.",
        deps=[dg.AssetDep(dep if isinstance(dep, str) else dep.name) for dep in deps],
        metadata=column_schema(table),
    )


def lineage(origins: Origins) -> dict[str, Any]:
    """Metadata of a materialization: which columns each column comes from."""
    deps = {
        column: [dg.TableColumnDep(asset_key=table.name, column_name=name) for table, name in pairs]
        for column, pairs in origins.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)} if deps else {}
