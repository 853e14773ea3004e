"""Who we are at a store: one source of credentials per backend, renewed before they expire.

What a cloud hands out (instance roles, managed identities) is asked for through the vendor's own
library, once per backend however many threads want it, and again five minutes before its end.
Secrets never show in `repr`.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from storage import clock
from storage.backendconfig import Auth, Backend
from storage.errors import BackendError, ConfigError

log = logging.getLogger(__name__)
MARGIN = dt.timedelta(minutes=5)
AZURE_SCOPE = "https://storage.azure.com/.default"
SUPPORTED = {
    "s3": ("none", "static", "env", "profile", "anonymous", "managed_identity"),
    "azureblob": ("none", "static", "env", "sas", "anonymous", "managed_identity"),
    "gcs": ("none", "static", "env", "anonymous"),
}
_SECRET_NAME = re.compile("pass|secret|token|key", re.IGNORECASE)
T = TypeVar("T")


@dataclass(frozen=True)
class Keys:
    """What signs a request to S3."""

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class Bearer:
    """What signs a request to Azure in somebody's name."""

    token: str = field(repr=False)


class Renewed(Generic[T]):
    """A value with an end, fetched when it is first asked for and again before that end."""

    def __init__(self, fetch: Callable[[], tuple[T, dt.datetime | None]], what: str) -> None:
        self._fetch = fetch
        self._what = what
        self._lock = threading.Lock()
        self._value: T | None = None
        self._until: dt.datetime | None = None

    def get(self) -> T:
        """The value as it is now. Raises BackendError when there is none."""
        return self.with_end()[0]

    def with_end(self) -> tuple[T, dt.datetime | None]:
        """The value, and until when it is good (None: for ever)."""
        with self._lock:
            now = clock.now()
            if self._value is None or (self._until is not None and self._until - now <= MARGIN):
                self._renew(now)
            assert self._value is not None
            return self._value, self._until

    def _renew(self, now: dt.datetime) -> None:
        try:
            self._value, self._until = self._fetch()
        # What a vendor's library raises has no common family; its text may quote an answer.
        except Exception as error:  # noqa: BLE001
            if self._value is not None and self._until is not None and self._until > now:
                log.warning("%s: not renewed yet: %s", self._what, type(error).__name__)
                return
            raise BackendError(
                f"{self._what}: no credentials came ({type(error).__name__}): is this machine "
                "given an identity that may read the store?"
            ) from None


_renewed: dict[tuple[Any, ...], Renewed[Any]] = {}
_renewed_lock = threading.Lock()


def s3_keys(backend: Backend) -> Renewed[Keys] | None:
    """The keys of an S3 backend, None where requests are not signed.

    Raises ConfigError for a method that does not work here, BackendError where no keys are found.
    """
    check_method(backend)
    auth = backend.auth
    if auth.method == "anonymous":
        return None
    if auth.method == "static":
        keys = Keys(
            secret(auth, "access_key_id"), secret(auth, "secret_access_key"),
            secret(auth, "session_token") if has(auth, "session_token") else "",
        )  # fmt: skip
        return Renewed(lambda: (keys, None), f"backend '{backend.name}'")
    return _once(backend, lambda: _botocore_keys(backend))


def azure_token(backend: Backend) -> Renewed[Bearer] | None:
    """The token of an Azure backend that signs in as a managed identity, None for the others."""
    check_method(backend)
    if backend.auth.method != "managed_identity":
        return None
    return _once(backend, lambda: _azure_identity(backend))


def _once(backend: Backend, make: Callable[[], Callable[[], Any]]) -> Renewed[Any]:
    """One source per way of signing in, so that a token is asked for once."""
    auth = backend.auth
    # What the environment says is read again when it says something else.
    around = [f"{k}={v}" for k, v in os.environ.items() if k.startswith(("AWS_", "AZURE_"))]
    key = (backend.name, backend.type, auth.method, *sorted(auth.params.items()), *sorted(around))
    with _renewed_lock:
        if key not in _renewed:
            _renewed[key] = Renewed(make(), f"backend '{backend.name}' ({auth.method})")
        return _renewed[key]


def _botocore_keys(backend: Backend) -> Callable[[], tuple[Keys, dt.datetime | None]]:
    """Keys of the environment, a profile or the machine's role, as botocore finds them."""
    session = _session(backend)

    def fetch() -> tuple[Keys, dt.datetime | None]:
        if backend.auth.method == "managed_identity":
            resolver = session.get_component("credential_provider")
            roles = (resolver.get_provider(name) for name in ("container-role", "iam-role"))
            found = next(filter(None, (role.load() for role in roles)), None)
        else:
            found = session.get_credentials()
        if found is None:
            raise LookupError
        frozen = found.get_frozen_credentials()
        end = getattr(found, "_expiry_time", None)
        end = None if end is None else end.astimezone(dt.UTC)  # obstore takes no other UTC
        return Keys(frozen.access_key, frozen.secret_key, frozen.token or ""), end

    return fetch


def _session(backend: Backend) -> Any:
    try:
        import botocore.session
    except ImportError:
        raise ConfigError(
            f"backend '{backend.name}': auth.method '{backend.auth.method}' needs botocore: "
            "install warpdrive[server]."
        ) from None
    profile = backend.auth.params.get("profile") or None
    return botocore.session.Session(profile=profile)


def _azure_identity(backend: Backend) -> Callable[[], tuple[Bearer, dt.datetime]]:
    try:
        from azure.identity import ManagedIdentityCredential
    except ImportError:
        raise ConfigError(
            f"backend '{backend.name}': auth.method 'managed_identity' needs azure-identity: "
            "install warpdrive[server]."
        ) from None
    credential = ManagedIdentityCredential(client_id=backend.auth.params.get("client_id") or None)

    def fetch() -> tuple[Bearer, dt.datetime]:
        found = credential.get_token(AZURE_SCOPE)
        return Bearer(found.token), dt.datetime.fromtimestamp(found.expires_on, dt.UTC)

    return fetch


def check_method(backend: Backend) -> None:
    """Raises ConfigError for a way of signing in that is known but does not work here."""
    works = SUPPORTED.get(backend.type, ("none", "env"))
    if backend.auth.method not in works:
        raise ConfigError(
            f"backend '{backend.name}': auth.method '{backend.auth.method}' is not supported for "
            f"type '{backend.type}': use {', '.join(works[:-1])} or {works[-1]}."
        )


def has(auth: Auth, key: str) -> bool:
    """Whether a secret is given, itself or by the name of a variable."""
    return bool(auth.params.get(key) or auth.params.get(f"{key}_env"))


def secret(auth: Auth, key: str, environ: Mapping[str, str] = os.environ) -> str:
    """A secret given as `key`, or by the name of an environment variable as `key_env`."""
    if auth.params.get(key):
        return auth.params[key]
    name = auth.params.get(f"{key}_env", "")
    if name and environ.get(name):
        return environ[name]
    if name:
        raise ConfigError(f"auth.{key}_env: the environment variable '{name}' is not set.")
    raise ConfigError(f"auth.method '{auth.method}' needs {key}, or {key}_env naming a variable.")


def without_secrets(text: str, backend: Backend) -> str:
    """A text of a plug-in without what the record keeps secret."""
    params, options = backend.auth.params, backend.options
    hidden = [value for key, value in params.items() if not key.endswith("_env")]
    hidden += [value for key, value in options.items() if _SECRET_NAME.search(key)]
    for value in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(value, "…")
    return text
