"""The engine's process: orders on stdin, answers on stdout, pickled, one after the other.

What it has read stays in its memory for the next question. It ends when the server does.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import traceback
from typing import Any

from api.errors import ApiError, of_warpdrive
from api.questions import Order
from storage.errors import WarpdriveError
from storage.priority import give_way

NICE = 10


def told(order: Order) -> tuple[str, Any]:
    """What becomes of an order: `answer`, `error` with the fields of an ApiError, or `bug`."""
    try:
        return "answer", order.answer()
    except ApiError as error:
        return "error", error.fields()
    except WarpdriveError as error:
        return "error", of_warpdrive(error).fields()
    except Exception:  # noqa: BLE001 - the boundary: the server logs it
        return "bug", traceback.format_exc()


def main() -> None:
    """Answer until stdin ends."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    give_way(NICE)  # the server, and whoever asks it, come first
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    import lake.ask  # noqa: F401 - the metrics' own code finds the top of the index sooner than SQL

    while True:
        try:
            order = pickle.load(orders)  # noqa: S301 - the server's own
        except EOFError:
            return
        pickle.dump(told(order), answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main()
