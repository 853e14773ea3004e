"""moto's S3 server on a free port; prints the port, ends when its standard input does."""

import os
import sys
import threading

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server


class Handler(MotoRequestHandler):
    """Connections are kept, requests are not logged."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log(self, type, message, *args):  # noqa: A002 - werkzeug's name
        pass


def main():
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print("port", server.server_port, flush=True)  # noqa: T201 - how the parent learns it
    server.serve_forever()


def _end_with_parent():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
