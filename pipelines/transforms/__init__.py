"""Pure transforms: bytes and frames in, frames out."""
