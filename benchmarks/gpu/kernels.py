"""How fast the kernels are: each beside torch, torch compiled, Liger and QuACK, and as a share of
what this device could.

    python -m benchmarks.gpu.kernels                         # on a GPU
    python -m benchmarks.gpu.kernels --device cpu --tiny     # that it runs

The floor of each comes from its bytes and operations (:mod:`trainer.costs.kernel_costs`) and from
the copy bandwidth and the rate of products measured here, before. Forward is timed without
gradients, backward on a graph that is kept; where forward makes the gradients both are one.
Memory-bound kernels are to reach 90% of the floor forward and 80% backward.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.gpu import in_place, peers, timing
from benchmarks.gpu.operations import OPERATIONS, Draw, Operation, Tensors, outputs_of
from benchmarks.gpu.session import Record, Session, begin, clocks
from benchmarks.gpu.shapes import Shape, measured
from trainer.costs.kernel_costs import Cost

Found = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    session = begin(
        __doc__, [("--operations", {"nargs": "*", "help": "names, of all unless given"})], arguments
    )
    record = Record(session, "kernels")
    rates = {"copy": timing.copy_bandwidth(session), "product": timing.product_rate(session)}
    record["measured_rates"] = rates
    found: dict[str, Found] = {}
    # first: nothing has to be compiled for them
    for shape in measured(session.tiny) if not session.options.operations else []:
        for what, make in in_place.CASES.items():
            name = f"{what}, {shape.name}"
            found[name] = attempt(session, lambda m=make, s=shape: update(session, m, s, rates))
            record["operations"] = found
            print(f"{name}: {shown(found[name])}", flush=True)
    for shape in measured(session.tiny):
        for operation in OPERATIONS:
            if session.options.operations and operation.name not in session.options.operations:
                continue
            name = f"{operation.name}, {shape.name}"
            found[name] = attempt(
                session, lambda o=operation, s=shape: measure(session, o, s, rates)
            )
            record["operations"] = found
            print(f"{name}: {shown(found[name])}", flush=True)
    record["clocks_after"] = clocks() if session.cuda else {}
    record.done()
    return 0


def attempt(session: Session, run: Callable[[], Found]) -> Found:
    """What ``run`` measures; what went wrong where it did."""
    try:
        return run()
    except Exception as error:
        return {"failed": repr(error), "trace": traceback.format_exc(limit=-4)}
    finally:
        if session.cuda:
            torch.cuda.empty_cache()


def measure(session: Session, operation: Operation, shape: Shape, rates: dict[str, float]) -> Found:
    arguments = operation.inputs(shape, Draw(session.device, torch.bfloat16))
    ours = operation.timed() if operation.timed else operation.ours
    others = peers.variants(operation, "aot_eager" if session.tiny else "inductor")
    found: Found = {
        "failed_peers": {name: run for name, run in others.items() if isinstance(run, str)}
    }
    runs = {"ours": ours, **{name: run for name, run in others.items() if not isinstance(run, str)}}
    if operation.backward is None:
        both = {name: whole_pass(run, arguments, operation.leaves) for name, run in runs.items()}
        return {
            **found,
            "forward and backward": timed(
                session, both, operation.forward(shape), rates, found["failed_peers"]
            ),
        }
    forward = {name: without_gradients(run, arguments) for name, run in runs.items()}
    found["forward"] = timed(
        session, forward, operation.forward(shape), rates, found["failed_peers"]
    )
    runs["ours"] = operation.ours
    backward: dict[str, Callable[[], Any]] = {}
    for name, run in runs.items():
        try:
            backward[name] = backward_pass(run, arguments, operation.leaves)
        except Exception as error:
            found["failed_peers"][f"{name}, backward"] = repr(error)
    found["backward"] = timed(
        session, backward, operation.backward(shape), rates, found["failed_peers"]
    )
    return found


def update(
    session: Session,
    make: Callable[[Session, Shape], in_place.Case],
    shape: Shape,
    rates: dict[str, float],
) -> Found:
    """A kernel that writes into its arguments."""
    runs, cost, prepare = make(session, shape)
    failed: dict[str, str] = {}
    return {"failed_peers": failed, "in place": timed(session, runs, cost, rates, failed, prepare)}


def timed(
    session: Session,
    runs: dict[str, Callable[[], Any]],
    cost: Cost,
    rates: dict[str, float],
    failed: dict[str, str],
    prepare: Callable[[], Any] | None = None,
) -> Found:
    """Microseconds of each variant that runs, and ours against the floor and the fastest other."""
    working = {}
    for name, run in runs.items():
        try:
            run()
            session.wait()
            working[name] = run
        except Exception as error:
            failed[name] = repr(error)
    times = timing.interleaved(session, working, prepare)
    floor = 1e6 * max(cost.bytes / rates["copy"], cost.flops / rates["product"])
    found: Found = {
        "microseconds": times,
        "bytes": cost.bytes,
        "flops": cost.flops,
        "floor_us": floor,
    }
    found["share_of_floor"] = {name: floor / time["median"] for name, time in times.items()}
    others = {name: time["median"] for name, time in times.items() if name != "ours"}
    if "ours" in times and others:
        best = min(others, key=others.__getitem__)
        found |= {"fastest_other": best, "times_faster": others[best] / times["ours"]["median"]}
    return found


def without_gradients(run: Callable[..., Any], arguments: Tensors) -> Callable[[], Any]:
    def once() -> Any:
        with torch.no_grad():
            return run(*arguments)

    return once


def with_leaves(arguments: Tensors, leaves: tuple[int, ...]) -> list[Any]:
    """Arguments of which those at ``leaves`` take a gradient."""
    return [
        argument.detach().clone().requires_grad_() if place in leaves else argument
        for place, argument in enumerate(arguments)
    ]


def whole_pass(
    run: Callable[..., Any], arguments: Tensors, leaves: tuple[int, ...]
) -> Callable[[], Any]:
    taken = with_leaves(arguments, leaves)

    def once() -> Any:
        made = [output for output in outputs_of(run(*taken)) if output.requires_grad]
        return torch.autograd.grad(
            made, [taken[place] for place in leaves], [torch.ones_like(output) for output in made]
        )

    return once


def backward_pass(
    run: Callable[..., Any], arguments: Tensors, leaves: tuple[int, ...]
) -> Callable[[], Any]:
    taken = with_leaves(arguments, leaves)
    made = [output for output in outputs_of(run(*taken)) if output.requires_grad]
    above = [torch.randn_like(output) for output in made]
    return lambda: torch.autograd.grad(
        made, [taken[place] for place in leaves], above, retain_graph=True
    )


def shown(found: Found) -> str:
    """One line of a terminal."""
    if "failed" in found:
        return str(found["failed"])
    parts = {name: value for name, value in found.items() if name != "failed_peers"}
    return "; ".join(
        f"{name} {one['microseconds']['ours']['median']:,.0f} us, "
        f"{one['share_of_floor']['ours']:.0%} of the floor"
        if "ours" in one["microseconds"]
        else f"{name} failed"
        for name, one in parts.items()
    )


if __name__ == "__main__":
    raise SystemExit(main())
