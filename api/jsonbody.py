"""Small JSON bodies: keys in any case, unknown keys ignored, types strict, 64-bit integers."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from api.body import read_body
from api.errors import ApiError
from api.route import Asked
from storage.units import MAX_BYTES

MAX_BODY_BYTES = 1024**2
Integer = Annotated[int, msgspec.Meta(ge=-MAX_BYTES - 1, le=MAX_BYTES)]
T = TypeVar("T", bound=msgspec.Struct)


Name = Annotated[str, msgspec.Meta(max_length=200)]


class QuotaBody(msgspec.Struct):
    """`PUT` and `DELETE /quota`."""

    team_name: Name = ""
    backend_name: Name = ""
    soft_limit: Integer = 0
    hard_limit: Integer = 0
    grace: str = ""


class MemberBody(msgspec.Struct):
    """`POST` and `DELETE /team`."""

    user_id: Name = ""
    team_name: Name = ""
    since: str | msgspec.UnsetType = msgspec.UNSET


class AliasBody(msgspec.Struct):
    """`POST /aliases`."""

    name: Name = ""
    canonical: Name = ""
    since: str | msgspec.UnsetType = msgspec.UNSET


class RuleBody(msgspec.Struct):
    """`POST` and `DELETE /rules`."""

    backend: Name = ""
    prefix: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    team: Name = ""


async def read_json(asked: Asked, kind: type[T]) -> T:
    """The body as `kind`. Raises ApiError 400 with the place of what is wrong."""
    data = await read_body(asked.request.scope, asked.request.receive, MAX_BODY_BYTES)
    try:
        found = msgspec.json.decode(data)
        if not isinstance(found, dict):
            raise msgspec.ValidationError("expected an object")
        return msgspec.convert(folded(found, kind.__struct_fields__), kind, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"invalid JSON: {error}.") from None


def folded(found: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Known keys in lower case; of equal ones the last counts; null is as if it were not there."""
    return {
        key.lower(): value
        for key, value in found.items()
        if key.lower() in known and value is not None
    }
