"""The two ways in which a sink fails to take a segment."""

from __future__ import annotations


class SendError(Exception):
    """It could not be delivered now; the spool keeps it and tries again."""


class RefusedError(Exception):
    """It will never be taken; the spool sets it aside for people to look at."""
