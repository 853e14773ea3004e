"""Every table of the lake, declared once: columns, types, units, meaning.

The Delta schema, the check on every write and docs/tables.md derive from here. Instants are UTC
microseconds (`*_at`), dates are UTC days, integers are Int64, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

TEXT: Final = pl.String()
INT: Final = pl.Int64()
FLOAT: Final = pl.Float64()
FLAG: Final = pl.Boolean()
DAY: Final = pl.Date()
AT: Final = pl.Datetime("us", "UTC")
TEXTS: Final = pl.List(pl.String())


@dataclass(frozen=True)
class Column:
    """One column: what it holds in a sentence, and whether it may be null."""

    name: str
    dtype: pl.DataType
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One Delta table at `<lake.root>/<name>`."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...] = ()
    path_sorted: bool = False
    ordered: bool = False
    """Files are sorted and do not overlap, which readers rely on: never bring them together."""
    zstd_level: int = 3

    @cached_property
    def schema(self) -> pl.Schema:
        """The Polars schema, columns in declared order. Callers leave it as it is."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that are never null."""
        return tuple(column.name for column in self.columns if not column.nullable)


def _c(name: str, dtype: pl.DataType, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, dtype, doc, nullable)


_BACKEND = _c("backend", TEXT, "name of the backend in the config")
_PATH = _c("path", TEXT, "relative to the backend; bytes that are not UTF-8 as \\xNN")
_FILE_ID = _c("file_id", INT, "signed xxhash64 of backend, NUL, path")
_HOUR = _c("hour", TEXT, "landing hour, YYYY-MM-DDTHH UTC, or skewed")
_OBJECT = _c("object", TEXT, "name of the landed object")
_BATCH = _c("batch", INT, "number of the ingest that wrote the row")

EVENTS = Table(
    "events",
    "one accepted event",
    (
        _HOUR,
        _OBJECT,
        _c("line", INT, "line number in the object, from 1"),
        _BATCH,
        _c("ts", AT, "last operation folded into the event"),
        _c("day", DAY, "UTC day of ts"),
        _c("user", TEXT, "name, uid:<n>, unknown, or empty where the sender did not say"),
        _BACKEND,
        _PATH,
        _FILE_ID,
        _c("op", TEXT, "read, write, stat, list or agent"),
        _c("bytes_read", INT, "bytes delivered by the agent"),
        _c("bytes_written", INT, "bytes written"),
        _c("count", INT, "operations folded into the event"),
        _c("weight", FLOAT, "1 / sampling rate"),
        _c("cache_hit", FLAG, "no byte was fetched from the backend"),
        _c("node", TEXT, "host name of the agent"),
        _c("latency_ms", FLOAT, "mean per operation"),
        _c("error", TEXT, "errno name of a failed operation, else empty"),
        _c("ts_open", AT, "when the handle was opened", nullable=True),
        _c("uid", INT, "numeric user id", nullable=True),
        _c("job", TEXT, "Slurm job id"),
        _c("pod", TEXT, "Kubernetes pod"),
        _c("seq", INT, "sequence number within node and boot", nullable=True),
        _c("boot", TEXT, "id of the recorder's start"),
        _c("bytes_hit", INT, "bytes served from the cache"),
        _c("bytes_miss", INT, "bytes fetched from the backend"),
        _c("kernel_cached", FLAG, "the kernel's page cache served it"),
        _c("size", INT, "size of the file in bytes when opened", nullable=True),
        _c("backends", TEXTS, "op agent: the backends mounted", nullable=True),
        _c("drops", INT, "op agent: events lost since the recorder started", nullable=True),
    ),
    partition_by=("hour",),
)

QUARANTINE = Table(
    "quarantine",
    "one refused line",
    (
        _HOUR,
        _OBJECT,
        _c("line", INT, "line number in the object, from 1; 0 for the whole object"),
        _BATCH,
        _c("reason", TEXT, "what is wrong with it"),
        _c("text", TEXT, "the line, cut at 64 KiB, undecodable bytes escaped"),
    ),
    partition_by=("hour",),
)

