"""The one module that speaks Delta.

Writes are validated against the declared table, checked and committed on one handle, and
retried only after reading back whether they landed: a failed commit may be a committed one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import (
    CommitProperties,
    DeltaTable,
    Transaction,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from lake.deltalog import (
    Handle,
    Where,
    add_action,
    delta_schema,
    lacking,
    parts_of,
    properties,
    remove_action,
    sql,
    widened,
)
from lake.parts import Part, validated
from lake.schemas import LEDGER, TABLES, Table
from storage.errors import LakeError
from storage.objectstore import first_line
from storage.options import delta_options

TRIES = 12
LOST_TRIES = 4
CHECKPOINT_EVERY = "20"
REFRESH = "refresh"
KEPT_HANDLES = 64
App = tuple[str, int]
Identity = tuple[str, int, int]
_opened: dict[Identity, DeltaTable] = {}


class SupersededError(LakeError):
    """A refresh that started later was faster."""


class Lake:
    """The tables under one root. Holds no state but the place.

    With `versions` it reads the tables as they were then, those not named as empty; it writes as
    ever.
    """

    def __init__(self, root: str, versions: Mapping[str, int] | None = None) -> None:
        self.root = root
        self._versions = versions

    @property
    def _options(self) -> dict[str, str]:
        """Anew for each handle: credentials that a cloud handed out end."""
        return delta_options(self.root)

    def uri(self, table: Table) -> str:
        """Where a table lives."""
        return f"{self.root.rstrip('/')}/{table.name}"

    def open(self, table: Table) -> DeltaTable | None:
        """A handle at the latest version, or None where the table does not exist yet."""
        if "://" not in self.root and not (Path(self.uri(table)) / "_delta_log").is_dir():
            return None
        try:
            return Handle(self.uri(table), storage_options=self._options)
        except TableNotFoundError:
            return None
        except Exception as error:
            raise LakeError(
                f"table {table.name} at {self.uri(table)} cannot be opened: {first_line(error)}."
            ) from error

    def version(self, table: Table) -> int:
        """The latest version, -1 where the table does not exist yet."""
        handle = self.open(table)
        return -1 if handle is None else handle.version()

    def versions(self) -> dict[str, int]:
        """The latest version of every table that exists.

        The ledger first: events that came after it do not count (`lake.counted`).
        """
        first = {LEDGER.name: LEDGER} | TABLES
        found = {name: self.version(table) for name, table in first.items()}
        return {name: version for name, version in found.items() if version >= 0}

    def scan(self, table: Table, version: int | None = None) -> pl.LazyFrame:
        """All rows, of a version or the latest; an empty frame where there is no table."""
        if version is None and self._versions is not None:
            version = self._versions.get(table.name, -1)
        handle = self.open(table) if version is None else self._opened(table, version)
        if handle is None:
            return pl.LazyFrame(schema=table.schema)
        later = lacking(handle, table)
        return pl.scan_delta(handle).select(
            pl.lit(None, dtype).alias(name) if name in later else pl.col(name)
            for name, dtype in table.schema.items()
        )

    def identity(self, table: Table, version: int) -> Identity:
        """What tells a version of a table from any other, also of a lake made anew in its place."""
        log = Path(self.uri(table)) / "_delta_log" / f"{version:020d}.json"
        try:
            made = 0 if "://" in self.root else log.stat().st_mtime_ns
        except OSError:  # let go by a checkpoint
            made = 0
        return self.uri(table), version, made

    def _opened(self, table: Table, version: int) -> DeltaTable | None:
        """A handle at a version; kept, since a version never changes."""
        if version < 0:
            return None
        key = self.identity(table, version)
        if key not in _opened:
            handle = self.open(table)
            if handle is None:
                return None
            if handle.version() != version:
                self._go_back(handle, table, version)
            _opened[key] = handle
            while len(_opened) > KEPT_HANDLES:
                _opened.pop(next(iter(_opened)), None)
            return handle
        return _opened[key]

    def _go_back(self, handle: DeltaTable, table: Table, version: int) -> None:
        try:
            handle.load_as_version(version)
        except Exception as error:
            raise LakeError(
                f"table {table.name} at {self.uri(table)}: version {version}, which the published "
                f"results are of, is gone ({first_line(error)}): run `warpdrive refresh`."
            ) from error

    def at(self, versions: Mapping[str, int]) -> Lake:
        """The same lake as it was at these versions of its tables."""
        return Lake(self.root, versions)

    def app_version(self, table: Table, app: str) -> int:
        """The version last committed under an application id, -1 if none."""
        handle = self.open(table)
        found = None if handle is None else handle.transaction_version(app)
        return -1 if found is None else found

    def app_versions(self, table: Table, apps: Sequence[str]) -> dict[str, int]:
        """The version last committed under each application id, -1 if none."""
        handle = self.open(table)
        found = {app: None if handle is None else handle.transaction_version(app) for app in apps}
        return {app: -1 if version is None else version for app, version in found.items()}

    def parts(self, table: Table, version: int | None = None) -> list[Part]:
        """The files of a table, with the bounds of their columns."""
        if version is None and self._versions is not None:
            version = self._versions.get(table.name, -1)
        handle = self.open(table) if version is None else self._opened(table, version)
        if handle is None:
            return []
        return parts_of(self.uri(table), table, handle)

    def commit(
        self, table: Table, add: Sequence[Part], remove: Sequence[Part] = (),
        apps: Sequence[App] = (), notes: Sequence[App] = (),
        replacing: Mapping[str, str] | None = None,
    ) -> bool:  # fmt: skip
        """Add files that were written already and remove others, in one commit.

        `replacing` removes every file of a partition, those of a compaction meanwhile included.

        At most once: False if every version of `apps` was there before. `notes` are versions that
        are kept with the table and decide nothing.
        """
        fixed = [*(add_action(part) for part in add), *(remove_action(part) for part in remove)]

        def once(handle: DeltaTable) -> None:
            old = parts_of(self.uri(table), table, handle) if replacing else []
            actions = [remove_action(part) for part in old if part.partition == replacing]
            _transact(handle, table, [*fixed, *actions], (*apps, *notes))

        self.create(table)
        return self._retry(table, apps, once)

    def setting(self, table: Table, name: str) -> str | None:
        """What was kept with a table when it was created."""
        handle = self.open(table)
        return None if handle is None else handle.metadata().configuration.get(name)

    def append(self, table: Table, frame: pl.DataFrame, app: App | None = None) -> bool:
        """Add rows; with `app` at most once. False if that version was already there."""
        return self._write(table, frame, app, mode="append")

    def replace(
        self, table: Table, frame: pl.DataFrame, where: Where | None = None, app: App | None = None
    ) -> bool:
        """Replace the rows that match `where` (all, without it) in one commit."""
        # Without a predicate an overwrite keeps rows that were appended beside it.
        predicate = sql(where) if where else "true"
        return self._write(table, frame, app, mode="overwrite", predicate=predicate)

    def replace_result(self, table: Table, frame: pl.DataFrame, ticket: int) -> int:
        """Replace all rows by those of the refresh with that ticket; the version they have.

        Raises SupersededError where a refresh with a later ticket has written the table.
        """
        self.replace(table, frame, app=(REFRESH, ticket))
        return self._written(table, ticket)

    def replace_parts(self, table: Table, parts: Sequence[Part], ticket: int) -> int:
        """Replace all files by those that were written already; else as `replace_result`."""
        app = (REFRESH, ticket)

        def once(handle: DeltaTable) -> None:
            old = [remove_action(part) for part in parts_of(self.uri(table), table, handle)]
            _transact(handle, table, [*map(add_action, parts), *old], [app])

        self.create(table)
        self._retry(table, [app], once)
        return self._written(table, ticket)

    def _written(self, table: Table, ticket: int) -> int:
        handle = self.open(table)
        if handle is None or handle.transaction_version(REFRESH) != ticket:
            raise SupersededError(
                f"table {table.name}: a refresh that started later has written it."
            )
        return handle.version()

    def delete(self, table: Table, where: Where) -> None:
        """Remove the rows that match `where`."""

        def once(handle: DeltaTable) -> None:
            handle.delete(sql(where), writer_properties=properties(table))

        if self.open(table) is not None:
            self._retry(table, (), once)

    def compact(self, table: Table) -> int:
        """Bring small files together; how many files fewer. Tables that are ordered stay."""
        handle = self.open(table)
        if handle is None or table.ordered:
            return 0
        done = handle.optimize.compact(writer_properties=properties(table))
        return int(done["numFilesRemoved"]) - int(done["numFilesAdded"])

    def checkpoint(self, table: Table) -> bool:
        """Write the state of the log as one file; False where there is no table."""
        handle = self.open(table)
        if handle is None:
            return False
        handle.create_checkpoint()
        return True

    def vacuum(self, table: Table, keep_hours: int, keep_versions: Sequence[int] = ()) -> int:
        """Delete files that no version of the last `keep_hours` needs; how many.

        Files of `keep_versions` stay, however old those are. Files of no version at all, as a
        killed worker leaves them, go once they are `keep_hours` old.
        """
        handle = self.open(table)
        if handle is None:
            return 0
        return len(
            handle.vacuum(
                retention_hours=keep_hours,
                dry_run=False,
                enforce_retention_duration=False,
                full=True,
                keep_versions=list(keep_versions) or None,
            )
        )

    def create(self, table: Table, more: Mapping[str, str] | None = None) -> None:
        """Make an empty table where there is none; `more` is kept with it.

        One that was made before a column was declared gets that column, empty in its rows.
        """
        for attempt in range(LOST_TRIES):
            handle = self.open(table)
            if handle is not None:
                self._evolve(handle, table)
                return
            try:
                self._create(table, more or {})
            except OSError as error:  # the connection broke: it may be there
                if attempt == LOST_TRIES - 1:
                    raise LakeError(
                        f"table {table.name} at {self.uri(table)} cannot be made: "
                        f"{first_line(error)}."
                    ) from error

    def _create(self, table: Table, more: Mapping[str, str]) -> None:
        DeltaTable.create(
            self.uri(table),
            schema=delta_schema(table),
            mode="ignore",
            partition_by=list(table.partition_by) or None,
            configuration={"delta.checkpointInterval": CHECKPOINT_EVERY, **more},
            raise_if_key_not_exists=False,
            description=table.doc,
            storage_options=self._options,
        )

    def _evolve(self, handle: DeltaTable, table: Table) -> None:
        """Add the columns that the table does not have yet, in one commit."""
        for attempt in range(TRIES):
            later = lacking(handle, table)
            if not later:
                return
            try:
                handle.alter.add_columns([
                    each for each in delta_schema(table).fields if each.name in later
                ])  # fmt: skip
            except (DeltaError, OSError) as error:  # another one may have added them
                if attempt == TRIES - 1:
                    raise LakeError(
                        f"table {table.name} at {self.uri(table)}: columns "
                        f"{', '.join(sorted(later))} cannot be added: {first_line(error)}."
                    ) from error
                time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 6)))
            handle.update_incremental()

    def _write(self, table: Table, frame: pl.DataFrame, app: App | None, **how: Any) -> bool:
        rows = validated(table, frame)
        commit = CommitProperties(app_transactions=[Transaction(*app)]) if app else None

        def once(handle: DeltaTable) -> None:
            write_deltalake(
                handle,
                widened(rows, handle),
                writer_properties=properties(table),
                commit_properties=commit,
                **how,
            )

        self.create(table)
        return self._retry(table, [app] if app else (), once)

    def _retry(self, table: Table, apps: Sequence[App], once: Any) -> bool:
        for attempt in range(TRIES):
            handle = self.open(table)
            if handle is None:
                raise LakeError(f"table {table.name} at {self.uri(table)} has gone.")
            if apps and all(_done(handle, *app) for app in apps):
                return attempt > 0
            try:
                once(handle)
            except (CommitFailedError, OSError) as error:
                # A broken connection may have committed: only an application transaction tells.
                tries = TRIES if isinstance(error, CommitFailedError) else LOST_TRIES
                if attempt >= tries - 1 or (tries == LOST_TRIES and not apps):
                    raise LakeError(
                        f"table {table.name} at {self.uri(table)}: not written after "
                        f"{attempt + 1} tries: {first_line(error)}."
                    ) from error
                time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 6)))
            else:
                return True
        raise AssertionError(table.name)


def _done(handle: DeltaTable, app: str, version: int) -> bool:
    found = handle.transaction_version(app)
    return found is not None and found >= version


def _transact(
    handle: DeltaTable, table: Table, actions: list[AddAction | RemoveAction], apps: Sequence[App]
) -> None:
    handle.create_write_transaction(
        actions,
        mode="append",
        schema=handle.schema(),
        partition_by=list(table.partition_by),
        commit_properties=CommitProperties(app_transactions=[Transaction(*app) for app in apps]),
    )
