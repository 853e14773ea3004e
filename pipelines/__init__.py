"""Dagster definitions over the lake."""
