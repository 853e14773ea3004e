"""The config file as one frozen value. Keys: docs of the Go version plus interface.md's.

Standard library and PyYAML only: this module is on the path of every command.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from storage import locations
from storage.backendconfig import (
    ENCODED,
    Backend,
    placed,
    read_auth,
    read_backend,
)
from storage.dashboardconfig import DashboardConfig, read_dashboard
from storage.errors import ConfigError, UnknownNameError
from storage.serverconfig import ServerConfig, read_server
from storage.units import MAX_DAYS, parse_duration, parse_size
from storage.yamlfile import Section, load

SINKS = ("objectstore", "http", "file", "stdout", "nop", "memory")
LEVELS = ("fast", "per-open", "exact")
RUNNERS = ("inline", "processes", "ray")
MAX_BUCKETS = 65_536
IGNORED_OWNERS = ("root", "nobody", "0", "65534")
SEARCH_PATH = (Path("warpdrive.yaml"), Path("/etc/warpdrive/config.yaml"))


class LakeConfig(NamedTuple):
    """Where the tables live and how long raw events stay."""

    root: str
    retention: dt.timedelta
    buckets: int


class TelemetryConfig(NamedTuple):
    """What the agent records and where it goes."""

    enabled: bool
    sink: str
    landing: str
    level: str
    file_path: str
    control_plane_addr: str
    token_env: str
    """Environment variable with the `http` sink's bearer token; empty = none."""
    token_file: str
    """File with that token, read again for each connection, so that it may be renewed."""
    sample_metadata_ops: float
    batch_size: int
    flush_interval: dt.timedelta
    upload_interval: dt.timedelta
    upload_size_bytes: int
    spool_path: str
    spool_max_bytes: int


class CacheConfig(NamedTuple):
    """The agent's block cache."""

    path: str
    max_size_bytes: int
    block_size_bytes: int
    readahead_blocks: int
    max_parallel_fetch: int
    stale_ttl: dt.timedelta
    evict_high_water: float
    evict_low_water: float


class Ownership(NamedTuple):
    """Which owners of a listing do not count, and rules beside the table's."""

    ignore_owners: tuple[str, ...]
    rules: tuple[tuple[str, str, str], ...]  # backend, prefix, team


class Config(NamedTuple):
    """Everything the config file says; relative paths are resolved."""

    file: str
    lake: LakeConfig
    telemetry: TelemetryConfig
    cache: CacheConfig
    backends: tuple[Backend, ...]
    ownership: Ownership
    mount_point: str
    allow_other: bool
    fuse_debug: bool
    server: ServerConfig
    metrics_enabled: bool
    metrics_addr: str
    runner: Mapping[str, Any]
    tenants: Mapping[str, str]
    dashboard: DashboardConfig

    def tenant(self, name: str) -> str:
        """The config file of a tenant. Raises UnknownNameError."""
        if name not in self.tenants:
            raise UnknownNameError("tenant", name, self.tenants)
        return self.tenants[name]

    @property
    def folder(self) -> Path:
        """The folder of the config file."""
        return Path(self.file).parent

    def backend(self, name: str) -> Backend:
        """The backend of that name. Raises UnknownNameError."""
        for backend in self.backends:
            if backend.name == name:
                return backend
        raise UnknownNameError("backend", name, [b.name for b in self.backends])


