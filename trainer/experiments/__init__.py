"""Experiments: which runs answer a question, and what their losses say. Nothing here trains.

    question ─ designs ─▶ runs to make      losses of runs ─ fits, laws ─▶ figures with intervals ─▶ verdict
"""
