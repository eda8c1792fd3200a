"""A search over scale_depth, scale_emb, init_std and learning rate on a small model.

    space ─ first points ─▶ trials ─ told ─▶ proposals ─▶ further trials, round by round
    the best few, and the paper's values ─ confirmed ─▶ the flat set, no single best
    the first points at twice the tokens ─▶ whether ranks agree
    trials ─ journal ─▶ a file that Optuna and its dashboard open

The search of arXiv 2404.06395, appendix A.1, with Optuna. What is proposed depends on settings and
outcomes alone, so a search that was killed goes on to the same trials:

>>> from trainer.experiments.designs.search.space import Space, first_points
>>> points = first_points(Space(), count=4, seed=0)
>>> points == first_points(Space(), count=4, seed=0)
True
>>> all(1 <= point.scale_depth <= 8 for point in points)
True
"""
