"""The batch that reaches a loss with the fewest tokens, measured in three ways on one axis.

    runs over batches ─ curves ─▶ tokens to reach a loss ─ fits.equal_loss ─▶ bs(L) = a / L^b
      at one rate, and at the best of several rates for each batch
    a run's gradients ─ branching ─▶ noise scale        its endings at larger batches ─▶ critical
    all of them ─ findings ─▶ verdicts, tables, figures

The method of arXiv 2404.06395, section 3.2. Every batch is looked at at the same numbers of tokens:

>>> from trainer.experiments.designs.batch.design import BatchDesign
>>> design = BatchDesign(batches=(1024, 2048, 4096), tokens=262_144)
>>> [design.train(batch, 0.01)["validate_every"] for batch in design.batches]
[64, 32, 16]
"""
