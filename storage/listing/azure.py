"""List Azure's blob store by its own List Blobs: every name exactly as it is, tier with it.

Requests go through azure-storage-blob, which signs them; its own listing makes an object of every
blob, which costs many times the CPU.
"""

from __future__ import annotations

import html
import logging
import os
import re
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest
from azure.storage.blob import ContainerClient

from storage.config import Backend
from storage.credentials import Bearer, Renewed, azure_token, secret
from storage.errors import BackendError, ConfigError
from storage.listing.arrays import etags, paths, rows, strings
from storage.listing.arrow import instants, texts
from storage.listing.fetch import TIMEOUT_SECONDS, Fetcher, RefusedError, Reply
from storage.listing.ranges import Page, raw
from storage.options import azure_account_url, azure_key, s3_place

PAGE_BLOBS = 5000
_END = b"</EnumerationResults>"
_BLOB = re.compile(rb"<Blob>(.*?)</Blob>", re.DOTALL)
_NAME = re.compile(rb"<Name( Encoded=\"true\")?>([^<]*)</Name>")
_FIELDS = {
    name: re.compile(rb"<%s>([^<]*)</" % name)
    for name in (b"Last-Modified", b"Etag", b"Content-Length", b"AccessTier", b"Owner")
}
_FOLDER = re.compile(rb"<BlobPrefix>(.*?)</BlobPrefix>", re.DOTALL)
_MARKER = re.compile(rb"<NextMarker>([^<]+)<")
_ERROR = re.compile(rb"<(Code|Message)>([^<\n]*)")


class AzureStore:
    """One container, below the configured prefix."""

    def __init__(self, backend: Backend, tries: int = 0) -> None:
        self._name = backend.name
        self._container, self.prefix = s3_place(backend)
        self._fetcher = Fetcher(backend.crawl.requests_per_second, tries)
        try:
            self._client = ContainerClient(
                azure_account_url(backend), self._container, credential=_credential(backend),
                retry_total=0, connection_timeout=TIMEOUT_SECONDS, read_timeout=TIMEOUT_SECONDS,
            )  # fmt: skip
        except ValueError as error:
            raise ConfigError(f"backend '{backend.name}': {error}") from None
        self._ranges: bool | None = None

    @property
    def has_ranges(self) -> bool:
        """Whether `startFrom` is honoured; stores before 2026 ignore it."""
        if self._ranges is None:
            beyond = self.prefix + "\U0010fffd"
            self._ranges = not _names(self._ask({"startFrom": beyond, "maxresults": "1"}))
        return self._ranges

    def page(self, after: str, marker: str) -> Page:
        """Five thousand blobs; `startFrom` includes the key itself, which is one too many."""
        body = self._ask({"marker": marker} if marker else {"startFrom": after})
        blobs = _BLOB.findall(body)
        keys = [_name(blob) for blob in blobs]
        found = _MARKER.search(body)
        following = html.unescape(found[1].decode()) if found else ""
        return Page(
            keys, lambda first, end: self._rows(blobs[first:end], keys[first:end]),
            bool(following), following,
        )  # fmt: skip

    def folders(self, level: str, after: str) -> list[bytes]:
        """The prefixes of a level from a key on."""
        # With a delimiter a listing begins at one entity of its level only.
        begin = after[: after.find("/", len(level)) + 1] if after.startswith(level) else ""
        body = self._ask({"delimiter": "/", "prefix": level, "startFrom": begin})
        return [_name(found) for found in _FOLDER.findall(body)]

    def first(self, after: str) -> bytes | None:
        """The first key after `after`."""
        found = _names(self._ask({"startFrom": after, "maxresults": "2"}))
        return next((name for name in found if name > raw(after)), None)

    def look(self, key: str) -> pa.RecordBatch:
        """The blob of that very name, one row or none: of names that begin with it, the first."""
        blobs = _BLOB.findall(self._ask({"prefix": self.prefix + key, "maxresults": "1"}))
        there = [blob for blob in blobs[:1] if _name(blob) == raw(self.prefix + key)]
        return self._rows(there, [_name(blob) for blob in there])

    def _ask(self, more: dict[str, str]) -> bytes:
        query = {
            "restype": "container", "comp": "list", "maxresults": str(PAGE_BLOBS),
            "prefix": self.prefix, **more,
        }  # fmt: skip
        told = "&".join(f"{k}={quote(raw(v), safe='')}" for k, v in query.items() if v)
        try:
            return self._fetcher.get(lambda: self._reply(told), lambda body: _END in body[-64:])
        except RefusedError as error:
            raise BackendError(
                f"backend '{self._name}' (az://{self._container}/{self.prefix}) cannot be listed: "
                f"{_why(error.reply)}."
            ) from None

    def _reply(self, query: str) -> Reply:
        base, _, sas = self._client.url.partition("?")
        request = HttpRequest("GET", f"{base}?{query}" + (f"&{sas}" if sas else ""))
        request.headers["x-ms-version"] = self._client.api_version
        try:
            # The public ways in all parse the answer; only the pipeline hands it on as it is.
            pipeline: Any = self._client._pipeline  # noqa: SLF001
            answer = pipeline.run(request).http_response
            return Reply(answer.status_code, answer.body(), f"status {answer.status_code}")
        except AzureError as error:
            return Reply(0, b"", type(error).__name__)

    def _rows(self, blobs: list[bytes], keys: list[bytes]) -> pa.RecordBatch:
        start = len(raw(self.prefix))
        modified = [
            parsedate_to_datetime(m[1].decode()) if (m := _FIELDS[b"Last-Modified"].search(b))
            else None for b in blobs
        ]  # fmt: skip
        found = {
            "path": paths([key[start:] for key in keys]),
            "size_bytes": _texts(blobs, b"Content-Length").cast(pa.int64()),
            "etag": etags(_texts(blobs, b"Etag")),
            "modified_at": instants(modified),
            "tier": _texts(blobs, b"AccessTier"),
            "owner": _texts(blobs, b"Owner"),
        }
        return rows(found, len(blobs))


