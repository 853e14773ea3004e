# pyright: reportOptionalMemberAccess=false
"""Every way of signing in, by every library, on real servers; secrets show nowhere."""

import concurrent.futures
import datetime as dt
import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path

import fsspec
import obstore
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from obstore.store import from_url

from storage import clock, credentials
from storage.config import load_config
from storage.credentials import azure_token, s3_keys
from storage.errors import BackendError, ConfigError, WarpdriveError
from storage.objectstore import get, open_store
from storage.options import fsspec_options, obstore_options, table_options, url_of
from tests.servers import Imds
from tests.servers.azure import ACCOUNT, KEY, azurite

KEYS = ("AKIDOFTHETEST", "s3cr3t-of-the-test", "t0ken-of-the-test")
STATIC = f"method: static, access_key_id: {KEYS[0]}, secret_access_key: {KEYS[1]}"
LIBRARIES = ("lister", "fsspec", "obstore", "deltalake", "polars")


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(credentials, "_renewed", {})


@pytest.fixture
def imds(monkeypatch):
    server = Imds(token="azure-t0ken-of-the-test", keys=KEYS)
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    yield server
    server.stop()


def backend_of(tmp_path, text):
    file = tmp_path / "sign-in.yaml"
    file.write_text(f"backends:\n  - {text}\n")
    return load_config(str(file)).backends[0]


def s3_backend(tmp_path, url, bucket, auth):
    where = f"bucket: {bucket}, endpoint_url: '{url}', root: table"
    return backend_of(tmp_path, f"{{name: s3, type: s3, config: {{{where}}}, auth: {{{auth}}}}}")


def read_by(library, backend):
    """Rows or names of the Delta table at the backend's root, by each library."""
    if library == "lister":
        from storage.listing.objects import list_objects

        batches = list_objects(backend, clock.now()).batches
        return sum(batch.num_rows for batch in batches)
    url = url_of(backend)
    if library == "fsspec":
        system, root = fsspec.core.url_to_fs(
            url, **fsspec_options(backend), skip_instance_cache=True
        )
        return len(system.find(root))
    if library == "obstore":
        store = from_url(url, **obstore_options(backend))
        return sum(len(found) for found in obstore.list(store))
    if library == "deltalake":
        return len(DeltaTable(url, storage_options=table_options(backend)).file_uris())
    return (
        pl.scan_parquet(f"{url}/*.parquet", storage_options=table_options(backend)).collect().height
    )


@pytest.fixture(scope="module")
def table(moto_server):
    """A bucket with a Delta table of three rows at `table`."""
    bucket = moto_server.bucket()
    options = {
        "aws_endpoint_url": moto_server.url, "aws_region": "us-east-1", "aws_allow_http": "true",
        "aws_access_key_id": "x", "aws_secret_access_key": "y",
    }  # fmt: skip
    write_deltalake(f"s3://{bucket}/table", pl.DataFrame({"n": [1, 2, 3]}), storage_options=options)
    client = moto_server.client()
    client.put_bucket_acl(Bucket=bucket, ACL="public-read")
    for key in moto_server.keys(bucket):
        client.put_object_acl(Bucket=bucket, Key=key, ACL="public-read")
    return bucket


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", ["static", "env", "managed_identity", "profile", "anonymous"])
def test_each_library_signs_as_the_record_says(request, fault_proxy, table, imds, method, library):
    tmp_path, monkeypatch = map(request.getfixturevalue, ("tmp_path", "monkeypatch"))
    auth = f"method: {method}"
    if method == "static":
        monkeypatch.setenv("THE_SECRET", KEYS[1])
        auth += f", access_key_id: {KEYS[0]}, secret_access_key_env: THE_SECRET"
    elif method in ("env", "none"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS[0])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS[1])
    elif method == "profile":
        file = tmp_path / "aws"
        file.write_text(f"[team]\naws_access_key_id={KEYS[0]}\naws_secret_access_key={KEYS[1]}\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        auth += ", profile: team"
    backend = s3_backend(tmp_path, fault_proxy.url, table, auth)
    assert read_by(library, backend) in (1, 2, 3)
    signatures = [r.headers.get("authorization", "") for r in fault_proxy.log]
    assert signatures
    if method == "anonymous":
        assert set(signatures) == {""}
    else:
        assert all(f"Credential={KEYS[0]}/" in s for s in signatures)
    tokens = {r.headers.get("x-amz-security-token", "") for r in fault_proxy.log}
    assert tokens == ({KEYS[2]} if method == "managed_identity" else {""})


REFUSED = {
    "service_principal": "tenant_id: t, client_id_env: A, client_secret_env: B",
    "oidc_federation": "role_arn: 'arn:aws:iam::1:role/x'",
    "gcp_wif": "project_number: '1', pool_id: p, provider_id: q, service_account_email: a@b",
    "static_keyvault": "vault_url: 'https://v', secret_name: s",
}


@pytest.mark.parametrize("method", REFUSED)
@pytest.mark.parametrize("kind", ["s3", "azureblob", "gcs"])
def test_the_contracts_other_methods_load_and_are_refused_at_use(new_home, method, kind):
    place = "container: c, account: a" if kind == "azureblob" else "bucket: b"
    auth = f"auth: {{method: {method}, {REFUSED[method]}}}"
    cloud = f"{{name: cloud, type: {kind}, config: {{{place}}}, {auth}}}"
    home = new_home(backends=[cloud, "data"])
    (home.root() / "one").write_bytes(b"1")
    said = home.run("crawl", "--format", "csv")
    assert said.code == 1
    cloud, data = said.rows
    assert (cloud["state"], data["state"], data["files"]) == ("failed", "complete", "1")
    assert f"auth.method '{method}' is not supported for type '{kind}'" in cloud["error"]


def test_a_machines_role_is_asked_once_and_again_before_its_end(tmp_path, imds, monkeypatch):
    backend = s3_backend(tmp_path, "http://127.0.0.1:1", "b", "method: managed_identity")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: s3_keys(backend).get(), range(16)))
    assert {keys.session_token for keys in found} == {KEYS[2]}
    assert len(imds.credentials()) == 1
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + dt.timedelta(minutes=54))
    s3_keys(backend).get()
    assert len(imds.credentials()) == 1
    imds.keys = ("NEWKEY", "new", "new")
    monkeypatch.setattr(clock, "now", lambda: real() + dt.timedelta(minutes=56))
    assert s3_keys(backend).get().access_key_id == "NEWKEY"
    assert len(imds.credentials()) == 2


