"""Inventory reports: what is taken, what is never taken, and in which order."""

import csv
import datetime as dt
import gzip
import hashlib
import io
import json

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import orc, parquet

from lake.schemas import FILES
from pipelines.crawl import CrawlOptions, crawl, latest_listings
from storage.backendconfig import Auth, Backend, Inventory

DAY = dt.timedelta(days=1)
START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
AT = "2026-09-01T10:00:00.000Z"


def md5(data):
    return hashlib.md5(data).hexdigest()


def index(home):
    rows = home.lake.scan(FILES).sort("path").collect()
    return dict(rows.select("path", "size_bytes").iter_rows())


def as_csv(rows, header):
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    if header:
        writer.writerow(rows[0])
    writer.writerows(row.values() for row in rows)
    return out.getvalue().encode()


def as_table(rows):
    """Texts, and instants as such where a column is one of time."""
    names = rows[0]
    columns = {name: [row[name] for row in rows] for name in names}
    ends = ("_date", "-Modified", "Time")
    times = [name for name in names if name.endswith(ends)]
    for name in times:
        columns[name] = [None if not v else dt.datetime.fromisoformat(v) for v in columns[name]]
    for name in ("size", "Content-Length"):
        if name in columns:
            columns[name] = [None if v == "" else int(v) for v in columns[name]]
    types = {name: pa.timestamp("ms", "UTC") for name in times}
    return pa.table({n: pa.array(v, types.get(n)) for n, v in columns.items()})


class S3:
    """S3 Inventory of one bucket on local disk."""

    def __init__(self, home):
        self.home = home
        self.folder = home.folder / "inv"
        self.backend = Backend(
            "inv", "s3", "/inv", {"bucket": "data"}, Auth(), Inventory("s3", str(self.folder)),
            None, None, 0o640,
        )  # fmt: skip

    def add(self, day, rows, kind="CSV", checksum=True, **manifest):
        at = START + day * DAY
        place = self.folder / f"{at:%Y-%m-%dT%H-%MZ}"
        place.mkdir(parents=True)
        if kind == "CSV":
            data = gzip.compress(as_csv(rows, header=False))
        else:
            out = io.BytesIO()
            table = as_table(rows)
            (parquet.write_table if kind == "Parquet" else orc.write_table)(table, out)
            data = out.getvalue()
        (place / "data").write_bytes(data)
        entry = {"key": f"inv/{place.name}/data", "size": len(data), "MD5checksum": md5(data)}
        told = {
            "sourceBucket": "data", "creationTimestamp": str(int(at.timestamp() * 1000)),
            "fileFormat": kind, "fileSchema": ", ".join(rows[0]),
            "files": [entry],
        } | manifest  # fmt: skip
        text = json.dumps(told).encode()
        (place / "manifest.json").write_bytes(text)
        if checksum:
            (place / "manifest.checksum").write_text(md5(text) + "\n")
        return place

    def take(self, **how):
        return crawl(self.home.lake, self.backend, CrawlOptions(START + 100 * DAY, **how))


class Azure(S3):
    """Azure Blob Inventory of one container on local disk."""

    def __init__(self, home):
        self.home = home
        self.folder = home.folder / "azure"
        self.backend = Backend(
            "az", "azureblob", "/az", {"account": "acc", "container": "data"}, Auth(),
            Inventory("azure", str(self.folder)), None, None, 0o640,
        )  # fmt: skip

    def add(self, day, rows, kind="Csv", checksum=True, rule=None, **manifest):
        at = START + day * DAY
        place = self.folder / f"{at:%Y/%m/%d/%H-%M-%S}" / "daily"
        place.mkdir(parents=True)
        if kind == "Csv":
            data = as_csv(rows, header=True)
        else:
            out = io.BytesIO()
            parquet.write_table(as_table(rows), out)
            data = out.getvalue()
        blob = f"{place.relative_to(self.folder)}/daily_1000000_0.{kind.lower()}"
        (self.folder / blob).write_bytes(data)
        told = {
            "destinationContainer": "inventory", "endpoint": "https://acc.blob.core.windows.net",
            "files": [{"blob": blob, "size": len(data)}],
            "inventoryStartTime": at.isoformat().replace("+00:00", "Z"),
            "inventoryCompletionTime": (at + dt.timedelta(hours=1)).isoformat(),
            "ruleDefinition": {"filters": {"blobTypes": ["blockBlob"]}, "format": kind,
                               "objectType": "blob", "schedule": "Daily", **(rule or {})},
            "ruleName": "daily", "status": "Succeeded", "version": "1.0",
            "summary": {"objectCount": len(rows), "totalObjectSize": 1},
        } | manifest  # fmt: skip
        text = json.dumps(told).encode()
        (place / "daily-manifest.json").write_bytes(text)
        if checksum:
            (place / "daily-manifest.checksum").write_text(md5(text))
        return place


