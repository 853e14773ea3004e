"""Pure metric functions: frames and an as-of in, frames out. No clock, no I/O.

Definitions: design "What the numbers mean". Frames are those of `lake.schemas`.
"""
