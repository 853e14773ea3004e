"""Azurite, the emulator of Azure's blob store, on a free port."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.servers import install
from tests.servers.child import child, wait_until

# The emulator's account: public knowledge, the same in every Azurite.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_numbers = itertools.count(1)
_PORT = re.compile(rb"successfully listens? on http://127\.0\.0\.1:(\d+)")


@dataclass(frozen=True)
class AzureServer:
    """One blob endpoint; `at(url)` is the same server behind a proxy."""

    url: str
    """Without the account."""

    def at(self, url: str) -> AzureServer:
        """The same server by another address."""
        return replace(self, url=url)

    @property
    def endpoint(self) -> str:
        """The blob endpoint of the account."""
        return f"{self.url}/{ACCOUNT}"

    def client(self) -> Any:
        """A client of azure-storage-blob."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.endpoint, credential=KEY)

    def bucket(self, objects: dict[str, bytes] | None = None) -> str:
        """A fresh container that holds `objects`; its name."""
        name = f"container-{next(_numbers)}"
        self.client().create_container(name)
        self.put(name, objects or {})
        return name

    def put(self, bucket: str, objects: dict[str, bytes]) -> None:
        """Write blobs."""
        container = self.client().get_container_client(bucket)
        for key, data in objects.items():
            container.upload_blob(key, data, overwrite=True)

    def delete(self, bucket: str, *keys: str) -> None:
        """Delete blobs."""
        container = self.client().get_container_client(bucket)
        for key in keys:
            container.delete_blob(key)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Every key below a prefix, sorted."""
        names = self.client().get_container_client(bucket).list_blob_names(name_starts_with=prefix)
        return sorted(names)

    def backend(self, bucket: str, name: str = "azure", root: str = "", more: str = "") -> str:
        """The line of a config's `backends:` for a container."""
        inner = f", root: '{root}'" if root else ""
        return (
            f"{{name: {name}, type: azureblob, config: {{account: {ACCOUNT}, container: {bucket}, "
            f"endpoint_url: '{self.endpoint}'{inner}}}, auth: {{method: static, "
            f"account_key: '{KEY}'}}{', ' + more if more else ''}}}"
        )

    def reach(self) -> str:
        """What the config says beside the URL of a lake or landing zone on this server.

        Tables need the emulator's own way: this Azurite ignores where a listing shall begin, which
        deltalake relies on. `environ` says where that emulator is.
        """
        return "config: {emulator: 'true'}"

    def url_of(self, bucket: str, path: str) -> str:
        """The URL of a place in a container."""
        return f"az://{bucket}/{path}"

    def environ(self) -> dict[str, str]:
        """The environment of a process that reaches the emulator."""
        return {"AZURITE_BLOB_STORAGE_URL": self.url}


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[AzureServer]:
    """Azurite in memory; it logs into `folder`."""
    log = folder / "azurite.log"
    command = [
        install.azurite(), "--blobHost", "127.0.0.1", "--blobPort", "0",
        "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck",
    ]  # fmt: skip
    with child(command, log) as process:
        wait_until(lambda: _PORT.search(log.read_bytes()), process, log)
        found = _PORT.search(log.read_bytes())
        assert found
        yield AzureServer(f"http://127.0.0.1:{int(found[1])}")
