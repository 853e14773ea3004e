"""Tables that nothing has written yet, as empty tables in SQL: `lake.schemas` without polars."""

from __future__ import annotations

_INSTANT = "arrow_cast(null, 'Timestamp(Microsecond, Some(\"UTC\"))')"
_OF = {"t": "''", "n": "0", "d": "cast(null as date)", "i": _INSTANT, "l": "make_array('')"}
_COUNTS = "read_count:n write_count:n bytes_read:n bytes_written:n"
_FILE = (
    "backend:t path:t file_id:n size_bytes:n modified_at:i native_access_at:i owner:t "
    "first_seen_at:i"
)
COLUMNS = {
    "access_daily": "landing_day:t backend:t path:t file_id:n user:t day:d "
    f"{_COUNTS} first_write_at:i last_access_at:i",
    "activity": f"landing_day:t backend:t prefix:t user:t {_COUNTS} last_access_at:i",
    "agents": "hour:t node:t heartbeats:n backends:l",
    "events": "hour:t ts:i day:d user:t backend:t path:t file_id:n op:t count:n bytes_read:n "
    "bytes_written:n error:t batch:n",
    "file_changes": f"{_FILE} listing:n snapshot_at:i change:t previous_bytes:n",
    "file_reader": "file_id:n reader:t since_at:i",
    "file_state": "landing_day:t file_id:n last_access_at:i first_write_at:i first_writer:t",
    "file_user": "landing_day:t file_id:n user:t source_day:t day:d bytes_read:n",
    "files": f"{_FILE} last_seen_at:i",
    "ledger": "object:t node:t boot:t hour:t state:t batch:n first_seq:n last_seq:n ingested_at:i",
    "listings": "backend:t listing:n snapshot_at:i state:t files:n bytes:n added_bytes:n "
    "removed_bytes:n written_at:i",
}
"""What is read of each, and its type: text, number, day, instant or list of texts."""


def unmade(table: str) -> str:
    """A query for no rows of one of these tables."""
    columns = (column.split(":") for column in COLUMNS[table].split())
    told = ", ".join(f'{_OF[kind]} as "{name}"' for name, kind in columns)
    return f"select {told} where false"
