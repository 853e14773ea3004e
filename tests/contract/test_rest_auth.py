"""Tokens, roles, node-bound agents, teams, tenants."""

import datetime as dt
import json
import os
import re
import time

import jwt
import polars as pl
import pytest
import zstandard
from jwt.algorithms import RSAAlgorithm

from api.auth import make_token
from api.tenants import tenant_configs
from lake.schemas import QUARANTINE
from pipelines.refresh import refresh
from storage.errors import ConfigError
from tests.home import Home
from tests.servers.asgi import InProcess

SECRET = "0123456789abcdef0123456789abcdef"
NOW = dt.datetime.now(dt.UTC)
AUTH = (
    "auth: {jwt: {secret_env: WARPDRIVE_TEST_SECRET, audience: warpdrive, issuer: us}%s}\n"
    "control_plane: {rate_limit: %d}"
)
EVENT = {"ts": NOW.isoformat(), "user": "u", "backend": "data", "path": "p", "op": "read"}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def claims(**more):
    now = int(time.time())
    return {"sub": "s", "aud": "warpdrive", "iss": "us", "exp": now + 600, "role": "admin", **more}


def signed(secret=SECRET, algorithm="HS256", **more):
    kept = {key: value for key, value in claims(**more).items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm)


@pytest.fixture(scope="module")
def secret():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WARPDRIVE_TEST_SECRET", SECRET)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory, secret):
    return Home(tmp_path_factory.mktemp("auth"), extra=AUTH % ("", 0))


@pytest.fixture(scope="module")
def api(home):
    with InProcess({"": home.config}) as found:
        yield found


@pytest.fixture(scope="module")
def token(home):
    def make(role, subject="s", **more):
        lifetime = dt.timedelta(minutes=5)
        return bearer(make_token(home.config.server.jwt, subject, role, lifetime, **more))

    return make


def test_without_a_token_nothing_but_health_and_docs_answers(api):
    for method, path in (
        ("GET", "usage"), ("GET", "backends"), ("POST", "ingest"), ("PUT", "quota"),
        ("GET", "/metrics"), ("POST", "crawl"), ("POST", "/v1/logs"),
    ):  # fmt: skip
        answer = api.ask(method, path, b"[]")
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert api.get("/healthz").status == api.get("/docs").status == 200


@pytest.mark.parametrize(
    "make",
    [lambda: signed(secret="x" * 32), lambda: signed(exp=int(time.time()) - 100),
     lambda: signed(aud="other"), lambda: signed(iss="other"), lambda: signed(exp=None),
     lambda: signed(sub=None), lambda: signed(aud=None), lambda: signed(iss=None),
     lambda: signed(algorithm="HS512", secret=SECRET * 2), lambda: signed(sub=""),
     lambda: signed(nbf=int(time.time()) + 600), lambda: signed(teams="vision"),
     lambda: jwt.encode(claims(), "", algorithm="none"), lambda: "nonsense", lambda: "a.b.c",
     lambda: "x" * 10_000, lambda: signed(tenant=5)],
)  # fmt: skip
def test_a_token_that_does_not_hold_is_refused(api, make):
    answer = api.get("usage", bearer(make()))
    assert answer.status == 401
    assert "invalid_token" in answer.headers["www-authenticate"]


def test_another_scheme_is_refused(api):
    assert api.get("usage", {"Authorization": "Basic dTpw"}).status == 401


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("agent", {"ingest"}), ("reader", {"read"}), ("operator", {"read", "ingest", "work"}),
     ("admin", {"read", "ingest", "work", "change"}), ("nobody", set()), ("", set())],
)  # fmt: skip
def test_roles(api, token, role, allowed):
    asked = {
        "ingest": ("POST", "ingest", b"[]"), "read": ("GET", "usage", None),
        "work": ("GET", "audit_log", None), "change": ("PUT", "quota", {"team_name": "r"}),
    }  # fmt: skip
    for right, (method, path, body) in asked.items():
        status = api.ask(method, path, body, token(role)).status
        assert status == (200 if right in allowed else 403), right


def test_of_several_roles_the_highest_counts(api):
    assert api.get("audit_log", bearer(signed(roles=["reader", "operator"]))).status == 200


