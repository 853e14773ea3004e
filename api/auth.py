"""Tokens: JWT with pinned algorithms, `exp`, `aud`, `iss` and `sub` required.

Claims: `role` (or a list `roles`: the highest counts) is agent, reader, operator or admin;
`tenant` names the config; `teams` cuts every answer down to those teams' rows.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
import time
from collections import OrderedDict
from typing import Any

import jwt

from api.caller import ROLES, Caller
from api.errors import ApiError
from storage import clock
from storage.errors import ConfigError, UsageError
from storage.serverconfig import JwtConfig

log = logging.getLogger("warpdrive.api")
LEEWAY_SECONDS = 30
KEPT_TOKENS = 10_000
MAX_TOKEN_CHARACTERS = 8192
MIN_SECRET_BYTES = 32
REQUIRED = ("exp", "aud", "iss", "sub")
JWKS_SECONDS = 300
_CHALLENGE = 'Bearer realm="warpdrive"'


class Verifier:
    """Checks tokens of one issuer; remembers good ones until they expire."""

    def __init__(self, config: JwtConfig) -> None:
        self._config = config
        self._secret = secret(config) if config.secret_env else ""
        self._keys = (
            jwt.PyJWKClient(config.jwks_url, cache_keys=True, lifespan=JWKS_SECONDS, timeout=5)
            if config.jwks_url
            else None
        )
        self._known: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        self._lock = threading.Lock()

    def remembered(self, token: str) -> Caller | None:
        """The caller of a token that was checked before and has not expired."""
        with self._lock:
            found = self._known.get(token)
            if found is not None and found[1] > time.time():
                return found[0]
        return None

    def check(self, token: str) -> Caller:
        """The caller of a token; may fetch keys. Raises ApiError 401, or 503 without keys."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise refused("the token is too long")
        try:
            claims = jwt.decode(
                token, self._key(token), algorithms=list(self._config.algorithms),
                audience=self._config.audience, issuer=self._config.issuer,
                leeway=LEEWAY_SECONDS, options={"require": list(REQUIRED)},
            )  # fmt: skip
        except jwt.PyJWKClientConnectionError as error:
            log.warning("auth.jwt.jwks_url: %s", error)
            raise ApiError(503, "the issuer's keys cannot be fetched.", hint="Try again later.",
                           headers={"Retry-After": "10"}) from None  # fmt: skip
        except (jwt.PyJWTError, ValueError) as error:
            raise refused(str(error)) from None
        caller = caller_of(claims)
        with self._lock:
            self._known[token] = (caller, claims["exp"] + LEEWAY_SECONDS)
            while len(self._known) > KEPT_TOKENS:
                self._known.popitem(last=False)
        return caller

    def _key(self, token: str) -> Any:
        if self._keys is None:
            return self._secret
        return self._keys.get_signing_key_from_jwt(token).key


def refused(why: str) -> ApiError:
    """401 for a token that does not hold."""
    text = why.strip().rstrip(".")
    return ApiError(
        401, f"the token is refused: {text}.", hint="Send `Authorization: Bearer <token>`.",
        headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
    )  # fmt: skip


def caller_of(claims: dict[str, Any]) -> Caller:
    """Who the claims say it is. Raises ApiError 401 for claims of a wrong kind."""
    subject, tenant, teams = claims["sub"], claims.get("tenant", ""), claims.get("teams")
    if not isinstance(subject, str) or not subject or not isinstance(tenant, str):
        raise refused("sub and tenant must be texts")
    if teams is not None and not (
        isinstance(teams, list) and all(isinstance(team, str) for team in teams)
    ):
        raise refused("teams must be a list of texts")
    return Caller(
        subject, _role(claims), tenant, None if teams is None else frozenset(teams),
        authenticated=True,
    )  # fmt: skip


def _role(claims: dict[str, Any]) -> str:
    given = claims.get("roles", claims.get("role", ""))
    names = given if isinstance(given, list) else [given]
    known = [name for name in ROLES if name in names]
    return known[-1] if known else ""


def secret(config: JwtConfig) -> str:
    """The shared secret. Raises ConfigError where it is not set or too short to be one."""
    found = os.environ.get(config.secret_env, "")
    if len(found.encode()) < MIN_SECRET_BYTES:
        raise ConfigError(
            f"auth.jwt.secret_env: the environment variable '{config.secret_env}' "
            + ("is not set" if not found else f"holds less than {MIN_SECRET_BYTES} bytes")
            + ": export a random secret, such as from `openssl rand -hex 32`."
        )
    return found


def bearer(header: str) -> str:
    """The token of an Authorization header. Raises ApiError 401 for another scheme."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refused("the Authorization header is not `Bearer <token>`")
    return token.strip()


def make_token(
    config: JwtConfig, subject: str, role: str, lifetime: dt.timedelta, **claims: Any
) -> str:
    """A token signed with the shared secret. Raises UsageError where an issuer signs them."""
    if not config.secret_env:
        raise UsageError("auth.jwt.jwks_url is set: tokens come from that issuer, not from here.")
    now = clock.now()
    told = {
        "sub": subject, "role": role, "aud": config.audience, "iss": config.issuer,
        "iat": int(now.timestamp()), "exp": int((now + lifetime).timestamp()),
    }  # fmt: skip
    return jwt.encode({**told, **claims}, secret(config), algorithm="HS256")
