"""Kernels: the model's hot operations as torch ops, in Triton (or CUDA C++) and in torch.

    tensors on a GPU ─ op ─▶ Triton kernel        tensors on a CPU ─ op ─▶ torch reference

Each file is one kernel and reads from top to bottom: formula, bytes and floor; Triton kernel;
launcher; torch reference; registration. The ops are ``torch.ops.windtunnel.*``: torch picks by the
device of the tensors, so a model calls one function wherever it runs, and ``torch.compile`` sees
one node.

>>> import torch
>>> from trainer.kernels.rms_norm import rms_norm
>>> x = torch.tensor([[3.0, 4.0]])
>>> rms_norm(x, torch.ones(2), eps=0.0)
tensor([[0.8485, 1.1314]])

Forward and backward are ops of their own, with shapes known to ``torch.compile``; all sums are fp32
and run in a fixed order: the same bits every time. What a kernel compiles to can be read without a
GPU: ``python -m trainer.kernels.compiled``. Needs torch, numpy and, to launch on a GPU, Triton.
"""
