"""Arrow arrays from the bytes of a page, without a Python object's detour through pandas."""

from __future__ import annotations

import array
import functools
import itertools

import pyarrow as pa

from storage.listing.columns import LISTED
from storage.paths import path_text


def strings(values: list[bytes]) -> pa.Array:
    """An array of UTF-8 texts, none null. `pa.array` would import pandas to look at a list."""
    offsets = array.array("i", itertools.accumulate(map(len, values), initial=0))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def paths(keys: list[bytes]) -> pa.Array:
    """Keys as the texts that tables hold; see storage/paths.py."""
    names = strings(keys)
    try:
        names.validate(full=True)
    except pa.ArrowInvalid:  # some server has a key that is not UTF-8
        return strings([path_text(key).encode() for key in keys])
    if b"\\" not in names.buffers()[2].to_pybytes():
        return names
    return strings([key.replace(b"\\", b"\\\\") for key in keys])


def etags(texts: pa.Array) -> pa.Array:
    """Without quotes, escaped or not."""
    import pyarrow.compute as pc  # an import that a listing of S3 does without

    escaped = pc.ReplaceSubstringOptions(pattern="&quot;", replacement="")
    plain = pc.call_function("replace_substring", [texts], escaped)
    return pc.call_function("utf8_trim", [plain], pc.TrimOptions(characters='"'))


def rows(columns: dict[str, pa.Array], count: int) -> pa.RecordBatch:
    """A batch of the columns LISTED; those that are not given are null."""
    found = pa.RecordBatch.from_arrays(
        [columns[f.name] if f.name in columns else _nulls(f.type, count) for f in LISTED],
        schema=LISTED,
    )
    # The folder marker of the root itself has no path below the root; it comes first.
    if count and found["path"][0].as_py() == "":
        return found.slice(1)
    return found


def _nulls(dtype: pa.DataType, count: int) -> pa.Array:
    """Nulls; all pages of a listing share one array of them."""
    return _shared_nulls(dtype, 1 << count.bit_length()).slice(0, count)


@functools.lru_cache(maxsize=32)
def _shared_nulls(dtype: pa.DataType, count: int) -> pa.Array:
    return pa.nulls(count, dtype)
