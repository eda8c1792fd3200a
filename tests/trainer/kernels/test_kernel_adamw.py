"""AdamW over many tensors: the kernel in the interpreter and the reference against
torch.optim.AdamW in fp64.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.kernels.judge import draw
from trainer.kernels.adamw import BLOCK, _adamw, adamw_, launch_adamw, torch_adamw
from trainer.kernels.tensor_table import ALIGNMENT, TensorTable, blocks_of

BETAS, EPS = (0.9, 0.95), 1e-8
ROUNDING = 2**-24
UPDATES = [launch_adamw, torch_adamw]


@dataclass
class Case:
    """Some tensors in the middle of a training, 3 updates done."""

    masters: list[Tensor]
    gradients: list[Tensor | None]
    firsts: list[Tensor]
    seconds: list[Tensor]
    shadows: list[Tensor]
    rules: Tensor
    rate: float = 0.01
    coefficient: float = 0.5
    skip: int = 0
    updates: int = 4

    def arguments(self) -> tuple:
        """Those of the op, the tensors copied."""
        lists = [
            [None if one is None else one.clone() for one in part]
            for part in (self.masters, self.gradients, self.firsts, self.seconds, self.shadows)
        ]
        table = TensorTable(lists[0], *lists[2:])
        tables = (table.addresses(lists[1]), table.blocks(BLOCK), table.even)
        corrections = torch.tensor([1 - beta**self.updates for beta in BETAS])
        scalars = [
            torch.tensor(self.rate),
            torch.tensor(self.coefficient),
            torch.tensor(self.skip, dtype=torch.int32),
            corrections,
        ]
        self.table = table  # its tables must live as long as the arguments
        return (*lists, *tables, self.rules, scalars, *BETAS, EPS)

    def exact(self) -> list[list[Tensor]]:
        """Masters and moments after torch.optim.AdamW in fp64."""
        after: list[list[Tensor]] = [[], [], []]
        for p, g, m, v, (multiplier, decay) in zip(
            self.masters,
            self.gradients,
            self.firsts,
            self.seconds,
            self.rules.tolist(),
            strict=True,
        ):
            parameter = p.double().requires_grad_()
            optimizer = torch.optim.AdamW(
                [parameter],
                lr=self.rate * multiplier,
                betas=BETAS,
                eps=EPS,
                weight_decay=decay,
                foreach=False,
            )
            state = {
                "step": torch.tensor(float(self.updates - 1)),
                "exp_avg": m.double(),
                "exp_avg_sq": v.double(),
            }
            optimizer.state[parameter] = state
            if g is not None:
                parameter.grad = g.double() * self.coefficient
                optimizer.step()
            for part, value in zip(
                after, (parameter.detach(), state["exp_avg"], state["exp_avg_sq"]), strict=True
            ):
                part.append(value)
        return after


def case(
    shapes: list[tuple[int, ...]],
    half: list[bool],
    *,
    copies: bool = True,
    seed: int = 0,
    **facts: float,
) -> Case:
    masters = [draw(*shape, seed=seed + 5 * index) for index, shape in enumerate(shapes)]
    gradients = [
        draw(*shape, seed=seed + 5 * index + 1, dtype=torch.bfloat16 if narrow else torch.float32)
        for index, (shape, narrow) in enumerate(zip(shapes, half, strict=True))
    ]
    firsts = [
        draw(*shape, seed=seed + 5 * index + 2, scale=0.1) for index, shape in enumerate(shapes)
    ]
    seconds = [
        draw(*shape, seed=seed + 5 * index + 3).square() for index, shape in enumerate(shapes)
    ]
    shadows = [master.bfloat16() for master in masters] if copies else []
    rules = torch.tensor(
        [[(1.0, 0.25, 3.0)[index % 3], (0.1, 0.0)[index % 2]] for index in range(len(shapes))]
    ).reshape(-1, 2)
    return Case(masters, list(gradients), firsts, seconds, shadows, rules, **facts)


def assert_right(made: Case, update: object) -> None:
    arguments = made.arguments()
    update(*arguments)
    masters, _, firsts, seconds, shadows = arguments[:5]
    for found, exact in zip((masters, firsts, seconds), made.exact(), strict=True):
        for one, true in zip(found, exact, strict=True):
            torch.testing.assert_close(one.double(), true, rtol=8 * ROUNDING, atol=8 * ROUNDING)
    for master, shadow in zip(masters, shadows, strict=False):
        off = (shadow.float() - master).abs()
        assert bool((off <= master.abs() * 2**-7).all()), (
            "the interpreter cuts off instead of rounding"
        )


SHAPES = [(BLOCK,), (3, 7), (1,), (2, BLOCK + 16), (40, 32)]


@pytest.mark.parametrize("update", UPDATES, ids=["kernel", "reference"])
@pytest.mark.parametrize("copies", [True, False], ids=["copies", "masters alone"])
@pytest.mark.parametrize(
    "half", [[False] * 5, [True, False, True, True, False]], ids=["fp32", "mixed"]
)
def test_tensors_of_any_size_are_updated_as_torch_does(
    update: object, copies: bool, half: list[bool]
) -> None:
    assert_right(case(SHAPES, half, copies=copies), update)


@pytest.mark.parametrize("update", UPDATES, ids=["kernel", "reference"])
def test_whole_accesses_take_the_path_that_is_compiled_for_a_gpu(update: object) -> None:
    made = case([(BLOCK,), (2, BLOCK + 16), (48,)], [False, True, False])
    assert made.arguments()[7] is True
    assert_right(made, update)


@settings(max_examples=25)
@given(
    sizes=st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=4),
    half=st.booleans(),
    updates=st.integers(1, 2000),
    coefficient=st.sampled_from([1.0, 0.01]),
    seed=st.integers(0, 99),
)
def test_any_sizes_at_any_update_are_right(
    sizes: list[int], half: bool, updates: int, coefficient: float, seed: int
) -> None:
    made = case(
        [(size,) for size in sizes],
        [half] * len(sizes),
        seed=seed,
        updates=updates,
        coefficient=coefficient,
    )
    assert_right(made, launch_adamw)


@pytest.mark.parametrize("update", UPDATES, ids=["kernel", "reference"])
def test_a_skipped_update_changes_no_bit_whatever_the_gradients(update: object) -> None:
    made = case(SHAPES, [False] * 5, skip=1)
    made.gradients[0] = torch.full_like(made.masters[0], torch.nan)
    arguments = made.arguments()
    update(*arguments)
    for before, after in zip(
        (made.masters, made.firsts, made.seconds, made.shadows),
        (arguments[0], *arguments[2:5]),
        strict=True,
    ):
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("update", UPDATES, ids=["kernel", "reference"])
def test_a_tensor_without_gradient_stays_as_it_is(update: object) -> None:
    made = case(SHAPES, [False] * 5)
    made.gradients[1] = None
    assert_right(made, update)


@pytest.mark.parametrize("update", UPDATES, ids=["kernel", "reference"])
def test_copies_are_kept_of_some_tensors_only(update: object) -> None:
    made = case(SHAPES, [True] * 5)
    made.shadows[2] = torch.empty(0, dtype=torch.bfloat16)
    arguments = made.arguments()
    update(*arguments)
    assert [shadow.numel() for shadow in arguments[4]] == [
        master.numel() if index != 2 else 0 for index, master in enumerate(made.masters)
    ]


def test_the_kernel_gives_the_same_bits_every_time() -> None:
    made = case(SHAPES, [True, False, True, False, True])
    results = []
    for _ in range(2):
        arguments = made.arguments()
        launch_adamw(*arguments)
        results.append(
            torch.cat(
                [
                    part.flatten().float()
                    for parts in (arguments[0], *arguments[2:5])
                    for part in parts
                ]
            )
        )
    assert torch.equal(*results)


@pytest.mark.slow
def test_the_op_keeps_the_rules_of_custom_ops() -> None:
    made = case([(3, 5), (16,)], [False, True])
    torch.library.opcheck(_adamw, made.arguments())


def test_the_function_looks_tables_up_and_updates_in_place() -> None:
    made = case(SHAPES, [False] * 5)
    arguments, expected = made.arguments(), made.arguments()
    masters, gradients, firsts, seconds, shadows = arguments[:5]
    adamw_(
        TensorTable(masters, firsts, seconds, shadows),
        masters,
        gradients,
        firsts,
        seconds,
        shadows,
        *arguments[8:10],
        betas=BETAS,
        eps=EPS,
    )
    torch_adamw(*expected)
    assert all(torch.equal(one, other) for one, other in zip(masters, expected[0], strict=True))


def test_tables_are_made_once_and_again_when_a_gradient_moves() -> None:
    masters = [draw(4, 4), draw(8)]
    table = TensorTable(masters)
    gradients = [draw(4, 4), draw(8)]
    addresses = table.addresses(gradients)
    assert table.addresses(gradients) is addresses
    assert table.blocks(8) is table.blocks(8)
    before = addresses.clone()
    moved = table.addresses([gradients[0], None])
    assert moved is not addresses
    assert torch.equal(addresses, before), "a launch that was enqueued keeps its table"
    assert moved[1, 1] == 0


@given(sizes=st.lists(st.integers(0, 50), max_size=6), size=st.integers(1, 20))
def test_blocks_cover_every_element_once_in_order(sizes: list[int], size: int) -> None:
    import numpy as np

    covered = [
        (tensor, element)
        for tensor, number in blocks_of(np.array(sizes, np.int64), size).tolist()
        for element in range(number * size, min(sizes[tensor], (number + 1) * size))
    ]
    assert covered == [
        (tensor, element) for tensor, count in enumerate(sizes) for element in range(count)
    ]


def test_tensors_that_accesses_cannot_reach_are_refused() -> None:
    table = TensorTable([draw(4, 4)])
    for gradient in (draw(4, 4).T, draw(17)[1:], draw(4, 4).double()):
        with pytest.raises(ValueError, match=r"contiguous|fp32 or bf16"):
            table.addresses([gradient])
    assert ALIGNMENT == 16