LEDGER = Table(
    "ledger",
    "one landed object; the latest batch of an object wins",
    (
        _OBJECT,
        _HOUR,
        _BATCH,
        _c("state", TEXT, "ingested, or duplicate of another object"),
        _c("duplicate_of", TEXT, "the object that counts instead, else empty"),
        _c("node", TEXT, "the sender named by the object"),
        _c("boot", TEXT, "id of the recorder's start, else empty"),
        _c("first_seq", INT, "first sequence number, or start offset of an import", nullable=True),
        _c("last_seq", INT, "last sequence number, or end offset of an import", nullable=True),
        _c("lines", INT, "lines that are not blank"),
        _c("events", INT, "lines accepted"),
        _c("quarantined", INT, "lines refused"),
        _c("bytes_read", INT, "sum of bytes_read over the accepted events"),
        _c("size_bytes", INT, "size of the object as stored"),
        _c("sha256", TEXT, "of the uncompressed bytes; of an import's whole prefix"),
        _c("landed_at", AT, "when the object was written"),
        _c("ingested_at", AT, "when it was ingested"),
        _c("last_event_at", AT, "latest ts in it", nullable=True),
        _c("etag", TEXT, "etag of the object as the store told it", nullable=True),
    ),
)

ACCESS_DAILY = Table(
    "access_daily",
    "accesses per file, user and UTC day, per landing day",
    (
        _c("landing_day", TEXT, "day of the landing hours that were folded, or skewed"),
        _BACKEND,
        _PATH,
        _FILE_ID,
        _c("user", TEXT, "who"),
        _c("day", DAY, "UTC day of the events"),
        _c("read_count", INT, "reads that did not fail"),
        _c("write_count", INT, "writes that did not fail"),
        _c("stat_count", FLOAT, "stats, weighted by sampling"),
        _c("list_count", FLOAT, "lists, weighted by sampling"),
        _c("bytes_read", INT, "bytes of the reads"),
        _c("bytes_written", INT, "bytes of the writes"),
        _c("bytes_hit", INT, "bytes served from the cache"),
        _c("first_write_at", AT, "earliest write of the day", nullable=True),
        _c("last_access_at", AT, "latest read or write of the day", nullable=True),
    ),
    partition_by=("landing_day",),
    path_sorted=True,
)

_BUCKET = _c("bucket", INT, "range of file_id the row belongs to; -1: a day that is not folded")
_FOLDED = _c("landing_day", TEXT, "day of the landing hours the row is of; base: folded days")

FILE_STATE = Table(
    "file_state",
    "last access and first write per file; a file may have a row per landing day not folded yet",
    (
        _BUCKET,
        _FOLDED,
        _FILE_ID,
        _c("last_access_at", AT, "latest read or write that did not fail"),
        _c("first_write_at", AT, "earliest write by a named user", nullable=True),
        _c("first_writer", TEXT, "who wrote then; of equal instants the first name", nullable=True),
    ),
    partition_by=("bucket", "landing_day"),
)

FILE_USER = Table(
    "file_user",
    "who touched a file, per day while the day counts for ownership, then once",
    (
        _BUCKET,
        _FOLDED,
        _FILE_ID,
        _c("user", TEXT, "who"),
        _c("source_day", TEXT, "landing day the row came from; empty once days are joined"),
        _c("day", DAY, "UTC day of the accesses; null once days are joined", nullable=True),
        _c("bytes_read", INT, "bytes the user read that day; 0 once days are joined"),
        _c("last_access_at", AT, "latest read or write that did not fail"),
    ),
    partition_by=("bucket", "landing_day"),
)

_LANDED = _c("landing_day", TEXT, "day of the landing hours that were folded, or skewed")
_SUMS = (
    _c("read_count", INT, "reads that did not fail"),
    _c("write_count", INT, "writes that did not fail"),
    _c("bytes_read", INT, "bytes of the reads"),
    _c("bytes_written", INT, "bytes of the writes"),
)

ACTIVITY = Table(
    "activity",
    "what users did per backend and first path segment, per landing day",
    (
        _LANDED,
        _BACKEND,
        _c("prefix", TEXT, "first segment of the path"),
        _c("user", TEXT, "who"),
        *_SUMS,
        _c("last_access_at", AT, "latest read or write"),
    ),
    partition_by=("landing_day",),
)

