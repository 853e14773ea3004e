"""Copy or move data between backends."""

from __future__ import annotations

from typing import Any

import click

from commands.options import HERE, Asked, Whole, backend_names, common
from commands.progress import ProgressLine
from storage.errors import UsageError
from storage.units import format_size


def _places(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Backends, with the colon that follows them."""
    return [f"{name}:" for name in backend_names(ctx, param, incomplete.partition(":")[0])]


@click.command()
@click.option("--src", required=True, metavar="BACKEND:PATH", help="A file or folder.",
              shell_complete=_places)  # fmt: skip
@click.option("--dst", required=True, metavar="BACKEND:PATH", shell_complete=_places,
              help="Its new place; a file goes into what ends in / or is a folder.")  # fmt: skip
@click.option("--delete", is_flag=True, help="Delete the original once all of it is verified.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@click.option("--workers", default=8, show_default=True, type=Whole(1, 256),
              help="Files at a time.")  # fmt: skip
@common
def move(src: str, dst: str, delete: bool, dry_run: bool, workers: int, **o: Any) -> None:
    """Copy a file or folder to another backend; run again, it goes on where it ended.

    Nothing is overwritten, and nothing is deleted before all of it was read back and compared.
    Object stores have no folders: empty ones are not kept there.

    Example: warpdrive move --src scratch:run7 --dst archive:runs/run7 --delete
    """
    from storage import moving

    config = Asked(o, local=HERE, as_of=False).config
    ends = [
        moving.place(config.backend(name), path)
        for name, path in (_split(src, "--src"), _split(dst, "--dst"))
    ]
    into = dst.endswith(("/", ":"))
    click.echo(f"{'Move' if delete else 'Copy'}: {ends[0]} → {ends[1]}")
    if dry_run:
        plan, there = moving.planned(*ends, into=into)
        click.echo(f"Would copy {_size(plan)} to {there}")
        if plan.left:
            click.echo(f"Would delete nothing: {plan.left}")
        elif delete:
            click.echo(f"Would delete source {ends[0]}")
        return
    line = ProgressLine()

    def watch(step: moving.Progress) -> None:
        line.show((step.files_done, step.files), (step.bytes_done, step.bytes), last=step.done)

    plan, there = moving.move(*ends, into=into, workers=workers, delete=delete, watch=watch)
    click.echo(f"Copied {_size(plan)} to {there}")
    if delete:
        click.echo(f"Deleted source {ends[0]}")


def _split(text: str, option: str) -> tuple[str, str]:
    backend, colon, path = text.partition(":")
    if not colon or not backend:
        raise UsageError(f"{option} '{text}' is not BACKEND:PATH, such as training:datasets/a.bin.")
    return backend, path


def _size(plan: Any) -> str:
    count = f" in {len(plan.items)} files" if len(plan.items) != 1 else ""
    return f"{format_size(plan.size_bytes)}{count}"
