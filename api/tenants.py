"""Tenants: one config file each; `auth` and `control_plane` of the server's own config count."""

from __future__ import annotations

from collections.abc import Mapping

from storage.config import Config, load_config
from storage.errors import ConfigError


def tenant_configs(config: Config) -> Mapping[str, Config]:
    """The config under the name '', or that of each tenant. Raises ConfigError.

    With tenants the server's own lake answers nobody: a token names its tenant or is refused.
    """
    if not config.tenants:
        return {"": config}
    if config.server.jwt is None:
        raise ConfigError(
            f"{config.file}: tenants need auth.jwt: a token says whose data is meant."
        )
    closed = [name for name in config.server.anonymous if name in ("ingest", "backends", "metrics")]
    if closed:
        raise ConfigError(
            f"{config.file}: auth.anonymous: '{closed[0]}' cannot be open to everyone with "
            "tenants: nothing says whose data is meant."
        )
    found = {
        name: load_config(file)._replace(server=config.server)
        for name, file in config.tenants.items()
    }
    _check_apart(found)
    return found


def _check_apart(configs: Mapping[str, Config]) -> None:
    """Raise ConfigError where two tenants share a lake or a landing zone."""
    taken: dict[str, str] = {}
    for name, config in configs.items():
        for place in (config.lake.root, config.telemetry.landing):
            other = taken.setdefault(place.rstrip("/"), name)
            if other != name:
                raise ConfigError(
                    f"tenants '{other}' and '{name}' share {place}: give each its own."
                )
