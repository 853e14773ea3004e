"""Start Streamlit on this machine for a config file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP = Path(__file__).parent / "app.py"


def serve(config_file: str, port: int) -> None:
    """Become the Streamlit server, on loopback.

    The rest of its settings is in `.streamlit/config.toml` beside the app.
    """
    os.environ["WARPDRIVE_CONFIG"] = config_file
    root = str(APP.parent.parent)
    told = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{root}{os.pathsep}{told}" if told else root
    # -P: a folder of the cwd that is named like one of our rooms must not stand in for it.
    python = [sys.executable, "-P", "-m", "streamlit", "run", str(APP)]
    python += ["--server.address=127.0.0.1", f"--server.port={port}"]
    os.execv(sys.executable, python)  # noqa: S606
