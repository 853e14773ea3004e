"""Real servers and a fault proxy for tests: `from tests.servers import …`.

`tests/conftest.py` has them as fixtures: `moto_server` (S3, one for the session),
`s3_bucket` (a fresh bucket of it) and `fault_proxy` (a fresh proxy in front of it).
"""

from tests.servers.faults import FaultProxy, Request
from tests.servers.s3 import S3Server, moto

__all__ = ["FaultProxy", "Request", "S3Server", "moto"]
