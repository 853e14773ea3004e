"""One record, translated for each library by name. Never one options dict for all.

deltalake and object_store ignore keys that they do not know, so every key here is spelled out and
checked against a list. What was measured: deltalake and polars take the same keys; obstore takes
them without prefix; fsspec has its own; none of them reads another's.
"""

from __future__ import annotations

import os
from typing import Any

from storage.config import Backend
from storage.credentials import azure_token, check_method, s3_keys, secret
from storage.errors import ConfigError
from storage.locations import record_of

OBJECT_STORES = ("s3", "azureblob", "gcs")
# The emulator's account: public knowledge, the same everywhere.
EMULATOR_ACCOUNT = "devstoreaccount1"
EMULATOR_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
_PLACES = {"s3": ("s3", "bucket"), "gcs": ("gs", "bucket"), "azureblob": ("az", "container")}
DELTA_KEYS = frozenset({
    "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_region",
    "aws_endpoint_url", "aws_allow_http", "aws_skip_signature",
    "aws_virtual_hosted_style_request", "azure_storage_account_name",
    "azure_storage_account_key", "azure_storage_sas_token", "azure_storage_token",
    "azure_storage_endpoint", "azure_allow_http", "azure_storage_use_emulator",
    "azure_skip_signature", "google_service_account", "google_skip_signature",
})  # fmt: skip


def url_of(backend: Backend) -> str:
    """The URL of a backend's root: `s3://bucket/prefix`, `az://container`, a path for local."""
    if backend.type == "local":
        return backend.root
    if backend.type not in _PLACES:
        return _generic_url(backend)
    place, prefix = _place(backend)
    return f"{_PLACES[backend.type][0]}://{place}/{prefix}".rstrip("/")


def s3_place(backend: Backend) -> tuple[str, str]:
    """Bucket and key prefix; the prefix is empty or ends in `/`."""
    place, prefix = _place(backend)
    return place, f"{prefix}/" if prefix else ""


def _place(backend: Backend) -> tuple[str, str]:
    """Bucket or container, and the prefix in it: `config.root` may hold both, as in Go's."""
    key = _PLACES[backend.type][1]
    root = backend.options.get("root", "").strip("/")
    if named := backend.options.get(key):
        return named, root
    place, _, prefix = root.partition("/")
    if not place:
        raise ConfigError(f"backend '{backend.name}' needs config.{key}.")
    return place, prefix


def _generic_url(backend: Backend) -> str:
    """`config.url`, else the type as scheme of `config.root`, for what only fsspec opens."""
    options = backend.options
    if not options.get("url") and not options.get("root"):
        raise ConfigError(f"backend '{backend.name}' needs config.root or config.url.")
    return options.get("url") or f"{backend.type}://{options['root'].rstrip('/')}"


def s3_endpoint(backend: Backend, bucket: str) -> tuple[str, str, bool]:
    """Endpoint, region, and whether the bucket stands in the path instead of the host name."""
    region = _region(backend)
    if named := _s3_endpoint_url(backend):
        return named.rstrip("/"), region, True
    if "." in bucket:  # no certificate of AWS covers such a host
        return f"https://s3.{region}.amazonaws.com", region, True
    return f"https://{bucket}.s3.{region}.amazonaws.com", region, False


def _s3_endpoint_url(backend: Backend) -> str:
    given = backend.options.get("endpoint_url") or backend.options.get("endpoint")
    return given or os.environ.get("AWS_ENDPOINT_URL", "")


def _region(backend: Backend) -> str:
    around = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return backend.options.get("region") or around or "us-east-1"


def obstore_options(backend: Backend) -> dict[str, Any]:
    """Keyword arguments of `obstore.store.from_url`. Raises ConfigError."""
    if backend.type == "local":
        return {}
    check_method(backend)
    make = {"s3": _obstore_s3, "azureblob": _obstore_azure, "gcs": _obstore_gcs}.get(backend.type)
    if make is None:
        raise ConfigError(
            f"backend '{backend.name}': type '{backend.type}' is not s3, azureblob, gcs or local; "
            "it is reached through fsspec only."
        )
    return make(backend)


