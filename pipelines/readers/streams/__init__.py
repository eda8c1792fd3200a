"""Streams: inputs opened, decompressed, cut into lines, and what damage does to them."""
