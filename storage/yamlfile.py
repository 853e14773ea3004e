"""YAML with places: every value knows its key path and line, and `${VAR}` is expanded.

A `Section` is read key by key; what is left unread at the end is an unknown key, refused with
its place and the nearest known name.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from storage.errors import ConfigError, UsageError, nearest

T = TypeVar("T")
_VARIABLE = re.compile(r"\$(?:\$|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_LEADING_ZERO = re.compile(r"0[0-9]+")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Section:
    """One mapping of the file: typed reads, errors that say file, line and key."""

    def __init__(self, values: dict[str, tuple[Any, int]], path: str, file: str) -> None:
        self._values = values
        self._path = path
        self._file = file
        self._known: set[str] = set()

    def place(self, key: str) -> str:
        """`file:line: section.key`, for messages."""
        # A key that is missing is missed where its section begins.
        lines = [line for _, line in self._values.values()]
        line = self._values[key][1] if key in self._values else min(lines, default=0)
        where = f"{self._file}:{line}" if line else self._file
        return f"{where}: {self._path}{key}"

    def error(self, key: str, message: str) -> ConfigError:
        """An error at `key`."""
        return ConfigError(f"{self.place(key)}: {message}")

    def has(self, key: str) -> bool:
        """Whether the file sets `key` to something."""
        self._known.add(key)
        return key in self._values and self._values[key][0] is not None

    def raw(self, key: str, default: Any = None) -> Any:
        """The value as YAML gave it."""
        return self._values[key][0] if self.has(key) else default

    def parse(self, key: str, default: T, parser: Callable[[Any, str], T]) -> T:
        """The value through `parser(value, what)`; its UsageError gains the place."""
        if not self.has(key):
            return default
        try:
            return parser(self.raw(key), key)
        except UsageError as error:
            raise self.error(key, str(error)) from None

    def text(self, key: str, default: str = "") -> str:
        """A string; numbers are taken as they are written."""
        value = self.raw(key, default)
        if isinstance(value, (dict, list, bool)):
            raise self.error(key, f"'{_shown(value)}' is not a text.")
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """A value that is true or false."""
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise self.error(key, f"'{_shown(value)}' is not true or false.")
        return value

    def integer(self, key: str, default: int, minimum: int = 0) -> int:
        """A whole number of at least `minimum`."""
        value = self.raw(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self.error(key, f"'{_shown(value)}' is not a whole number of {minimum} or more.")
        return value

    def fraction(self, key: str, default: float) -> float:
        """A number from 0 to 1."""
        value = self.raw(key, default)
        ok = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not ok or math.isnan(value) or not 0 <= value <= 1:
            raise self.error(key, f"'{_shown(value)}' is not a number from 0 to 1.")
        return float(value)

    def choice(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        """One of `allowed`."""
        value = self.text(key, default)
        if value not in allowed:
            near = nearest(value, allowed)
            hint = f" Did you mean '{near}'?" if near else ""
            raise self.error(key, f"'{value}' is none of {', '.join(allowed)}.{hint}")
        return value

    def section(self, key: str) -> Section:
        """The mapping under `key`; an empty one where it is missing."""
        value = self.raw(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"'{_shown(value)}' is not a mapping.")
        return Section(value, f"{self._path}{key}.", self._file)

    def sections(self, key: str) -> list[Section]:
        """The list of mappings under `key`."""
        items = self.raw(key, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.error(key, "is not a list of mappings.")
        return [
            Section(item, f"{self._path}{key}[{i}].", self._file) for i, item in enumerate(items)
        ]

    def strings(self) -> dict[str, str]:
        """The whole mapping as texts; every key is known."""
        return {key: self.text(key) for key in self._values if self.has(key)}

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts."""
        items = self.raw(key, list(default))
        if not isinstance(items, list) or any(isinstance(i, (dict, list)) for i in items):
            raise self.error(key, f"'{_shown(items)}' is not a list of texts.")
        return tuple(str(item) for item in items)

    def finish(self, *also: str) -> None:
        """Refuse the keys nobody read; `also` are known but not used here."""
        known = self._known | set(also)
        for key in self._values:
            if key not in known:
                near = nearest(key, known)
                hint = f" Did you mean '{near}'?" if near else ""
                raise self.error(key, f"unknown key.{hint} Known: {', '.join(sorted(known))}.")


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Section:
    """Read a YAML file whose top is a mapping. Raises ConfigError with file and line."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}.") from None
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        value = {} if node is None else _build(node, loader, str(file), environ)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid YAML: {' '.join(str(error).split())}.") from None
    finally:
        loader.dispose()
    if not isinstance(value, dict):
        raise ConfigError(f"{file}: the top of the file is not a mapping of keys to values.")
    return Section(value, "", str(file))


def _build(node: Any, loader: Any, file: str, environ: Mapping[str, str]) -> Any:
    if isinstance(node, yaml.CollectionNode):
        # What many aliases name is built once: nested ones would fill any memory.
        known = loader.constructed_objects
        if node not in known:
            known[node] = (
                _mapping(node, loader, file, environ)
                if isinstance(node, yaml.MappingNode)
                else [_build(item, loader, file, environ) for item in node.value]
            )
        return known[node]
    expanded = _expand(node.value, f"{file}:{node.start_mark.line + 1}", environ)
    if expanded != node.value:
        # A plain `${N}` that holds 100 is the number 100, as if it had been written there.
        plain = not node.style
        tag = loader.resolve(yaml.ScalarNode, expanded, (plain, not plain))
        node = yaml.ScalarNode(tag, expanded, node.start_mark, node.end_mark, node.style)
    if not node.style and _LEADING_ZERO.fullmatch(node.value):
        return node.value  # YAML 1.1 would read a mode of 0640 as 416
    return loader.construct_object(node)


def _mapping(node: Any, loader: Any, file: str, environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{file}:{line}: a key is a list or a mapping: write a name.")
        key = str(_build(key_node, loader, file, environ))
        if key in values:
            raise ConfigError(f"{file}:{line}: '{key}' stands twice in one mapping.")
        values[key] = (_build(value_node, loader, file, environ), line)
    return values


def _expand(text: str, place: str, environ: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        name = match.group(1) if match.group(1) is not None else match.group(2)
        if name not in environ:
            raise ConfigError(
                f"{place}: the environment variable '{name}' is not set: "
                f"export it, or write $$ for a plain dollar sign."
            )
        return environ[name]

    return _VARIABLE.sub(value, text) if "$" in text else text


def _shown(value: Any) -> str:
    """A wrong value for a message; what may hold secrets is not repeated."""
    if isinstance(value, dict):
        return "{…}"
    return "[…]" if isinstance(value, list) else str(value)
