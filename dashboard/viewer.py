"""Who looks at the dashboard: the config of their tenant, and what they may see and do.

Signing in is Streamlit's (OIDC). Without it configured the server listens on loopback only, and
whoever reaches it is the user who started it.
"""

from __future__ import annotations

import getpass
import os
import time
from dataclasses import dataclass

import streamlit as st

from lake.scope import ForbiddenError, Scope, scope_of
from storage.config import Config, load_config

WHO = ("email", "preferred_username", "sub")
SKEW_SECONDS = 60


@dataclass(frozen=True)
class Viewer:
    """A person, the config that their answers come from, and their scope."""

    config: Config
    scope: Scope


def current() -> Viewer:
    """The viewer of this session. Raises ConfigError, ForbiddenError, UnknownNameError."""
    config = load_config()
    if config.dashboard.oidc is None:
        return Viewer(config, Scope(_local_user(), "admin"))
    if not signed_in():
        raise ForbiddenError("nobody is signed in.")
    scope = scope_of(st.user.to_dict(), WHO)
    if config.tenants and not scope.tenant:
        raise ForbiddenError(f"{scope.who} belongs to no tenant: the token has no claim tenant.")
    return Viewer(load_config(config.tenant(scope.tenant)) if scope.tenant else config, scope)


def sign_in_configured() -> bool:
    """Whether people have to sign in: what the config says, whatever Streamlit makes of it."""
    return load_config().dashboard.oidc is not None


def signed_in() -> bool:
    """Whether this person may come in: signed in with a token that has not run out."""
    if not sign_in_configured():
        return True
    expires = st.user.get("exp")
    fresh = not isinstance(expires, (int, float)) or expires + SKEW_SECONDS > time.time()
    return bool(st.user.get("is_logged_in")) and fresh


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid:{os.getuid()}"