def test_the_audit_log_names_the_subject(api, token):
    body = {"team_name": "named", "hard_limit": 7}
    assert api.ask("PUT", "quota", body, token("admin", "carla")).status == 200
    assert api.get("audit_log?limit=1", token("admin")).json[0]["who"] == "carla"


def lines(home):
    found = []
    for place in home.landing.rglob("*.jsonl.zst"):
        reader = zstandard.ZstdDecompressor().stream_reader(place.read_bytes())
        found += [json.loads(line) for line in reader.read().splitlines()]
    return found


def test_an_agent_writes_as_its_own_node_only(api, home, token):
    agent = token("agent", "gpu-1")
    batch = [EVENT | {"node": node, "path": f"bound/{node}"}
             for node in ("gpu-1", "gpu-1/mnt", "gpu-2", "", "gpu-10")]  # fmt: skip
    assert api.post("ingest", batch, agent).json == {"accepted": 5, "quarantined": 3}
    mine = {r["path"]: r["ts"] for r in lines(home) if r["path"].startswith("bound/")}
    good = {path for path, ts in mine.items() if isinstance(ts, str)}
    assert good == {"bound/gpu-1", "bound/gpu-1/mnt"}
    assert "gpu-2" in mine["bound/gpu-2"]["refused"]
    assert api.post("ingest", batch[2:3], token("operator")).json["quarantined"] == 0


def test_a_foreign_node_cannot_take_another_nodes_numbers(api, home, token):
    """Else its own events would count as duplicates of these."""
    batch = [EVENT | {"node": "gpu-2", "boot": "00000000000000bb", "seq": 1}]
    assert api.post("ingest", batch, token("agent", "gpu-1")).json["quarantined"] == 1
    assert not list(home.landing.rglob("00000000000000bb-1-1.jsonl.zst"))


def test_two_equal_keys_cannot_smuggle_a_node_in(api, token):
    body = b'[{"ts":"%b","op":"read","node":"gpu-1","node":"gpu-2"}]' % EVENT["ts"].encode()
    assert api.post("ingest", body, token("agent", "gpu-1")).json["quarantined"] == 1
    body = b'[{"ts":"%b","op":"read","node":"gpu-1","NODE":"gpu-2"}]' % EVENT["ts"].encode()
    assert api.post("ingest", body, token("agent", "gpu-1")).json["quarantined"] == 1


def test_old_events_need_an_operator(api, token):
    old = [EVENT | {"ts": (NOW - dt.timedelta(days=31)).isoformat(), "node": "gpu-1"}]
    assert api.post("ingest", old, token("agent", "gpu-1")).json["quarantined"] == 1
    assert api.post("ingest", old, token("operator")).json["quarantined"] == 0


def test_what_is_refused_here_is_quarantined_by_the_ingest(api, home, token):
    """The count in the answer is the count in the table."""
    home.run("ingest")
    batch = [EVENT | {"node": "gpu-9"}, EVENT | {"node": "gpu-1"}]
    before = home.lake.scan(QUARANTINE).collect().height
    assert api.post("ingest", batch, token("agent", "gpu-1")).json["quarantined"] == 1
    assert home.run("ingest").code == 0
    refused = home.lake.scan(QUARANTINE).collect()
    assert refused.height - before == 1
    assert "is not the token's" in refused.filter(pl.col("text").str.contains("gpu-9"))["text"][0]


def test_a_rate_is_kept_per_token(tmp_path, secret):
    home = Home(tmp_path, extra=AUTH % ("", 5))
    with InProcess({"": home.config}) as api:
        one, two = bearer(signed(sub="one")), bearer(signed(sub="two"))
        statuses = [api.get("/healthz", one).status for _ in range(15)]
        assert statuses[:10] == [200] * 10
        assert 429 in statuses
        limited = next(a for a in iter(lambda: api.get("usage", one), None) if a.status == 429)
        assert int(limited.headers["retry-after"]) >= 1
        assert api.get("/healthz", two).status == 200


