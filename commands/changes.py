"""Changes of the local lake, as the commands ask for them; `commands.remote` has their twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from storage.units import parse_instant


class LocalChanges:
    """Quotas, teams, rules and aliases of one config's lake, changed by `who`."""

    def __init__(self, config: Any, who: str) -> None:
        self._config = config
        self._who = who

    def set_quota(self, limits: Mapping[str, Any]) -> str:
        """Set a quota; a note about it, or nothing."""
        from lake.change import set_quota

        set_quota(self._config, dict(limits), self._who)
        where = limits["backend"]
        known = not where or where in {backend.name for backend in self._config.backends}
        return "" if known else f"backend '{where}' is not in the config (yet)."

    def delete_quota(self, team: str, backend: str) -> None:
        """Delete a quota."""
        from lake.change import delete_quota

        delete_quota(self._config, team, backend, self._who)

    def add_member(self, user: str, team: str, since: str) -> tuple[int, int]:
        """Put a user into a team: how many memberships are new, of how many."""
        return self._add([(user, team)], since)

    def import_members(self, file: str, since: str) -> tuple[int, int]:
        """Add the members of a CSV: how many are new, of how many."""
        from lake.change import read_members

        return self._add(read_members(file), since)

    def remove_member(self, user: str, team: str, since: str) -> None:
        """Take a user out of a team."""
        from lake.change import remove_member

        at = parse_instant(since, "--since") if since else None
        remove_member(self._config, (user, team), at, self._who)

    def add_alias(self, name: str, canonical: str, since: str) -> None:
        """Let a name count as another one of the same person."""
        from lake.change import add_alias

        at = parse_instant(since, "--since") if since else None
        add_alias(self._config, (name, canonical), at, self._who)

    def remove_alias(self, name: str, since: str) -> None:
        """Let a name count for itself again."""
        from lake.change import remove_alias

        at = parse_instant(since, "--since") if since else None
        remove_alias(self._config, name, at, self._who)

    def add_rule(self, rule: Mapping[str, str]) -> None:
        """Let a prefix belong to a team."""
        from lake.change import add_rule

        add_rule(self._config, dict(rule), self._who)

    def remove_rule(self, backend: str, prefix: str) -> None:
        """Remove the rule of a prefix."""
        from lake.change import remove_rule

        remove_rule(self._config, backend, prefix, self._who)

    def _add(self, pairs: list[tuple[str, str]], since: str) -> tuple[int, int]:
        from lake.change import add_members

        at = parse_instant(since, "--since") if since else None
        return add_members(self._config, pairs, at, self._who), len(pairs)
