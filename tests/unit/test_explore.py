"""The sums to look around by are those of every row of the index, whatever is cut for memory."""

import datetime as dt

import duckdb
import polars as pl
import pytest

from lake import browse, explore
from lake.metrics.span import AGES, age_days, size_class
from lake.schemas import FILES, STALE_INDEX, STALE_ROLLUP
from lake.store import Lake

AT = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
PATHS = (
    "a/b/c/d/e.bin",
    "a/b/c/f.bin",
    "a/b",
    "top.txt",
    "a//x",
    "k/",
    "a/b/c/d/g.bin",
    "z/1/2/3/4",
)
COUNT = 4_000


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    made = [
        {
            "backend": ("one", "two")[n % 2], "path": f"{PATHS[n % 8]}{n // 200}", "file_id": n,
            "size_bytes": (n * 7919) % 5_000, "owner": f"u{n % 5}",
            "last_access_at": AT - dt.timedelta(hours=(n * 37) % 30_000), "evidence": "modified",
            "team": ("unassigned", "red", "blue")[n % 3], "last_modified_at": None,
            "owner_source": ("none", "writer", "rule")[n % 3],
        }
        for n in range(COUNT)
    ]  # fmt: skip
    index = pl.DataFrame(made, schema=STALE_INDEX.schema)
    return index.sort(["size_bytes", "backend", "path"], descending=[True, False, False])


@pytest.fixture(scope="module")
def lake(rows, tmp_path_factory) -> Lake:
    found = Lake(str(tmp_path_factory.mktemp("lake")))
    for part in (rows[:1500], rows[1500:]):  # two files, the larger sizes first
        found.append(STALE_INDEX, part)
    tiers = pl.when(pl.col("file_id") % 4 == 0).then(pl.lit("COLD"))
    names = [name for name in FILES.schema if name not in rows.columns]
    files = rows.with_columns(pl.lit(None).alias(name) for name in names).with_columns(
        tier=tiers, first_seen_at=pl.lit(AT), last_seen_at=pl.lit(AT)
    )
    found.append(FILES, files.select(pl.col(c.name).cast(c.dtype) for c in FILES.columns))
    rollup = rows.with_columns(age_days=age_days(AT), size_class=size_class()).group_by(
        "backend", "owner", "team", "age_days", "size_class"
    ).agg(files=pl.len().cast(pl.Int64), bytes=pl.col("size_bytes").sum())  # fmt: skip
    found.append(STALE_ROLLUP, rollup.select(STALE_ROLLUP.schema.names()))
    return found


def told(rows: pl.DataFrame, sql: str) -> list[tuple]:
    con = duckdb.connect()
    con.register("rows", rows.to_arrow())
    return con.execute(sql).fetchall()


def made(lake: Lake) -> dict[str, pl.DataFrame]:
    return explore.explored(lake, lake.version(STALE_INDEX), None)


@pytest.mark.parametrize("document", ["prefixes", "unassigned"])
def test_top_prefixes_are_those_of_sql(lake, rows, document):
    found = made(lake)[document]
    where = "where team = 'unassigned'" if document == "unassigned" else ""
    for depth in range(1, explore.DEPTH + 1):
        expected = told(
            rows,
            f"""
            with s as (select backend, array_to_string(string_split(path, '/')[1:{depth}], '/')
            as prefix, size_bytes from rows {where}), g as (select backend, prefix, count(*) as n,
            sum(size_bytes)::bigint as b from s group by all)
            select backend, prefix, n, b from g qualify row_number() over (partition by backend
            order by b desc, prefix) <= {explore.TOP}""",
        )
        ours = found.filter(pl.col("depth") == depth).drop("depth").rows()
        assert sorted(ours) == sorted(expected)


def test_evidence_and_tiers_add_up(lake, rows):
    found = made(lake)
    assert sorted(found["evidence"].rows()) == sorted(
        told(
            rows,
            """
        select backend, team, owner_source, count(*), sum(size_bytes)::bigint
        from rows group by all""",
        )
    )
    assert sorted(found["tiers"].rows()) == sorted(
        told(
            rows,
            """
        select backend, case when file_id % 4 = 0 then 'COLD' else 'not told' end, count(*),
        sum(size_bytes)::bigint from rows group by all""",
        )
    )


def test_where_memory_ends_shallow_prefixes_stay_exact(lake, monkeypatch):
    whole = made(lake)["prefixes"]
    monkeypatch.setattr(explore, "MAX_GROUPS", 200)
    cut = made(lake)
    depth = cut["explored"]["depth"].item()
    assert 1 <= depth < explore.DEPTH
    key = ["depth", "backend", "prefix"]
    assert cut["prefixes"].sort(key).equals(whole.filter(pl.col("depth") <= depth).sort(key))


@pytest.mark.parametrize("days", [0, 30, 45, 365, AGES[-1]])
@pytest.mark.parametrize("least", [0, 1, 1024, 1500])
@pytest.mark.parametrize("narrow", [{}, {"backend": "one"}, {"teams": ("red",)}, {"owner": "u1"}])
def test_totals_from_the_rollup_are_those_of_the_index(lake, days, least, narrow):
    asked = browse.Wanted(AT, days, least, **narrow)
    versions = lake.version(STALE_INDEX), lake.version(STALE_ROLLUP)
    quick = browse.totals(lake, versions[0], asked, versions[1])
    assert quick == browse.totals(lake, versions[0], asked)
    assert quick.files or days == AGES[-1] or narrow


@pytest.mark.parametrize("order", list(browse.ORDERS))
def test_pages_in_any_order_have_every_row_once(lake, rows, order):
    asked = browse.Wanted(AT, 30, 100, "one")
    column, descending = browse.ORDERS[order]
    expected = (
        rows.filter(asked.where)
        .sort([column, "backend", "path"], descending=[descending, False, False])["file_id"]
        .to_list()
    )
    found: list[int] = []
    after = None
    while (page := browse.page(lake, None, asked, order, 97, after)).height:
        found += page["file_id"].to_list()
        after = browse.end(page, order)
    assert found == expected
    assert len(found) > 500
