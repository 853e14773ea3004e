"""Tokens for the REST server, where they are signed with a shared secret."""

from __future__ import annotations

from typing import Any

import click

from commands.options import HERE, Asked, common, note
from storage.errors import UsageError
from storage.units import parse_duration

ROLES = ("agent", "reader", "operator", "admin")


@click.group()
def token() -> None:
    """Who may ask the server: tokens signed with `auth.jwt.secret_env`.

    Example: warpdrive token create --subject grafana --role reader
    """


@token.command("create")
@click.option("--subject", required=True, metavar="NAME",
              help="Who it is for; of an agent the name of its node.")  # fmt: skip
@click.option("--role", required=True, type=click.Choice(ROLES), help="What it may do.")
@click.option("--for-tenant", default="", metavar="NAME", help="Of which tenant's config.")
@click.option("--team", "teams", multiple=True, metavar="NAME",
              help="Show the rows of this team only; may be given again.")  # fmt: skip
@click.option("--expires", default="90d", show_default=True, metavar="TIME", help="Valid for.")
@common
def token_create(
    subject: str, role: str, for_tenant: str, teams: tuple[str, ...], expires: str, **o: Any
) -> None:
    """Print a token. It cannot be taken back before it expires: keep it short.

    Example: warpdrive token create --subject gpu-17 --role agent --expires 365d
    """
    from api.auth import make_token

    lifetime = parse_duration(expires, "--expires")
    if lifetime.total_seconds() < 1:
        raise UsageError(f"--expires '{expires}' is no time at all: write 90d.")
    config = Asked(o, local=HERE, as_of=False).config
    jwt = config.server.jwt
    if jwt is None:
        raise UsageError(
            f"{config.file}: auth.jwt is not set: write auth: {{jwt: {{secret_env: …, "
            "audience: …, issuer: …}} first."
        )
    if for_tenant:
        config.tenant(for_tenant)
    claims: dict[str, Any] = {"tenant": for_tenant} if for_tenant else {}
    if teams:
        claims["teams"] = list(teams)
    click.echo(make_token(jwt, subject, role, lifetime, **claims))
    note(f"Valid for {expires} as {role} {subject}.")
