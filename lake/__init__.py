"""Tables, the one Delta speaker, metrics and what readers ask.

In a notebook: `import lake; lake.open("warpdrive.yaml").usage(by="team").collect()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lake import allocator

if TYPE_CHECKING:
    from lake.notebook import OpenLake

allocator.configure()  # before any module of this package loads the engine


def open(config: str | None = None, as_of: str | None = None) -> OpenLake:  # noqa: A001
    """Open the lake of a config file (default: as the commands find it), as of an instant.

    Raises ConfigError where there is no config, UsageError for an instant that is none.
    """
    # Imported here: the commands import this package and must not pay for polars.
    from lake.notebook import OpenLake

    return OpenLake(config, as_of)
