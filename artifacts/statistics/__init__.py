"""How sure a figure is: intervals, tests against a margin, families of claims, seeds needed.

    losses by seed ─ estimates ─▶ a difference, its error and degrees of freedom
    an estimate ─ margins ─▶ p of "better by the margin", "equivalent within it"
    p of several claims ─ families ─▶ adjusted p      groups of seeds ─ pooled ─▶ one deviation
    a deviation and an effect ─ power ─▶ seeds        two columns ─ ranks ─▶ correlation of ranks

    intervals       variances with degrees of freedom, and the interval of their sum
    weighted_means  the interval of a weighted mean over groups

Everything is a pure function of numbers that were measured. Two recipes under three seeds each,
paired by seed, against a margin of 0.02:

>>> from artifacts.statistics.estimates import paired_difference
>>> from artifacts.statistics.margins import superiority
>>> first, second = {1: 3.10, 2: 3.14, 3: 3.12}, {1: 3.19, 2: 3.22, 3: 3.22}
>>> found = paired_difference(first, second)
>>> round(found.value, 4), [round(end, 4) for end in found.interval()]
(-0.09, [-0.1148, -0.0652])
>>> round(superiority(found, 0.02), 4)
0.0034
"""
