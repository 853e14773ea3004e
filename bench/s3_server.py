# ruff: noqa: INP001 - a script, not a package
"""An S3 server that only lists: pages of ListObjectsV2 from memory, ready in microseconds.

`python bench/s3_server.py OBJECTS` prints its port. What a client costs shows best when its server
costs next to nothing and shares no thread with it. Keys, fields and paging are those of AWS; it
checks no signature.
"""

from __future__ import annotations

import asyncio
import bisect
import hashlib
import sys
from urllib.parse import parse_qsl, quote, urlsplit

BUCKET = "race"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
)


def keys_of(objects: int) -> list[str]:
    """16 folders of 50 folders of as many objects as it takes, sorted."""
    names = (f"top{i % 16:02d}/dir{i // 16 % 50:03d}/object-{i:07d}.bin" for i in range(objects))
    return sorted(names)


def entry(number: int, key: str) -> str:
    """One object, as AWS writes it."""
    etag = hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()
    return (
        f"<Contents><Key>{key}</Key>"
        f"<LastModified>2026-10-{number % 28 + 1:02}T10:00:00.000Z</LastModified>"
        f"<ETag>&quot;{etag}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>"
        f"<ChecksumType>FULL_OBJECT</ChecksumType><Size>{number * 7919}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


class Bucket:
    """The bucket's keys, and each one's entry."""

    def __init__(self, objects: int) -> None:
        self._keys = keys_of(objects)
        self._entries = [entry(i, key) for i, key in enumerate(self._keys)]

    def page(self, query: dict[str, str]) -> bytes:
        """The answer to one ListObjectsV2."""
        prefix, mark = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("continuation-token") or query.get("start-after", "")
        limit = min(int(query.get("max-keys", "1000")), 1000)
        place = max(bisect.bisect_right(self._keys, after), bisect.bisect_left(self._keys, prefix))
        end = bisect.bisect_left(self._keys, prefix + "\U0010ffff") if prefix else len(self._keys)
        if mark:
            body, place = self._folders(place, end, prefix, mark)
        else:
            body = "".join(self._entries[place : min(place + limit, end)])
            place = min(place + limit, end)
        more = place < end
        token = f"<NextContinuationToken>{self._keys[place - 1]}</NextContinuationToken>"
        encoded = "<EncodingType>url</EncodingType>" if "encoding-type" in query else ""
        return (
            f"{HEAD}<Name>{BUCKET}</Name><Prefix>{quote(prefix)}</Prefix><MaxKeys>{limit}</MaxKeys>"
            f"{encoded}<IsTruncated>{str(more).lower()}</IsTruncated>{token if more else ''}"
            f"{body}</ListBucketResult>"
        ).encode()

    def _folders(self, place: int, end: int, prefix: str, mark: str) -> tuple[str, int]:
        """Common prefixes and objects of one level; where the next page begins."""
        found = []
        while place < end and len(found) < 1000:
            key = self._keys[place]
            cut = key.find(mark, len(prefix))
            if cut < 0:
                found.append(self._entries[place])
                place += 1
                continue
            folder = key[: cut + 1]
            found.append(f"<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>")
            place = bisect.bisect_left(self._keys, folder[:-1] + chr(ord(mark) + 1))
        return "".join(found), place


async def answer(
    bucket: Bucket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One connection: any number of requests."""
    while head := await _head(reader):
        body = bucket.page(dict(parse_qsl(urlsplit(head).query, keep_blank_values=True)))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nServer: bench\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
    writer.close()


async def _head(reader: asyncio.StreamReader) -> str:
    """The path of the next request; empty at the end."""
    try:
        text = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""
    return text.split(b" ", 2)[1].decode()


async def main() -> None:
    """Serve until the parent goes."""
    bucket = Bucket(int(sys.argv[1]))
    server = await asyncio.start_server(lambda r, w: answer(bucket, r, w), "127.0.0.1", 0)
    sys.stdout.write(f"port {server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
