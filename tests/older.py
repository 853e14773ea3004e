"""A lake as code that knew fewer columns would have left it."""

import json
from pathlib import Path
from urllib.parse import unquote

import polars as pl

STATISTICS = ("minValues", "maxValues", "nullCount")


def make_older(root, columns):
    """Take `columns` ({table: names}) out of every table: files, statistics and schema.

    The log keeps its versions and application transactions, as an older writer would have them.
    """
    for name, gone in columns.items():
        table = Path(root) / name
        if table.is_dir():
            _narrow(table, set(gone))


def _narrow(table, gone):
    assert not list((table / "_delta_log").glob("*.parquet")), "a checkpoint keeps the schema"
    narrowed = set()
    for log in sorted((table / "_delta_log").glob("*.json")):
        actions = [json.loads(line) for line in log.read_text().splitlines()]
        for action in actions:
            if "metaData" in action:
                schema = json.loads(action["metaData"]["schemaString"])
                schema["fields"] = [f for f in schema["fields"] if f["name"] not in gone]
                action["metaData"]["schemaString"] = json.dumps(schema)
            elif "add" in action:
                _narrow_file(table, action["add"], gone, narrowed)
        log.write_text("".join(json.dumps(action) + "\n" for action in actions))


def _narrow_file(table, add, gone, narrowed):
    file = table / unquote(add["path"])
    if file.exists() and file not in narrowed:
        rows = pl.read_parquet(file, hive_partitioning=False)
        rows.drop(gone, strict=False).write_parquet(file)
        narrowed.add(file)
    if file.exists():
        add["size"] = file.stat().st_size
    if add.get("stats"):
        told = json.loads(add["stats"])
        for kind in STATISTICS:
            told[kind] = {n: v for n, v in told.get(kind, {}).items() if n not in gone}
        add["stats"] = json.dumps(told)
