"""Cutting passages, lines and paragraphs that stood before out of a corpus:
:mod:`pipelines.spans.work` says in which phases.
"""