def _obstore_s3(backend: Backend) -> dict[str, Any]:
    found: dict[str, Any] = {"region": _region(backend)}
    if endpoint := _s3_endpoint_url(backend):
        found |= {"endpoint": endpoint, "virtual_hosted_style_request": False, **_http(endpoint)}
    method = backend.auth.method
    if method == "anonymous":
        return found | {"skip_signature": True}
    if method in ("none", "env"):
        return found  # object_store reads the AWS_* variables by itself
    source = s3_keys(backend)
    assert source is not None
    if method == "static":
        return found | _s3_static(backend, "")

    def provide() -> dict[str, Any]:
        keys, end = source.with_end()
        return {
            "access_key_id": keys.access_key_id, "secret_access_key": keys.secret_access_key,
            "token": keys.session_token or None, "expires_at": end,
        }  # fmt: skip

    return found | {"credential_provider": provide}


def _s3_static(backend: Backend, prefix: str) -> dict[str, str]:
    source = s3_keys(backend)
    assert source is not None
    keys = source.get()
    found = {
        f"{prefix}access_key_id": keys.access_key_id,
        f"{prefix}secret_access_key": keys.secret_access_key,
    }
    return found | ({f"{prefix}session_token": keys.session_token} if keys.session_token else {})


def _obstore_azure(backend: Backend) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if account := _account(backend):
        found["account_name"] = account
    if endpoint := backend.options.get("endpoint_url"):
        found |= {"endpoint": endpoint, **_http(endpoint)}
    if _emulator(backend):
        return {"account_name": EMULATOR_ACCOUNT, "use_emulator": True}
    return found | _obstore_azure_auth(backend)


def _obstore_azure_auth(backend: Backend) -> dict[str, Any]:
    method = backend.auth.method
    if method == "static":
        return {"account_key": secret(backend.auth, "account_key")}
    if method == "sas":
        return {"sas_key": secret(backend.auth, "sas").lstrip("?")}
    if method == "anonymous":
        return {"skip_signature": True}
    source = azure_token(backend)
    if source is None:
        return {}

    def provide() -> dict[str, Any]:
        bearer, end = source.with_end()
        return {"token": bearer.token, "expires_at": end}

    return {"credential_provider": provide}


def _obstore_gcs(backend: Backend) -> dict[str, Any]:
    auth = backend.auth
    if auth.method == "static":
        return {"service_account_path": secret(auth, "service_account_path")}
    return {"skip_signature": True} if auth.method == "anonymous" else {}


def azure_account_url(backend: Backend) -> str:
    """The blob endpoint of the account. Raises ConfigError."""
    if _emulator(backend):
        around = os.environ.get("AZURITE_BLOB_STORAGE_URL", "http://127.0.0.1:10000")
        return f"{around.rstrip('/')}/{EMULATOR_ACCOUNT}"
    if endpoint := backend.options.get("endpoint_url"):
        return endpoint
    if account := _account(backend):
        return f"https://{account}.blob.core.windows.net"
    raise ConfigError(f"backend '{backend.name}' needs config.account.")


def azure_key(backend: Backend) -> str:
    """The account key, of the record or the environment; empty where there is none."""
    if _emulator(backend):
        return EMULATOR_KEY
    if backend.auth.method == "static":
        return secret(backend.auth, "account_key")
    return os.environ.get("AZURE_STORAGE_ACCOUNT_KEY", "")


def _http(endpoint: str) -> dict[str, Any]:
    return {"client_options": {"allow_http": True}} if endpoint.startswith("http://") else {}


def _account(backend: Backend) -> str:
    return backend.options.get("account") or os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")


def _emulator(backend: Backend) -> bool:
    return backend.options.get("emulator", "").lower() == "true"


def delta_options(url: str) -> dict[str, str]:
    """Options of deltalake and polars for tables at `url`; none for a local path.

    Take them anew for each handle: what a cloud handed out is good for an hour or so.
    Raises ConfigError where no option carries the way of signing in.
    """
    if "://" not in url:
        return {}
    return table_options(record_of(url))


def table_options(backend: Backend) -> dict[str, str]:
    """The options of deltalake and polars for a record."""
    check_method(backend)
    make = {"s3": _delta_s3, "azureblob": _delta_azure, "gcs": _delta_gcs}.get(backend.type)
    if make is None:
        raise ConfigError(
            f"'{backend.name}': tables cannot live on type '{backend.type}': use s3, azureblob, "
            "gcs or a local folder."
        )
    found = make(backend)
    if unknown := found.keys() - DELTA_KEYS:
        raise AssertionError(f"deltalake would ignore {sorted(unknown)}")
    return found