USER_DAILY = Table(
    "user_daily",
    "what users did per UTC day and backend, per landing day; sorted by user",
    (
        _LANDED,
        _c("user", TEXT, "who"),
        _c("day", DAY, "UTC day of the accesses"),
        _BACKEND,
        *_SUMS,
        _c("files", INT, "files touched, of what landed that day"),
    ),
    partition_by=("landing_day",),
)

USER_FILES = Table(
    "user_files",
    "the first 500 files of each user, newest day first, then by path, per landing day",
    (
        _LANDED,
        _c("user", TEXT, "who"),
        _c("day", DAY, "UTC day of the accesses"),
        _BACKEND,
        _PATH,
        *_SUMS,
        _c("last_access_at", AT, "latest read or write of the day"),
    ),
    partition_by=("landing_day",),
)

USER_JOBS = Table(
    "user_jobs",
    "what Slurm jobs and Kubernetes pods did per user and UTC day, per landing day; sorted by user",
    (
        _LANDED,
        _c("user", TEXT, "who"),
        _c("job", TEXT, "Slurm job id, else the pod"),
        _c("day", DAY, "UTC day of the accesses"),
        _c("nodes", TEXTS, "host names of the agents that saw it"),
        _c("first_at", AT, "earliest read or write of the day"),
        _c("last_at", AT, "latest read or write of the day"),
        _c("files", INT, "files touched, of what landed that day"),
        _c("accesses", INT, "reads and writes that did not fail"),
        _c("bytes_read", INT, "bytes of the reads"),
        _c("bytes_written", INT, "bytes of the writes"),
    ),
    partition_by=("landing_day",),
)

FILE_READER = Table(
    "file_reader",
    "who owns a file by reading it, since when; the latest row of a file is in force",
    (
        _FILE_ID,
        _c("reader", TEXT, "who read most of its bytes when it was decided"),
        _c("since_at", AT, "as-of of the refresh that decided it"),
    ),
)

AGENTS = Table(
    "agents",
    "node x UTC hour: is the agent alive, what does it mount, what did it lose",
    (
        _c("landing_day", TEXT, "day of the landing hours that were folded, or skewed"),
        _c("hour", TEXT, "YYYY-MM-DDTHH UTC of the heartbeats"),
        _c("node", TEXT, "host name of the agent"),
        _c("boot", TEXT, "id of the recorder's start"),
        _c("heartbeats", INT, "heartbeats of that hour; 60 when unbroken"),
        _c("last_seq", INT, "last sequence number seen", nullable=True),
        _c("drops", INT, "events lost since the recorder started"),
        _c("backends", TEXTS, "backends mounted"),
    ),
    partition_by=("landing_day",),
)

LISTINGS = Table(
    "listings",
    "one crawl of one backend; the latest row of a number wins",
    (
        _BACKEND,
        _c("listing", INT, "number within the backend, from 1"),
        _c("source", TEXT, "list or inventory"),
        _c("report", TEXT, "name of the inventory report, else empty"),
        _c("snapshot_at", AT, "the instant the listing describes"),
        _c("state", TEXT, "writing, complete, partial, held, failed or late (growth only)"),
        _c("files", INT, "files of the backend after the listing"),
        _c("bytes", INT, "bytes of the backend after the listing"),
        _c("added", INT, "files that were not there before"),
        _c("removed", INT, "files that are gone"),
        _c("added_bytes", INT, "bytes of added files and growth of others"),
        _c("removed_bytes", INT, "bytes of removed files and shrinkage of others"),
        _c("seconds", FLOAT, "how long it took"),
        _c("error", TEXT, "why it failed or is partial, else empty"),
        _c("written_at", AT, "when the row was written"),
    ),
)

