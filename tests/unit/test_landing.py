"""Landed objects: their names, and bytes that are damaged or bombs."""

import gzip

import pytest
import zstandard

from storage.landing import compress, decompress, import_name, parse_name, segment_name

LINES = b'{"a":1}\n' * 10
LIMIT = 10_000


def packed(kind):
    return gzip.compress(LINES) if kind == "gz" else zstandard.compress(LINES)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_whole_objects_are_read(kind):
    """One frame, several after one another, and our own."""
    assert decompress(f"o.jsonl.{kind}", packed(kind), LIMIT) == LINES
    assert decompress(f"o.jsonl.{kind}", packed(kind) * 2, LIMIT) == LINES * 2
    assert decompress("o.jsonl.zst", compress([LINES, b"x\n"]), LIMIT) == LINES + b"x\n"


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("cut", range(1, 12))
def test_an_object_cut_short_is_damaged_and_never_half_read(kind, cut):
    """Whatever is missing at the end, it is said: no event may vanish silently."""
    with pytest.raises(ValueError, match="damaged"):
        decompress(f"o.jsonl.{kind}", packed(kind)[:-cut], LIMIT)


@pytest.mark.parametrize("kind", ["gz", "zst"])
@pytest.mark.parametrize("data", [b"", b"junk", b"\0" * 100])
def test_what_was_never_packed_is_damaged(kind, data):
    """An empty object too: something wrote it and did not get to the end."""
    with pytest.raises(ValueError, match="damaged"):
        decompress(f"o.jsonl.{kind}", data, LIMIT)


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_trailing_junk_is_damaged(kind):
    """Bytes after the last frame are no frame."""
    with pytest.raises(ValueError, match="damaged"):
        decompress(f"o.jsonl.{kind}", packed(kind) + b"junk", LIMIT)


@pytest.mark.parametrize("kind", ["gz", "zst", "plain"])
def test_a_bomb_is_refused(kind):
    """Limits count what comes out."""
    zeros = b"0" * 1_000_000
    data = {"gz": gzip.compress(zeros), "zst": zstandard.compress(zeros), "plain": zeros}[kind]
    name = "o.jsonl" if kind == "plain" else f"o.jsonl.{kind}"
    with pytest.raises(ValueError, match="more than 10000 bytes"):
        decompress(name, data, LIMIT)


def test_a_window_that_would_eat_memory_is_refused():
    """zstd frames may ask for at most 8 MiB of window."""
    params = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=0)
    big = zstandard.ZstdCompressor(compression_params=params)
    packer = big.compressobj()
    data = packer.compress(b"0" * 20_000_000) + packer.flush()
    with pytest.raises(ValueError, match="damaged zstd"):
        decompress("o.zst", data, 30_000_000)


def test_names_tell_hour_node_and_range():
    """What a writer puts into a name, a reader finds there."""
    name = segment_name("2026-11-01T09", "gpu/0 %é", "0" * 16, 3, 7)
    assert name == f"dt=2026-11-01/hour=09/node=gpu%2F0%20%25%C3%A9/{'0' * 16}-3-7.jsonl.zst"
    found = parse_name(name)
    assert found is not None
    assert (found.hour, found.node, found.boot) == ("2026-11-01T09", "gpu/0 %é", "0" * 16)
    assert (found.first, found.last) == (3, 7)
    landed = parse_name(import_name("2026-11-01T09", "a" * 64, 10, 20))
    assert landed is not None
    assert (landed.first, landed.last, landed.prefix_sha256) == (10, 20, "a" * 64)
    assert landed.node == "@import"


@pytest.mark.parametrize("name", [
    "x.txt", "dt=2026-11-01/hour=09/node=a/.tmp.jsonl", "dt=2026-11-01/hour=09/x.parquet", "",
])  # fmt: skip
def test_what_is_no_event_object_is_left_alone(name):
    """Other files and hidden ones in the landing zone are nobody's events."""
    assert parse_name(name) is None


@pytest.mark.parametrize("name", [
    "loose.jsonl", "dt=2026-13-01/hour=09/node=a/x.jsonl", "dt=2026-11-01/hour=24/x.json",
    "dt=\uff12\uff10\uff12\uff16-11-01/hour=09/node=a/x.jsonl", "dt=0000-01-01/hour=00/x.json",
])  # fmt: skip
def test_a_name_without_a_possible_hour_has_none(name):
    """It counts for the hour in which it was written."""
    found = parse_name(name)
    assert found is not None
    assert found.hour == ""


@pytest.mark.parametrize("span", [
    "1-9223372036854775808", "99999999999999999999-99999999999999999999", "7-3", "\uff11-\uff12",
])  # fmt: skip
@pytest.mark.parametrize("kind", [f"node=a/{'0' * 16}", f"node=%40import/{'a' * 64}"])
def test_a_range_that_cannot_be_is_none(kind, span):
    """Its events count all the same, as those of any other name do."""
    found = parse_name(f"dt=2026-11-01/hour=09/{kind}-{span}.jsonl.zst")
    assert found is not None
    assert (found.hour, found.boot, found.first, found.last) == ("2026-11-01T09", "", None, None)
    assert found.prefix_sha256 == ""
