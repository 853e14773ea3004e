"""The one family of errors a user may see.

A `WarpdriveError` is somebody's mistake or the world's: it prints as one line (value, place,
way out) and never as a traceback. Everything else is our bug and gets a full traceback.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_SIGNED = re.compile(r"\b(sig|X-Amz-(?:Signature|Credential|Security-Token))=[^&\s\"')]+")


class WarpdriveError(Exception):
    """Something failed that the user can act on."""

    exit_code = 1
    http_status = 500
    code = "failed"


class UsageError(WarpdriveError):
    """A value that the user gave is wrong."""

    exit_code = 2
    http_status = 400
    code = "bad_request"


class ConfigError(WarpdriveError):
    """The config file is missing, unreadable or wrong."""

    code = "config"


class BackendError(WarpdriveError):
    """A backend could not be reached, listed or read."""

    http_status = 502
    code = "backend"


class LakeError(WarpdriveError):
    """The lake is missing, busy or damaged."""

    http_status = 503
    code = "lake"


class UnknownNameError(UsageError):
    """A name that is not among the known ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = nearest(name, names)
        hint = f" Did you mean '{near}'?" if near else ""
        listed = ", ".join(names[:20]) or "none"
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        super().__init__(f"no {kind} '{name}'.{hint} Known: {listed}{more}.")
        self.name = name
        self.param = kind


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, or None."""
    import difflib  # costs as much as a report's rows, and is for mistakes only

    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


def first_line(error: BaseException) -> str:
    """The first line of an error's text: object_store adds pages of debug output.

    The causes that Delta lists below it, each after an arrow, are part of it. Signatures in the
    URLs that are quoted are left out.
    """
    lines = _COLOURS.sub("", str(error).strip() or type(error).__name__).splitlines()
    causes = [line.strip()[1:].strip() for line in lines[1:] if line.strip().startswith("↳")]
    line = ": ".join([lines[0].rstrip("."), *causes])
    return _SIGNED.sub(r"\1=…", line)


_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_WRAPPED = re.compile(r"^(Failed to parse parquet: )?(External: )?Generic \w+ error: ")
_WORLD = frozenset((
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOTDIR,
    errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENAMETOOLONG,
    errno.EFBIG,
))  # fmt: skip
_DATABASE = frozenset(("sqlalchemy.exc.OperationalError",))
_FAMILIES = _DATABASE | {"obstore.exceptions.BaseError"}
"""Errors of libraries that tell of a store or a database, and not of our code."""


def of_the_world(error: BaseException) -> WarpdriveError | None:
    """What a library raised where a disk is full, a store away or a folder closed; else None.

    No library is imported for it: whichever raised the error is there.
    """
    if isinstance(error, WarpdriveError):
        return error
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (told := _OS_ERROR.search(str(error))):
        number = int(told[1])
    if number not in _WORLD and not names & _FAMILIES:
        return None
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return LakeError(f"{os.fsdecode(error.filename)}: {error.strerror}.")
    place = "the database of Dagster's runs: " if names & _DATABASE else ""
    return LakeError(f"{place}{_WRAPPED.sub('', first_line(error))}.")
