"""Mounting: wiring, signals, background. pyfuse3 is imported only when something is mounted."""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.config import Config
from storage.errors import ConfigError, WarpdriveError
from warpdrive_agent.agent import Agent
from warpdrive_agent.capability import may_allow_other, mount_problem
from warpdrive_agent.mountpoint import mounted_at, prepare, real_path, tune, unmount
from warpdrive_agent.segments import private_folder
from warpdrive_agent.statusserver import StatusServer

if TYPE_CHECKING:
    from warpdrive_agent.fs import WarpdriveFS

CLOSE_SECONDS = 5.0
DRAIN_SECONDS = 1.0
PID_FILE = "agent.pid"
log = logging.getLogger("warpdrive.mount")


def run_mount(
    config: Config, *, daemon: bool = False, ready: Callable[[], None] | None = None
) -> None:
    """Mount all backends at `mount_point` until SIGINT, SIGTERM or an unmount.

    `ready` is called once the mount can be used. With `daemon` this returns then, and the mount
    lives on in the background. Raises WarpdriveError where it cannot be mounted.
    """
    if (problem := mount_problem()) is not None:
        raise WarpdriveError(f"cannot mount: {problem}")
    if not config.backends:
        raise WarpdriveError(f"{config.file}: backends: there is none to mount: add one.")
    prepare(config.mount_point)
    _refuse_inside(config)
    if daemon:
        _in_background(config, ready or _nothing)
    else:
        _serve(config, ready or _nothing)


def pid_file(config: Config) -> Path:
    """Where `--daemon` writes its process id."""
    return Path(config.telemetry.spool_path).parent / PID_FILE


def _refuse_inside(config: Config) -> None:
    """What the agent writes must not lie in its mount: it would wait for its own answer."""
    telemetry, point = config.telemetry, real_path(config.mount_point)
    places = {"cache.path": config.cache.path, "telemetry.spool_path": telemetry.spool_path}
    if telemetry.sink == "file":
        places["telemetry.file_path"] = telemetry.file_path
    if telemetry.sink == "objectstore":
        places["telemetry.landing"] = telemetry.landing.removeprefix("file://")
    for key, place in places.items():
        if "://" not in place and Path(os.path.realpath(place)).is_relative_to(point):
            raise ConfigError(
                f"{config.file}: {key} {place} lies in the mount point {point}, where the agent "
                f"cannot write: name a folder outside of it, or another mount_point."
            )


def _nothing() -> None:
    pass


def _serve(config: Config, ready: Callable[[], None]) -> None:
    from warpdrive_agent.fs import WarpdriveFS

    _raise_file_limit()
    agent = Agent(config)
    try:
        seconds = config.cache.stale_ttl.total_seconds()
        fs = WarpdriveFS(agent, level=config.telemetry.level, remote_seconds=seconds)
        _run(config, agent, fs, ready)
    finally:
        agent.close(CLOSE_SECONDS)


def _run(config: Config, agent: Agent, fs: WarpdriveFS, ready: Callable[[], None]) -> None:
    """Mount, answer the kernel until the end, unmount."""
    import pyfuse3
    import trio

    from warpdrive_agent.fastloop import ask_first

    try:
        pyfuse3.init(fs, config.mount_point, _options(config))
    except RuntimeError as error:
        raise WarpdriveError(
            f"{config.mount_point} cannot be mounted: {error}: see the line above, "
            "or ask `warpdrive doctor`."
        ) from None
    server = None
    try:
        server = StatusServer(agent)
        ask_first()
        trio.run(_loop, config.mount_point, ready)
    finally:
        unmount(config.mount_point)
        pyfuse3.close(unmount=mounted_at(config.mount_point) is not None)
        fs.finish()
        if server is not None:
            server.close()


async def _loop(mount_point: str, ready: Callable[[], None]) -> None:
    import pyfuse3
    import trio

    def usable() -> None:
        os.stat(mount_point)
        if (advice := tune(mount_point)) is not None:
            log.info(advice)
        ready()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_until_signal, nursery.cancel_scope)
        nursery.start_soon(trio.to_thread.run_sync, usable)
        await pyfuse3.main()
        nursery.cancel_scope.cancel()


async def _until_signal(scope: Any) -> None:
    """A first signal ends the loop when running requests are answered, a second one at once."""
    import pyfuse3
    import trio

    ends = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # a closed terminal, unless under nohup
        ends.append(signal.SIGHUP)
    with trio.open_signal_receiver(*ends) as signals:
        async for number in signals:
            log.info("%s: unmounting", signal.Signals(number).name)
            pyfuse3.terminate()
            scope.deadline = trio.current_time() + DRAIN_SECONDS


def _options(config: Config) -> set[str]:
    options = {"default_permissions", "nodev", "nosuid", "ro", "subtype=warpdrive",
               "fsname=warpdrive"}  # fmt: skip
    if config.fuse_debug:
        options.add("debug")
    if config.allow_other:
        if may_allow_other():
            options.add("allow_other")
        else:
            log.warning(
                "allow_other: not permitted to this user, the mount is for it alone: "
                "an administrator can write user_allow_other into /etc/fuse.conf"
            )
    return options


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _in_background(config: Config, ready: Callable[[], None]) -> None:
    """Fork; the parent returns when the child says that the mount is usable."""
    told, tell = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(told)
        _child(config, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        answer = pipe.read()
    if answer != b"ready":
        os.waitpid(child, 0)
        reason = answer.decode(errors="replace") or "the background process died at start."
        raise WarpdriveError(reason)
    ready()


def _child(config: Config, tell: int) -> None:
    """The background process: it never returns."""
    status = 1
    try:
        os.setsid()
        file = pid_file(config)

        def usable() -> None:
            private_folder(file.parent)
            file.write_text(f"{os.getpid()}\n")
            _detach_streams()
            os.write(tell, b"ready")
            os.close(tell)

        _serve(config, usable)
        file.unlink(missing_ok=True)
        status = 0
    except WarpdriveError as error:
        os.write(tell, str(error).encode())
    except BaseException as error:
        log.exception("the background process failed")
        os.write(tell, f"the background process failed: {type(error).__name__}: {error}".encode())
    finally:
        os._exit(status)


def _detach_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    os.close(null)
