"""Where events go. Spooled sinks take sealed segments, direct ones take lines as they come."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Protocol

from obstore.exceptions import BaseError

from storage import landing
from storage.config import TelemetryConfig
from storage.errors import ConfigError, UnknownNameError
from storage.objectstore import first_line, open_store, put_if_absent
from warpdrive_agent.httpsink import HttpSink
from warpdrive_agent.segments import MAX_SEGMENT_BYTES
from warpdrive_agent.sinkerrors import RefusedError, SendError

ROTATE_BYTES = 64 * 1024**2
KEEP_FILES = 4


class SpooledSink(Protocol):
    """Takes one sealed segment, at least once."""

    prompt: bool
    """Whether it wants every flush, and not only what the upload interval gathers."""

    def send(self, name: str, data: bytes) -> None:
        """Deliver. Raises SendError to be asked again, RefusedError to be left alone."""
        ...

    def close(self) -> None:
        """Let go; twice is harmless."""
        ...


class DirectSink(Protocol):
    """Takes lines at once and keeps nothing: for tests and terminals."""

    def emit(self, lines: bytes) -> None:
        """Take JSON lines."""
        ...

    def close(self) -> None:
        """Let go; twice is harmless."""
        ...


class ObjectStoreSink:
    """Segments as objects of the landing zone, each created exactly once."""

    prompt = False

    def __init__(self, location: str) -> None:
        self._store = open_store(location)

    def send(self, name: str, data: bytes) -> None:
        """Create the object; one that is there already with the same size is success."""
        try:
            created = put_if_absent(self._store, name, data)
        except (BaseError, OSError) as error:
            raise SendError(first_line(error)) from None
        if not created:
            raise RefusedError(f"{name} is in the landing zone already, with another size")

    def close(self) -> None:
        """Nothing is held."""


class FileSink:
    """JSON lines in one local file, rotated at 64 MiB, four older ones kept."""

    prompt = True

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open().close()
        except OSError as error:
            raise ConfigError(
                f"telemetry.file_path {path}: {error.strerror}: name a file this user may write."
            ) from None

    def send(self, name: str, data: bytes) -> None:
        """Append the segment's lines; a failed append leaves nothing of it behind."""
        lines = landing.decompress(name, data, MAX_SEGMENT_BYTES)
        try:
            self._rotate()
            with self._open() as file:
                start = file.seek(0, os.SEEK_END)
                try:
                    file.write(lines)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(self.path, start)
                    raise
        except OSError as error:
            raise SendError(f"{self.path}: {error.strerror}") from None

    def close(self) -> None:
        """The file is open only while it is written."""

    def _open(self):  # noqa: ANN202 - a FileIO
        return open(self.path, "ab", buffering=0)

    def _rotate(self) -> None:
        if not self.path.exists() or self.path.stat().st_size < ROTATE_BYTES:
            return
        for index in range(KEEP_FILES, 1, -1):
            older = self.path.with_name(f"{self.path.name}.{index - 1}")
            if older.exists():
                older.replace(self.path.with_name(f"{self.path.name}.{index}"))
        self.path.replace(self.path.with_name(f"{self.path.name}.1"))


class StdoutSink:
    """JSON lines on standard output."""

    def emit(self, lines: bytes) -> None:
        """Print the lines."""
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Standard output is not ours to close."""


class NopSink:
    """Nothing is kept."""

    def emit(self, lines: bytes) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class MemorySink:
    """Lines in memory, for tests."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def emit(self, lines: bytes) -> None:
        """Keep the lines."""
        self.lines += lines.splitlines()

    def close(self) -> None:
        """The lines stay."""


def bearer_token(config: TelemetryConfig) -> str:
    """The token of the `http` sink, as it is now; empty where none is configured.

    Raises OSError where it is configured and not there.
    """
    if config.token_file:
        return Path(config.token_file).read_text().strip()
    if config.token_env and not os.environ.get(config.token_env):
        raise OSError(f"telemetry.token_env: the variable {config.token_env} is not set")
    return os.environ.get(config.token_env, "")


def open_sink(config: TelemetryConfig) -> SpooledSink | DirectSink:
    """The sink that the config names. Raises WarpdriveError for an unknown or unusable one."""
    match config.sink:
        case "objectstore":
            return ObjectStoreSink(config.landing)
        case "http":
            return HttpSink(config.control_plane_addr, functools.partial(bearer_token, config))
        case "file":
            return FileSink(config.file_path)
        case "stdout":
            return StdoutSink()
        case "nop":
            return NopSink()
        case "memory":
            return MemorySink()
    raise UnknownNameError(
        "telemetry sink", config.sink, ["objectstore", "http", "file", "stdout", "nop", "memory"]
    )
