"""The routes that ask for work: crawl, and what became of a run."""

from __future__ import annotations

from starlette.responses import Response

from api import scope
from api.errors import ApiError, answer
from api.params import choice, number, text
from api.route import Asked, Route
from api.runs import Run, finished

_BOOL = ("true", "false")


async def crawl(asked: Asked) -> Response:
    """Ingest what has landed, crawl, publish. With `wait=false` the run's id at once."""
    scope.unfiltered(asked.caller)
    site = asked.site
    if asked["backend"] not in ("", "all"):
        site.config.backend(asked["backend"])
    run = await site.runs.request(
        "crawl", asked.caller.subject,
        backends=[asked["backend"]] if asked["backend"] not in ("", "all") else [],
        allow_removal=asked["allow_removal"] == "true",
    )  # fmt: skip
    return await _ended(asked, run)


async def verify(asked: Asked) -> Response:
    """Check random rows of each index against its store, and random live objects against it.

    Answers when it is done; with `wait=false` the run's id at once. `GET /verify` shows the last.
    """
    scope.unfiltered(asked.caller)
    site = asked.site
    if asked["backend"] not in ("", "all"):
        site.config.backend(asked["backend"])
    run = await site.runs.request(
        "verify", asked.caller.subject,
        backend="" if asked["backend"] == "all" else asked["backend"], sample=asked["sample"],
        seed=asked["seed"],
    )  # fmt: skip
    return await _ended(asked, run)


async def _ended(asked: Asked, run: Run) -> Response:
    """The run's end, or where to look for it."""
    if asked["wait"] == "false":
        where = {"Location": f"/api/v1/runs/{run.run_id}"}
        return answer({"status": run.state, "run_id": run.run_id}, 202, where)
    body = await finished(run)
    asked.site.forget()
    return answer(body)


async def run(asked: Asked) -> Response:
    """A run: its state, and how it ended."""
    scope.unfiltered(asked.caller)
    found = await asked.site.runs.find(asked.segment("run_id"))
    if found is None:
        raise ApiError(404, "no such run.", hint="POST /api/v1/crawl?wait=false names one.")
    return answer(found)


_WAIT = choice("wait", "true", _BOOL, "false: answer 202 at once with a run id.")
MAX_SAMPLE = 1_000_000
ROUTES = (
    Route(
        "POST",
        "/api/v1/crawl",
        "crawl",
        "Ingest what has landed, crawl the backends, publish",
        crawl,
        "work",
        params=(
            _WAIT,
            text("backend", "Only this backend.", names="backend"),
            choice("allow_removal", "false", _BOOL, "Let a held mass removal through."),
        ),
        answer="run",
        statuses=(202, 502),
    ),
    Route(
        "POST",
        "/api/v1/verify",
        "verify_now",
        "Check indexes against their stores",
        verify,
        "work",
        params=(
            _WAIT,
            text("backend", "Only this backend.", names="backend"),
            number(
                "sample",
                1000,
                "So many rows of the index, and as many live objects.",
                low=1,
                high=MAX_SAMPLE,
            ),
            number("seed", 0, "Draw the sample of an audit with this seed again; 0: a new one."),
        ),
        answer="run",
        statuses=(202, 502),
    ),
    Route(
        "GET",
        "/api/v1/runs/{run_id}",
        "run",
        "A run: its state, and how it ended",
        run,
        "read",
        answer="run",
        path_params=("run_id",),
        statuses=(404,),
    ),
)