@pytest.fixture
def s3(home):
    return S3(home)


@pytest.fixture
def azure(home):
    return Azure(home)


def row(key, size: object = 1, **more):
    return {"bucket": "data", "key": key, "size": str(size), "last_modified_date": AT,
            "e_tag": f"e{size}", "storage_class": "GLACIER", **more}  # fmt: skip


def blob(name, size: object = 1, **more):
    return {"Name": name, "Last-Modified": AT, "Etag": f'"0x{size}"', "Content-Length": str(size),
            "AccessTier": "Cool", **more}  # fmt: skip


@pytest.mark.parametrize("kind", ["CSV", "Parquet", "ORC"])
def test_every_column_of_an_s3_report_arrives(s3, kind):
    """Size, etag, time, class; versions that are not the latest and delete markers are no files."""
    s3.add(0, [
        row("a b/ü", 7, is_latest="true", is_delete_marker="false") if kind != "CSV"
        else row("a+b/%C3%BC", 7, is_latest="true", is_delete_marker="false"),
        row("old", 8, is_latest="false", is_delete_marker="false"),
        row("gone", 0, is_latest="true", is_delete_marker="true"),
    ], kind)  # fmt: skip
    assert s3.take().error == ""
    rows = s3.home.lake.scan(FILES).collect()
    assert rows.select("path", "size_bytes", "etag", "tier", "modified_at").rows() == [
        ("a b/ü", 7, "e7", "GLACIER", dt.datetime(2026, 9, 1, 10, tzinfo=dt.UTC))
    ]


@pytest.mark.parametrize("kind", ["Csv", "Parquet"])
def test_every_column_of_an_azure_report_arrives(azure, kind):
    """Tier, owner and last access too; snapshots, versions, deleted blobs, folders are no files."""
    more = {"LastAccessTime": "2026-09-20T08:00:00Z", "Owner": "anna", "Snapshot": "",
            "IsCurrentVersion": "", "Deleted": "", "hdi_isfolder": ""}  # fmt: skip
    azure.add(0, [
        blob("data/a%20b/ü", 7, **more),
        blob("data/snap", 8, **more | {"Snapshot": "2026-09-01T00:00:00.0000000Z"}),
        blob("data/v1", 8, **more | {"IsCurrentVersion": "false"}),
        blob("data/v2", 9, **more | {"IsCurrentVersion": "true"}),
        blob("data/gone", 8, **more | {"Deleted": "true"}),
        blob("data/folder", 0, **more | {"hdi_isfolder": "true"}),
        blob("other/x", 8, **more),
        blob("data2/x", 8, **more),
    ], kind)  # fmt: skip
    assert azure.take().error == ""
    rows = azure.home.lake.scan(FILES).sort("path").collect()
    assert rows.select("path", "size_bytes", "etag", "tier", "owner").rows() == [
        ("a%20b/ü", 7, "0x7", "Cool", "anna"), ("v2", 9, "0x9", "Cool", "anna"),
    ]  # fmt: skip
    seen = dt.datetime(2026, 9, 20, 8, tzinfo=dt.UTC)
    assert rows["native_access_at"].to_list() == [seen, seen]
    assert rows["modified_at"].to_list() == [dt.datetime(2026, 9, 1, 10, tzinfo=dt.UTC)] * 2


def break_checksum(place):
    for file in place.glob("*manifest.checksum"):
        file.write_text("0" * 32)


def cut_data(place):
    file = next(f for f in place.iterdir() if "manifest" not in f.name)
    file.write_bytes(file.read_bytes()[:-1])


def lose_data(place):
    next(f for f in place.iterdir() if "manifest" not in f.name).unlink()


def cut_manifest(place):
    file = next(place.glob("*manifest.json"))
    file.write_bytes(file.read_bytes()[:-20])


DAMAGE = [break_checksum, cut_data, lose_data]


