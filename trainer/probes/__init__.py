"""Probes: what is measured while any training runs.

    model, batch, step ─ a probe ─▶ lines of metrics
"""
