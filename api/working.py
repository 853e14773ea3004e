"""The routes that ask for work: crawl, and what became of a run."""

from __future__ import annotations

from starlette.responses import Response

from api import scope
from api.errors import ApiError, answer
from api.params import choice, text
from api.route import Asked, Route
from api.runs import finished

_BOOL = ("true", "false")


async def crawl(asked: Asked) -> Response:
    """Ingest what has landed, crawl, publish. With `wait=false` the run's id at once."""
    scope.unfiltered(asked.caller)
    site = asked.site
    if asked["backend"] not in ("", "all"):
        site.config.backend(asked["backend"])
    run = await site.runs.request(
        "crawl", asked.caller.subject,
        backend="" if asked["backend"] == "all" else asked["backend"],
        allow_removal=asked["allow_removal"] == "true",
    )  # fmt: skip
    if asked["wait"] == "false":
        where = {"Location": f"/api/v1/runs/{run.run_id}"}
        return answer({"status": run.state, "run_id": run.run_id}, 202, where)
    body = await finished(run)
    site.forget()
    return answer(body)


async def run(asked: Asked) -> Response:
    """A run: its state, and how it ended."""
    found = await asked.site.runs.find(asked.request.path_params["run_id"])
    if found is None:
        raise ApiError(404, "no such run.", hint="POST /api/v1/crawl?wait=false names one.")
    return answer(found)


ROUTES = (
    Route(
        "POST",
        "/api/v1/crawl",
        "crawl",
        "Ingest what has landed, crawl the backends, publish",
        crawl,
        "work",
        params=(
            choice("wait", "true", _BOOL, "false: answer 202 at once with a run id."),
            text("backend", "Only this backend.", names="backend"),
            choice("allow_removal", "false", _BOOL, "Let a held mass removal through."),
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
