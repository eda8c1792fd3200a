"""Deduplication without a recipe: files at once, or batch by batch against an index."""
