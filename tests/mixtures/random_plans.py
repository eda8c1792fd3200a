"""Random plans over the small shards: phases of several window lengths and batches, ramps, whole
documents, edits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from mixtures.freeze.freeze import Plan, branch, freeze
from mixtures.loader.windows import Windows
from mixtures.order.block_sizes import OPEN_TOKENS
from mixtures.spec.phase import PhaseSpec
from mixtures.spec.spec import MixtureSpec

SOURCES = ("chat", "code", "tiny", "web")
LENGTHS = (4, 8, 16, 24, 32, 64)
SEEDS = st.integers(9, 12)  # both kinds of order; see plan_of


@st.composite
def phases(
    draw: st.DrawFn,
    most: int = 4,
    ramps: bool = True,
    sources: tuple[str, ...] = SOURCES,
    prefix: str = "phase",
) -> list[PhaseSpec]:
    """Up to ``most`` phases of a few dozen windows each."""
    found = []
    for number in range(draw(st.integers(1, most))):
        weights = draw(
            st.lists(st.integers(0, 20), min_size=len(sources), max_size=len(sources)).filter(any)
        )
        length, windows = draw(st.sampled_from(LENGTHS)), draw(st.integers(1, 8))
        tokens = draw(st.integers(1, 60 * length))
        ramp = draw(st.integers(0, tokens)) if ramps and number and draw(st.booleans()) else 0
        shares = {
            name: weight / sum(weights)
            for name, weight in zip(sources, weights, strict=True)
            if weight
        }
        found.append(
            PhaseSpec(
                name=f"{prefix}-{number}",
                tokens=tokens,
                weights=shares,
                ramp_tokens=ramp,
                sequence_length=length,
                batch_tokens=windows * length,
            )
        )
    return found


@st.composite
def specs(draw: st.DrawFn) -> MixtureSpec:
    own = draw(phases())
    shown = sorted({name for phase in own for name in phase.weights})
    packing = {name: draw(st.sampled_from(["stream", "documents"])) for name in shown}
    return MixtureSpec(phases=tuple(own), packing=packing)


def plan_of(shards: Any, spec: MixtureSpec, seed: int = 3) -> Plan:
    """Odd seeds from 11 on shuffle the sources, small as they are, as a whole; others in groups of
    blocks, as large ones are.
    """
    opened = OPEN_TOKENS if seed >= 10 and seed % 2 else 0
    return freeze(
        spec, shards.sources, sequence_length=16, batch_tokens=64, seed=seed, open_tokens=opened
    )


@st.composite
def edits(draw: st.DrawFn) -> tuple[float, list[PhaseSpec]]:
    """Where in a plan, as a fraction, and what is shown from there on."""
    return draw(st.floats(0, 1)), draw(phases(most=2, ramps=False, prefix="edit"))


def edited(shards: Any, plan: Plan, edit: tuple[float, list[PhaseSpec]]) -> tuple[int, Plan]:
    step = round(edit[0] * plan.steps)
    return step, branch(plan, step, edit[1], shards.sources)


def pieces_of(windows: Windows, step: int) -> list[tuple[int, ...]]:
    """(row, place, source's name, first token, tokens) of a step."""
    names = windows.plan.names
    return [
        (row, place, names[source], *rest)
        for row, place, source, *rest in windows.of_step(step)[1].tolist()
    ]


def shortest_epochs(plan: Plan) -> NDArray[np.int64]:
    """Tokens that every window length of a plan shows of each source: less than a window may be
    missing at a stream's end.
    """
    own = []
    for index, source in enumerate(plan.sources):
        lengths = [
            context.sources[index].windows * context.sequence_length
            for context in plan.contexts
            if context.sources[index].windows
        ]
        own.append(source.tokens if source.packing == "documents" else min(lengths, default=0))
    return np.array(own)
