r"""List S3 by its own ListObjectsV2: every key exactly as it is, tier and owner with it.

obstore refuses keys such as `a//b`, `../x` or `a\tb`, and takes `folder/` for `folder` and `/a`
for `a`; reading the pages ourselves keeps them, and costs less CPU. Keys come URL-encoded, since
XML cannot hold all of them.
"""

from __future__ import annotations

import html
import re
import urllib.request
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import pyarrow as pa
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from storage.config import Backend
from storage.credentials import s3_keys
from storage.errors import BackendError
from storage.listing.arrays import paths, rows
from storage.listing.arrow import call, texts
from storage.listing.fetch import TIMEOUT_SECONDS, Fetcher, RefusedError, Reply
from storage.listing.ranges import Page, raw
from storage.listing.s3page import Objects, decoded
from storage.options import s3_endpoint, s3_place

PAGE_KEYS = 1000
_END = b"</ListBucketResult>"
_ERROR = re.compile(rb"<(Code|Message)>([^<]*)<")
_FOLDER = re.compile(rb"<CommonPrefixes><Prefix>([^<]*)</Prefix>")


class _Keys(NamedTuple):
    """What a signer asks for; botocore's own class brings all of botocore with it."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return f"_Keys({self.access_key!r}, …)"


class S3Store:
    """One bucket, below the configured prefix."""

    has_ranges = True

    def __init__(self, backend: Backend, tries: int = 0) -> None:
        self._name = backend.name
        self._bucket, self.prefix = s3_place(backend)
        self._owner = "owner" in backend.crawl.need
        self._fetcher = Fetcher(backend.crawl.requests_per_second, tries)
        self._keys = s3_keys(backend)
        endpoint, self._region, path_style = s3_endpoint(backend, self._bucket)
        self._base = f"{endpoint}/{quote(self._bucket)}" if path_style else endpoint
        self._pool = _pool(endpoint, backend.crawl.parallel)

    def page(self, after: str, marker: str) -> Page:
        """A thousand keys. The marker is not used: `start-after` does the same."""
        del marker
        body = self._ask(after, {"fetch-owner": "true"} if self._owner else {})
        objects = Objects(body)
        keys = objects.keys()
        more = b"<IsTruncated>true" in body and bool(keys)
        return Page(keys, lambda first, end: self._rows(objects, keys, first, end), more)

    def folders(self, level: str, after: str) -> list[bytes]:
        """The common prefixes of a level after a key."""
        body = self._ask(after, {"delimiter": "/", "prefix": level})
        return decoded(body, _FOLDER.findall(body))

    def first(self, after: str) -> bytes | None:
        """The first key after `after`."""
        keys = Objects(self._ask(after, {"max-keys": "1"})).keys()
        return keys[0] if keys else None

    def look(self, key: str) -> pa.RecordBatch:
        """The object of that very key, one row or none: of keys that begin with it, the first."""
        objects = Objects(self._ask("", {"prefix": self.prefix + key, "max-keys": "1"}))
        keys = objects.keys()
        return self._rows(objects, keys, 0, int(keys == [raw(self.prefix + key)]))

    def _ask(self, after: str, more: dict[str, str]) -> bytes:
        query = {
            "encoding-type": "url", "list-type": "2", "max-keys": str(PAGE_KEYS),
            "prefix": self.prefix, "start-after": after, **more,
        }  # fmt: skip
        told = "&".join(f"{k}={quote(raw(v), safe='')}" for k, v in sorted(query.items()) if v)
        try:
            return self._fetcher.get(lambda: self._reply(told), lambda body: _END in body[-64:])
        except RefusedError as error:
            raise BackendError(
                f"backend '{self._name}' (s3://{self._bucket}/{self.prefix}) cannot be listed: "
                f"{_why(error.reply)}."
            ) from None

    def _reply(self, query: str) -> Reply:
        url = f"{self._base}?{query}"
        try:
            answer = self._pool.request("GET", url, headers=self._signed(url), retries=False)
        except urllib3.exceptions.HTTPError as error:
            return Reply(0, b"", f"{type(error).__name__} at {urlsplit(self._base).netloc}")
        reason = f"status {answer.status}"
        region = answer.headers.get("x-amz-bucket-region")
        if answer.status in (301, 400) and region and region != self._region:
            reason = f"the bucket is in region {region}: set config.region"
        told = answer.headers.get("retry-after", "")
        return Reply(answer.status, answer.data, reason, float(told) if told.isdigit() else 0.0)

    def _signed(self, url: str) -> dict[str, str]:
        if self._keys is None:
            return {}
        keys = self._keys.get()
        signer = _Keys(keys.access_key_id, keys.secret_access_key, keys.session_token or None)
        request = AWSRequest("GET", url)
        S3SigV4Auth(signer, "s3", self._region).add_auth(request)
        return dict(request.headers.items())

    def _rows(self, objects: Objects, keys: list[bytes], first: int, end: int) -> pa.RecordBatch:
        start = len(raw(self.prefix))

        def field(name: bytes) -> pa.Array:
            return objects.texts(name).slice(first, end - first)

        found = {
            "path": paths([key[start:] for key in keys[first:end]]),
            "size_bytes": objects.sizes().slice(first, end - first),
            "etag": objects.etags().slice(first, end - first),
            "modified_at": objects.modified().slice(first, end - first),
            "tier": field(b"StorageClass"),
        }
        if self._owner:
            name, number = _plain(field(b"DisplayName")), field(b"ID")
            named = call("if_else", call("binary_length", name).cast(pa.bool_()), name, number)
            found["owner"] = call("coalesce", named, number)
        return rows(found, end - first)


def _pool(endpoint: str, parallel: int) -> urllib3.PoolManager:
    """Connections, through the environment's proxy where it names one for this host."""
    parts = urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(parts.scheme)
    how = {
        "maxsize": parallel,
        "timeout": urllib3.Timeout(connect=TIMEOUT_SECONDS / 3, read=TIMEOUT_SECONDS),
    }
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy, **how)
    return urllib3.PoolManager(**how)


def _why(reply: Reply) -> str:
    if reply.status == 200:
        return "the answers are no whole lists"
    said = [found.decode("utf-8", "replace") for _, found in _ERROR.findall(reply.body)]
    return ", ".join([reply.reason, *said[:2]]).rstrip(".")


def _plain(values: pa.Array) -> pa.Array:
    return texts([value and html.unescape(value) for value in values.to_pylist()])
