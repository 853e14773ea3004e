"""Options that commands share, and the only ways text leaves a command."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from storage.errors import UsageError, WarpdriveError
from storage.units import MAX_DIGITS, parse_instant

F = TypeVar("F", bound=Callable[..., Any])
# Reports whose numbers come from an index: below their tables stands how well it was audited.
AUDITED = ("usage", "stale", "growth", "backends", "diff", "quota")
MAX_WHOLE = 2**53
MAX_DEPTH = 64
FIRST_YEAR, LAST_YEAR = 1971, 2199
HERE = "this command is about this machine"
COMMON = ("config", "as_of", "tenant", "server")


def common(command: F) -> F:
    """The options that every command takes, before its name and after it."""
    for option in reversed((
        click.option("--config", metavar="FILE", help="Config file (default: $WARPDRIVE_CONFIG, "
                     "./warpdrive.yaml, /etc/warpdrive/config.yaml)."),
        click.option("--as-of", metavar="TIME", help="Answer as of this instant (UTC)."),
        click.option("--tenant", metavar="NAME", help="Use the config file of this tenant."),
        click.option("--server", metavar="URL", help="Ask a server instead of the local lake."),
    )):  # fmt: skip
        command = option(command)
    return command


class Whole(click.IntRange):
    """A whole number within bounds, in the digits and words of the REST API."""

    def __init__(self, low: int, high: int = MAX_WHOLE) -> None:
        super().__init__(low, high)
        upper = f" to {high}" if high < MAX_WHOLE else " or more"
        self._allowed = f"a whole number of {low}{upper}"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The number. Raises click.BadParameter naming what is allowed."""
        text = str(value)
        digits = text.removeprefix("-")
        assert self.min is not None
        assert self.max is not None
        if not (digits.isascii() and digits.isdigit() and len(digits) < MAX_DIGITS) or not (
            self.min <= int(text) <= self.max
        ):
            self.fail(f"'{text}' is not {self._allowed}", param, ctx)
        return int(text)

    def _describe_range(self) -> str:
        return super()._describe_range() if self.max != MAX_WHOLE else f"x>={self.min}"


def formatted(command: F) -> F:
    """The option of commands that print rows."""
    return click.option(
        "--format", "fmt", default="table", show_default=True, help="How to print the rows.",
        type=click.Choice(["table", "csv", "json"]),
    )(command)  # fmt: skip


def _completed(found: Callable[[Any], Iterable[str]]) -> Callable[..., list[str]]:
    """Completion by names that the config or the lake knows; none where it cannot be read."""

    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        from storage.config import load_config

        given = ctx.params.get("config") or ctx.find_root().params.get("config")
        try:
            names = list(found(load_config(given)))
        except WarpdriveError:
            return []
        return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]

    return complete


def _teams(config: Any) -> Iterable[str]:
    from lake.published import current

    now = current(config.lake.root)
    return (row["team"] for name in ("team", "quota") for row in now.rows(name))


backend_names = _completed(lambda config: (b.name for b in config.backends))
team_names = _completed(_teams)
backend_option = click.option("--backend", default="", metavar="NAME", help="Only this backend.",
                              shell_complete=backend_names)  # fmt: skip
team_option = click.option("--team", required=True, metavar="NAME", help="The team.",
                           shell_complete=team_names)  # fmt: skip


def one_of(*names: str) -> Callable[..., list[str]]:
    """Completion by fixed names; what else is given is refused by the command itself."""
    return lambda _ctx, _param, incomplete: [n for n in names if n.startswith(incomplete)]


