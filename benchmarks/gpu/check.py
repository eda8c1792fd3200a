"""Are the kernels right on this device: numbers, gradients, bits, and whether anything waits for
the device.

    python -m benchmarks.gpu.check                        # on a GPU
    python -m benchmarks.gpu.check --device cpu --tiny    # the same code, torch references
                                                          # instead of kernels

Every operation and gradient in bf16 and fp32 against torch (:mod:`benchmarks.gpu.judging`), and
what random values do not show: a softmax that is sure, logits that are all large, weights of 0,
more than 2^31 elements, the same bits twice, compiled and eager, and no wait for the device in a
forward, a backward pass or a training step. Exit code 1 when a check fails; one that cannot run
says why and fails nothing.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.gpu import hard_cases
from benchmarks.gpu.judging import errors, in_dtype, judge, results, same_bits
from benchmarks.gpu.operations import OPERATIONS, UPWARD, Draw, Operation, Tensors
from benchmarks.gpu.session import Record, Session, begin
from benchmarks.gpu.shapes import TINY, Shape, checked
from benchmarks.gpu.training import Trainee, token_batch
from trainer.devices.determinism import deterministic

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
UNCOMPILED = {
    "attention, packed": "where documents begin is found on the host, before compiled code",
    "linear_cross_entropy, CUDA C++ rows": "which row kernel is used "
    "is chosen outside compiled code",
}
LOST = (
    "illegal memory access",
    "device-side assert",
    "misaligned address",
    "unspecified launch failure",
)
Found = dict[str, Any]


class CannotRunError(Exception):
    """A check that cannot run here, and why."""


def main(arguments: list[str] | None = None) -> int:
    session = begin(__doc__, arguments=arguments)
    record = Record(session, "check")
    failed: list[str] = []
    for name, run in checks(session):
        found = attempt(run)
        record[name] = found
        if any(word in str(found.get("error")) for word in LOST):
            failed.append(name)
            print(
                f"LOST    {name}: the device does no more work in this process, later checks would "
                f"all fail: {found['error']}"
            )
            break
        if not found["ok"]:
            failed.append(name)
        print(
            f"{'skipped' if found.get('skipped') else 'ok' if found['ok'] else 'FAILED':8}{name}  "
            f"{found.get('skipped', '')}"
        )
    record["failed"] = failed
    record.done()
    return 1 if failed else 0


def attempt(run: Callable[[], Found]) -> Found:
    """What a check found; an exception is a failure with its trace."""
    try:
        return run()
    except CannotRunError as reason:
        return {"ok": True, "skipped": str(reason)}
    except Exception as error:
        return {"ok": False, "error": repr(error), "trace": traceback.format_exc(limit=-4)}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def checks(session: Session) -> Iterator[tuple[str, Callable[[], Found]]]:
    """Every check by name, in order."""
    shapes = checked(session.tiny)
    for operation in OPERATIONS:
        for shape, (name, dtype) in itertools.product(shapes, DTYPES.items()):
            yield (
                f"{operation.name}, {shape.name}, {name}",
                partial(numbers, session, operation, shape, dtype),
            )
        for name, check in {
            "same bits twice": twice,
            "compiled": compiled,
            "waits for nothing": no_waiting,
        }.items():
            yield f"{operation.name}, {name}", partial(check, session, operation, shapes[0])
    losses = [
        operation for operation in OPERATIONS if operation.name.startswith("linear_cross_entropy")
    ]
    for loss, (name, change) in itertools.product(losses, hard_cases.LOSSES.items()):
        yield f"{loss.name}, hard: {name}", partial(hard_loss, session, loss, change, shapes[0])
    for name in hard_cases.LARGE:
        operation = next(operation for operation in OPERATIONS if operation.name == name)
        yield f"{name}, more than 2^31 elements", partial(large, session, operation)
    yield "AdamW against fp64", partial(hard_cases.adamw, session)
    yield "training step, waits for nothing", partial(step_without_waiting, session)


def draw(session: Session, dtype: torch.dtype = torch.bfloat16) -> Draw:
    return Draw(session.device, dtype)


def judged(found: list[Found]) -> Found:
    """One verdict, and the worst result as a share of what it may be."""
    worst = max(found, key=lambda one: one["error"] / max(one["allowed"], 1e-300))
    return {
        "ok": all(one["ok"] for one in found),
        "worst_share": worst["error"] / max(worst["allowed"], 1e-300),
        "results": found,
    }


def numbers(session: Session, operation: Operation, shape: Shape, dtype: torch.dtype) -> Found:
    arguments = operation.inputs(shape, draw(session, dtype))
    if (
        operation.name == "linear_cross_entropy, CUDA C++ rows"
        and session.cuda
        and dtype != torch.bfloat16
    ):
        raise CannotRunError("the row kernel in CUDA C++ takes bf16")
    if operation.name == "float8_linear":
        return judged(float8(operation, arguments, dtype))
    return judged(judge(operation, arguments))


def hard_loss(
    session: Session, loss: Operation, change: Callable[[Shape, Draw], Tensors], shape: Shape
) -> Found:
    return judged(judge(loss, change(shape, draw(session))))


def float8(operation: Operation, arguments: Tensors, dtype: torch.dtype) -> list[Found]:
    """8-bit products have errors of their own: held against the same arithmetic in the open, in
    fp32.
    """
    from trainer.kernels.float8 import _backward, _forward, emulated_product

    if arguments[0].is_cuda and dtype == torch.float32:
        raise CannotRunError("a GPU's 8-bit products give bf16")
    found = results(operation.ours, arguments, operation.leaves)
    y, *kept = _forward(*arguments, emulated_product)
    source = torch.Generator(y.device).manual_seed(9)
    above = (torch.randn(y.shape, generator=source, device=y.device) * UPWARD).to(y.dtype)
    wanted = [y, *_backward(above, *kept, arguments[1].dtype, emulated_product)]
    rounding = torch.finfo(dtype).eps
    pairs = [
        (float((a - b).abs().max()), 4 * rounding * float(b.abs().max()))
        for a, b in zip(found, wanted, strict=True)
    ]
    return [
        {"ok": error <= allowed, "error": error, "allowed": allowed} for error, allowed in pairs
    ]


def twice(session: Session, operation: Operation, shape: Shape) -> Found:
    arguments = operation.inputs(shape, draw(session))
    with deterministic():  # asks attention of torch's for its slower backward; ours need no asking
        first, second = (results(operation.ours, arguments, operation.leaves) for _ in range(2))
    return {"ok": same_bits(first, second)}


def compiled(session: Session, operation: Operation, shape: Shape) -> Found:
    """Compiled whole against eager, to the bit; toy sizes take the compiler's first half alone."""
    arguments = operation.inputs(shape, draw(session))
    if operation.name in UNCOMPILED:
        raise CannotRunError(UNCOMPILED[operation.name])
    backend = "aot_eager" if session.tiny else "inductor"
    whole = torch.compile(operation.ours, fullgraph=True, backend=backend)
    with deterministic():
        return {
            "ok": same_bits(
                *(results(run, arguments, operation.leaves) for run in (operation.ours, whole))
            )
        }


