"""Which file of a lake has gone or been cut, where reading one failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lake.schemas import TABLES
from lake.store import Lake
from storage.errors import LakeError, WarpdriveError, first_line


def damage(root: str, error: BaseException) -> LakeError | None:
    """What is wrong with the lake, if `error` came of a Parquet file; None if it did not.

    Readers of Parquet hardly say which file it was: on disk, the first that is not there, or not
    as long as when it was committed, is named.
    """
    said = first_line(error)
    panic = type(error).__name__ == "PanicException"  # polars, where a file is shorter than it says
    if not panic and ".parquet" not in said and "parquet:" not in said.lower():
        return None
    lake = Lake(root)
    for table in TABLES.values() if "://" not in root else ():
        for part in lake.parts(table):
            found = Path(part.uri)
            size = found.stat().st_size if found.is_file() else 0
            if size != part.size_bytes:
                return LakeError(
                    f"{part.uri}: table {table.name} has lost {part.size_bytes - size} of the "
                    f"{part.size_bytes} bytes of this file: put it back from a copy of the lake."
                )
    if panic:
        return None
    return LakeError(f"{root}: a table cannot be read: {said}: put it back from a copy.")


@contextmanager
def told(root: str) -> Iterator[None]:
    """Around reads of the lake: what comes of a damaged file is raised as LakeError."""
    try:
        yield
    except (WarpdriveError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        cause = error.__cause__
        if found := damage(root, error) or (damage(root, cause) if cause else None):
            raise found from None
        raise
