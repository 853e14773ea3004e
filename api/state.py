"""What all routes share: one site for each tenant, the server's settings, its counters."""

from __future__ import annotations

from collections.abc import Mapping

from api.body import Room
from api.caller import Caller
from api.errors import ApiError
from api.metrics import Metrics
from api.site import Pools, Site
from storage.config import Config


class State:
    """One config under the name '', or one for each tenant."""

    def __init__(self, configs: Mapping[str, Config], *, crawls: bool = False) -> None:
        self._crawls = crawls
        self.configs = configs
        self.server = next(iter(configs.values())).server
        self.metrics = Metrics()
        self.room = Room()
        self.sites: dict[str, Site] = {}
        self._pools = Pools()

    def open(self) -> None:
        """Open every site; needs the running loop."""
        for name, config in self.configs.items():
            self.sites[name] = Site(config, self._pools, name, crawls=self._crawls)

    async def close(self) -> None:
        """Close them; what was accepted has landed."""
        for site in self.sites.values():
            await site.close()
        self._pools.close()

    def site(self, caller: Caller) -> Site:
        """The caller's site. Raises ApiError 403 where there is none for it."""
        found = self.sites.get(caller.tenant)
        if found is None:
            raise ApiError(403, "the token is of no tenant of this server.",
                           hint="Its claim `tenant` names one.")  # fmt: skip
        return found
