"""Start Streamlit on this machine for a config file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

APP = Path(__file__).parent / "app.py"


def serve(config_file: str, port: int) -> None:
    """Become the Streamlit server, on loopback."""
    os.environ["WARPDRIVE_CONFIG"] = config_file
    os.execv(
        sys.executable,
        [
            sys.executable, "-m", "streamlit", "run", str(APP),
            "--server.address=127.0.0.1", f"--server.port={port}", "--server.headless=true",
            "--browser.gatherUsageStats=false", "--client.showErrorDetails=none",
        ],
    )  # fmt: skip
