"""The config file as one frozen value. Keys: docs of the Go version plus interface.md's.

Standard library and PyYAML only: this module is on the path of every command.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage import locations
from storage.dashboardconfig import DashboardConfig, read_dashboard
from storage.errors import ConfigError, UnknownNameError, UsageError
from storage.serverconfig import ServerConfig, read_server
from storage.units import MAX_DAYS, parse_duration, parse_size
from storage.yamlfile import Section, load

log = logging.getLogger(__name__)
SINKS = ("objectstore", "http", "file", "stdout", "nop", "memory")
LEVELS = ("fast", "per-open", "exact")
RUNNERS = ("inline", "processes", "ray")
AUTH_METHODS = (
    "none", "static", "env", "anonymous", "sas", "profile", "managed_identity",
    "service_principal", "oidc_federation", "gcp_wif", "static_keyvault",
)  # fmt: skip
CRAWL_NEEDS = ("tier", "owner")
REPORT_SAMPLE = 100
IGNORED_OWNERS = ("root", "nobody", "0", "65534")
SEARCH_PATH = (Path("warpdrive.yaml"), Path("/etc/warpdrive/config.yaml"))


@dataclass(frozen=True)
class LakeConfig:
    """Where the tables live and how long raw events stay."""

    root: str
    retention: dt.timedelta
    buckets: int


@dataclass(frozen=True)
class TelemetryConfig:
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


@dataclass(frozen=True)
class CacheConfig:
    """The agent's block cache."""

    path: str
    max_size_bytes: int
    block_size_bytes: int
    readahead_blocks: int
    max_parallel_fetch: int
    stale_ttl: dt.timedelta
    evict_high_water: float
    evict_low_water: float


@dataclass(frozen=True)
class Auth:
    """How a backend is signed in to. `params` may hold secrets and is never shown."""

    method: str = "none"
    params: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Inventory:
    """Reports that a store writes about itself, used instead of LIST."""

    format: str
    location: str
    sample: int = 0
    """How many files of a report are checked against the live store; 0 = none."""


@dataclass(frozen=True)
class Crawl:
    """How a backend is listed: workers, a limit of requests (0: none), what else is asked for."""

    parallel: int = 8
    requests_per_second: float = 0.0
    need: tuple[str, ...] = ()


@dataclass(frozen=True)
class Backend:
    """One storage backend. `options` is the `config:` mapping of the file."""

    name: str
    type: str
    mount_path: str
    options: Mapping[str, str] = field(repr=False)
    auth: Auth
    inventory: Inventory | None
    uid: int | None
    gid: int | None
    mode: int
    crawl: Crawl = field(default_factory=Crawl)

    @property
    def root(self) -> str:
        """The folder of a local backend."""
        return self.options.get("root", "")


@dataclass(frozen=True)
class Ownership:
    """Which owners of a listing do not count, and rules beside the table's."""

    ignore_owners: tuple[str, ...]
    rules: tuple[tuple[str, str, str], ...]  # backend, prefix, team


@dataclass(frozen=True)
class Config:
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
        mount_point=_path(folder, top.text("mount_point", "/data")),
        allow_other=top.flag("allow_other", False),
        fuse_debug=top.flag("fuse_debug", False),
        server=read_server(top.section("control_plane"), top.section("auth")),
        metrics_enabled=metrics.flag("enabled", True),
        metrics_addr=metrics.text("addr", "127.0.0.1:9090"),
        runner=_runner(top.section("runner")),
        tenants={k: _path(folder, v) for k, v in top.section("tenants").strings().items()},
        dashboard=read_dashboard(top.section("dashboard")),
    )
    metrics.finish()
    top.finish()
    return config


def _path(folder: Path, text: str) -> str:
    """Relative paths resolve from the config file's folder; URLs stay."""
    return text if "://" in text or not text else str(folder / Path(text).expanduser())


def _positive(section: Section, key: str, default: dt.timedelta) -> dt.timedelta:
    """A duration whose zero means the default, as in the Go version."""
    return section.parse(key, default, parse_duration) or default


def _lake(section: Section, folder: Path) -> LakeConfig:
    retention = _positive(section, "retention", dt.timedelta(days=400))
    if retention > dt.timedelta(days=MAX_DAYS):
        raise section.error("retention", f"is longer than {MAX_DAYS}d.")
    found = LakeConfig(
        root=_path(folder, section.text("root", "./lake")),
        retention=retention,
        buckets=section.integer("buckets", 64, minimum=1),
    )
    _reach(section, found.root)
    section.finish()
    return found


