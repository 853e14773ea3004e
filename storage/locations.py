"""Which record speaks for a URL: the lake's, the landing zone's, or a backend's of that bucket.

`load_config` says what the config file knows; a URL that no record covers is reached with what the
environment says. Processes that get tasks instead of a config file are told with the tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from storage.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.config import Backend

TYPES = {
    "s3": "s3", "s3a": "s3", "az": "azureblob", "azure": "azureblob", "abfs": "azureblob",
    "abfss": "azureblob", "gs": "gcs", "gcs": "gcs",
}  # fmt: skip
_PLACES = {"s3": "bucket", "gcs": "bucket", "azureblob": "container"}
_exact: dict[str, Backend] = {}
_by_bucket: dict[tuple[str, str], Backend] = {}


def know(url: str, record: Backend) -> None:
    """`record` speaks for `url` and everything below it."""
    _exact[url.rstrip("/")] = record


def knows(url: str) -> bool:
    """Whether a record speaks for exactly this URL."""
    return url.rstrip("/") in _exact


def forget(url: str) -> None:
    """Nothing speaks for exactly this URL."""
    _exact.pop(url.rstrip("/"), None)


def know_bucket(record: Backend) -> None:
    """`record` speaks for its whole bucket, where nothing else does."""
    if bucket := _bucket(record):
        _by_bucket[bucket] = record


def know_own(url: str, records: Sequence[Backend]) -> None:
    """Of `records`, the one of that bucket speaks for `url`, else the environment.

    No config file that is read later, such as another tenant's, changes that.
    """
    kind, place, _ = place_of(url)
    own = (record for record in records if _bucket(record) == (kind, place))
    know(url, next(own, None) or _from_environment(url, kind, {}))


def _bucket(record: Backend) -> tuple[str, str] | None:
    place = record.options.get(_PLACES.get(record.type, ""), "")
    place = place or record.options.get("root", "").strip("/").split("/", 1)[0]
    return (record.type, place) if record.type in _PLACES and place else None


Known = tuple["dict[str, Backend]", "dict[tuple[str, str], Backend]"]


def known() -> Known:
    """Every record, for a process that reads no config file: see `learn`."""
    return dict(_exact), dict(_by_bucket)


def learn(records: Known) -> None:
    """Reach URLs as the process does that said what is `known`."""
    exact, by_bucket = records
    _exact.update(exact)
    _by_bucket.update(by_bucket)


def place_of(url: str) -> tuple[str, str, str]:
    """Type, bucket or container, and prefix of a URL. Raises ConfigError."""
    parts = urlsplit(url)
    kind = TYPES.get(parts.scheme)
    if kind is None or not parts.netloc:
        raise ConfigError(f"'{url}' is no store that can hold this: use s3://, az:// or gs://.")
    place = parts.netloc.partition("@")[0]
    return kind, place, parts.path.strip("/")


def record_of(url: str) -> Backend:
    """The record of a URL, rooted there. Raises ConfigError."""
    kind, place, prefix = place_of(url)
    options = {_PLACES[kind]: place, "root": prefix}
    covering = [known for known in _exact if f"{url.rstrip('/')}/".startswith(f"{known}/")]
    found = _exact[max(covering, key=len)] if covering else _by_bucket.get((kind, place))
    if found is None:
        return _from_environment(url, kind, options)
    return found._replace(options={**found.options, **options})


def _from_environment(url: str, kind: str, options: dict[str, str]) -> Backend:
    from storage.backendconfig import Auth, Backend

    return Backend(url, kind, "", options, Auth("env"), None, None, None, 0o640)
