"""The `dashboard:` section of the config file: how people sign in to it (OpenID Connect)."""

from __future__ import annotations

from typing import NamedTuple

from storage.yamlfile import Section

MIN_COOKIE_SECRET_LENGTH = 32
CALLBACK = "/oauth2callback"


class Oidc(NamedTuple):
    """A provider that people sign in with. The secrets are never shown."""

    metadata_url: str
    client_id: str
    client_secret: str
    redirect_uri: str
    cookie_secret: str

    def __repr__(self) -> str:
        return f"Oidc({self.metadata_url!r}, {self.client_id!r})"


class DashboardConfig(NamedTuple):
    """Settings of the dashboard; without `oidc` it is for this machine only."""

    oidc: Oidc | None = None


def read_dashboard(section: Section) -> DashboardConfig:
    """The section as a value. Raises ConfigError with file, line and key."""
    found = DashboardConfig(_oidc(section.section("oidc")) if section.has("oidc") else None)
    section.finish()
    return found


def _oidc(section: Section) -> Oidc:
    names = ("metadata_url", "client_id", "client_secret", "redirect_uri", "cookie_secret")
    found = {name: section.text(name) for name in names}
    for name, value in found.items():
        if not value:
            raise section.error(name, "is required: signing in needs all five keys of oidc.")
    if not found["redirect_uri"].endswith(CALLBACK):
        raise section.error(
            "redirect_uri", f"'{found['redirect_uri']}' does not end in {CALLBACK}: it is the "
            "dashboard's address as the provider knows it, and that.",
        )  # fmt: skip
    if len(found["cookie_secret"]) < MIN_COOKIE_SECRET_LENGTH:
        raise section.error(
            "cookie_secret", f"has less than {MIN_COOKIE_SECRET_LENGTH} characters: make one with "
            "`openssl rand -hex 32`.",
        )  # fmt: skip
    section.finish()
    return Oidc(**found)
