"""Ceph's S3 gateway: one monitor, one memory-backed OSD and radosgw, all on loopback.

A real server: it checks signatures, and creates an object that must not exist atomically.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.servers import install
from tests.servers.child import child, wait_until
from tests.servers.s3 import S3Server

TRIES = 3
CONF = """[global]
fsid = {fsid}
mon_host = v2:127.0.0.1:{mon}/0
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = true
keyring = {folder}/keyring
run_dir = {folder}
admin_socket = {folder}/$name.asok
pid_file = {folder}/$name.pid
log_file = {folder}/$name.log
crash_dir = {folder}
mon_data = {folder}/mon
osd_data = {folder}/osd
rgw_data = {folder}/rgw
plugin_dir = {lib}/ceph
osd_class_dir = {lib}/rados-classes
erasure_code_dir = {lib}/ceph/erasure-code
osd_objectstore = memstore
memstore_device_bytes = 8G
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
[client.rgw.a]
rgw_frontends = beast endpoint=127.0.0.1:{rgw}
rgw_enable_usage_log = false
rgw_dynamic_resharding = false
"""


@contextlib.contextmanager
def radosgw(folder: Path) -> Iterator[S3Server]:
    """A running gateway; everything it writes is below `folder`."""
    for attempt in range(TRIES):
        with contextlib.ExitStack() as daemons:
            place = folder / str(attempt)
            place.mkdir()
            try:
                server = _started(_Cluster(install.ceph(), place), daemons)
            except (RuntimeError, subprocess.SubprocessError):
                # Its ports were free when they were chosen: somebody else may have taken one.
                if attempt == TRIES - 1:
                    raise
                continue
            yield server
            return


def _started(cluster: _Cluster, daemons: contextlib.ExitStack) -> S3Server:
    cluster.make()
    daemons.enter_context(cluster.daemon("ceph-mon", "-i", "a"))
    cluster.client("osd", "new", cluster.osd_uuid, timeout=180)
    cluster.tool("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", cluster.osd_uuid)
    daemons.enter_context(cluster.daemon("ceph-osd", "-i", "0"))
    gateway = daemons.enter_context(cluster.daemon("radosgw", "-n", "client.rgw.a"))
    wait_until(cluster.answers, gateway, cluster.log)
    server = S3Server(cluster.url, access_key_id="ceph-key")
    cluster.tool(
        "radosgw-admin", "-n", "client.rgw.a", "user", "create", "--uid=test",
        "--display-name=Test", f"--access-key={server.access_key_id}",
        f"--secret={server.secret_access_key}",
    )  # fmt: skip
    return server


class _Cluster:
    def __init__(self, root: Path, folder: Path) -> None:
        self._root = root
        self._folder = folder
        self.log = folder / "daemons.log"
        self.osd_uuid = str(uuid.uuid4())
        self._mon, self._rgw = _free_ports(2)
        self.url = f"http://127.0.0.1:{self._rgw}"
        lib = root / "usr" / "lib" / "x86_64-linux-gnu"
        libraries = (
            lib,
            lib / "ceph",
            root / "usr" / "lib" / "ceph",
            root / lib.relative_to(root / "usr"),
        )
        self._environ = {
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "PYTHONPATH": str(root / "usr" / "lib" / "python3" / "dist-packages"),
            "CEPH_CONF": str(folder / "ceph.conf"),
        }
        self._lib = lib

    def make(self) -> None:
        """Configuration, keys and the monitor's store."""
        for name in ("mon", "osd", "rgw"):
            (self._folder / name).mkdir()
        fsid = str(uuid.uuid4())
        (self._folder / "ceph.conf").write_text(
            CONF.format(fsid=fsid, mon=self._mon, rgw=self._rgw, folder=self._folder, lib=self._lib)
        )
        keys = str(self._folder / "keyring")
        everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
        self.tool("ceph-authtool", "--create-keyring", keys, "--gen-key", "-n", "mon.", *everything)
        for name in ("client.admin", "osd.0", "client.rgw.a"):
            self.tool("ceph-authtool", keys, "--gen-key", "-n", name, *everything)
        monmap = str(self._folder / "monmap")
        address = f"[v2:127.0.0.1:{self._mon}/0]"
        self.tool("monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, monmap)
        self.tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keys)

    def tool(self, name: str, *args: str, timeout: float = 180) -> None:
        """Run a program to its end. Raises RuntimeError with what it said."""
        done = subprocess.run(
            [str(self._root / "usr" / "bin" / name), *args], cwd=self._folder, timeout=timeout,
            env={**os.environ, **self._environ}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{name} {' '.join(args)}: {done.stdout}{done.stderr}")

    def client(self, *args: str, timeout: float) -> None:
        """The command `ceph`: a Python program, run by Debian's own Python."""
        ceph = str(self._root / "usr" / "bin" / "ceph")
        done = subprocess.run(
            ["/usr/bin/python3", ceph, *args], cwd=self._folder, timeout=timeout,
            env={**os.environ, **self._environ}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"ceph {' '.join(args)}: {done.stdout}{done.stderr}")

    def daemon(self, name: str, *args: str) -> contextlib.AbstractContextManager:
        """Run a daemon in the foreground for the time of a block."""
        return child([self._root / "usr" / "bin" / name, *args, "-f"], self.log, self._environ)

    def answers(self) -> bool:
        """Whether the gateway serves requests."""
        try:
            with urllib.request.urlopen(self.url, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
