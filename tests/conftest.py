"""What every test may ask for."""

import pytest

from tests.home import Home
from tests.servers import FaultProxy, azurite, moto, radosgw


@pytest.fixture
def home(tmp_path):
    """A fresh lake with one local backend, `data`."""
    return Home(tmp_path)


@pytest.fixture
def new_home(tmp_path):
    """Make a fresh lake: `new_home(backends=("a", "b"), extra="ownership: …")`."""

    def make(backends=("data",), extra="", name="home"):
        folder = tmp_path / name
        folder.mkdir()
        return Home(folder, backends, extra)

    return make


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory):
    """An S3 server for the session (`tests.servers.S3Server`); ask it for a bucket of your own."""
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def s3_bucket(moto_server):
    """A fresh, empty bucket of `moto_server`."""
    return moto_server.bucket()


@pytest.fixture
def fault_proxy(moto_server):
    """A proxy in front of `moto_server` that fails as told; `moto_server.at(proxy.url)` uses it."""
    proxy = FaultProxy(moto_server.url)
    yield proxy
    proxy.stop()


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory):
    """Azurite for the session (`tests.servers.AzureServer`)."""
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory):
    """Ceph's S3 gateway for the session (`tests.servers.S3Server`)."""
    with radosgw(tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture(
    params=[
        "moto_server",
        pytest.param("ceph_server", marks=pytest.mark.slow),
        pytest.param("azure_server", marks=pytest.mark.slow),
    ]
)
def store_server(request):
    """Every object store that the tests have; only moto is not slow."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def store_proxy(store_server):
    """A proxy in front of `store_server` that fails as told; `store_server.at(proxy.url)`."""
    proxy = FaultProxy(store_server.url)
    yield proxy
    proxy.stop()
