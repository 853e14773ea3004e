"""The declared tables as Dagster metadata."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from lake.schemas import Table

TYPES: dict[type[pl.DataType], str] = {
    pl.String: "text", pl.Int64: "integer", pl.Float64: "number", pl.Boolean: "true or false",
    pl.Date: "UTC day", pl.Datetime: "UTC instant (µs)", pl.List: "list of texts",
}  # fmt: skip


def column_schema(table: Table) -> dict[str, Any]:
    """Columns with types and meanings, for the asset's page."""
    columns = [
        dg.TableColumn(
            column.name,
            type=TYPES.get(type(column.dtype), str(column.dtype)),
            description=column.doc,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}
