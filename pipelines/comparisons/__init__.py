"""Across chunks: equal keys, exact, near-duplicates in parts, spans; their guard and their measured
quality. One exchange format for rows between tasks in place of two.
"""
