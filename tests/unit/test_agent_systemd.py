"""The systemd unit is one that systemd takes, and the mount stays visible to everybody."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "warpdrive-agent.service"


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="2026-11-26: systemd-analyze is not installed"
)
def test_systemd_takes_the_unit():
    done = subprocess.run(
        ["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, UNIT.name in done.stderr) == (0, False), done.stderr


def test_no_option_hides_the_mount_in_a_name_space_of_its_own():
    hiding = ("PrivateMounts", "PrivateTmp", "ProtectHome", "ProtectSystem", "ReadOnlyPaths",
              "PrivateDevices", "ProtectKernelTunables", "DynamicUser")  # fmt: skip
    keys = {line.partition("=")[0] for line in UNIT.read_text().splitlines()}
    assert not keys & set(hiding)
