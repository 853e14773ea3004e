"""Whether this machine can mount, asked of the agent in a process of its own.

The pipelines share bytes with the agent, never imports.
"""

from __future__ import annotations

import subprocess
import sys

_ASK = "from warpdrive_agent.capability import mount_problem; print(mount_problem() or '')"


def cannot_mount() -> str:
    """Why this machine cannot mount, in a line; empty where it can."""
    found = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True, check=True)
    return found.stdout.strip()
