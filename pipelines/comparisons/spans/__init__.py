"""Cutting passages, lines and paragraphs that stood before out of a corpus:
:mod:`pipelines.comparisons.spans.work` says in which phases.
"""
