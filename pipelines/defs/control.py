"""What people decide: tables that no pipeline writes, shown as the sources that reports have."""

import dagster as dg

from lake.schemas import MARKS, OWNERSHIP_RULES, QUOTAS, TEAMS, USER_ALIASES
from pipelines.defs.specs import spec

GROUP = "control"
_BY_TWO = "Changed by the command line and the REST API; each change is a row."
_BY = "Changed by the command line, the REST API and the dashboard; each change is a row."

teams = spec(TEAMS, GROUP, f"Who is in which team, and since when. {_BY}")
quotas = spec(QUOTAS, GROUP, f"How much each team may store. {_BY}")
ownership_rules = spec(OWNERSHIP_RULES, GROUP, f"Prefixes that belong to a team. {_BY}")
user_aliases = spec(USER_ALIASES, GROUP, f"Names that are one person. {_BY_TWO}")
marks = spec(MARKS, GROUP, f"Files that may go, with the reason. Nothing is deleted. {_BY}")
landing = dg.AssetSpec(
    "landing",
    group_name="telemetry",
    kinds={"jsonlines"},
    description="Where agents put what they recorded: compressed JSON lines, an object a batch, by "
    "UTC hour. The sensor landed_objects looks here.",
)
