"""Invariant 7: a tenant sees, counts and infers nothing of another, by any route."""

import datetime as dt
import time

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import ROUTES
from api.tenants import tenant_configs
from pipelines.crawl import CrawlOptions, crawl
from pipelines.refresh import refresh
from tests.home import Home
from tests.servers.asgi import InProcess

SECRET = "0123456789abcdef0123456789abcdef"
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
AUTH = (
    "auth: {jwt: {secret_env: WARPDRIVE_TEST_SECRET, audience: warpdrive, issuer: us}}\n"
    "control_plane: {rate_limit: 0}"
)
# What is only theirs; of each a twin that is nowhere, as far from the names of the asker.
THEIRS = {"team": "genes", "user": "gwen", "backend": "genome", "prefix": "gdir", "node": "gnode"}
NOWHERE = {name: "x" + text[1:] for name, text in THEIRS.items()}
OURS = {"team": "acids", "user": "alan", "backend": "atoms", "prefix": "adir", "node": "anode"}
SECRETS = ("gsecret", "424242")
RUNS = ("crawl", "verify_now")  # their answers are of a run; tests/contract has one
GETS = [r for r in ROUTES if r.method == "GET" and r.path != "/metrics"]
CHANGES = [r for r in ROUTES if r.method != "GET" and r.name not in RUNS]


def token(tenant):
    claims = {"sub": tenant, "aud": "warpdrive", "iss": "us", "exp": int(time.time()) + 3600,
              "role": "admin", "tenant": tenant}  # fmt: skip
    return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}


def owned(folder, names, file, size, extra=""):
    """A refreshed lake with a file, a rule, a quota, a member and an access of that tenant."""
    folder.mkdir()
    home = Home(folder, (names["backend"],), extra)
    place = home.root(names["backend"]) / names["prefix"] / file
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x" * size)
    home.land("one.jsonl", {
        "ts": (NOW - dt.timedelta(days=1)).isoformat(), "user": names["user"], "op": "read",
        "backend": names["backend"], "path": f"{names['prefix']}/{file}", "bytes_read": size,
        "node": names["node"],
    })  # fmt: skip
    for args in (("ingest",), ("team", "add", names["user"], names["team"]),
                 ("rule", "add", f"{names['backend']}:{names['prefix']}", names["team"]),
                 ("quota", "set", "--team", names["team"], "--hard", "1KB")):  # fmt: skip
        assert home.run(*args).code == 0
    crawl(home.lake, home.config.backend(names["backend"]), CrawlOptions(NOW))
    refresh(home.config, now=NOW)
    return home


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One server for two tenants: what theirs holds, and the API."""
    top = tmp_path_factory.mktemp("apart")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARPDRIVE_TEST_SECRET", SECRET)
        theirs = owned(top / "theirs", THEIRS, "gsecret.bin", 424242)
        ours = owned(top / "ours", OURS, "afile.bin", 17)
        named = f"{AUTH}\ntenants: {{theirs: '{theirs.file}', ours: '{ours.file}'}}"
        (top / "server").mkdir()
        server = Home(top / "server", extra=named)
        with InProcess(tenant_configs(server.config)) as api:
            yield api, theirs


def value(param):
    """A value of a query parameter: of its enumeration, a number, a name of anybody."""
    schema = param.schema
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "integer":
        return st.integers(schema.get("minimum", 0), 3).map(str)
    fixed = {"as_of": "2030-01-01T00:00:00Z", "since": "2026-01-01T00:00:00Z", "period": "30",
             "forecast": "1", "min_size": "1", "cursor": "", "day1": "2020-01-01",
             "day2": "2099-01-01"}  # fmt: skip
    if param.name in fixed:
        return st.just(fixed[param.name])
    names = [whose[param.name] for whose in (THEIRS, OURS)]
    return st.sampled_from(names if param.required else [*names, ""])


@st.composite
def questions(draw):
    """Every route that reads, each with its parameters or some of them."""
    found = []
    for route in GETS:
        path = route.path.replace("{user_id}", draw(st.sampled_from(["gwen", "alan"])))
        given_ = [p for p in route.params if p.required or draw(st.booleans())]
        query = "&".join(f"{p.name}={draw(value(p))}" for p in given_)
        found.append(f"{path.replace('{run_id}', 'f' * 32)}?{query}".rstrip("?"))
    return found


@st.composite
def change(draw):
    """A request of the other tenant that changes something of it."""
    route = draw(st.sampled_from(CHANGES))
    pick = {name: draw(st.sampled_from([THEIRS[name], OURS[name], NOWHERE[name]]))
            for name in THEIRS}  # fmt: skip
    limit = draw(st.integers(0, 10**6))
    event = {"ts": NOW.isoformat(), "user": pick["user"], "backend": pick["backend"],
             "path": f"{pick['prefix']}/gsecret.bin", "op": "read",
             "bytes_read": limit}  # fmt: skip
    attributes = [{"key": k, "value": {"stringValue": str(v)}} for k, v in event.items()]
    bodies = {
        "set_quota": {"team_name": pick["team"], "backend_name": pick["backend"],
                      "hard_limit": limit},
        "add_member": {"user_id": pick["user"], "team_name": pick["team"]},
        "import_members": f"user_id,team_name\n{pick['user']},{pick['team']}\n".encode(),
        "add_alias": {"name": pick["node"], "canonical": pick["user"]},
        "add_rule": {"backend": pick["backend"], "prefix": pick["prefix"], "team": pick["team"]},
        "ingest": [event],
        "otlp_logs": {"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"attributes": attributes}]}]}]},
    }  # fmt: skip
    query = "&".join(
        f"{p.name}={pick[p.name]}" for p in route.params if p.name in pick
    )  # fmt: skip
    return route.method, f"{route.path}?{query}".rstrip("?"), bodies.get(route.name)


def seen(answer):
    """All of an answer that tells something."""
    kept = {k: v for k, v in answer.headers.items() if k not in ("date", "content-length")}
    return answer.status, kept, answer.body.decode()


def renamed(text, names, others):
    for name, old in names.items():
        text = text.replace(old, others[name])
    return text


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(asked=questions(), changes=st.lists(change(), min_size=1, max_size=4), anew=st.booleans())
def test_a_tenant_sees_counts_and_infers_nothing_of_another(world, asked, changes, anew):
    """No answer moves with what the other does; its names are answered as those of nobody."""
    api, theirs = world
    us, them = token("ours"), token("theirs")
    before = [seen(api.get(question, us)) for question in asked]
    for question, (status, headers, body) in zip(asked, before, strict=True):
        assert status < 500, (question, body)
        assert not [s for s in (*SECRETS, str(theirs.folder)) if s in body + str(headers)], question
        twin = seen(api.get(renamed(question, THEIRS, NOWHERE), us))
        told = (status, renamed(str(headers), THEIRS, NOWHERE), renamed(body, THEIRS, NOWHERE))
        assert (twin[0], str(twin[1]), twin[2]) == told, question
    for method, path, body in changes:
        answer = api.ask(method, path, body, them)
        assert answer.status < 500, (method, path, answer.body)
    if anew:
        refresh(theirs.config, now=dt.datetime.now(dt.UTC))
    assert [seen(api.get(question, us)) for question in asked] == before
    metrics = api.get("/metrics", us).body.decode()
    assert not [text for text in (*SECRETS, *THEIRS.values()) if text in metrics]
