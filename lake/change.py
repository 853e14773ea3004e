"""Changes of quotas, teams, rules and aliases: the control table, then what readers see of it."""

from __future__ import annotations

import csv
import datetime as dt
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lake import control
from lake.publish import publish_control
from lake.store import Lake
from storage import clock
from storage.config import Config
from storage.errors import UsageError

COLUMNS = ("user_id", "team_name")
MAX_NAME = 200
"""As in the bodies of the REST API."""


def set_quota(config: Config, limits: dict[str, Any], who: str) -> None:
    """Set a quota and publish it. Raises UsageError for wrong limits."""
    _check_names((limits["team"], limits["backend"]))
    control.set_quota(Lake(config.lake.root), limits, who, clock.now())
    publish_control(Lake(config.lake.root), clock.now())


def delete_quota(config: Config, team: str, backend: str, who: str) -> None:
    """Delete a quota and publish that. Raises UsageError where there is none."""
    control.delete_quota(Lake(config.lake.root), team, backend, who, clock.now())
    publish_control(Lake(config.lake.root), clock.now())


def add_members(
    config: Config, pairs: list[tuple[str, str]], since: dt.datetime | None, who: str
) -> int:
    """Put users into teams and publish it; how many memberships were new."""
    if wrong := [pair for pair in pairs if not all(pair)]:
        raise UsageError(f"user_id and team_name are required: {wrong[0]} lacks one.")
    for pair in pairs:
        _check_names(pair)
    new = control.add_members(Lake(config.lake.root), pairs, since, who, clock.now())
    publish_control(Lake(config.lake.root), clock.now())
    return new


def remove_member(
    config: Config, member: tuple[str, str], since: dt.datetime | None, who: str
) -> None:
    """Take a user out of a team and publish it. Raises UsageError if he is not in it."""
    control.remove_member(Lake(config.lake.root), *member, since, who, clock.now())
    publish_control(Lake(config.lake.root), clock.now())


def _check_names(names: Iterable[str]) -> None:
    """Raise UsageError for a name that is blank, endless or cannot be shown."""
    for name in names:
        if name.isspace():
            raise UsageError(f"{name!a} is no name: it is blank.")
        if len(name) > MAX_NAME:
            raise UsageError(f"'{name[:20]}…' is no name: it is over {MAX_NAME} characters.")
        _check_shown(name)


def _check_shown(text: str) -> None:
    """Raise UsageError for a text with control characters or bytes that are not UTF-8."""
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise UsageError(f"{text!a} is no name: it has characters that cannot be shown.")


def add_rule(config: Config, rule: dict[str, str], who: str) -> None:
    """Let a prefix belong to a team. Raises UsageError for a backend that is not there."""
    _check_names((rule["backend"], rule["team"]))
    _check_shown(rule["prefix"])
    config.backend(rule["backend"])
    control.add_rule(Lake(config.lake.root), rule, who, clock.now())


def remove_rule(config: Config, backend: str, prefix: str, who: str) -> None:
    """Remove the rule of a prefix. Raises UsageError where there is none."""
    control.remove_rule(Lake(config.lake.root), backend, prefix, who, clock.now())


def add_alias(config: Config, pair: tuple[str, str], since: dt.datetime | None, who: str) -> None:
    """Let a name count as another one of the same person, and publish it.

    `pair`: name, canonical. Raises UsageError for names that are nobody's, or a circle.
    """
    if not all(pair):
        raise UsageError(f"name and canonical are required: {pair} lacks one.")
    _check_names(pair)
    control.add_alias(Lake(config.lake.root), pair, since, who, clock.now())
    publish_control(Lake(config.lake.root), clock.now())


def remove_alias(config: Config, name: str, since: dt.datetime | None, who: str) -> None:
    """Let a name count for itself again. Raises UsageError where it is no alias."""
    control.remove_alias(Lake(config.lake.root), name, since, who, clock.now())
    publish_control(Lake(config.lake.root), clock.now())


def read_members(file: str) -> list[tuple[str, str]]:
    """(user, team) of each line of a CSV with the columns user_id and team_name, in file order.

    Raises UsageError naming the file and line; nothing is half read.
    """
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or [])]
            if missing:
                raise UsageError(f"{file}: no column {', '.join(missing)}: the first line must "
                                 f"name {' and '.join(COLUMNS)}.")  # fmt: skip
            return [_member(file, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{file}: cannot be read as CSV: {error}.") from None


def _member(file: str, line: int, row: dict[str, str | None]) -> tuple[str, str]:
    user, team = ((row[name] or "").strip() for name in COLUMNS)
    if not user or not team:
        raise UsageError(f"{file}:{line}: user_id and team_name are required; nothing is imported.")
    return user, team
