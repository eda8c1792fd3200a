"""Costs: what a model and a training step cost, from shapes alone.

    shape ─ compute_costs ─▶ operations per token
    shape, precision ─ training_memory ─▶ bytes by part, bytes of a checkpoint
    kernel, shape ─ kernel_costs ─▶ bytes that must cross memory, operations of products
    shape, device ─ roofline ─▶ the floor of every kernel, and the speed they allow together

:mod:`~trainer.costs.describe` puts a model on one page. Nothing here runs a model or needs torch.

>>> from trainer.costs.compute_costs import flops_per_token
>>> from trainer.costs.describe import describe
>>> from trainer.shapes.presets import preset
>>> config = preset("9M")
>>> f"{flops_per_token(config):.2e}"
'5.66e+07'
>>> [row.name for row in describe(config)][:2]
['layers', 'width']
>>> from trainer.costs.training_memory import checkpoint_bytes, training_memory
>>> training_memory(config, 2048, "fp32", on_gpu=False).moments
389818880
>>> checkpoint_bytes(config)
584728320
"""
