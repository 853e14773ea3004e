"""The REST server."""

from __future__ import annotations

import sys
from typing import Any

import click

from commands.options import HERE, Asked, common, note

RULE = "─" * 36


@click.command()
@click.option("--addr", default="", metavar="HOST:PORT",
              help="Where to listen; default: control_plane.rest_addr.")  # fmt: skip
@click.option("--allow-unauthenticated", is_flag=True,
              help="Listen on a public address although auth is off.")  # fmt: skip
@common
def serve(addr: str, allow_unauthenticated: bool, **o: Any) -> None:
    """Answer reports over HTTP, take events in, run crawls.

    Example: warpdrive serve --addr 127.0.0.1:8080
    """
    from api.address import check_public, chosen_address
    from api.server import listen, run
    from api.tenants import tenant_configs

    config = Asked(o, local=HERE, as_of=False).config
    configs = tenant_configs(config)
    host, port = chosen_address(config, addr, note)
    if not allow_unauthenticated:
        check_public(config, host)
    if config.server.jwt is None:
        note("Warning: auth is off: whoever reaches this address may read and change everything.")
    shown = f"[{host}]" if ":" in host else host
    with listen(host, port) as sock:

        def ready() -> None:
            click.echo(f"WarpDrive Control Plane\n{RULE}")
            click.echo(f"Listening: {shown}:{sock.getsockname()[1]}")
            click.echo(f"Backends: {len(config.backends)} configured")

        said = []

        def done() -> None:
            if not said:  # by whoever comes first: the end, or the last moment for it
                said.append(True)
                click.echo("Control plane shut down cleanly.")
                sys.stdout.flush()

        run(configs, sock, ready, done)
