"""A checkpoint as files, and what is read from it: a model (today hidden in `resume.py`),
moments.
"""
