"""Who asks: the subject, its role, its tenant, the teams whose rows it may see."""

from __future__ import annotations

from dataclasses import dataclass

from api.errors import ApiError

ROLES = ("agent", "reader", "operator", "admin")
_MAY = {
    "agent": {"ingest"},
    "reader": {"read"},
    "operator": {"read", "ingest", "work"},
    "admin": {"read", "ingest", "work", "change"},
}


@dataclass(frozen=True)
class Caller:
    """One asker. `teams` None: every team's rows."""

    subject: str
    role: str
    tenant: str = ""
    teams: frozenset[str] | None = None
    authenticated: bool = False

    def may(self, what: str) -> bool:
        """Whether the role allows `read`, `ingest`, `work` or `change`."""
        return what in _MAY.get(self.role, ())


LOCAL = Caller("local", "admin")
"""Where auth is off: whoever reaches the loopback address."""


def needed(caller: Caller | None, what: str) -> Caller:
    """The caller, if it may. Raises ApiError 401 without one, 403 for too small a role."""
    if caller is None:
        raise ApiError(
            401, "a token is needed.", hint="Send `Authorization: Bearer <token>`.",
            headers={"WWW-Authenticate": 'Bearer realm="warpdrive"'},
        )  # fmt: skip
    if not caller.may(what):
        roles = ", ".join(role for role in ROLES if what in _MAY[role])
        raise ApiError(403, f"the role '{caller.role}' may not do this.",
                       hint=f"It needs one of the roles {roles}.")  # fmt: skip
    return caller
