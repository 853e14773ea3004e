"""Which config a run works for: $WARPDRIVE_CONFIG, as the commands set it."""

from __future__ import annotations

import os

from storage.config import Config, load_config
from storage.units import parse_instant


def config() -> Config:
    """The config of this process. Raises ConfigError."""
    return load_config()


def use(file: str) -> None:
    """Let the runs of this process, and their children, work for a config file."""
    os.environ["WARPDRIVE_CONFIG"] = file


def instant(text: str) -> object:
    """A run's as-of; None for an empty text."""
    return parse_instant(text) if text else None
