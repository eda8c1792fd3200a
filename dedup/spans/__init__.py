"""Passages and lines inside texts."""