class _Token:
    """A managed identity's token, in the shape that azure-core asks for."""

    def __init__(self, source: Renewed[Bearer]) -> None:
        self._source = source

    def get_token(self, *scopes: str, **more: Any) -> AccessToken:
        """The token and its end."""
        del scopes, more
        bearer, end = self._source.with_end()
        return AccessToken(bearer.token, int(end.timestamp()) if end else 0)


def _credential(backend: Backend) -> Any:
    auth, source = backend.auth, azure_token(backend)
    if source is not None:
        return _Token(source)
    # Its debug lines quote whole URLs, and a SAS token stands in them.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
    if auth.method == "sas":
        return AzureSasCredential(secret(auth, "sas").lstrip("?"))
    if auth.method == "anonymous":
        return None
    key = azure_key(backend)
    if not key and (sas := os.environ.get("AZURE_STORAGE_SAS_TOKEN")):
        return AzureSasCredential(sas)
    # A key by itself only fits an account that the host name tells: not an emulator's.
    account = azure_account_url(backend).rstrip("/").rsplit("/", 1)[-1].partition(".")[0]
    return (
        {"account_name": backend.options.get("account") or account, "account_key": key}
        if key
        else None
    )


def _why(reply: Reply) -> str:
    if reply.status == 200:
        return "the answers are no whole lists"
    said = [found.decode("utf-8", "replace").strip() for _, found in _ERROR.findall(reply.body)]
    return ", ".join([reply.reason, *said[:2]]).rstrip(".")


def _names(body: bytes) -> list[bytes]:
    return [_name(blob) for blob in _BLOB.findall(body)]


def _name(blob: bytes) -> bytes:
    """A blob's name; one that XML cannot hold comes URL-encoded, and says so."""
    found = _NAME.search(blob)
    assert found, blob
    plain = html.unescape(found[2].decode())
    return raw(unquote(plain)) if found[1] else raw(plain)


def _texts(blobs: list[bytes], field: bytes) -> pa.Array:
    found = [m and m[1] for m in map(_FIELDS[field].search, blobs)]
    if None in found:
        return texts([None if f is None else f.decode() for f in found])
    return strings([f for f in found if f is not None])
