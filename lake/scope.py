"""What a signed-in person may see and do: claims of a token to a tenant, teams and a role.

One rule for every door that signs people in. A claim that is there but wrong is refused: it is
never read as "no limit".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storage.errors import WarpdriveError

ROLES = ("reader", "operator", "admin")
"""In order of power: read; also mark files and ask for runs; also quotas, teams and rules."""


class ForbiddenError(WarpdriveError):
    """Signed in, but not allowed to do or see this."""

    http_status = 403
    code = "forbidden"


@dataclass(frozen=True)
class Scope:
    """Who asks and what they may."""

    who: str
    role: str = "reader"
    tenant: str = ""
    teams: tuple[str, ...] | None = None
    """Only rows of these teams; None = of all."""

    def may(self, role: str) -> bool:
        """Whether this person has a role or a more powerful one."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def require(self, role: str, what: str) -> None:
        """Raise ForbiddenError unless this person may do what the role may."""
        if not self.may(role):
            raise ForbiddenError(
                f"{self.who} may not {what}: it needs the role {role}, and yours is {self.role}."
            )

    def require_team(self, team: str) -> None:
        """Raise ForbiddenError for a team whose rows this person may not see."""
        if self.teams is not None and team not in self.teams:
            raise ForbiddenError(f"{self.who} may not change what is of team '{team}'.")


def scope_of(claims: Mapping[str, Any], who_claims: tuple[str, ...] = ("sub",)) -> Scope:
    """The scope of verified claims: tenant, teams (or team), roles (or role).

    Who it is: the first of `who_claims` that is there. Without a role nothing is seen; of several
    the most powerful counts. No teams claim is all teams, an empty list is none.
    Raises ForbiddenError.
    """
    who = next((str(claims[name]) for name in who_claims if claims.get(name)), "")
    if not who:
        raise ForbiddenError(f"the token names nobody: it has none of {', '.join(who_claims)}.")
    tenant = claims.get("tenant", "")
    if not isinstance(tenant, str):
        raise ForbiddenError(f"the claim tenant of {who} is not a name: {tenant!r}.")
    named = _texts(who, claims, "teams", "team")
    return Scope(who, _role(who, claims), tenant, named)


def _role(who: str, claims: Mapping[str, Any]) -> str:
    named = _texts(who, claims, "roles", "role") or ()
    known = [role for role in ROLES if role in named]
    if not known:
        raise ForbiddenError(
            f"{who} may see nothing: the token's role is {', '.join(named) or 'missing'}, none of "
            f"{', '.join(ROLES)}."
        )
    return known[-1]


def _texts(who: str, claims: Mapping[str, Any], plural: str, single: str) -> tuple[str, ...] | None:
    name = plural if plural in claims else single
    if name not in claims:
        return None
    value = claims[name]
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(item, str) for item in listed):
        raise ForbiddenError(f"the claim {name} of {who} is not a list of names: {value!r}.")
    return tuple(listed)