@pytest.mark.parametrize("kind", ["s3", "azure"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_a_damaged_report_is_named_and_not_used(home, kind, damage):
    """One line, the report's name, nothing of it in the index."""
    reports = S3(home) if kind == "s3" else Azure(home)
    make = row if kind == "s3" else lambda key: blob(f"data/{key}")
    reports.add(0, [make("a")])
    damage(reports.add(1, [make("b"), make("c")]))
    found = reports.take()
    assert found.state == "failed"
    assert "\n" not in found.error
    assert "2026-10-02" in found.error.replace("/", "-")
    assert index(home) == {"a": 1}
    states = latest_listings(home.lake)["state"].to_list()
    assert states == ["complete", "failed"]


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_a_manifest_that_was_cut_fails_the_crawl(home, kind):
    """It cannot even be dated."""
    reports = S3(home) if kind == "s3" else Azure(home)
    cut_manifest(reports.add(0, [row("a") if kind == "s3" else blob("data/a")]))
    assert reports.take().state == "failed"
    assert index(home) == {}


AZURE_INCOMPLETE = {
    "it failed": {"status": "Failed"},
    "it is partly there": {"status": "Partial"},
    "no status": {"status": None},
    "rows are missing": {"summary": {"objectCount": 3}},
    "rows are not counted": {"summary": None},
    "files are not named": {"files": None},
    "a file without size": {"files": [{"blob": "x"}]},
    "containers, not blobs": {"rule": {"objectType": "container"}},
    "an unknown format": {"rule": {"format": "Xml"}},
    "one prefix only": {"rule": {"filters": {"prefixMatch": ["data/train/"]}}},
    "a prefix left out": {"rule": {"filters": {"excludePrefix": ["data/tmp/"]}}},
}


@pytest.mark.parametrize("told", AZURE_INCOMPLETE.values(), ids=AZURE_INCOMPLETE)
def test_an_azure_report_that_is_not_of_everything_is_not_used(azure, told):
    """Whatever it leaves out would be taken for deleted."""
    azure.add(0, [blob("data/a"), blob("data/b")])
    azure.take()
    azure.add(1, [blob("data/a")], **told)
    found = azure.take()
    assert found.state == "failed"
    assert "\n" not in found.error
    assert index(azure.home) == {"a": 1, "b": 1}


def test_a_run_that_is_not_done_waits(azure):
    """The checksum appears when it is done; until then nothing is wrong."""
    azure.add(0, [blob("data/a")])
    place = azure.add(1, [blob("data/b")], checksum=False, status="Pending")
    assert (azure.take().state, index(azure.home)) == ("complete", {"a": 1})
    manifest = place / "daily-manifest.json"
    manifest.write_text(manifest.read_text().replace("Pending", "Succeeded"))
    (place / "daily-manifest.checksum").write_text(md5(manifest.read_bytes()))
    assert (azure.take().state, index(azure.home)) == ("complete", {"b": 1})


def test_reports_of_another_bucket_or_container_are_not_taken(home):
    """A wrong folder must not empty the index."""
    s3, azure = S3(home), Azure(home)
    s3.add(0, [row("a")], sourceBucket="other")
    azure.add(0, [blob("logs/a")], rule={"filters": {"prefixMatch": ["logs/"]}})
    for reports, name in ((s3, "bucket 'data'"), (azure, "container 'data'")):
        found = reports.take()
        assert (found.state, found.files) == ("failed", 0)
        assert name in found.error


def test_a_damaged_report_does_not_hold_up_the_next_one(s3):
    """The newest is whole: the index is it, and the damaged one is in the listings."""
    s3.add(0, [row("a")])
    cut_data(s3.add(1, [row("b")]))
    s3.add(2, [row("c", 5)])
    found = s3.take()
    assert (found.state, found.listings, index(s3.home)) == ("complete", 2, {"c": 5})
    told = latest_listings(s3.home.lake)
    assert told["state"].to_list() == ["complete", "failed", "complete"]
    assert "10-02" in told.filter(pl.col("state") == "failed")["report"].item()
    assert s3.take().listings == 0
    assert latest_listings(s3.home.lake).height == 3


def test_gcs_reports_are_refused_with_a_way_out(home):
    """Its manifest could not be established."""
    backend = Backend("g", "gcs", "/g", {"bucket": "b"}, Auth(), Inventory("gcs", str(home.folder)),
                      None, None, 0o640)  # fmt: skip
    found = crawl(home.lake, backend, CrawlOptions(START))
    assert found.state == "failed"
    assert "gcs" in found.error
    assert "inventory key away" in found.error


def test_azure_end_to_end_by_the_config(home):
    """`inventory: {format: azure}`: crawl by the command line, exact to the CSV."""
    azure = Azure(home)
    azure.add(0, [blob("data/x", 5, LastAccessTime="2026-09-20T08:00:00Z")])
    text = home.file.read_text() + (
        "  - {name: az, type: azureblob, config: {account: acc, container: data},"
        " inventory: {format: azure, location: ./azure, sample: 0}}\n"
    )
    home.file.write_text(text)
    said = home.run("crawl", "--backend", "az", "--format", "csv")
    assert said.code == 0, said.err
    assert [(r["backend"], r["source"], r["state"], r["files"], r["bytes"]) for r in said.rows] == [
        ("az", "inventory", "complete", "1", "5")
    ]
    home.run("refresh")
    stale = home.run("stale", "--days", "0", "--backend", "az", "--format", "csv")
    assert [(r["path"], r["last_access"], r["evidence"]) for r in stale.rows] == [
        ("x", "2026-09-20 08:00:00", "storage")
    ]
