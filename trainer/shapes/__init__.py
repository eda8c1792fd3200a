"""Shapes: the numbers of a model, without torch.

    ModelConfig: vocabulary, width, layers, heads ─▶ multipliers, parameters

``trainer.shapes.presets`` has the wind-tunnel sizes and released models of MiniCPM
(arXiv 2404.06395), :mod:`~trainer.shapes.config` what width and depth fix,
:mod:`~trainer.shapes.parameter_counts` the counting rule of the paper's tables.

>>> from trainer.shapes.parameter_counts import count_parameters
>>> from trainer.shapes.presets import preset
>>> config = preset("9M")
>>> config.width, config.layers
(320, 8)
>>> f"{count_parameters(config).non_embedding:,}"
'9,426,240'
"""
