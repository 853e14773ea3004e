"""The servers of the tests do what their users rely on."""

import http.client
import time
import urllib.error
import urllib.request

import pytest


def test_the_s3_server_stores_lists_and_refuses_a_second_create(moto_server):
    bucket = moto_server.bucket({"a/1": b"one", "b": b"two"})
    assert moto_server.keys(bucket) == ["a/1", "b"]
    client = moto_server.client()
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket, Key="b", Body=b"x", IfNoneMatch="*")
    assert client.get_object(Bucket=bucket, Key="b")["Body"].read() == b"two"


def test_a_backend_of_the_server_is_a_backend_of_a_config(new_home, moto_server, s3_bucket):
    home = new_home(backends=[moto_server.backend(s3_bucket, root="x"), "local"])
    s3, local = home.config.backends
    assert (s3.options["bucket"], s3.options["root"], local.name) == (s3_bucket, "x", "local")
    assert home.run("crawl").code == 0


def test_without_a_fault_the_proxy_is_the_server(moto_server, s3_bucket, fault_proxy):
    seen = moto_server.at(fault_proxy.url)
    body = bytes(range(256)) * 8192
    seen.put(s3_bucket, {"a b/ü": body})
    assert seen.keys(s3_bucket) == ["a b/ü"]
    assert seen.client().get_object(Bucket=s3_bucket, Key="a b/ü")["Body"].read() == body
    assert [r.status for r in fault_proxy.log] == [200, 200, 200]


def get(url, timeout=30.0):
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read(), int(answer.headers["Content-Length"])
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), 0


@pytest.fixture
def one(moto_server, fault_proxy):
    """The URL of a public object of ten bytes, behind the proxy."""
    bucket = moto_server.bucket()
    moto_server.client().put_object(Bucket=bucket, Key="k", Body=b"0123456789", ACL="public-read")
    return f"{fault_proxy.url}/{bucket}/k"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_an_error_comes_n_times(one, fault_proxy, status):
    fault_proxy.fault(str(status), n=2)
    assert [get(one)[0] for _ in range(3)] == [status, status, 200]
    assert [r.fault for r in fault_proxy.log] == [str(status), str(status), ""]


def test_only_what_matches_fails(one, fault_proxy):
    fault_proxy.fault("500", n=-1, match=r"^PUT ")
    assert get(one)[0] == 200


def test_slow_answers_late_and_hang_never(one, fault_proxy):
    fault_proxy.fault("slow", delay=0.3)
    fault_proxy.fault("hang")
    began = time.monotonic()
    assert get(one)[1] == b"0123456789"
    assert time.monotonic() - began >= 0.3
    with pytest.raises(TimeoutError):
        get(one, timeout=0.2)


def test_a_reset_never_reached_the_server_and_a_lost_answer_did(
    moto_server, s3_bucket, fault_proxy
):
    for mode, there in (("reset", False), ("after", True)):
        fault_proxy.fault(mode)
        host = fault_proxy.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=30)
        connection.request("PUT", f"/{s3_bucket}/{mode}", body=b"x")
        with pytest.raises(ConnectionResetError):
            connection.getresponse()
        connection.close()
        assert (mode in moto_server.keys(s3_bucket)) is there


def test_half_a_body_says_so_or_breaks_off(one, fault_proxy):
    fault_proxy.fault("half")
    fault_proxy.fault("truncate")
    assert get(one)[1:] == (b"01234", 5)
    with pytest.raises(http.client.IncompleteRead):
        get(one)
