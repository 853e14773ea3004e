"""Names of one person, without an engine: readers of published documents ask here too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def resolved(aliases: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name → the name that counts, from (name, canonical); of every name that is not its own.

    An alias of an alias counts for the last. Where they lead in a circle (which only aliases of
    different times can), all of its names are one person, by the first of them.
    """
    next_name = dict(aliases)
    found = {name: _end(name, next_name) for name in next_name}
    return {name: end for name, end in found.items() if end != name}


def _end(name: str, next_name: Mapping[str, str]) -> str:
    seen = [name]
    while (name := next_name.get(name, name)) not in seen:
        seen.append(name)
    return min(seen[seen.index(name) :])


def names_of(user: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """Every name of a person, the one that counts first; `known` as `resolved` gives it."""
    counts = known.get(user, user)
    return (counts, *sorted(name for name, end in known.items() if end == counts))
