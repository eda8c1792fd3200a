"""Fits: from losses of runs to a figure with an interval, or to the reason why there is none.

    losses over a grid ─ optimum ─▶ best rate, its shift between widths      flat set ◀─ search
    curves by batch ─ equal_loss ─▶ bs(L) = a / L^b    branches by batch ─ critical_batch ─▶ tokens
    trunk and decays ─ annealing_law, forecast ─▶ decayed loss
    mixtures and losses ─ mixture_regression, gaussian_process ─▶ predicted loss
    predicted loss, caps ─ mixture_proposals ─▶ mixtures to run next
    runs ─ cost_ledger ─▶ operations against separate runs

Nothing here runs a training or reads a file. What a grid cannot tell is a result that says why:

>>> from trainer.experiments.fits.optimum import GridPoint, find_optimum
>>> points = [GridPoint(rate, loss) for rate, loss in ((0.005, 3.3), (0.01, 3.1), (0.02, 3.0))]
>>> found = find_optimum(points)
>>> found.value is None, found.edge, found.next_value
(True, 'high', 0.04)
>>> inside = find_optimum([*points, GridPoint(0.04, 3.1), GridPoint(0.08, None, reason="nan")])
>>> round(inside.value, 4)
0.02
"""
