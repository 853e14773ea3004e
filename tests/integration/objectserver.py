# pyright: reportIncompatibleMethodOverride=false
# pyright: reportIncompatibleVariableOverride=false
"""A small S3 server for tests: real HTTP, real etags, and faults on demand."""

import hashlib
import http.server
import threading
import time
from email.utils import formatdate
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape


class ObjectServer(http.server.ThreadingHTTPServer):
    """One bucket in memory. `delay`, `fail` and `truncate` make it slow, broken or short."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects = {}
        self.requests = []
        self.delay = 0.0
        self.fail = 0
        self.truncate = 0
        self.owner = ""
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, key, data):
        etag = hashlib.md5(data).hexdigest()
        self.objects[key] = (data, f'"{etag}"', formatdate(1_700_000_000, usegmt=True))

    def gets(self):
        """Ranges that were asked for, by key."""
        return [(key, span) for method, key, span in self.requests if method == "GET" and span]

    def backend(self, name="s3", mount_path="/s3", more=""):
        return (
            f"{{name: {name}, type: s3, mount_path: {mount_path}, {more} config: {{bucket: bucket, "
            f"endpoint_url: '{self.url}'}}, auth: {{method: anonymous}}}}"
        )

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ObjectServer

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, *, with_body):
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix("/bucket").removeprefix("/")
        self.server.requests.append((self.command, key, self.headers.get("Range", "")))
        if self.server.delay:
            time.sleep(self.server.delay)
        if self.server.fail and with_body:
            self.server.fail -= 1
            return self._send(403, b"<Error><Code>AccessDenied</Code></Error>")
        if not key:
            return self._send(200, self._listing(parse_qs(parts.query)))
        if key not in self.server.objects:
            return self._send(404, b"<Error><Code>NoSuchKey</Code></Error>" if with_body else b"")
        data, etag, modified = self.server.objects[key]
        if self.headers.get("If-Match", etag) != etag:
            return self._send(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        headers = {"ETag": etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
        if not with_body:
            return self._send(200, b"", headers, length=len(data))
        return self._body(data, headers)

    def _body(self, data, headers):
        span = self.headers.get("Range")
        if not span:
            return self._send(200, data, headers)
        first, last = span.removeprefix("bytes=").split("-")
        start, end = int(first), min(int(last), len(data) - 1)
        part = data[start : end + 1]
        headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
        if self.server.truncate:
            self.close_connection = True
            return self._send(206, part[: -self.server.truncate], headers, length=len(part))
        return self._send(206, part, headers)

    def _send(self, status, body, headers=None, length=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def _listing(self, query):
        prefix = query.get("prefix", [""])[0]
        delimiter = query.get("delimiter", [""])[0]
        folders, rows = set(), []
        for key, (data, etag, _) in sorted(self.server.objects.items()):
            if not key.startswith(prefix):
                continue
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
                continue
            rows.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>2023-11-14T22:13:20.000Z"
                f"</LastModified><ETag>{escape(etag)}</ETag><Size>{len(data)}</Size>"
                f"<Owner><ID>1f8e</ID><DisplayName>{escape(self.server.owner)}</DisplayName>"
                f"</Owner></Contents>"
            )
        rows += [
            f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>"
            for f in sorted(folders)
        ]
        return (
            f'<?xml version="1.0"?><ListBucketResult><Name>bucket</Name>'
            f"<Prefix>{escape(quote(prefix))}</Prefix><IsTruncated>false</IsTruncated>"
            f"{''.join(rows)}</ListBucketResult>"
        ).encode()

    def log_message(self, *args):
        pass
