"""One record, translated for each library by name. Never one options dict for all.

deltalake and object_store ignore keys they do not know, so every key here is spelled out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from storage.config import Auth, Backend
from storage.errors import ConfigError

_S3_SECRETS = {
    "access_key_id": "access_key_id",
    "secret_access_key": "secret_access_key",
    "session_token": "session_token",
}


def url_of(backend: Backend) -> str:
    """The URL of a backend's root: `s3://bucket/prefix`, `az://container`, a path for local."""
    options = backend.options
    if backend.type == "local":
        return backend.root
    root = options.get("root", "").strip("/")
    key = {"s3": "bucket", "gcs": "bucket", "azureblob": "container"}.get(backend.type)
    scheme = {"s3": "s3", "gcs": "gs", "azureblob": "az"}.get(backend.type, backend.type)
    if key is None:
        return _generic_url(backend)
    place = options.get(key) or root.split("/", 1)[0]
    if not place:
        raise ConfigError(f"backend '{backend.name}' needs config.{key}.")
    prefix = root if options.get(key) else root.partition("/")[2]
    return f"{scheme}://{place}/{prefix}".rstrip("/")


def _generic_url(backend: Backend) -> str:
    """`config.url`, else the type as scheme of `config.root`, for what only fsspec opens."""
    options = backend.options
    if not options.get("url") and not options.get("root"):
        raise ConfigError(f"backend '{backend.name}' needs config.root or config.url.")
    return options.get("url") or f"{backend.type}://{options['root'].rstrip('/')}"


def obstore_options(backend: Backend) -> dict[str, Any]:
    """Keyword arguments of `obstore.store.from_url` for a backend."""
    if backend.type == "local":
        return {}
    if backend.type == "s3":
        return _s3(backend)
    if backend.type == "azureblob":
        return _azure(backend)
    if backend.type == "gcs":
        return _gcs(backend)
    raise ConfigError(
        f"backend '{backend.name}': type '{backend.type}' is not s3, azureblob, gcs or local; "
        "it is reached through fsspec only."
    )


def _s3(backend: Backend) -> dict[str, Any]:
    options, found = backend.options, {}
    endpoint = options.get("endpoint_url") or options.get("endpoint")
    found["region"] = options.get("region", "us-east-1")
    if endpoint:
        found["endpoint"] = endpoint
        found["virtual_hosted_style_request"] = False
        if endpoint.startswith("http://"):
            found["client_options"] = {"allow_http": True}
    return found | _s3_auth(backend)


def _s3_auth(backend: Backend) -> dict[str, Any]:
    auth = backend.auth
    if auth.method == "anonymous":
        return {"skip_signature": True}
    if auth.method == "static":
        return {_S3_SECRETS[key]: secret(auth, key) for key in _S3_SECRETS if _has(auth, key)}
    if auth.method in ("none", "env"):
        return {}  # object_store reads the AWS_* variables by itself
    raise unsupported(backend)


def _azure(backend: Backend) -> dict[str, Any]:
    options = backend.options
    found: dict[str, Any] = {}
    if options.get("account"):
        found["account_name"] = options["account"]
    if endpoint := options.get("endpoint_url"):
        found["endpoint"] = endpoint
        if endpoint.startswith("http://"):
            found["client_options"] = {"allow_http": True}
    if options.get("emulator", "").lower() == "true":
        found["use_emulator"] = True
    return found | _azure_auth(backend)


def _azure_auth(backend: Backend) -> dict[str, Any]:
    auth = backend.auth
    if auth.method == "static":
        return {"account_key": secret(auth, "account_key")}
    if auth.method == "sas":
        return {"sas_key": secret(auth, "sas")}
    if auth.method == "anonymous":
        return {"skip_signature": True}
    if auth.method in ("none", "env"):
        return {}
    raise unsupported(backend)


def _gcs(backend: Backend) -> dict[str, Any]:
    auth = backend.auth
    if auth.method == "static":
        return {"service_account_path": secret(auth, "service_account_path")}
    if auth.method == "anonymous":
        return {"skip_signature": True}
    if auth.method in ("none", "env"):
        return {}
    raise unsupported(backend)


def unsupported(backend: Backend) -> ConfigError:
    """The refusal of a sign-in method that is known but does not work here."""
    return ConfigError(
        f"backend '{backend.name}': auth.method '{backend.auth.method}' is not supported for "
        f"type '{backend.type}': use none, env, static, sas (azureblob) or anonymous."
    )


def _has(auth: Auth, key: str) -> bool:
    return bool(auth.params.get(key) or auth.params.get(f"{key}_env"))


def secret(auth: Auth, key: str, environ: Mapping[str, str] = os.environ) -> str:
    """A secret given as `key`, or by the name of an environment variable as `key_env`."""
    if auth.params.get(key):
        return auth.params[key]
    name = auth.params.get(f"{key}_env", "")
    if name and environ.get(name):
        return environ[name]
    raise ConfigError(f"auth.method '{auth.method}' needs {key}, or {key}_env naming a variable.")


def delta_options(url: str) -> dict[str, str]:
    """Options of deltalake and polars for a lake at `url`; credentials come from the environment.

    Local paths need none. Plain-http endpoints are allowed only where the environment names one.
    """
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if url.startswith("s3://") and endpoint.startswith("http://"):
        return {"AWS_ALLOW_HTTP": "true"}
    if url.startswith(("az://", "abfss://")) and os.environ.get("AZURITE_BLOB_STORAGE_URL"):
        return {"azure_storage_use_emulator": "true"}
    return {}