def find_config(given: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The config file: `given`, else $WARPDRIVE_CONFIG, else ./warpdrive.yaml, else /etc."""
    named = given or environ.get("WARPDRIVE_CONFIG")
    if named:
        return Path(named)
    for path in SEARCH_PATH:
        if path.is_file():
            return path
    looked = ", ".join(str(path) for path in SEARCH_PATH)
    raise ConfigError(
        f"no config file: neither --config nor $WARPDRIVE_CONFIG is given, and none of {looked} "
        "exists. `warpdrive demo` makes one to start from."
    )


def load_config(given: str | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Find, read and check the config file. Raises ConfigError with file, line and key."""
    file = find_config(given, environ).absolute()
    top = load(file, environ)
    folder = file.parent
    cache = _cache(top.section("cache"), folder)
    metrics = top.section("metrics")
    config = Config(
        file=str(file),
        lake=_lake(top.section("lake"), folder),
        telemetry=_telemetry(top.section("telemetry"), folder, cache.path),
        cache=cache,
        backends=_backends(top, folder),
        ownership=_ownership(top.section("ownership")),
        mount_point=placed(folder, top.text("mount_point", "/data")),
        allow_other=top.flag("allow_other", False),
        fuse_debug=top.flag("fuse_debug", False),
        server=read_server(top.section("control_plane"), top.section("auth")),
        metrics_enabled=metrics.flag("enabled", True),
        metrics_addr=metrics.text("addr", "127.0.0.1:9090"),
        runner=_runner(top.section("runner")),
        tenants={k: placed(folder, v) for k, v in top.section("tenants").strings().items()},
        dashboard=read_dashboard(top.section("dashboard")),
    )
    metrics.finish()
    top.finish()
    for url in (config.lake.root, config.telemetry.landing):
        if "://" in url and not locations.knows(url):
            locations.know_own(url, config.backends)
    return config


def _positive(section: Section, key: str, default: dt.timedelta) -> dt.timedelta:
    """A duration whose zero means the default, as in the Go version."""
    return section.parse(key, default, parse_duration) or default


def _lake(section: Section, folder: Path) -> LakeConfig:
    retention = _positive(section, "retention", dt.timedelta(days=400))
    if retention > dt.timedelta(days=MAX_DAYS):
        raise section.error("retention", f"is longer than {MAX_DAYS}d.")
    found = LakeConfig(
        root=placed(folder, section.text("root", "./lake")),
        retention=retention,
        buckets=section.integer("buckets", 64, minimum=1),
    )
    if found.buckets > MAX_BUCKETS:
        raise section.error("buckets", f"{found.buckets} is more than {MAX_BUCKETS}.")
    if "://" not in found.root and ENCODED.search(found.root):
        raise section.error(
            "root", f"'{found.root}' has a control character or a %-encoded one such as %20 in "
            "its path: choose another folder.",
        )  # fmt: skip
    _reach(section, found.root)
    section.finish()
    return found


def _telemetry(section: Section, folder: Path, cache_path: str) -> TelemetryConfig:
    landing = placed(folder, section.text("landing", "./landing"))
    enabled = section.flag("enabled", default=False)
    sink = section.choice("sink", "nop", SINKS) if section.text("sink") else _sink(section, enabled)
    found = TelemetryConfig(
        enabled=enabled,
        sink=sink,
        landing=landing,
        level=section.choice("level", "fast", LEVELS),
        file_path=placed(folder, section.text("file_path", "/var/log/warpdrive/telemetry.jsonl")),
        control_plane_addr=section.text("control_plane_addr", "http://localhost:8080").rstrip("/"),
        token_env=section.text("token_env"),
        token_file=placed(folder, section.text("token_file")),
        sample_metadata_ops=section.fraction("sample_metadata_ops", 0.1),
        batch_size=section.integer("batch_size", 100) or 100,
        flush_interval=_positive(section, "flush_interval", dt.timedelta(seconds=5)),
        upload_interval=_positive(section, "upload_interval", dt.timedelta(seconds=60)),
        upload_size_bytes=section.parse("upload_size", 8 * 1024**2, parse_size) or 8 * 1024**2,
        spool_path=placed(folder, section.text("spool_path", str(Path(cache_path) / "spool"))),
        spool_max_bytes=section.parse("spool_max", 256 * 1024**2, parse_size),
    )
    if found.token_env and found.token_file:
        raise section.error("token_file", "and token_env are both set: keep one.")
    _reach(section, landing)
    section.finish()
    return found


def _sink(section: Section, enabled: bool) -> str:
    """No sink named: the landing zone if there is one, else nowhere, and that is said."""
    if section.has("landing"):
        return "objectstore"
    if enabled:
        import logging  # for this only: it is not cheap to load

        logging.getLogger(__name__).warning(
            "%s: neither this nor telemetry.landing is set: events are thrown away. "
            "Set telemetry.landing to keep them.", section.place("sink"),
        )  # fmt: skip
    return "nop"


def _cache(section: Section, folder: Path) -> CacheConfig:
    default = section.text("dir", "/nvme/warpdrive-cache")
    found = CacheConfig(
        path=placed(folder, section.text("path", default)),
        max_size_bytes=section.parse("max_size", 2 * 1024**4, parse_size),
        block_size_bytes=section.parse("block_size", 4 * 1024**2, parse_size),
        readahead_blocks=section.integer("readahead_blocks", 4),
        max_parallel_fetch=section.integer("max_parallel_fetch", 16, minimum=1),
        stale_ttl=_positive(section, "stale_ttl", dt.timedelta(seconds=60)),
        evict_high_water=section.fraction("evict_high_water", 0.90),
        evict_low_water=section.fraction("evict_low_water", 0.80),
    )
    if found.evict_high_water <= found.evict_low_water:
        raise section.error("evict_high_water", "is not above evict_low_water.")
    if found.block_size_bytes < 4096:
        raise section.error("block_size", f"'{found.block_size_bytes}' is under 4096 bytes.")
    section.finish()
    return found


def _backends(top: Section, folder: Path) -> tuple[Backend, ...]:
    found: list[Backend] = []
    for section in top.sections("backends"):
        backend = read_backend(section, folder)
        for other in found:
            if other.name == backend.name:
                raise section.error("name", f"two backends have the name '{backend.name}'.")
            if other.mount_path == backend.mount_path:
                raise section.error("mount_path", f"'{backend.mount_path}' is used twice.")
        found.append(backend)
        locations.know_bucket(backend)
        if backend.inventory is not None and "://" in backend.inventory.location:
            locations.know(backend.inventory.location, backend)
    return tuple(found)


def _reach(section: Section, url: str) -> None:
    """`config:` and `auth:` beside the URL of the lake or the landing zone: how it is reached."""
    options, auth = section.section("config").strings(), read_auth(section.section("auth"))
    if "://" not in url:
        return
    try:
        kind, _, _ = locations.place_of(url)
    except ConfigError as error:
        key = "root" if section.has("root") else "landing"
        raise section.error(key, str(error)) from None
    locations.forget(url)  # of a file that was read before
    if section.has("config") or section.has("auth"):
        locations.know(url, Backend(url, kind, "", options, auth, None, None, None, 0o640))


def _ownership(section: Section) -> Ownership:
    rules = []
    for rule in section.sections("rules"):
        rules.append((rule.text("backend"), rule.text("prefix").strip("/"), rule.text("team")))
        if not all((rules[-1][0], rules[-1][2])):
            raise rule.error("team", "a rule needs backend, prefix and team.")
        rule.finish()
    found = Ownership(section.texts("ignore_owners", IGNORED_OWNERS), tuple(rules))
    section.finish()
    return found


def _runner(section: Section) -> Mapping[str, Any]:
    found = {
        "kind": section.choice("kind", "inline", RUNNERS),
        "workers": section.integer("workers", 2, minimum=1),
        "address": section.text("address", "auto"),
        "cpus": section.integer("cpus", 1, minimum=1),
        "memory": section.text("memory", ""),
    }
    section.finish()
    return found
