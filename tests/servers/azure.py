"""Azurite, the emulator of Azure's blob store, on a free port."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import itertools
import re
import time
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
_PORT = re.compile(rb"successfully listens? on https?://127\.0\.0\.1:(\d+)")


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

    def bearer(self) -> str:
        """A token for this server, as an identity of a machine would get it."""
        import jwt

        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com", "iss": "https://sts.windows.net/test/",
            "iat": now - 60, "nbf": now - 60, "exp": now + 3600, "ver": "1.0",
        }  # fmt: skip
        return jwt.encode(claims, "nobody-checks-the-signature-here", algorithm="HS256")

    def sas(self) -> str:
        """A token for everything in the account, for an hour."""
        from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

        return generate_account_sas(
            ACCOUNT, KEY, ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, list=True),
            dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
        )  # fmt: skip


@contextlib.contextmanager
def azurite(folder: Path, *, secure: bool = False) -> Iterator[AzureServer]:
    """Azurite in memory; it logs into `folder`.

    secure: over TLS with `folder`/cert.pem, which is its own authority, and it takes tokens.
    """
    log = folder / "azurite.log"
    command = [
        install.azurite(), "--blobHost", "127.0.0.1", "--blobPort", "0",
        "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck",
    ]  # fmt: skip
    if secure:
        certificate(folder)
        command += ["--oauth", "basic", "--cert", folder / "cert.pem", "--key", folder / "key.pem"]
    with child(command, log) as process:
        wait_until(lambda: _PORT.search(log.read_bytes()), process, log)
        found = _PORT.search(log.read_bytes())
        assert found
        yield AzureServer(f"{'https' if secure else 'http'}://127.0.0.1:{int(found[1])}")


def certificate(folder: Path) -> None:
    """A certificate of 127.0.0.1 that signs itself: `cert.pem` and `key.pem`."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