_FILE_COLUMNS = (
    _BACKEND,
    _PATH,
    _FILE_ID,
    _c("size_bytes", INT, "size; 0 for a further hard link of the same file"),
    _c("etag", TEXT, "etag of the store; mtime in ns and inode on POSIX", nullable=True),
    _c("modified_at", AT, "last modification", nullable=True),
    _c("native_access_at", AT, "last access as the storage itself knows it", nullable=True),
    _c("owner", TEXT, "owner named by the storage (POSIX user, tag)", nullable=True),
    _c("tier", TEXT, "storage class", nullable=True),
    _c("link_of", TEXT, "path that holds the bytes of this hard link", nullable=True),
    _c("uid", INT, "POSIX owner", nullable=True),
    _c("gid", INT, "POSIX group", nullable=True),
    _c("mode", INT, "POSIX permission bits", nullable=True),
    _c("inode", INT, "POSIX inode number", nullable=True),
    _c("links", INT, "POSIX hard links of the file, those outside the backend too", nullable=True),
    _c("allocated_bytes", INT, "room on disk; 0 for a further hard link", nullable=True),
)

FILES = Table(
    "files",
    "the current index, one row per object",
    (
        *_FILE_COLUMNS,
        _c("first_seen_at", AT, "snapshot of the first listing that had it"),
        _c("last_seen_at", AT, "snapshot of the latest listing that had it"),
    ),
    partition_by=("backend",),
    path_sorted=True,
)

FILE_CHANGES = Table(
    "file_changes",
    "what each listing added, removed or changed",
    (
        *_FILE_COLUMNS,
        _c("listing", INT, "number of the listing within the backend"),
        _c("snapshot_at", AT, "the instant the listing describes"),
        _c("change", TEXT, "added, removed or changed (size or etag)"),
        _c("previous_bytes", INT, "size before; 0 when added"),
        _c("first_seen_at", AT, "snapshot of the first listing that had it"),
        _c(
            "renamed_from",
            TEXT,
            "added: path of the one file that went with the same etag and "
            "size; the two stay two files",
            nullable=True,
        ),
    ),
    partition_by=("backend",),
    path_sorted=True,
)

STALE_INDEX = Table(
    "stale_index",
    "every live file with its owner and last access, largest first",
    (
        _BACKEND,
        _PATH,
        _FILE_ID,
        _c("size_bytes", INT, "size"),
        _c("last_modified_at", AT, "last modification", nullable=True),
        _c("last_access_at", AT, "latest of telemetry, storage and modification"),
        _c("evidence", TEXT, "what won: telemetry, storage, modified, first_seen; + skewed"),
        _c("owner", TEXT, "user, team:<name> or unassigned"),
        _c("owner_source", TEXT, "rule, storage, writer, reader or none"),
        _c("team", TEXT, "team of the owner, or unassigned"),
    ),
    ordered=True,
    # Paths in order of size hardly get smaller at level 3, and take twice as long.
    zstd_level=1,
)


STALE_ROLLUP = Table(
    "stale_rollup",
    "live files by age and size, so that totals of any window need no look at the files",
    (
        _BACKEND,
        _c("owner", TEXT, "user, team:<name> or unassigned"),
        _c("team", TEXT, "team of the owner, or unassigned"),
        _c("age_days", INT, "largest of 0, 1, 7, 14, 30, 60, 90, 120, 180, 270, 365, 545, 730, 1095"
           " such that the last access was more than so many days before as-of; -1: none"),
        _c("size_class", INT, "floor of log2 of the size in bytes; -1 for empty files"),
        _c("files", INT, "files"),
        _c("bytes", INT, "bytes"),
    ),
)  # fmt: skip

USAGE = Table(
    "usage",
    "per group and backend: what is stored and what is done",
    (
        _c("group_by", TEXT, "user, team, backend or prefix (depth 1)"),
        _c("attribution", TEXT, "owner or access"),
        _c("group", TEXT, "the group"),
        _BACKEND,
        _c("files", INT, "stored files by attribution"),
        _c("bytes", INT, "stored bytes by attribution"),
        _c("last_access_at", AT, "owner: by anyone on the owned files; access: by the group",
           nullable=True),
        _c("read_count", INT, "reads by the group"),
        _c("write_count", INT, "writes by the group"),
        _c("bytes_read", INT, "bytes read by the group"),
        _c("bytes_written", INT, "bytes written by the group"),
        _c("touched_bytes", INT, "bytes of the distinct live files the group accessed"),
    ),
)  # fmt: skip

