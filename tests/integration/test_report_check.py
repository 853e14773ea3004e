"""Inventory reports against the live store: what is counted, and where it is told."""

import datetime as dt
import hashlib
import json

import dagster as dg
import polars as pl
import pytest

from lake.gauges import families
from lake.schemas import FILES, VERIFICATIONS
from pipelines import run
from pipelines.crawl import latest_listings
from storage import clock

HOSTILE = ["a//b", "/lead", "trail/", "a/a", "../up", "per%20cent", "é/😀.bin", "back\\slash"]


class Reported:
    """A bucket, and S3 Inventory reports about it in a folder."""

    def __init__(self, new_home, server, objects, sample=""):
        self.server = server
        self.bucket = server.bucket(objects)
        more = f"inventory: {{format: s3, location: ./inv{sample}}}"
        self.home = new_home(backends=[server.backend(self.bucket, name="data", more=more)])
        self.number = 0

    def truth(self):
        client = self.server.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [
            (o["Key"], o["Size"], o["ETag"].strip('"'), o["LastModified"].isoformat())
            for page in pages for o in page.get("Contents", [])
        ]  # fmt: skip

    def report(self, rows, at=None):
        """A Parquet report of rows: key, size, etag, modified."""
        self.number += 1
        place = self.home.folder / "inv" / f"2026-10-{self.number:02}T00-00Z"
        place.mkdir(parents=True)
        columns = ("key", "size", "e_tag", "last_modified_date")
        frame = pl.DataFrame(rows, schema=columns, orient="row")
        frame.write_parquet(place / "data.parquet")
        data = (place / "data.parquet").read_bytes()
        entry = {"key": f"{place.name}/data.parquet", "size": len(data),
                 "MD5checksum": hashlib.md5(data).hexdigest()}  # fmt: skip
        at = at or clock.now()
        text = json.dumps({
            "sourceBucket": self.bucket, "creationTimestamp": str(int(at.timestamp() * 1000) + 999),
            "fileFormat": "Parquet", "fileSchema": ", ".join(columns), "files": [entry],
        })  # fmt: skip
        (place / "manifest.json").write_text(text)

    def crawl(self):
        said = self.home.run("crawl", "--format", "csv")
        assert said.code == 0, said.err
        return said

    def checks(self):
        return self.home.lake.scan(VERIFICATIONS).sort("verified_at").collect().to_dicts()

    def shown(self):
        assert self.home.run("refresh").code == 0
        return json.loads(self.home.run("backends", "--format", "json").out)[0]


@pytest.fixture
def reported(new_home, moto_server):
    return Reported(new_home, moto_server, {key: b"x" * (i + 1) for i, key in enumerate(HOSTILE)})


def test_a_true_report_agrees_and_that_is_shown(reported):
    """Every hostile key too; in the table, with the backend and as a metric."""
    reported.report(reported.truth())
    assert reported.crawl().rows[0]["error"] == ""
    (check,) = reported.checks()
    count = len(HOSTILE)
    assert (check["kind"], check["sample"]) == ("report", 100)
    assert (check["checked"], check["agree"], check["unchecked"]) == (count, count, 0)
    row = reported.shown()
    assert (row["checked"], row["agree"], row["agreement_high"]) == (count, count, 1.0)
    assert f"agree in 100.00% of {count} " in reported.home.run("usage").err
    found = {f.name: f.samples for f in families(reported.home.config.lake.root)}
    assert found["warpdrive_lake_agreement_high_ratio"] == [(("data",), 1.0)]
    assert reported.crawl().rows[0]["error"] == ""
    assert len(reported.checks()) == 1  # no new report, nothing to check


def test_a_report_that_lies_is_used_told_and_alerted_on(reported, caplog):
    """Half of its files are not in the bucket, one has another size: the crawl goes well."""
    rows = reported.truth()
    key, size, *rest = rows[0]
    lies = [(f"gone/{n}", 5, "e" * 32, rows[0][3]) for n in range(len(rows))]
    reported.report([(key, size + 1, *rest), *rows[1:], *lies])
    wrong, every = len(HOSTILE) + 1, 2 * len(HOSTILE)
    said = reported.crawl()
    told = f"{wrong} of {every} sampled files are not in the store as the report says"
    (row,) = said.rows
    assert (row["state"], row["files"]) == ("complete", str(every))
    assert row["error"].startswith(told)
    assert told in caplog.text
    assert latest_listings(reported.home.lake)["error"].item().startswith(told)
    assert reported.home.lake.scan(FILES).collect().height == every
    with run.instance(reported.home.config) as on:
        found = on.event_log_storage.get_latest_asset_check_execution_by_key(
            [dg.AssetCheckKey(dg.AssetKey("files"), "report_agrees")]
        )
    (record,) = found.values()
    assert record.event
    assert record.event.dagster_event
    check = record.event.dagster_event.asset_check_evaluation_data
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert str(check.metadata["why"].value).startswith(told)
    row = reported.shown()
    assert (row["checked"], row["agree"]) == (every, every - wrong)
    assert row["agreement_high"] < 0.95  # what the alert looks at


def test_what_changed_after_the_report_is_no_error_of_it(reported):
    """It was true when it was written."""
    rows = reported.truth()
    reported.report(rows, at=clock.now() - dt.timedelta(hours=1))
    assert reported.crawl().rows[0]["error"] == ""
    (check,) = reported.checks()
    assert (check["checked"], check["unchecked"]) == (0, len(HOSTILE))
    assert reported.shown()["checked"] is None  # nothing is known by it


def test_a_store_that_is_away_does_not_fail_the_crawl(new_home, moto_server, fault_proxy, caplog):
    """It is tried for a moment with one file, told, and the report stands."""
    away = Reported(new_home, moto_server.at(fault_proxy.url), {})
    away.report([(f"f{n}", 1, "e", "2026-09-01T00:00:00+00:00") for n in range(50)])
    fault_proxy.fault("500", n=-1)
    said = away.crawl()
    assert (said.rows[0]["state"], said.rows[0]["files"]) == ("complete", "50")
    assert "was not checked against the store" in caplog.text
    assert len(fault_proxy.log) - 1 <= 3
    assert (away.checks()[0]["checked"], away.checks()[0]["unchecked"]) == (0, 50)


@pytest.mark.parametrize(("sample", "asked"), [(7, 7), (0, 0)])
def test_the_sample_is_as_large_as_the_config_says(
    new_home, moto_server, fault_proxy, sample, asked
):
    """`inventory.sample`: one request a file, none with 0."""
    some = Reported(
        new_home, moto_server.at(fault_proxy.url),
        {f"f{n:02}": b"1" for n in range(30)}, f", sample: {sample}",
    )  # fmt: skip
    some.report(some.truth())
    before = len(fault_proxy.log)
    some.crawl()
    assert len(fault_proxy.log) - before == asked
    assert [c["checked"] for c in some.checks()] == [7] * bool(asked)