class Asked:
    """What the common options say, wherever they stood."""

    def __init__(self, options: dict[str, Any], *, local: str = "", as_of: bool = True) -> None:
        """`local`: why the command has nothing to ask a server; `--server` is refused then.

        `as_of`: whether the command has anything to do with another instant.
        """
        if local:
            refuse(options, ("server",), local)
        if not as_of:
            refuse(options, ("as_of",), "this command is about now")
        given = {name: _given(options, name) for name in COMMON}
        for name in COMMON:
            options.pop(name)
        self._config, self._tenant, self._url = given["config"], given["tenant"], given["server"]
        if self._url and self._tenant:
            raise UsageError(
                f"--tenant '{self._tenant}': on a server the token names the tenant: "
                "leave --tenant away."
            )
        self.as_of = _as_of(given["as_of"]) if given["as_of"] else None

    @property
    def config(self) -> Any:
        """The config, of the tenant where one is named."""
        from storage.config import load_config

        found = load_config(self._config)
        return load_config(found.tenant(self._tenant)) if self._tenant else found

    @property
    def server(self) -> Any:
        """The server to ask, or None for the local lake."""
        if not self._url:
            return None
        from commands.remote import Server, token

        found = Server(self._url, token(self._config_if_any()))
        if found.unsafe:
            note("Warning: the token goes over plain http, where others can read it: use https.")
        return found

    @property
    def reader(self) -> Any:
        """The read model; `emit` says on stderr how old its answers are."""
        if (server := self.server) is not None:
            from commands.remote import RemoteReader
            from storage.units import format_instant

            return RemoteReader(server, format_instant(self.as_of) if self.as_of else "")
        from lake.read import Reader

        reader = click.get_current_context().obj = Reader(self.config, self.as_of)
        return reader

    @property
    def changes(self) -> Any:
        """What may be changed, in the lake or on the server."""
        if self.as_of:
            raise UsageError("--as-of is for reports: a change is made now. Leave it away.")
        if (server := self.server) is not None:
            from commands.remote import RemoteChanges

            return RemoteChanges(server)
        from commands.changes import LocalChanges

        return LocalChanges(self.config, who())

    def _config_if_any(self) -> Any:
        """A server can be asked without a config; one that is named must be good."""
        named = self._config or os.environ.get("WARPDRIVE_CONFIG")
        return self.config if named or os.path.exists("warpdrive.yaml") else None  # noqa: PTH110


def refuse(options: dict[str, Any], names: Iterable[str], why: str) -> None:
    """Raise UsageError where one of the common options is given: nothing is silently ignored."""
    for name in names:
        if given := _given(options, name):
            option = _option(name)
            raise UsageError(f"{option} '{given}': {why}: leave {option} away.")


def _given(options: dict[str, Any], name: str) -> str | None:
    """A common option, after the command or before it. Raises UsageError where it is empty.

    What an unset variable left of `--server "$URL"` must not mean the lake of this machine.
    """
    found: str | None = options.get(name)
    if found is None:
        found = click.get_current_context().find_root().params.get(name)
    if found == "":
        option = _option(name)
        raise UsageError(f"{option} '': it is empty: give it a value or leave {option} away.")
    return found


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_of(text: str) -> dt.datetime:
    at = parse_instant(text, "--as-of")
    if not FIRST_YEAR <= at.year <= LAST_YEAR:
        raise UsageError(f"--as-of '{text}' is not in the years {FIRST_YEAR} to {LAST_YEAR}.")
    return at


def _age(reader: Any) -> None:
    from storage import clock

    if not reader.has_results:
        note("Nothing is published yet: run `warpdrive refresh`.")
    elif reader.published_at is not None and sys.stderr.isatty():
        minutes = (clock.now() - reader.published_at).total_seconds() / 60
        note(f"As of {reader.as_of:%Y-%m-%d %H:%M:%S} UTC, published {minutes:.0f} min ago.")


def note(text: str) -> None:
    """A line for people, on stderr."""
    click.echo(text, err=True)


def emit(report: str, rows: list[dict[str, Any]], fmt: str, **how: Any) -> None:
    """Print a report: the only way rows leave a command."""
    from lake.text import render

    reader = click.get_current_context().obj
    if reader is not None:
        _age(reader)
    try:
        sys.stdout.write(render(report, rows, fmt, **how))
        sys.stdout.flush()  # a reader who has left is noticed here, not at exit
        if reader is not None and fmt == "table" and report in AUDITED:
            for line in reader.audits():
                note(line)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WarpdriveError(f"the rows cannot be written: {error.strerror}.") from None


def who() -> str:
    """The user who runs the command, for logs of changes."""
    try:
        import getpass

        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid:{os.getuid()}"