GROWTH = Table(
    "growth",
    "files and bytes at the end of each UTC day that has a listing",
    (
        _c("by", TEXT, "backend, or team within the backend"),
        _BACKEND,
        _c("team", TEXT, "team of the owner as at as-of; empty for by = backend"),
        _c("day", DAY, "UTC day"),
        _c("files", INT, "files at the end of the day"),
        _c("bytes", INT, "bytes at the end of the day"),
        _c("added_bytes", INT, "bytes that came that day"),
        _c("removed_bytes", INT, "bytes that went that day"),
    ),
)

QUOTA_STATUS = Table(
    "quota_status",
    "each quota with what its team owns",
    (
        _c("quota_id", INT, "number given when the quota was first set"),
        _c("team", TEXT, "team"),
        _c("backend", TEXT, "backend, or empty for all together"),
        _c("soft_bytes", INT, "soft limit; 0 = none"),
        _c("hard_bytes", INT, "hard limit; 0 = none"),
        _c("usage_bytes", INT, "bytes the team owns there"),
        _c("status", TEXT, "OK, WARNING (soft) or EXCEEDED (hard, or soft past its grace)"),
        _c("soft_since_at", AT, "since when the soft limit is crossed", nullable=True),
        _c("grace_until_at", AT, "when the grace of the soft limit ends", nullable=True),
    ),
)

QUOTA_EVENTS = Table(
    "quota_events",
    "one crossing of a limit",
    (
        _c("at", AT, "as-of of the refresh that saw it"),
        _c("team", TEXT, "team"),
        _c("backend", TEXT, "backend, or empty for all together"),
        _c("before", TEXT, "status before"),
        _c("after", TEXT, "status after"),
        _c("usage_bytes", INT, "bytes the team owns"),
        _c("limit_bytes", INT, "the limit that was crossed"),
    ),
)

BACKENDS = Table(
    "backends",
    "each backend of the config and of the lake",
    (
        _c("name", TEXT, "backend"),
        _c("type", TEXT, "type in the config; empty if it is not there any more"),
        _c("files", INT, "files"),
        _c("bytes", INT, "bytes"),
        _c("state", TEXT, "state of the latest listing, or never crawled"),
        _c("crawled_at", AT, "snapshot of the latest listing that counts", nullable=True),
        _c("coverage", FLOAT, "share of node-hours of 90 days with telemetry", nullable=True),
        _c("verified_at", AT, "when the index was last audited against the store", nullable=True),
        _c("checked", INT, "rows and objects that were compared then", nullable=True),
        _c("agree", INT, "those that agreed", nullable=True),
        _c("agreement_low", FLOAT, "lower bound of their share, 95 %", nullable=True),
        _c("agreement_high", FLOAT, "upper bound of their share, 95 %", nullable=True),
    ),
)

VERIFICATIONS = Table(
    "verifications",
    "one audit of an index against its store",
    (
        _BACKEND,
        _c("kind", TEXT, "verify (both ways), or report (rows of an inventory report, one way)"),
        _c("verified_at", AT, "when"),
        _c("seed", INT, "what the sample was drawn by"),
        _c("sample", INT, "rows asked for, each way"),
        _c("index_checked", INT, "rows of the index that the store was asked for"),
        _c("index_agree", INT, "those that the store has so"),
        _c("live_checked", INT, "live objects that were looked up in the index"),
        _c("live_agree", INT, "those that the index has so"),
        _c("unchecked", INT, "rows that could not be asked for, or changed after the report"),
        _c("checked", INT, "both ways together"),
        _c("agree", INT, "both ways together"),
        _c("agreement_low", FLOAT, "lower bound of agree / checked, 95 % (Wilson)"),
        _c("agreement_high", FLOAT, "upper bound of agree / checked, 95 % (Wilson)"),
        _c("lag_seconds", FLOAT, "age of the listing that was audited", nullable=True),
    ),
)