def test_a_token_that_still_holds_outlives_a_broken_imds(tmp_path, imds, monkeypatch, caplog):
    auth = "auth: {method: managed_identity, client_id: me}"
    text = f"{{name: az, type: azureblob, config: {{container: c, account: a}}, {auth}}}"
    backend = backend_of(tmp_path, text)
    imds.seconds = 200  # within the margin: asked for again at every use
    assert azure_token(backend).get().token == imds.token
    assert "client_id=me" in imds.credentials()[0]
    imds.broken = True
    assert azure_token(backend).get().token == imds.token
    assert "not renewed yet" in caplog.text
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + dt.timedelta(seconds=201))
    with pytest.raises(BackendError, match="no credentials came") as error:
        azure_token(backend).get()
    assert imds.token not in str(error.value)


def test_without_any_credentials_one_line_says_so(tmp_path):
    backend = s3_backend(tmp_path, "http://127.0.0.1:1", "b", "method: env")
    with pytest.raises(BackendError, match="no credentials came"):
        read_by("lister", backend)
    backend = s3_backend(tmp_path, "http://127.0.0.1:1", "b", "method: static, access_key_id: k")
    with pytest.raises(ConfigError, match="needs secret_access_key, or secret_access_key_env"):
        read_by("lister", backend)


