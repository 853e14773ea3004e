"""The declared tables as Dagster metadata."""

from __future__ import annotations

from typing import Any

import dagster as dg

from lake.schemas import Table


def column_schema(table: Table) -> dict[str, Any]:
    """Columns with types and meanings, for the asset's page."""
    columns = [
        dg.TableColumn(
            column.name,
            type=str(column.dtype),
            description=column.doc,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in table.columns
    ]
    return {"dagster/column_schema": dg.TableSchema(columns=columns)}
