"""Start Streamlit for a config file: on this machine, or for everybody who signs in."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

from storage.config import Config
from storage.dashboardconfig import Oidc
from storage.errors import UsageError

APP = Path(__file__).parent / "app.py"
LOOPBACK = "127.0.0.1"


def serve(config: Config, port: int, address: str = LOOPBACK) -> None:
    """Become the Streamlit server. Raises UsageError for a public address without signing in.

    The rest of its settings is in `.streamlit/config.toml` beside the app.
    """
    oidc = config.dashboard.oidc
    if oidc is None and not is_loopback(address):
        raise UsageError(
            f"--address {address} is reached from other machines, and nobody has to sign in: set "
            f"dashboard.oidc in {config.file}, or leave --address away."
        )
    if oidc is None and config.tenants:
        raise UsageError(
            f"{config.file} has tenants, and nobody has to sign in: name one with --tenant, or set "
            "dashboard.oidc."
        )
    os.environ["WARPDRIVE_CONFIG"] = config.file
    root = str(APP.parent.parent)
    told = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{told}" if told else root
    # -P: a folder of the cwd that is named like one of our rooms must not stand in for it.
    python = [sys.executable, "-P", "-m", "streamlit", "run", str(APP)]
    python += [f"--server.address={address}", f"--server.port={port}"]
    python.append(f"--secrets.files={secrets(oidc) if oidc else os.devnull}")
    os.execv(sys.executable, python)  # noqa: S606


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address. Raises UsageError for a name without one."""
    try:
        found = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UsageError(f"--address '{address}' is no address of this machine.") from None
    return all(ipaddress.ip_address(info[4][0]).is_loopback for info in found)


def secrets(oidc: Oidc) -> str:
    """The file that Streamlit reads how to sign in from: in memory, never on a disk."""
    told = {
        "redirect_uri": oidc.redirect_uri, "cookie_secret": oidc.cookie_secret,
        "client_id": oidc.client_id, "client_secret": oidc.client_secret,
        "server_metadata_url": oidc.metadata_url,
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in told.items()]
    handle = os.memfd_create("secrets", 0)  # 0: it stays open over the exec of the server
    os.write(handle, ("[auth]\n" + "\n".join(lines) + "\n").encode())
    # Streamlit wants a name that ends in .toml: a link, which leads nowhere for other processes.
    link = Path(tempfile.mkdtemp(prefix="warpdrive-")) / "secrets.toml"
    link.symlink_to(f"/proc/self/fd/{handle}")
    return str(link)
