"""A staged listing against the whole index, range by range."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from lake.schemas import FILE_CHANGES, FILES
from lake.store import Lake
from pipelines.index import Pieces, piece_frames, spans
from pipelines.staging import Ids, Staged
from pipelines.transforms import files as transform
from storage.errors import BackendError


@dataclass
class Done:
    """A listing applied to the index; nothing is committed."""

    files: Pieces
    changes: Pieces
    bytes: int = 0
    gone: int = 0
    """Files that are not listed and should have been."""
    confirmed: int = 0
    """Those of them that the held listing before had missed too."""
    totals: Counter[str] = field(
        default_factory=lambda: Counter(added=0, removed=0, added_bytes=0, removed_bytes=0)
    )

    def drop(self) -> None:
        """Delete what was written for it."""
        self.files.drop()
        self.changes.drop()


def compared(
    lake: Lake, old: Pieces, staged: Staged, moment: transform.Moment, held_at: dt.datetime | None
) -> Done:
    """Compare range by range; memory is that of one range.

    Raises BackendError when two live paths have one file_id; what was written is deleted then.
    """
    done = Done(Pieces(lake, FILES, moment.backend), Pieces(lake, FILE_CHANGES, moment.backend))
    ranges = spans(old, staged)
    try:
        with tempfile.NamedTemporaryFile() as file:
            ids = Ids(file)
            for low, high in ranges:
                part = transform.compare(old.between(low, high), staged.between(low, high), moment)
                ids.add(part.files["file_id"])
                _add(done, part, held_at, write=len(ranges) > 1)
            _check(ids, done.files)
    except BaseException:
        done.drop()
        raise
    return done


def _add(done: Done, part: transform.Compared, held_at: dt.datetime | None, *, write: bool) -> None:
    done.files.add(transform.as_files(part.files, done.files.backend), write=write)
    done.changes.add(part.changes, write=write)
    done.bytes += int(part.files["size_bytes"].sum())
    done.gone += part.gone.height
    if held_at is not None:
        done.confirmed += part.gone.filter(pl.col("last_seen_at") < held_at).height
    done.totals.update(transform.totals(part.changes))


def _check(ids: Ids, files: Pieces) -> None:
    twice = ids.twice()
    if twice is None:
        return
    same = pl.col("file_id") == twice
    paths = [path for frame in piece_frames(files) for path in frame.filter(same)["path"]]
    raise BackendError(
        f"backend '{files.backend}': the paths {' and '.join(map(repr, paths[:3]))} have the same "
        f"file_id {twice}: the listing is not used; tell the developers of WarpDrive."
    )
