"""The `warpdrive` command: the group, and the one error boundary.

The commands stand in `commands/` and are loaded when they are called.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import threading
from typing import Any, NoReturn

import click

from commands.options import common
from storage.errors import UsageError, nearest, of_the_world

MODULES = {
    "commands.reports": ("usage", "stale", "growth", "user", "backends"),
    "commands.control": ("quota", "team", "alias"),
    "commands.evidence": ("rule", "ledger", "diff", "audit-log", "verify"),
    "commands.work": ("ingest", "crawl", "refresh", "dashboard", "doctor", "demo"),
    "commands.serve": ("serve",),
    "commands.token": ("token",),
    "commands.node": ("mount", "stats", "status", "warm", "spool"),
    "commands.move": ("move",),
}


GROUPS = ("quota", "team", "alias", "rule", "spool", "token")
REPORTS = ("commands.reports", "commands.control")
"""Answered from published rows, mostly: nothing that costs a millisecond is loaded for them."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Every command, by name."""
        return sorted(name for names in MODULES.values() for name in names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None. Raises UsageError naming the nearest one."""
        for module, names in MODULES.items():
            if cmd_name in names:
                if module not in REPORTS:
                    _log_warnings()
                found: click.Command = getattr(
                    importlib.import_module(module), cmd_name.replace("-", "_")
                )
                return found
        if ctx.resilient_parsing:  # the shell asks for completions of what is half written
            return None
        near = nearest(cmd_name, self.list_commands(ctx))
        hint = f" Did you mean '{near}'?" if near else ""
        raise UsageError(f"no command '{cmd_name}'.{hint} See `warpdrive --help`.")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="warpdrive", message="%(prog)s %(version)s")
@common
def app(**_: Any) -> None:
    """WarpDrive: who owns what data, what nobody touches, what grows, who is over quota.

    Example: warpdrive usage --group-by team --format csv
    """


def main() -> None:
    """Entry point, and the only error boundary: one line to stderr, a documented exit code."""
    os.umask(0o027)  # nothing of the lake, spool or cache is readable for the world
    try:
        code = app(_arguments(), prog_name="warpdrive", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        raise SystemExit(2) from None
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "warpdrive"
        _fail(f"{error.format_message().rstrip('.')}. See `{command} --help`.", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted.", 1)
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if known := of_the_world(error):
            _fail(str(known), known.exit_code)
        raise
    else:
        raise SystemExit(code)


def run() -> None:
    """What the console scripts call: `main`, and then leave at once.

    Exit functions run and threads are waited for as ever; only the tearing down of every module
    and object is left out, which costs a cold report a seventh of its CPU.
    """
    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 - our own bug: the whole traceback
        sys.excepthook(type(error), error, error.__traceback__)
    leave(code)


def leave(code: int) -> NoReturn:
    """End this process; see `run`."""
    with contextlib.suppress(OSError):  # a full disk, a reader who left: said already
        threading._shutdown()  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
    os._exit(code)


def _log_warnings() -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def _arguments() -> list[str]:
    """`warpdrive help` and `warpdrive quota help` are what --help is."""
    given = sys.argv[1:]
    if given == ["help"] or (len(given) == 2 and given[0] in GROUPS and given[1] == "help"):
        return [*given[:-1], "--help"]
    return given


def _fail(text: str, exit_code: int) -> None:
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    click.echo(f"error: {shown}", err=True)
    raise SystemExit(exit_code) from None


if __name__ == "__main__":
    main()