SECRETS = (
    KEYS[1],
    "c2VjcmV0LWtleS1vZi10aGUtdGVzdA==",
    "sigsecretofthetest",
    "p4ssw0rd-of-the-test",
)
S3 = "type: s3, config: {bucket: b, endpoint_url: 'URL'}"
AZURE = "type: azureblob, config: {container: c, account: a, endpoint_url: 'URL/a'}"
FTP = "root: /x, host: 127.0.0.1, port: '1', username: u, password: p4ssw0rd-of-the-test"
HOLDERS = {
    "s3": f"{S3}, auth: {{{STATIC}}}",
    "account-key": f"{AZURE}, auth: {{method: static, account_key: '{SECRETS[1]}'}}",
    "sas": f"{AZURE}, auth: {{method: sas, sas: 'sv=2024-01-01&ss=b&sig=sigsecretofthetest'}}",
    "plug-in": f"type: ftp, config: {{{FTP}}}",
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(
    "fault",
    ["403", *(pytest.param(f, marks=pytest.mark.slow) for f in ("closed", "500"))],
)
def test_secrets_show_nowhere(new_home, fault_proxy, caplog, holder, fault, monkeypatch):
    monkeypatch.setattr("storage.listing.fetch.TRIES", 1)
    monkeypatch.setattr("storage.listing.fetch.FIRST_PAUSE_SECONDS", 0.0)
    url = "http://127.0.0.1:1"
    if fault != "closed":
        fault_proxy.fault(fault, n=-1)
        url = fault_proxy.url
    home = new_home(backends=[f"{{name: x, {HOLDERS[holder].replace('URL', url)}}}"])
    caplog.set_level(logging.DEBUG)
    crawled, examined = home.run("crawl"), home.run("doctor")
    assert (crawled.code, examined.code) == (1, 1)
    config = home.config
    seen = [*crawled, *examined, caplog.text, repr(config), str(config)]
    backend = config.backends[0]
    if holder != "plug-in":
        try:
            get(open_store(url_of(backend)), "one")
        except (WarpdriveError, OSError) as error:
            seen += [repr(error), "".join(traceback.format_exception(error))]
        seen += [repr(s3_keys(backend).get())] if holder == "s3" else []
        seen += (
            [repr(from_url(url_of(backend), **obstore_options(backend)))] if holder == "s3" else []
        )
    for secret in SECRETS:
        assert not [text for text in map(str, seen) if secret in text]


def test_secrets_are_no_process_arguments(new_home, moto_server, s3_bucket, fault_proxy):
    fault_proxy.fault("slow", n=1, delay=1.0)
    home = new_home(backends=[moto_server.at(fault_proxy.url).backend(s3_bucket)])
    command = [sys.executable, "-m", "cli", "--config", str(home.file), "crawl"]
    none = subprocess.DEVNULL
    with subprocess.Popen(command, start_new_session=True, stdout=none, stderr=none) as process:
        seen = set()
        while not fault_proxy.log and process.poll() is None:
            seen.update(_command_lines(process.pid))
        seen.update(_command_lines(process.pid))
        assert process.wait(60) == 0
    assert b"warpdrive.yaml" in b"".join(seen)
    assert moto_server.secret_access_key.encode() not in b"".join(seen)


def _command_lines(session):
    """Of that session only: others on this machine may say what they like."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                yield (folder / "cmdline").read_bytes()
        except OSError:
            continue


@pytest.fixture
def azure_secure(tmp_path, monkeypatch):
    """Azurite over TLS, whose certificate every library here trusts."""
    with azurite(tmp_path, secure=True) as server:
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, str(tmp_path / "cert.pem"))
        yield server


FOUND_BY_FSSPEC = """
import sys, fsspec
from storage.config import load_config
from storage.options import fsspec_options, url_of
backend = load_config(sys.argv[1]).backends[0]
system, root = fsspec.core.url_to_fs(url_of(backend), **fsspec_options(backend))
print(len(system.find(root)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["static", "sas", "managed_identity"])
def test_azure_signs_as_the_record_says(azure_secure, imds, tmp_path, method):
    server = azure_secure
    bucket = server.bucket({"table/one": b"1"})
    auth = {
        "static": f"method: static, account_key: '{KEY}'",
        "sas": f"method: sas, sas: '{server.sas()}'",
        "managed_identity": "method: managed_identity",
    }[method]  # fmt: skip
    imds.token = server.bearer()
    where = (
        f"account: {ACCOUNT}, container: {bucket}, root: table, endpoint_url: '{server.endpoint}'"
    )
    text = f"{{name: az, type: azureblob, config: {{{where}}}, auth: {{{auth}}}}}"
    backend = backend_of(tmp_path, text)
    assert read_by("lister", backend) == 1
    assert read_by("obstore", backend) == 1
    if method != "managed_identity":  # adlfs has no way to be told of a machine's identity
        # aiohttp reads the trusted certificates once, when it is imported: a process of its own.
        command = [sys.executable, "-c", FOUND_BY_FSSPEC, str(tmp_path / "sign-in.yaml")]
        found = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
        assert found.stdout == "1\n"
    frame = pl.DataFrame({"n": [1, 2]})
    place = f"az://{bucket}/table"
    if method == "sas":
        # It may read and list only.
        with pytest.raises(Exception, match="AuthorizationPermissionMismatch"):
            write_deltalake(place, frame, storage_options=table_options(backend))
    else:
        write_deltalake(place, frame, storage_options=table_options(backend))
        assert read_by("deltalake", backend) == 1
        assert read_by("polars", backend) == 2
    assert bool(imds.credentials()) is (method == "managed_identity")