def test_anonymous_opens_what_it_names_only(tmp_path, secret):
    home = Home(tmp_path, extra=AUTH % (", anonymous: [ingest, backends]", 0))
    with InProcess({"": home.config}) as api:
        assert api.post("ingest", [EVENT]).json == {"accepted": 1, "quarantined": 0}
        assert api.get("backends").status == 200
        old = [EVENT | {"ts": "2020-01-01T00:00:00Z"}]
        assert api.post("ingest", old).json["quarantined"] == 1
        assert api.get("usage").status == 401


def test_keys_of_an_issuer(tmp_path):
    """RS256 against a JWKS document; a token signed with the public key as a secret is refused."""
    import http.server
    import threading

    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key()
    shown = json.loads(RSAAlgorithm.to_jwk(public)) | {"kid": "k1", "use": "sig"}

    class Issuer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"keys": [shown]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):  # noqa: A002
            pass

    issuer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    threading.Thread(target=issuer.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{issuer.server_address[1]}/keys"
    home = Home(
        tmp_path, extra=f"auth: {{jwt: {{jwks_url: '{url}', audience: warpdrive, issuer: us}}}}"
    )
    try:
        with InProcess({"": home.config}) as api:
            good = jwt.encode(claims(), key, algorithm="RS256", headers={"kid": "k1"})
            assert api.get("usage", bearer(good)).status == 200
            pem = public.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            import base64
            import hashlib
            import hmac

            head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').rstrip(b"=")
            body = base64.urlsafe_b64encode(json.dumps(claims()).encode()).rstrip(b"=")
            mac = hmac.new(pem, head + b"." + body, hashlib.sha256).digest()
            forged = b".".join([head, body, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
            assert api.get("usage", bearer(forged)).status == 401
            unknown = jwt.encode(claims(), key, algorithm="RS256", headers={"kid": "k2"})
            assert api.get("usage", bearer(unknown)).status == 401
    finally:
        issuer.shutdown()
        issuer.server_close()


@pytest.mark.parametrize(
    ("auth", "message"),
    [("auth: {jwt: {audience: a, issuer: b}}", "one of secret_env and jwks_url"),
     ("auth: {jwt: {secret_env: A, jwks_url: 'https://x', audience: a, issuer: b}}", "one of"),
     ("auth: {jwt: {secret_env: A, issuer: b}}", "audience"),
     ("auth: {jwt: {secret_env: A, audience: a}}", "issuer"),
     ("auth: {jwt: {jwks_url: 'http://keys.example', audience: a, issuer: b}}", "https"),
     ("auth: {jwt: {secret_env: A, audience: a, issuer: b, algorithms: [none]}}", "none of HS256"),
     ("auth: {jwt: {secret_env: 's3cret!', audience: a, issuer: b}}", "name of an environment"),
     ("auth: {anonymous: [ingest]}", "means nothing"),
     ("auth: {jwt: {secret_env: A, audience: a, issuer: b}, anonymous: [usage]}", "none of ingest"),
     ("auth: {jwt: {secretenv: A, audience: a, issuer: b}}", "one of secret_env"),
     ("control_plane: {rest_adr: ':1'}", "Did you mean 'rest_addr'"),
     ("control_plane: {origins: ['portal']}", "not an origin"),
     ("control_plane: {max_body: lots}", "is not a size")],
)  # fmt: skip
def test_a_wrong_config_is_refused_with_its_place(tmp_path, auth, message):
    home = Home(tmp_path, extra=auth)
    with pytest.raises(ConfigError, match=r"warpdrive\.yaml:3: ") as failed:
        _ = home.config
    assert message in str(failed.value)


def test_a_secret_that_is_short_or_missing_is_refused(tmp_path, monkeypatch):
    home = Home(tmp_path, extra=AUTH % ("", 0))
    for value, message in (("", "is not set"), ("short", "less than 32 bytes")):
        monkeypatch.setenv("WARPDRIVE_TEST_SECRET", value)
        said = home.run("serve", "--addr", "127.0.0.1:0")
        assert (said.code, message in said.err) == (1, True)
        assert "short" not in said.err


def test_token_create(home):
    said = home.run("token", "create", "--subject", "grafana", "--role", "reader", "--team", "a",
                    "--expires", "1h")  # fmt: skip
    assert said.code == 0
    told = jwt.decode(said.out.strip(), SECRET, algorithms=["HS256"], audience="warpdrive")
    assert (told["sub"], told["role"], told["teams"]) == ("grafana", "reader", ["a"])
    assert told["exp"] - told["iat"] == 3600
    assert home.run("token", "create", "--subject", "x", "--role", "king").code == 2
    assert home.run("token", "create", "--subject", "x", "--role", "reader",
                    "--expires", "soon").code == 2  # fmt: skip


def owned(folder, extra="", team="red", files=(("mine.bin", 100),)):
    """A lake with files of a team, refreshed."""
    home = Home(folder, extra=extra)
    for name, size in files:
        (home.root() / name).write_bytes(b"x" * size)
        os.utime(home.root() / name, (1_577_836_800, 1_577_836_800))
    assert home.run("rule", "add", f"data:{files[0][0]}", team).code == 0
    assert home.run("quota", "set", "--team", team, "--hard", "1KB").code == 0
    assert home.run("team", "add", f"{team}-user", team).code == 0
    from pipelines.crawl import CrawlOptions, crawl

    crawl(home.lake, home.config.backend("data"), CrawlOptions(NOW))
    refresh(home.config, now=NOW)
    return home


def test_a_token_with_teams_shows_their_rows_only(tmp_path, secret):
    home = owned(tmp_path, AUTH % ("", 0), files=(("mine.bin", 100), ("other.bin", 50)))
    assert home.run("rule", "add", "data:other.bin", "blue").code == 0
    assert home.run("team", "add", "bo", "blue").code == 0
    for name, canonical in (("uid:1", "bo"), ("uid:2", "red-user")):
        assert home.run("alias", "add", name, canonical).code == 0
    assert home.run("quota", "set", "--team", "blue", "--hard", "1KB").code == 0
    refresh(home.config, now=NOW + dt.timedelta(seconds=1))
    with InProcess({"": home.config}) as api:
        red, all_teams = bearer(signed(teams=["red"])), bearer(signed())
        for path in ("usage?group_by=team", "usage", "usage?group_by=backend", "quota", "team",
                     "backends", "growth", "growth?by=team", "stale?days=0", "rules",
                     "aliases", "user/bo", "user/uid:1", "diff?day1=2020-01-01&day2=2099-01-01",
                     "growth?by=backend", "growth?forecast=2"):  # fmt: skip
            whole, mine = api.get(path, all_teams), api.get(path, red)
            assert (whole.status, mine.status) == (200, 200), (path, mine.body)
            text = mine.body.decode()
            assert not {word for word in ("blue", "other.bin", '"bo"') if word in text}, path
            assert ":150," not in text, path  # all bytes; an instant may hold these digits
        assert api.get("usage?group_by=backend", red).json[0]["total_bytes"] == 100
        assert api.get("backends", red).json[0]["total_bytes"] == 100
        assert api.get("growth", red).json[-1]["total_bytes"] == 100
        assert api.get("growth?by=backend", red).json[-1]["total_bytes"] == 100
        assert api.get("stale?days=0&total=true", red).headers["x-total-count"] == "1"
        for path in ("usage?group_by=prefix", "ledger", "audit_log", "verify", "runs/1",
                     "diff?day1=2020-01-01&day2=2099-01-01&by=prefix",
                     "rules/preview?backend=data&team=red",
                     "stale?as_of=2030-01-01T00:00:00Z"):  # fmt: skip
            assert api.get(path, red).status == 403, path
        assert [row["name"] for row in api.get("aliases", red).json] == ["uid:2"]
        taken = {"name": "bo", "canonical": "red-user"}  # would bring another team's files
        assert api.post("aliases", taken, red).status == 403
        assert api.ask("DELETE", "aliases?name=uid:1", None, red).status == 403
        for body in ({"team_name": "blue", "hard_limit": 1}, {"team_name": "red", "hard_limit": 9}):
            status = api.ask("PUT", "quota", body, red).status
            assert status == (200 if body["team_name"] == "red" else 403)
        known = api.get("quota?team=blue", red).error["message"]
        assert known.replace("blue", "nope") == api.get("quota?team=nope", red).error["message"]


@pytest.fixture(scope="module")
def tenants(tmp_path_factory, secret):
    """Two tenants behind one server: bio with a secret world of its own, and chem."""
    top = tmp_path_factory.mktemp("tenants")
    (top / "server").mkdir()
    (top / "bio").mkdir()
    (top / "chem").mkdir()
    bio = owned(top / "bio", team="bioteam", files=(("biofile.bin", 4242),))
    chem = owned(top / "chem", team="chemteam", files=(("chemfile.bin", 17),))
    server = Home(
        top / "server",
        extra=AUTH % ("", 0) + f"\ntenants: {{bio: '{bio.file}', chem: '{chem.file}'}}",
    )
    with InProcess(tenant_configs(server.config)) as api:
        yield api, bio, chem


def test_a_token_names_its_tenant_or_is_refused(tenants):
    api, *_ = tenants
    assert api.get("usage", bearer(signed())).status == 403
    assert api.get("usage", bearer(signed(tenant="phys"))).status == 403
    assert api.get("usage", bearer(signed(tenant="bio"))).json[0]["total_bytes"] == 4242


def test_a_tenant_learns_nothing_of_another_by_any_route(tenants):
    """Every route and parameter, before and after the other tenant did everything it can."""
    api, bio, _chem = tenants
    chem, other = bearer(signed(tenant="chem", sub="c")), bearer(signed(tenant="bio", sub="b"))
    document = api.get("/openapi.json", chem).json
    run = api.post("crawl?wait=false", None, other).json["run_id"]
    values = {"user_id": "bioteam-user", "run_id": run, "day1": "2020-01-01", "day2": "2099-01-01",
              "team": "chemteam", "backend": "data", "limit": "0", "days": "0"}  # fmt: skip

    def asked():
        found = {}
        for path, methods in document["paths"].items():
            if "get" not in methods or path == "/metrics":
                continue
            target = path.replace("{user_id}", values["user_id"]).replace("{run_id}", run)
            query = "&".join(
                f"{p['name']}={values[p['name']]}" for p in methods["get"]["parameters"]
                if p["in"] == "query" and p["name"] in values
            )  # fmt: skip
            for text in (target, f"{target}?{query}"):
                answer = api.get(text, chem)
                found[text] = (answer.status, answer.body)
        return found

    before = asked()
    for text, (_, body) in before.items():
        for word in ("bioteam", "biofile", "4242", str(bio.folder)):
            assert word not in body.decode(), text
    assert api.ask("PUT", "quota", {"team_name": "bioteam", "hard_limit": 1}, other).status == 200
    assert api.post("ingest", [EVENT], other).status == 200
    assert api.post("team", {"user_id": "x", "team_name": "bioteam"}, other).status == 200
    assert api.ask("DELETE", "quota?team=bioteam", None, other).status == 200
    assert asked() == before
    assert before[f"/api/v1/runs/{run}"][0] == 404
    mine = requests_told(api, chem)
    for text in ("usage", "quota", "nope"):
        api.get(text, other)
    assert api.post("ingest", [EVENT], other).status == 200
    assert requests_told(api, chem) == mine + 1  # the first time it asked for them itself


def requests_told(api, headers):
    """How many requests a tenant's metrics tell of; no metric names the other one."""
    metrics = api.get("/metrics", headers).body.decode()
    assert "bio" not in metrics
    found = re.findall(r"^warpdrive_api_requests_total\{.*\} (\S+)$", metrics, re.MULTILINE)
    return sum(map(float, found))


def test_tenants_need_tokens_and_lakes_of_their_own(tmp_path, secret, new_home):
    one = new_home(name="one")
    open_to_all = Home(tmp_path, extra=f"tenants: {{a: '{one.file}'}}")
    with pytest.raises(ConfigError, match=r"need auth\.jwt"):
        tenant_configs(open_to_all.config)
    shared = Home(
        tmp_path, extra=AUTH % ("", 0) + f"\ntenants: {{a: '{one.file}', b: '{one.file}'}}"
    )
    with pytest.raises(ConfigError, match="share"):
        tenant_configs(shared.config)
    anonymous = AUTH % (", anonymous: [ingest]", 0)
    unsaid = Home(tmp_path, extra=anonymous + f"\ntenants: {{a: '{one.file}'}}")
    with pytest.raises(ConfigError, match="whose data"):
        tenant_configs(unsaid.config)
