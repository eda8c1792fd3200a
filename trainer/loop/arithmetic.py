"""The version of what a training step computes, for keys that outlive changes of other code.

Raise it when a training from the same plan and settings comes to other bits: the keys of
experiments' runs hold it, so that none is taken for another. A test demands it when the bits of
three steps change.
"""

ARITHMETIC = 1
