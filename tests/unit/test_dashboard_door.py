"""Who may come in to the dashboard, and where it may listen."""

import os
import tomllib
from pathlib import Path

import pytest

from dashboard import serve
from lake.scope import ForbiddenError, Scope, scope_of
from storage.config import load_config
from storage.dashboardconfig import Oidc
from storage.errors import ConfigError, UsageError

OIDC = {
    "metadata_url": "https://id.example.org/.well-known/openid-configuration",
    "client_id": "dashboard", "client_secret": 'a "quoted" secret',
    "redirect_uri": "https://dash.example.org/oauth2callback", "cookie_secret": "0" * 32,
}  # fmt: skip


def config(folder: Path, **changed: str | None):
    told = {name: value for name, value in (OIDC | changed).items() if value is not None}
    lines = "".join(f"    {name}: '{value}'\n" for name, value in told.items())
    file = folder / "warpdrive.yaml"
    file.write_text(f"dashboard:\n  oidc:\n{lines}")
    return load_config(str(file))


def test_the_section_is_read_and_its_secrets_are_not_shown(tmp_path):
    found = config(tmp_path).dashboard.oidc
    assert found == Oidc(**OIDC)
    assert "quoted" not in repr(found)
    assert "0000" not in repr(found)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"client_id": None}, "client_id.*required"),
        ({"redirect_uri": "https://dash.example.org/"}, "does not end in /oauth2callback"),
        ({"cookie_secret": "short"}, "less than 32 characters"),
        ({"client": "x"}, "client"),
    ],
)
def test_a_wrong_section_is_told_with_its_place(tmp_path, changed, told):
    with pytest.raises(ConfigError, match=told) as caught:
        config(tmp_path, **changed)
    assert str(tmp_path / "warpdrive.yaml") in str(caught.value)


def test_streamlit_reads_the_secrets_of_this_process_only(tmp_path):
    link = Path(serve.secrets(Oidc(**OIDC)))
    told = tomllib.loads(link.read_text())["auth"]
    assert told["client_secret"] == OIDC["client_secret"]
    assert told["server_metadata_url"] == OIDC["metadata_url"]
    assert link.suffix == ".toml"
    assert link.readlink().is_relative_to("/proc/self/fd")
    assert link.parent.stat().st_mode & 0o077 == 0
    os.close(int(link.readlink().name))
    link.unlink()


@pytest.mark.parametrize(
    ("address", "only_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_known(address, only_here):
    assert serve.is_loopback(address) is only_here


def test_without_signing_in_it_listens_on_loopback_only(tmp_path, monkeypatch):
    file = tmp_path / "warpdrive.yaml"
    file.write_text("tenants: {bio: bio.yaml}\n")
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: started.append(command))
    with pytest.raises(UsageError, match=r"--address 0\.0\.0\.0 .*set dashboard\.oidc"):
        serve.serve(load_config(str(file)), 8501, "0.0.0.0")
    with pytest.raises(UsageError, match="has tenants, and nobody has to sign in"):
        serve.serve(load_config(str(file)), 8501)
    with pytest.raises(UsageError, match="is no address of this machine"):
        serve.is_loopback("not a host")
    assert started == []
    monkeypatch.setenv("WARPDRIVE_CONFIG", "restored")
    monkeypatch.setenv("PYTHONPATH", "restored")
    serve.serve(config(tmp_path), 8501, "0.0.0.0")
    (command,) = started
    assert "--server.address=0.0.0.0" in command
    link = Path(command[-1].removeprefix("--secrets.files="))
    os.close(int(link.readlink().name))


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"role": "reader"}, Scope("ann")),
        ({"roles": ["reader", "admin"]}, Scope("ann", "admin")),
        ({"role": "operator", "teams": []}, Scope("ann", "operator", "", ())),
        ({"role": "reader", "teams": ["a", "b"], "tenant": "bio"},
         Scope("ann", "reader", "bio", ("a", "b"))),
    ],
)  # fmt: skip
def test_claims_become_a_scope(claims, expected):
    assert scope_of({"sub": "ann", **claims}) == expected


@pytest.mark.parametrize(
    "claims",
    [
        {"role": "reader"},
        {"sub": "ann"},
        {"sub": "ann", "role": "agent"},
        {"sub": "ann", "role": "reader", "teams": {"a": 1}},
        {"sub": "ann", "role": "reader", "teams": [1]},
        {"sub": "ann", "role": "reader", "teams": None},
        {"sub": "ann", "role": "reader", "tenant": ["bio"]},
    ],
)
def test_a_wrong_claim_is_never_read_as_no_limit(claims):
    with pytest.raises(ForbiddenError):
        scope_of(claims)


def test_a_scope_bounds_what_is_changed():
    scope = Scope("ann", "operator", "", ("vision",))
    scope.require("operator", "mark files")
    scope.require_team("vision")
    with pytest.raises(ForbiddenError, match="needs the role admin, and yours is operator"):
        scope.require("admin", "set quotas")
    with pytest.raises(ForbiddenError, match="'speech'"):
        scope.require_team("speech")
