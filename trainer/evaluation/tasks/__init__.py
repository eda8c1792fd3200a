"""Benchmarks: their files as items, and what a model reaches on them.

files ─ layouts ─▶ records ─ forms ─▶ items ─ scoring, with a model ─▶ scores of every item
"""
