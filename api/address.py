"""Where to listen: loopback unless told otherwise, and never openly in public by accident."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from storage.config import Config
from storage.errors import ConfigError
from storage.serverconfig import split_address

LOOPBACK = "127.0.0.1"


def chosen_address(config: Config, given: str, say: Callable[[str], object]) -> tuple[str, int]:
    """Host and port of `--addr`, else of the config. Without a host it is loopback, and said."""
    what = "--addr" if given else "control_plane.rest_addr"
    host, port = split_address(given or config.server.address, what)
    if not host:
        say(f"Warning: {what} '{given or config.server.address}' has no host: {LOOPBACK} is used. "
            "Name a host, such as 0.0.0.0, to be reached from elsewhere.")  # fmt: skip
        host = LOOPBACK
    return host, port


def check_public(config: Config, host: str) -> None:
    """Raise ConfigError for a public address without auth."""
    if config.server.jwt is None and not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from elsewhere and auth is off: set auth.jwt, listen on "
            f"{LOOPBACK}, or pass --allow-unauthenticated."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
