r"""Names of files as text: one way for the agent and the crawler.

Linux names are bytes, events and tables hold text. A name that is UTF-8 is that text, except
that `\` is doubled; every byte that is not part of valid UTF-8 becomes `\xNN`. The two functions
are inverse to each other, so no two names share a text. Keys of object stores go the same way.
"""

from __future__ import annotations

import codecs
import re

from storage.errors import UsageError

_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})?")


def path_text(raw: bytes | str) -> str:
    r"""The text of a name or path: `b"caf\xe9"` is `caf\xe9`, `b"a\b"` is `a\\b`.

    A `str` is what Python made of the bytes (`os.fsdecode`) or the key of an object.
    """
    if isinstance(raw, str):
        raw = raw.encode("utf-8", "surrogateescape")
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "warpdrive_bytes")


def path_bytes(text: str) -> bytes:
    """The local name or path that `path_text` wrote. Raises ValueError for any other text."""
    raw = text.encode()
    if b"\\" not in raw:
        return raw
    found = _ESCAPE.sub(_unescape, raw)
    if path_text(found) != text:
        raise ValueError(f"'{text}' is not the text of a path: a lone '\\' or a needless escape")
    return found


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match.group(1)
    if code is None:
        return b"\\"
    return b"\\" if code == b"\\" else bytes([int(code[1:], 16)])


def _bytes_as_escapes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    return "".join(f"\\x{byte:02x}" for byte in wrong), error.end


def split_place(text: str) -> tuple[str, str]:
    """Backend and prefix of `BACKEND:PREFIX`. Raises UsageError for anything else."""
    backend, colon, prefix = text.partition(":")
    if not colon or not backend:
        raise UsageError(f"'{text}' is not BACKEND:PREFIX, such as training:datasets/imagenet.")
    return backend, prefix.strip("/")


codecs.register_error("warpdrive_bytes", _bytes_as_escapes)
