"""Between the declared tables and what a Delta log says: schemas, files, actions, predicates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import polars as pl
from deltalake import ColumnProperties, DeltaTable, Schema, WriterProperties
from deltalake.transaction import AddAction, RemoveAction

from lake.parts import Part, now_ms
from lake.schemas import Table
from lake.sql import quoted

Where = Mapping[str, str | int | Sequence[str]]


class Handle(DeltaTable):
    """A table whose files polars finds in a local folder of any name."""

    def file_uris(self, *args: Any, **kwargs: Any) -> list[str]:
        """As deltalake's, whose local ones name the table's folder as URLs do: `my%20lake`."""
        found = super().file_uris(*args, **kwargs)
        folder = self.table_uri.removeprefix("file://")
        plain = folder if folder == self.table_uri else unquote(folder)
        return found if plain == folder else [plain + u.removeprefix(folder) for u in found]


def delta_schema(table: Table) -> Schema:
    """The declared columns as Delta names them."""
    return Schema.from_arrow(table.schema)  # pyright: ignore[reportArgumentType]


def lacking(handle: DeltaTable, table: Table) -> set[str]:
    """Columns that were declared after the table was made."""
    return {*table.schema} - {each.name for each in handle.schema().fields}


def widened(rows: pl.DataFrame, handle: DeltaTable) -> pl.DataFrame:
    """The rows with nulls in the columns of a table that newer code has made wider."""
    if len(handle.schema().fields) == rows.width:
        return rows
    known = pl.scan_delta(handle).collect_schema()
    return rows.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in known.items() if name not in rows.columns
    )


def parts_of(uri: str, table: Table, handle: DeltaTable) -> list[Part]:
    """The files of a handle's version, with the bounds of their columns."""
    rows = pl.DataFrame(handle.get_add_actions(flatten=True)).to_dicts()
    return [_part(uri, table, row) for row in rows]


def _part(uri: str, table: Table, row: dict[str, Any]) -> Part:
    names = [name for name in table.schema if name not in table.partition_by]
    path = unquote(row["path"])  # the log has it percent-encoded; actions take it as it is
    return Part(
        uri=f"{uri}/{path}",
        path=path,
        size_bytes=row["size_bytes"],
        rows=row["num_records"],
        partition={name: str(row[f"partition.{name}"]) for name in table.partition_by},
        stats="",
        least={name: row.get(f"min.{name}") for name in names},
        most={name: row.get(f"max.{name}") for name in names},
    )


def add_action(part: Part) -> AddAction:
    """The log's entry that adds a file."""
    return AddAction(
        path=part.path, size=part.size_bytes,
        partition_values=dict(part.partition), modification_time=now_ms(), data_change=True,
        stats=part.stats,
    )  # fmt: skip


def remove_action(part: Part) -> RemoveAction:
    """The log's entry that removes a file."""
    return RemoveAction(
        path=part.path, data_change=True, deletion_timestamp=now_ms(), size=part.size_bytes,
        partition_values=dict(part.partition),
    )  # fmt: skip


def sql(where: Where) -> str:
    """The predicate `column = value and …`; a list of values becomes IN."""
    return " and ".join(f"{name} {_operand(value)}" for name, value in where.items())


def _operand(value: str | int | Sequence[str]) -> str:
    if isinstance(value, int):
        return f"= {value}"
    if isinstance(value, str):
        return f"= {quoted(value)}"
    return f"in ({', '.join(quoted(item) for item in value)})"


def properties(table: Table) -> WriterProperties:
    """How a table's Parquet files are written."""
    by_path = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BYTE_ARRAY")
    return WriterProperties(
        compression="ZSTD",
        compression_level=table.zstd_level,
        max_row_group_size=131_072,
        column_properties={"path": by_path} if table.path_sorted else None,
    )
