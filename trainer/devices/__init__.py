"""Devices: on which one a run computes, in which precision, and that it is deterministic.

    "auto", "cpu", "cuda:1" ─ device_of ─▶ torch.device ─ best_precision ─▶ "fp32" or "bf16"

What cannot be computed is refused before anything is. :mod:`~trainer.devices.determinism` switches
torch to deterministic algorithms and fixes its threads for as long as a block lasts.

>>> import torch
>>> from trainer.devices.determinism import deterministic
>>> from trainer.devices.precision import best_precision, computing_in, device_of
>>> best_precision(device_of("cpu"))
'fp32'
>>> with computing_in("bf16") as dtype, deterministic(threads=1) as threads:
...     print(dtype, threads, torch.are_deterministic_algorithms_enabled())
torch.bfloat16 1 True
"""
