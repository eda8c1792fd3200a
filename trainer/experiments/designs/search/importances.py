"""How much of the losses each value explains, by two evaluators, and losses along each value.

``PED-ANOVA``: how far the values of good trials differ from all (Optuna's default; Watanabe and
others, arXiv 2304.10255). ``fANOVA``: shares of variance in a random forest (Hutter and others,
ICML 2014). They answer different questions and may disagree.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from trainer.experiments.designs.search.space import Space, Values
from trainer.experiments.designs.search.trials import Trial, alone, study_of

EVALUATORS = ("PED-ANOVA", "fANOVA")
LEAST_TRIALS = 8
"""Below which a forest or a process of four values has nothing to learn from."""

ALONG = 25
"""Places along each value."""


def importances(space: Space, trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
    """By evaluator, then by value, summing to 1; none where there are too few trials, or all came
    to the same.
    """
    if not _tell(trials):
        return {}
    with alone():
        from optuna.importance import (
            FanovaImportanceEvaluator,
            PedAnovaImportanceEvaluator,
            get_param_importances,
        )

        study = study_of(space, trials)
        made = (PedAnovaImportanceEvaluator(), FanovaImportanceEvaluator(seed=0))
        found = {}
        for name, evaluator in zip(EVALUATORS, made, strict=True):
            shares = get_param_importances(study, evaluator=evaluator)
            found[name] = {value: float(shares[value]) for value in Values._fields}
    return found


def slices(space: Space, trials: Sequence[Trial]) -> dict[str, list[tuple[float, float]]]:
    """By value: places, and the loss a Gaussian process (Matern 5/2, a length for each value, and
    noise) predicts there, averaged over the trials' other values. Trials that diverged are left
    out; none where too few are left.
    """
    known = [trial for trial in trials if trial.known is not None]
    if not _tell(known):
        return {}
    import numpy as np

    with alone():
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        shares = np.array([space.shares(trial.values) for trial in known])
        losses = np.array([trial.loss for trial in known])
        lengths = Matern(np.ones(shares.shape[1]), (0.05, 20.0), nu=2.5)
        kernel = ConstantKernel(1.0, (1e-2, 1e2)) * lengths + WhiteKernel(1e-2, (1e-6, 1.0))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        # a length at its bound says that a value hardly counts
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(shares, losses)
        found = {}
        for place, (name, one) in enumerate(space.ranges.items()):
            rows = []
            for share in np.linspace(0, 1, ALONG):
                moved = shares.copy()
                moved[:, place] = share
                rows.append((one.at(float(share)), float(process.predict(moved).mean())))
            found[name] = rows
    return found


def _tell(trials: Sequence[Trial]) -> bool:
    return len(trials) >= LEAST_TRIALS and len({trial.loss for trial in trials}) > 1