def no_waiting(session: Session, operation: Operation, shape: Shape) -> Found:
    if not session.cuda:
        raise CannotRunError("a CPU waits for nobody")
    arguments = operation.inputs(shape, draw(session))
    results(operation.ours, arguments, operation.leaves)
    with hard_cases.waiting_is_an_error():
        results(operation.ours, arguments, operation.leaves)
    return {"ok": True}


def large(session: Session, operation: Operation) -> Found:
    """The last rows of a tensor of more than 2^31 elements, against torch on those rows alone."""
    if session.tiny:
        raise CannotRunError("toy sizes")
    rows, kept = hard_cases.LARGE[operation.name], 64
    arguments = hard_cases.large_inputs(operation.name, rows, draw(session))
    with torch.no_grad():
        found = operation.ours(*arguments)[-kept:].clone()
        few = (arguments[0][-kept:], *arguments[1:])
        plain, exact = (
            operation.plain(*(in_dtype(one, dtype) for one in few))
            for dtype in (None, torch.float64)
        )
    return {"elements": arguments[0].numel(), **judged(errors([found], [plain], [exact]))}


def step_without_waiting(session: Session) -> Found:
    if not session.cuda:
        raise CannotRunError("a CPU waits for nobody")
    trainee = Trainee.build(TINY.config, session.device, "bf16", seed=1)
    batch = token_batch(TINY.config, 2, 16, session.device, seed=1)
    for _ in range(2):
        trainee.step(batch, 0.01)
    with hard_cases.waiting_is_an_error():
        trainee.step(batch, 0.01)
    return {"ok": True}


if __name__ == "__main__":
    raise SystemExit(main())
