"""Real servers and a fault proxy for tests: `from tests.servers import …`.

`tests/conftest.py` has them as fixtures: `moto_server` (S3, one for the session),
`s3_bucket` (a fresh bucket of it), `fault_proxy` (a fresh proxy in front of it), and
`store_server`: moto, and in `make test-real` Azurite and Ceph's S3 gateway too.
"""

from tests.servers.azure import AzureServer, azurite
from tests.servers.ceph import radosgw
from tests.servers.faults import FaultProxy, Request
from tests.servers.imds import Imds
from tests.servers.s3 import S3Server, moto

__all__ = [
    "AzureServer", "FaultProxy", "Imds", "Request", "S3Server", "azurite", "moto", "radosgw",
]  # fmt: skip