def _telemetry(section: Section, folder: Path, cache_path: str) -> TelemetryConfig:
    landing = _path(folder, section.text("landing", "./landing"))
    enabled = section.flag("enabled", default=False)
    sink = section.choice("sink", "nop", SINKS) if section.text("sink") else _sink(section, enabled)
    found = TelemetryConfig(
        enabled=enabled,
        sink=sink,
        landing=landing,
        level=section.choice("level", "fast", LEVELS),
        file_path=_path(folder, section.text("file_path", "/var/log/warpdrive/telemetry.jsonl")),
        control_plane_addr=section.text("control_plane_addr", "http://localhost:8080").rstrip("/"),
        token_env=section.text("token_env"),
        token_file=_path(folder, section.text("token_file")),
        sample_metadata_ops=section.fraction("sample_metadata_ops", 0.1),
        batch_size=section.integer("batch_size", 100) or 100,
        flush_interval=_positive(section, "flush_interval", dt.timedelta(seconds=5)),
        upload_interval=_positive(section, "upload_interval", dt.timedelta(seconds=60)),
        upload_size_bytes=section.parse("upload_size", 8 * 1024**2, parse_size) or 8 * 1024**2,
        spool_path=_path(folder, section.text("spool_path", str(Path(cache_path) / "spool"))),
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
        log.warning(
            "%s: neither this nor telemetry.landing is set: events are thrown away. "
            "Set telemetry.landing to keep them.", section.place("sink"),
        )  # fmt: skip
    return "nop"


def _cache(section: Section, folder: Path) -> CacheConfig:
    default = section.text("dir", "/nvme/warpdrive-cache")
    found = CacheConfig(
        path=_path(folder, section.text("path", default)),
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
        backend = _backend(section, folder)
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
    options, auth = section.section("config").strings(), _auth(section.section("auth"))
    if "://" not in url:
        return
    try:
        kind, _, _ = locations.place_of(url)
    except ConfigError as error:
        key = "root" if section.has("root") else "landing"
        raise section.error(key, str(error)) from None
    if section.has("config") or section.has("auth"):
        locations.know(url, Backend(url, kind, "", options, auth, None, None, None, 0o640))


def _backend(section: Section, folder: Path) -> Backend:
    name = section.text("name")
    if not name or any(c in name for c in ":/\0\n") or name in (".", ".."):
        raise section.error("name", f"'{name}' is not a backend name: no ':', '/' or new line.")
    if not (kind := section.text("type")):
        raise section.error("type", "is required: s3, azureblob, gcs, local or an fsspec scheme.")
    options = section.section("config").strings()
    if kind == "local" and "root" in options:
        options["root"] = _path(folder, options["root"])
    mount_path = "/" + section.text("mount_path", name).strip("/")
    found = Backend(
        name=name,
        type=kind,
        mount_path=mount_path,
        options=options,
        auth=_auth(section.section("auth")),
        inventory=_inventory(section, folder),
        uid=section.integer("uid", 0) if section.has("uid") else None,
        gid=section.integer("gid", 0) if section.has("gid") else None,
        mode=section.parse("mode", 0o640, _mode),
        crawl=_crawl(section.section("crawl")),
    )
    if found.inventory is None and kind == "local" and not found.root:
        raise section.error("config", f"backend '{name}' is local and needs config.root.")
    section.finish("price")
    return found


def _crawl(section: Section) -> Crawl:
    need = section.texts("need", ())
    for name in need:
        if name not in CRAWL_NEEDS:
            raise section.error("need", f"'{name}' is none of {', '.join(CRAWL_NEEDS)}.")
    rate = section.raw("requests_per_second", 0)
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < math.inf:
        raise section.error("requests_per_second", f"'{rate}' is not a number of 0 or more.")
    found = Crawl(section.integer("parallel", 8, minimum=1), float(rate), need)
    section.finish()
    return found


def _mode(value: Any, what: str) -> int:
    """Permission bits, always octal: 0640, '0640' and 640 are the same."""
    try:
        bits = int(str(value).removeprefix("0o"), 8)
    except ValueError:
        bits = -1
    if not 0 <= bits <= 0o777:
        raise UsageError(f"{what} '{value}' is not a permission such as 0640.")
    return bits


def _auth(section: Section) -> Auth:
    method = section.choice("method", "none", AUTH_METHODS)
    extra = section.section("extra").strings()
    params = {k: v for k, v in section.strings().items() if k not in ("method", "extra")}
    return Auth(method, {**extra, **params})


def _inventory(section: Section, folder: Path) -> Inventory | None:
    if not section.has("inventory"):
        return None
    inner = section.section("inventory")
    location = inner.text("location")
    if not location:
        raise inner.error("location", "is required: the folder or URL that holds the reports.")
    found = Inventory(
        inner.choice("format", "s3", ("s3", "azure", "gcs")),
        _path(folder, location),
        inner.integer("sample", REPORT_SAMPLE),
    )
    inner.finish()
    return found


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
