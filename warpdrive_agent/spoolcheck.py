"""`warpdrive spool check`: what a spool folder holds, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from storage import landing
from storage.errors import UsageError
from warpdrive_agent.counters import read_books
from warpdrive_agent.segments import ACTIVE, COUNTERS, MAX_SEGMENT_BYTES, REFUSED, SEALED

OK = "ok"


class SpoolRow(NamedTuple):
    """One file of the spool, or one finding between files."""

    file: str
    boot: str
    first: int
    last: int
    events: int
    problem: str
    """`ok`, or what is wrong: torn, damaged, gap, duplicate, refused."""


class _Line(msgspec.Struct):
    seq: int
    boot: str = ""


_DECODER = msgspec.json.Decoder(_Line)


def check_spool(path: str | Path) -> list[SpoolRow]:
    """One row per file, then one per gap or duplicate between the numbers of a boot.

    Nothing is changed; a running agent may own the folder. Raises UsageError where `path` is no
    spool.
    """
    folder = Path(path)
    if not (folder / SEALED).is_dir():
        raise UsageError(f"'{path}' is not a spool: it has no folder '{SEALED}'.")
    rows, seqs = [], dict[str, list[int]]()
    for file, lines, problem in _files(folder):
        heads, torn = _heads(lines)
        for head in heads:
            seqs.setdefault(head.boot, []).append(head.seq)
        rows.append(_row(file, heads, problem or (f"torn: {torn} lines" if torn else OK)))
    for boot, numbers in seqs.items():
        rows += _between(boot, sorted(numbers))
    return rows


def _files(folder: Path) -> Iterator[tuple[str, bytes, str]]:
    for kind in (SEALED, REFUSED):
        for path in sorted((folder / kind).glob("*.jsonl.zst")):
            refused = "refused by the sink" if kind == REFUSED else ""
            try:
                lines = landing.decompress(path.name, path.read_bytes(), MAX_SEGMENT_BYTES)
            except FileNotFoundError:
                continue  # a running agent has delivered it
            except (OSError, ValueError) as error:
                yield f"{kind}/{path.name}", b"", f"damaged: {error}"
                continue
            yield f"{kind}/{path.name}", lines, refused
    if (folder / ACTIVE).exists():
        yield ACTIVE, (folder / ACTIVE).read_bytes(), ""


def _heads(lines: bytes) -> tuple[list[_Line], int]:
    heads, torn = [], 0
    for line in lines.splitlines(keepends=True):
        try:
            head = _DECODER.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            torn += 1
            continue
        if line.endswith(b"\n"):
            heads.append(head)
        else:
            torn += 1
    return heads, torn


def _row(file: str, heads: list[_Line], problem: str) -> SpoolRow:
    seqs = [head.seq for head in heads]
    boot = heads[0].boot if heads else ""
    return SpoolRow(file, boot, min(seqs, default=0), max(seqs, default=0), len(seqs), problem)


def _between(boot: str, numbers: list[int]) -> Iterator[SpoolRow]:
    """Gaps may be drops that were counted, or segments that were delivered already."""
    for before, after in pairwise(numbers):
        if after == before:
            yield SpoolRow("", boot, before, after, 1, f"duplicate: {before}")
        elif after > before + 1:
            missing = after - before - 1
            yield SpoolRow(
                "", boot, before + 1, after - 1, missing,
                f"gap: {missing} dropped, lost or delivered",
            )  # fmt: skip


def counters(path: str | Path) -> dict[str, int | str | bool]:
    """What the counter page says of the last start; empty where there is none."""
    books = read_books(Path(path) / COUNTERS)
    if books is None:
        return {}
    return {
        "boot": books.boot, "clean": books.clean, "recorded": books.assigned,
        "sealed": books.sealed, "dropped": books.dropped + books.spool_dropped + books.refused,
    }  # fmt: skip
