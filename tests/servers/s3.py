"""An S3 server of the tests: its address, its keys, and what a config says of it."""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.servers.child import child, wait_until

_numbers = itertools.count(1)
_PORT = re.compile(rb"^port (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class S3Server:
    """One S3 endpoint; `at(url)` is the same server behind a proxy."""

    url: str
    access_key_id: str = "test-key"
    secret_access_key: str = "test-secret-1f8e"
    region: str = "us-east-1"

    def at(self, url: str) -> S3Server:
        """The same server by another address."""
        return replace(self, url=url)

    def client(self) -> Any:
        """A boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3", endpoint_url=self.url, region_name=self.region,
            aws_access_key_id=self.access_key_id, aws_secret_access_key=self.secret_access_key,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 2}),
        )  # fmt: skip

    def bucket(self, objects: dict[str, bytes] | None = None) -> str:
        """A fresh bucket that holds `objects`; its name."""
        name = f"bucket-{next(_numbers)}"
        self.client().create_bucket(Bucket=name)
        self.put(name, objects or {})
        return name

    def put(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Write objects, eight at a time."""
        client = self.client()
        with ThreadPoolExecutor(8) as pool:
            done = [
                pool.submit(client.put_object, Bucket=bucket, Key=key, Body=data)
                for key, data in objects.items()
            ]
        for each in done:
            each.result()

    def delete(self, bucket: str, *keys: str) -> None:
        """Delete objects."""
        client = self.client()
        for key in keys:
            client.delete_object(Bucket=bucket, Key=key)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Every key below a prefix, sorted."""
        pages = self.client().get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix
        )  # fmt: skip
        return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def backend(self, bucket: str, name: str = "s3", root: str = "", more: str = "") -> str:
        """The line of a config's `backends:` for a bucket; `new_home` takes it as a backend."""
        inner = f", root: '{root}'" if root else ""
        return (
            f"{{name: {name}, type: s3, config: {{bucket: {bucket}, region: {self.region}, "
            f"endpoint_url: '{self.url}'{inner}}}, auth: {{method: static, "
            f"access_key_id: {self.access_key_id}, "
            f"secret_access_key: {self.secret_access_key}}}{', ' + more if more else ''}}}"
        )

    def reach(self) -> str:
        """What the config says beside the URL of a lake or landing zone on this server."""
        return (
            f"config: {{region: {self.region}, endpoint_url: '{self.url}'}}, auth: {{method: "
            f"static, access_key_id: {self.access_key_id}, "
            f"secret_access_key: {self.secret_access_key}}}"
        )

    def url_of(self, bucket: str, path: str) -> str:
        """The URL of a place in a bucket."""
        return f"s3://{bucket}/{path}"

    def environ(self) -> dict[str, str]:
        """The environment of a process that reaches the server by its `AWS_` variables."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_REGION": self.region, "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key, "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """moto's S3 server as a child process; it logs into `folder`."""
    log = folder / "moto.log"
    with child([sys.executable, "-m", "tests.servers.moto_child"], log) as process:
        wait_until(lambda: _PORT.search(log.read_bytes()), process, log)
        found = _PORT.search(log.read_bytes())
        assert found
        yield S3Server(f"http://127.0.0.1:{int(found[1])}")
