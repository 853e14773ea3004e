"""A page of ListObjectsV2 as columns: the same as an XML parser finds, whatever the objects say."""

import datetime as dt
from urllib.parse import quote, unquote_to_bytes
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.listing.s3page import Objects, decoded

KEY = st.text(st.sampled_from("ab/+ %&'<>\\é\U0001f600\n"), min_size=1, max_size=8)
FIELDS = ("LastModified", "ETag", "Size", "StorageClass")
TEXT = st.text(st.sampled_from("09azT:>. &\"'"), max_size=6)
OWNER = ("DisplayName", "ID")
OBJECTS = st.lists(st.tuples(KEY, st.tuples(TEXT, TEXT, TEXT, TEXT), TEXT), max_size=6)


def page(objects, order, *, owner, url, gap=""):
    """A page as servers write it; `order` and `owner` say which fields each object has."""
    entries = []
    for number, (key, values, name) in enumerate(objects):
        told = quote(key, safe="/") if url else escape(key)
        parts = {"Key": told, **{f: escape(v) for f, v in zip(FIELDS, values, strict=True)}}
        fields = order[number % len(order)]
        inner = gap.join(f"<{f}>{parts[f]}</{f}>" for f in fields)
        if owner[number % len(owner)]:
            inner += f"<Owner><ID>{number}</ID><DisplayName>{escape(name)}</DisplayName></Owner>"
        entries.append(f"<Contents>{gap}{inner}{gap}</Contents>")
    told = "<EncodingType>url</EncodingType>" if url else ""
    return f"<ListBucketResult><Name>b</Name>{told}{gap.join(entries)}</ListBucketResult>".encode()


@settings(deadline=None)
@given(
    objects=OBJECTS,
    order=st.lists(st.permutations(["Key", *FIELDS]), min_size=1, max_size=2),
    owner=st.lists(st.booleans(), min_size=1, max_size=2),
    url=st.booleans(), gap=st.sampled_from(["", "\n  "]),
)  # fmt: skip
def test_a_page_is_what_an_xml_parser_finds(objects, order, owner, url, gap):
    """Fields in any order and number, alike or not; keys encoded or not; indented or not."""
    body = page(objects, order, owner=owner, url=url, gap=gap)
    entries = ET.fromstring(body.decode()).findall("Contents")
    found = Objects(body)
    keys = [entry.findtext("Key") or "" for entry in entries]
    assert found.keys() == [unquote_to_bytes(k) if url else k.encode() for k in keys]
    assert found.keys() == [key.encode() for key, _, _ in objects]
    for field in (*FIELDS, *OWNER):
        expected = [entry.findtext(f".//{field}") for entry in entries]
        # Texts stay as they are written: only quotes of an etag matter, and those are cut off.
        texts = [None if text is None else escape(text) for text in expected]
        assert found.texts(field.encode()).to_pylist() == texts


AT = st.builds(
    "2026-{:02}-1{}T0{}:59:00{}Z".format,
    st.integers(1, 12), st.integers(0, 9), st.integers(0, 9), st.sampled_from(["", ".000", ".120"]),
)  # fmt: skip
QUOTE = st.sampled_from(['"', "&quot;", ""])
ETAG = st.builds("{0}{1}{0}".format, QUOTE, st.text("af0-", max_size=4))
TYPED = st.lists(st.tuples(AT, ETAG, st.integers(0, 1 << 50)), min_size=1, max_size=5)


@settings(deadline=None)
@given(rows=TYPED, alike=st.booleans(), order=st.permutations(["Key", *FIELDS]))
def test_sizes_instants_and_etags_are_typed(rows, alike, order):
    """Whether all rows are written in one way or not."""
    if alike:
        rows = [(rows[0][0], rows[0][1], size) for _, _, size in rows]
    told = (
        {"Key": "k", "LastModified": at, "ETag": etag, "Size": str(size), "StorageClass": "S"}
        for at, etag, size in rows
    )
    entries = "".join(
        f"<Contents>{''.join(f'<{f}>{row[f]}</{f}>' for f in order)}</Contents>" for row in told
    )
    found = Objects(f"<ListBucketResult>{entries}</ListBucketResult>".encode())
    assert found.sizes().to_pylist() == [size for _, _, size in rows]
    assert found.modified().to_pylist() == [dt.datetime.fromisoformat(at) for at, _, _ in rows]
    expected = [etag.replace("&quot;", "").strip('"') for _, etag, _ in rows]
    assert found.etags().to_pylist() == expected


@pytest.mark.parametrize(
    ("told", "key"),
    [(b"a+b", b"a b"), (b"a%2Bb", b"a+b"), (b"a&#39;b%26", b"a'b&"), (b"%FF%0A", b"\xff\n")],
)
def test_keys_come_as_they_are(told, key):
    """As AWS and Ceph encode them."""
    assert decoded(b"<EncodingType>url</EncodingType>", [told, b"x"]) == [key, b"x"]


def test_pages_of_alike_objects_are_not_searched(monkeypatch):
    """Field by field costs three times the CPU."""
    objects = [(f"k{n}", ("t" * n, "e", "5", "S"), "n") for n in range(5)]
    body = page(objects, [["Key", *FIELDS]], owner=[True], url=True)
    monkeypatch.setattr("storage.listing.s3page._PATTERNS", {})
    found = Objects(body)
    assert found.keys() == [f"k{n}".encode() for n in range(5)]
    assert found.texts(b"LastModified").to_pylist() == ["t" * n for n in range(5)]
    assert found.texts(b"ID").to_pylist() == ["0", "1", "2", "3", "4"]