_CONTROL = (
    _c("at", AT, "when it was changed"),
    _c("who", TEXT, "who changed it"),
    _c("number", INT, "order of the changes in the table, from 1"),
    _c("action", TEXT, "set, add, remove or delete"),
)

TEAMS = Table(
    "teams",
    "who is in which team; the latest row of a (user, team) wins",
    (
        *_CONTROL,
        _c("user", TEXT, "user"),
        _c("team", TEXT, "team"),
        _c("since_at", AT, "valid from; null = from the beginning", nullable=True),
    ),
)

QUOTAS = Table(
    "quotas",
    "limits of teams; the latest row of a (team, backend) wins",
    (
        *_CONTROL,
        _c("quota_id", INT, "kept over changes"),
        _c("team", TEXT, "team"),
        _c("backend", TEXT, "backend, or empty for all together"),
        _c("soft_bytes", INT, "soft limit; 0 = none"),
        _c("hard_bytes", INT, "hard limit; 0 = none"),
        _c("grace_seconds", INT, "how long the soft limit may be crossed; 0 = no end"),
    ),
)

OWNERSHIP_RULES = Table(
    "ownership_rules",
    "prefixes that belong to a team; the latest row of a (backend, prefix) wins",
    (
        *_CONTROL,
        _BACKEND,
        _c("prefix", TEXT, "whole path segments, no / at either end; empty = all"),
        _c("team", TEXT, "team"),
    ),
)

USER_ALIASES = Table(
    "user_aliases",
    "names that are one person; the latest row of a name wins",
    (
        *_CONTROL,
        _c("name", TEXT, "a name, uid:<n> too, that is not the one that counts"),
        _c("canonical", TEXT, "the person's name that counts instead"),
        _c("since_at", AT, "valid from; null = from the beginning", nullable=True),
    ),
)

AUDIT_LOG = Table(
    "audit_log",
    "every change of a control table",
    (
        _c("at", AT, "when"),
        _c("who", TEXT, "who"),
        _c("action", TEXT, "what was done, e.g. quota set"),
        _c("object", TEXT, "to what"),
        _c("before", TEXT, "value before as JSON, or empty"),
        _c("after", TEXT, "value after as JSON, or empty"),
    ),
)

MARKS = Table(
    "marks",
    "files marked for deletion; the latest row of a (backend, path) wins; nothing is deleted here",
    (
        _c("at", AT, "when it was marked or unmarked"),
        _c("by", TEXT, "who did it"),
        _c("number", INT, "order of the rows in the table, from 1"),
        _c("state", TEXT, "marked or unmarked; readers see void once the file is another one"),
        _BACKEND,
        _PATH,
        _FILE_ID,
        _c("etag", TEXT, "etag of the file that was marked; modified:<instant> if it has none"),
        _c("size_bytes", INT, "size of the file that was marked"),
        _c("reason", TEXT, "why it may go"),
    ),
)

RUNS = Table(
    "runs",
    "one run that was asked for; the latest row of an id wins",
    (
        _c("run_id", TEXT, "random id"),
        _c("kind", TEXT, "crawl or verify"),
        _c("who", TEXT, "who asked"),
        _c("server", TEXT, "host and process that runs it"),
        _c("state", TEXT, "requested, running, ok, partial, error or interrupted"),
        _c("detail", TEXT, "what came of it, as JSON"),
        _c("requested_at", AT, "when it was asked for"),
        _c("ended_at", AT, "when it ended", nullable=True),
        _c("written_at", AT, "when the row was written"),
    ),
)

TABLES: Final = {
    table.name: table
    for table in (
        EVENTS, QUARANTINE, LEDGER, ACCESS_DAILY, FILE_STATE, FILE_USER, ACTIVITY, USER_DAILY,
        USER_FILES, USER_JOBS, FILE_READER, AGENTS, LISTINGS, FILES, FILE_CHANGES, STALE_INDEX,
        STALE_ROLLUP, USAGE, GROWTH, QUOTA_STATUS, QUOTA_EVENTS, BACKENDS, VERIFICATIONS, TEAMS,
        QUOTAS, OWNERSHIP_RULES, USER_ALIASES, MARKS, AUDIT_LOG,
    )
}  # fmt: skip
