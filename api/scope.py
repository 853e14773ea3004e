"""What a caller may see and change: everything, or only what belongs to its teams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from api.caller import Caller
from api.errors import ApiError
from lake.read import Reader


def narrowed(reader: Reader, caller: Caller, root: str) -> Any:
    """The reader, narrowed to the caller's teams where it has some (`lake.scoped`)."""
    if caller.teams is None:
        return reader
    from lake.scoped import ScopedReader
    from lake.store import Lake

    return ScopedReader(reader, Lake(root), tuple(sorted(caller.teams)))


def unfiltered(caller: Caller) -> None:
    """Raise ApiError 403 where the token shows only some teams' rows."""
    if caller.teams is not None:
        raise ApiError(403, "this cannot be answered for single teams.",
                       hint="It needs a token without a `teams` claim.")  # fmt: skip


def own_team(caller: Caller, names: Iterable[str]) -> None:
    """Raise ApiError 403 where the caller would change what is another team's."""
    for name in names:
        if caller.teams is not None and name not in caller.teams:
            raise ApiError(403, f"the token does not cover team '{name}'.", param="team_name")
