"""What a running agent says about itself: metrics, health, stats, status."""

from __future__ import annotations

from typing import Any

from warpdrive_agent.agent import Agent
from warpdrive_agent.mountpoint import mounted_at


def cache_stats(agent: Agent) -> dict[str, int]:
    """The block cache, in the words of `warpdrive stats`."""
    if agent.cache is None:
        return {"hits": 0, "misses": 0, "evictions": 0, "bytes_cached": 0}
    counts, room = agent.cache.counts, agent.cache.room
    return {
        "hits": counts.hits, "misses": counts.misses, "evictions": room.evictions,
        "bytes_cached": room.size_bytes,
    }  # fmt: skip


def status(agent: Agent) -> dict[str, Any]:
    """The whole agent, for `warpdrive status`."""
    config = agent.config
    return {
        "running": True,
        "node": agent.node,
        "mount_point": config.mount_point,
        "mounted": mounted_at(config.mount_point) is not None,
        "backends": [
            {"name": b.name, "type": b.type, "mount_path": b.mount_path} for b in config.backends
        ],
        "cache": cache_stats(agent),
        "telemetry": {
            "enabled": config.telemetry.enabled, "sink": config.telemetry.sink, **agent.stats(),
        },
    }  # fmt: skip


def health(agent: Agent) -> tuple[bool, dict[str, Any]]:
    """Whether all is well, and the body of `/healthz`."""
    mounted = mounted_at(agent.config.mount_point) is not None
    checks = {"mount": "ok" if mounted else f"{agent.config.mount_point} is not mounted"}
    for backend in agent.sources:
        checks[f"backend:{backend}"] = agent.metrics.failing.get(backend, "ok")
    checks["telemetry"] = agent.telemetry_problem() or "ok"
    well = all(message == "ok" for message in checks.values())
    return well, {"status": "ok" if well else "degraded", "checks": checks}


def metrics_text(agent: Agent) -> str:
    """The body of `/metrics`."""
    cache, stats = cache_stats(agent), agent.stats()
    guesses = (0, 0)
    if agent.cache is not None:
        counts = agent.cache.counts
        guesses = (counts.guesses_used, counts.guesses_wasted)
    gauges = {
        "warpdrive_cache_size_bytes": cache["bytes_cached"],
        "warpdrive_cache_utilization_ratio": round(
            cache["bytes_cached"] / max(1, agent.config.cache.max_size_bytes), 6
        ),
        "warpdrive_telemetry_queue_events": stats["queued"],
        "warpdrive_open_handles": stats["open_handles"],
    }
    totals = {
        "warpdrive_cache_hit_total": cache["hits"],
        "warpdrive_cache_miss_total": cache["misses"],
        "warpdrive_cache_evictions_total": cache["evictions"],
        "warpdrive_readahead_hit_total": guesses[0],
        "warpdrive_readahead_wasted_total": guesses[1],
        "warpdrive_delivered_bytes_total": stats["delivered_bytes"],
        "warpdrive_telemetry_recorded_total": stats["recorded"],
        "warpdrive_telemetry_dropped_total": stats["dropped"],
        "warpdrive_telemetry_spooled_total": stats["spooled"],
        "warpdrive_telemetry_uploaded_segments_total": stats["uploaded_segments"],
    }
    return "\n".join(agent.metrics.lines(gauges, totals)) + "\n"
