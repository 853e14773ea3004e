"""The parts of the config file that only the REST server reads: who may ask, and how much."""

from __future__ import annotations

import datetime as dt
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from storage.errors import UsageError
from storage.units import parse_duration, parse_size
from storage.yamlfile import Section

OPEN_ROUTES = ("ingest", "backends", "healthz", "metrics", "docs")
"""What `auth.anonymous` may name; senders and probes of the Go version need the first two."""
DEFAULT_ADDRESS = "127.0.0.1:8080"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class JwtConfig(NamedTuple):
    """How tokens are checked: a shared secret (HS256), or the issuer's published keys."""

    audience: str
    issuer: str
    secret_env: str = ""
    """Name of the environment variable that holds the secret; the secret itself is never here."""
    jwks_url: str = ""
    algorithms: tuple[str, ...] = ()


class ServerConfig(NamedTuple):
    """`control_plane` and `auth`: address, limits, who may ask."""

    address: str
    crawl_interval: dt.timedelta
    hosts: tuple[str, ...]
    """Names under which the server may be asked, beside its own and IP addresses."""
    origins: tuple[str, ...]
    """Web pages of other origins that may change things, `https://host[:port]`."""
    max_body_bytes: int
    request_timeout: dt.timedelta
    rate_limit: int
    """Requests a second of one token; 0 = no limit."""
    jwt: JwtConfig | None
    anonymous: tuple[str, ...]


def read_server(control: Section, auth: Section) -> ServerConfig:
    """Both sections, checked. Raises ConfigError with file, line and key."""
    interval = control.parse("storage_crawl_interval", dt.timedelta(0), parse_duration)
    found = ServerConfig(
        address=control.text("rest_addr", DEFAULT_ADDRESS),
        crawl_interval=interval or dt.timedelta(hours=24),
        hosts=tuple(name.lower() for name in control.texts("hosts", ())),
        origins=tuple(_origin(control, text) for text in control.texts("origins", ())),
        max_body_bytes=control.parse("max_body", 256 * 1024**2, parse_size) or 256 * 1024**2,
        request_timeout=control.parse("request_timeout", dt.timedelta(seconds=30), parse_duration)
        or dt.timedelta(seconds=30),
        rate_limit=control.integer("rate_limit", 1000),
        jwt=_jwt(auth),
        anonymous=_anonymous(auth),
    )
    if auth.has("anonymous") and found.jwt is None:
        raise auth.error("anonymous", "means nothing without auth.jwt: everything is open then.")
    control.finish()
    auth.finish()
    return found


def _origin(control: Section, text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
        raise control.error("origins", f"'{text}' is not an origin such as https://portal:8443.")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _anonymous(auth: Section) -> tuple[str, ...]:
    names = auth.texts("anonymous", ())
    for name in names:
        if name not in OPEN_ROUTES:
            raise auth.error("anonymous", f"'{name}' is none of {', '.join(OPEN_ROUTES)}.")
    return names


def _jwt(auth: Section) -> JwtConfig | None:
    if not auth.has("jwt"):
        return None
    section = auth.section("jwt")
    secret, url = section.text("secret_env"), section.text("jwks_url")
    if bool(secret) == bool(url):
        raise section.error("secret_env", "give one of secret_env and jwks_url.")
    if secret and not _VARIABLE.fullmatch(secret):
        raise section.error("secret_env", "is not the name of an environment variable; the "
                            "secret itself does not belong into this file.")  # fmt: skip
    if url:
        _check_url(section, url)
    for key in [key for key in ("audience", "issuer") if not section.text(key)]:
        raise section.error(key, "is required: tokens are checked against it.")
    algorithms = _algorithms(section, ("HS256",) if secret else ("RS256", "ES256", "EdDSA"))
    found = JwtConfig(section.text("audience"), section.text("issuer"), secret, url, algorithms)
    section.finish()
    return found


def _algorithms(section: Section, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Pinned: what a token says about itself does not choose. `none` is never among them."""
    found = section.texts("algorithms", allowed)
    for name in found:
        if name not in allowed:
            raise section.error("algorithms", f"'{name}' is none of {', '.join(allowed)}.")
    return found


def _check_url(section: Section, url: str) -> None:
    parts = urlsplit(url)
    local = parts.hostname in _LOOPBACK
    if parts.hostname is None or parts.scheme not in (("http", "https") if local else ("https",)):
        raise section.error("jwks_url", f"'{url}' is not an https:// address (http:// only for "
                            "loopback): whoever answers there decides who may sign in."
                            )  # fmt: skip


def split_address(text: str, what: str = "control_plane.rest_addr") -> tuple[str, int]:
    """Host and port of `host:port`, `[::1]:port` or `:port` (host empty). Raises UsageError."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    wrong = not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535
    if wrong or (":" in bare and bare == host) or any(c.isspace() or c == "/" for c in host):
        raise UsageError(f"{what} '{text}' is not an address: write 127.0.0.1:8080; "
                         "port 0 takes a free one.")  # fmt: skip
    return bare, int(port)