def _delta_s3(backend: Backend) -> dict[str, str]:
    found = {"aws_region": _region(backend)}
    if endpoint := _s3_endpoint_url(backend):
        found |= {
            "aws_endpoint_url": endpoint,
            "aws_virtual_hosted_style_request": "false",
            "aws_allow_http": str(endpoint.startswith("http://")).lower(),
        }
    method = backend.auth.method
    if method == "anonymous":
        return found | {"aws_skip_signature": "true"}
    return found if method in ("none", "env") else found | _s3_static(backend, "aws_")


def _delta_azure(backend: Backend) -> dict[str, str]:
    found = {}
    if account := _account(backend):
        found["azure_storage_account_name"] = account
    if endpoint := backend.options.get("endpoint_url"):
        found["azure_storage_endpoint"] = endpoint
        found["azure_allow_http"] = str(endpoint.startswith("http://")).lower()
    if _emulator(backend):
        return {"azure_storage_use_emulator": "true"}
    return found | _delta_azure_auth(backend)


def _delta_azure_auth(backend: Backend) -> dict[str, str]:
    auth = backend.auth
    if auth.method == "static":
        return {"azure_storage_account_key": secret(auth, "account_key")}
    if auth.method == "sas":
        return {"azure_storage_sas_token": secret(auth, "sas").lstrip("?")}
    if auth.method == "anonymous":
        return {"azure_skip_signature": "true"}
    source = azure_token(backend)
    return {} if source is None else {"azure_storage_token": source.get().token}


def _delta_gcs(backend: Backend) -> dict[str, str]:
    auth = backend.auth
    if auth.method == "static":
        return {"google_service_account": secret(auth, "service_account_path")}
    return {"google_skip_signature": "true"} if auth.method == "anonymous" else {}


def fsspec_options(backend: Backend) -> dict[str, Any]:
    """Keyword arguments of `fsspec.filesystem` for a record.

    For types that are none of ours `config:` goes to the plug-in as it is, but for root and url.
    """
    if backend.type == "local":
        return {}
    if backend.type not in OBJECT_STORES:
        return {k: v for k, v in backend.options.items() if k not in ("root", "url")}
    check_method(backend)
    make = {"s3": _fsspec_s3, "azureblob": _fsspec_azure, "gcs": _fsspec_gcs}[backend.type]
    return make(backend)


def _fsspec_s3(backend: Backend) -> dict[str, Any]:
    found: dict[str, Any] = {"client_kwargs": {"region_name": _region(backend)}}
    if endpoint := _s3_endpoint_url(backend):
        found["endpoint_url"] = endpoint
    method = backend.auth.method
    if method == "anonymous":
        return found | {"anon": True}
    if method in ("none", "env"):
        return found
    source = s3_keys(backend)
    assert source is not None
    keys = source.get()
    token = {"token": keys.session_token} if keys.session_token else {}
    return found | {"key": keys.access_key_id, "secret": keys.secret_access_key, **token}


def _fsspec_azure(backend: Backend) -> dict[str, Any]:
    auth, endpoint = backend.auth, backend.options.get("endpoint_url", "")
    found: dict[str, Any] = {"account_name": _account(backend)}
    if auth.method == "static" and endpoint:
        # adlfs makes https:// of every host that it is given, but takes an endpoint from here.
        key = secret(auth, "account_key")
        scheme = endpoint.partition("://")[0]
        parts = {
            "DefaultEndpointsProtocol": scheme, "AccountName": _account(backend),
            "AccountKey": key, "BlobEndpoint": endpoint,
        }  # fmt: skip
        return {"connection_string": "".join(f"{k}={v};" for k, v in parts.items())}
    if auth.method == "sas" and endpoint:
        sas = secret(auth, "sas").lstrip("?")
        return {"connection_string": f"BlobEndpoint={endpoint};SharedAccessSignature={sas};"}
    if auth.method == "static":
        return found | {"account_key": secret(auth, "account_key")}
    if auth.method == "sas":
        return found | {"sas_token": secret(auth, "sas").lstrip("?")}
    return found | {"anon": auth.method == "anonymous"}


def _fsspec_gcs(backend: Backend) -> dict[str, Any]:
    auth = backend.auth
    if auth.method == "static":
        return {"token": secret(auth, "service_account_path")}
    return {"token": "anon"} if auth.method == "anonymous" else {}
