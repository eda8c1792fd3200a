"""Shards -> plan -> checkpoints of a run: materials, plans, the plan file, edits, who has seen a
document.
"""
