"""The node agent: mount, block cache, recorder, spool, sinks, identity."""
