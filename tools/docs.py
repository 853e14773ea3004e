"""Write docs/cli.md from the commands and docs/api.md from the OpenAPI description.

`python tools/docs.py` writes them; with `--check` it only says which of them are stale, exit 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import click  # noqa: E402

CLI_HEAD = """# Commands

Written by `make docs` from the commands themselves; `warpdrive COMMAND --help` says the same.

`--config`, `--as-of`, `--tenant` and `--server` stand before or after the command. Rows go to
stdout, everything else to stderr. CSV is RFC 4180 with LF: bytes, `YYYY-MM-DD HH:MM:SS` UTC,
nothing cut. JSON is the body of the REST API. Exit codes: 0 done, 1 failed, 2 wrong usage.

With `--server URL` a command asks a `warpdrive serve` instead of the local lake: the same rows,
the same changes. The token is `$WARPDRIVE_TOKEN`, else what `telemetry.token_file` or `token_env`
of the config names. Commands about this machine (mount, move, doctor …) refuse it.
Commands about now (serve, status, audit-log, every change …) refuse `--as-of`.

Shell completion, for bash (zsh and fish alike):
`eval "$(_WARPDRIVE_COMPLETE=bash_source warpdrive)"`
"""
API_HEAD = """# REST API

Written by `make docs` from the OpenAPI description, which a running server shows at `/openapi.json`
and, to read, at `/docs`. Every error has one body:
`{"error": {"status", "code", "message", "hint", "param"}}`.
"""


def main(arguments: list[str]) -> int:
    """Write both pages, or check them."""
    stale = [path for path, text in pages().items() if not _is(path, text)]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is stale: run `make docs`", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages()[path], encoding="utf-8")
            print(f"{path.relative_to(ROOT)} written")
    return 1 if stale and "--check" in arguments else 0


def pages() -> dict[Path, str]:
    """Both pages as they should be."""
    return {ROOT / "docs" / "cli.md": cli_page(), ROOT / "docs" / "api.md": api_page()}


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def cli_page() -> str:
    """docs/cli.md."""
    from cli import app  # noqa: TID251

    parts = [CLI_HEAD]
    for words, command in _commands(app, ()):
        parts.append(_command(words, command))
    return "\n".join(parts)


def _commands(group: click.Group, words: tuple[str, ...]) -> Iterator[tuple[Any, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


def _command(words: tuple[str, ...], command: click.Command) -> str:
    from commands.options import COMMON
    from lake.reports import CSV

    context = click.Context(command, info_name=f"warpdrive {' '.join(words)}")
    text, _, example = (command.help or "").partition("Example:")
    lines = [f"## {' '.join(words)}", "", " ".join(text.split()), "", "```"]
    lines += [context.command_path + " " + " ".join(command.collect_usage_pieces(context))]
    lines += [" ".join(example.split()), "```", ""]
    rows = [
        record
        for param in command.params
        if param.name not in COMMON and (record := param.get_help_record(context))
    ]
    if rows:
        lines += ["| option | |", "|---|---|"]
        lines += [f"| `{name}` | {' '.join(told.split())} |".replace("|]", "]")
                  for name, told in ((n.replace("|", "\\|"), t) for n, t in rows)]  # fmt: skip
        lines.append("")
    report = {"quota list": "quota", "team list": "team", "rule list": "rule"}.get(
        " ".join(words), words[0] if len(words) == 1 else ""
    )
    if report in CSV:
        lines += [f"CSV: `{','.join(CSV[report])}`", ""]
    return "\n".join(lines)


def api_page() -> str:
    """docs/api.md."""
    from api.app import ROUTES
    from api.openapi import document

    parts = [API_HEAD]
    for path, methods in document(ROUTES, auth=True, names={})["paths"].items():
        for method, told in methods.items():
            parts.append(_route(method.upper(), path, told))
    return "\n".join(parts)


def _route(method: str, path: str, told: dict[str, Any]) -> str:
    lines = [f"## {method} {path}", "", told.get("description") or told["summary"], ""]
    if told.get("parameters"):
        lines += ["| parameter | where | values | |", "|---|---|---|---|"]
        lines += [
            f"| `{p['name']}` | {p['in']}{', required' if p['required'] else ''} | "
            f"{_values(p['schema'])} | {p.get('description', '')} |"
            for p in told["parameters"]
        ]
        lines.append("")
    for kind, content in told.get("requestBody", {}).get("content", {}).items():
        lines += [f"Body, `{kind}`: {_shape(content['schema'])}", ""]
    for kind, content in told["responses"]["200"].get("content", {}).items():
        lines += [f"Answer, `{kind}`: {_shape(content['schema'])}", ""]
    others = ", ".join(f"{status} {one['description']}" for status, one in told["responses"].items()
                       if status != "200")  # fmt: skip
    return "\n".join([*lines, f"Also: {others}.", ""]) if others else "\n".join(lines)


def _values(schema: dict[str, Any]) -> str:
    shown = " · ".join(f"`{v}`" for v in schema.get("enum", ())) or schema.get(
        "format", schema.get("type", "")
    )
    return f"{shown} ({schema['default']})" if "default" in schema else str(shown)


def _shape(schema: dict[str, Any]) -> str:
    if schema.get("type") == "array":
        return f"array of {_shape(schema['items'])}"
    if "properties" in schema:
        return "`{" + ", ".join(schema["properties"]) + "}`"
    return str(schema.get("title") or schema.get("type") or "see OpenAPI")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
