"""One backend of the config file: where it is, how it is signed in to, how it is listed."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from storage.errors import UsageError
from storage.yamlfile import Section

AUTH_METHODS = (
    "none", "static", "env", "anonymous", "sas", "profile", "managed_identity",
    "service_principal", "oidc_federation", "gcp_wif", "static_keyvault",
)  # fmt: skip
CRAWL_NEEDS = ("tier", "owner")
REPORT_SAMPLE = 100
NAME_BYTES = 255


class Auth(NamedTuple):
    """How a backend is signed in to. `params` may hold secrets and is never shown."""

    method: str = "none"
    params: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"Auth({self.method!r})"


class Inventory(NamedTuple):
    """Reports that a store writes about itself, used instead of LIST."""

    format: str
    location: str
    sample: int = 0
    """How many files of a report are checked against the live store; 0 = none."""


class Crawl(NamedTuple):
    """How a backend is listed: workers, a limit of requests (0: none), what else is asked for."""

    parallel: int = 8
    requests_per_second: float = 0.0
    need: tuple[str, ...] = ()


class Backend(NamedTuple):
    """One storage backend. `options` is the `config:` mapping of the file."""

    name: str
    type: str
    mount_path: str
    options: Mapping[str, str]
    auth: Auth
    inventory: Inventory | None
    uid: int | None
    gid: int | None
    mode: int
    crawl: Crawl = Crawl()

    def __repr__(self) -> str:
        return f"Backend({self.name!r}, {self.type!r}, {self.auth!r})"

    @property
    def root(self) -> str:
        """The folder of a local backend."""
        return self.options.get("root", "")


ENCODED = re.compile(r"[\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")
"""What no folder of a table may have in its name: readers of Delta decode it once more."""


def read_backend(section: Section, folder: Path) -> Backend:
    name = section.text("name")
    if not name or name in (".", "..") or any(c in name for c in ":/") or ENCODED.search(name):
        raise section.error(
            "name", f"'{name}' is not a backend name: no ':', '/', control character or "
            "%-encoded one such as %20.",
        )  # fmt: skip
    if not (kind := section.text("type")):
        raise section.error("type", "is required: s3, azureblob, gcs, local or an fsspec scheme.")
    options = section.section("config").strings()
    if kind == "local" and "root" in options:
        options["root"] = placed(folder, options["root"])
    found = Backend(
        name=name,
        type=kind,
        mount_path=_mount_path(section, name),
        options=options,
        auth=read_auth(section.section("auth")),
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


def _mount_path(section: Section, name: str) -> str:
    parts = [part for part in section.text("mount_path", name).split("/") if part]
    for part in parts:
        if part in (".", "..") or "\0" in part or len(part.encode()) > NAME_BYTES:
            raise section.error(
                "mount_path",
                f"{part[:40]!r} cannot be the name of a folder: no '.', '..' or NUL, at most "
                f"{NAME_BYTES} bytes.",
            )
    return "/" + "/".join(parts)


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


def read_auth(section: Section) -> Auth:
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
        placed(folder, location),
        inner.integer("sample", REPORT_SAMPLE),
    )
    inner.finish()
    return found


def placed(folder: Path, text: str) -> str:
    """Relative paths resolve from the config file's folder; URLs stay."""
    return text if "://" in text or not text else str(folder / Path(text).expanduser())
