"""The dataset for other trainers: the plan's order for any number of workers, and shards that are
opened where they are read.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from artifacts.errors import UserError
from mixtures.freeze.freeze import Plan, freeze
from mixtures.loader.dataset import PlanDataset
from mixtures.loader.loader import Loader
from mixtures.spec.spec import MixtureSpec


@pytest.fixture(scope="module")
def plan(shards: Any) -> Plan:
    phases = [
        {"name": "short", "tokens": 512, "weights": {"web": 0.5, "chat": 0.5}},
        {
            "name": "long",
            "tokens": 512,
            "weights": {"web": 0.5, "code": 0.5},
            "sequence_length": 32,
            "batch_tokens": 128,
        },
    ]
    return freeze(
        MixtureSpec.model_validate({"phases": phases}),
        shards.sources,
        sequence_length=16,
        batch_tokens=64,
        seed=3,
    )


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_items_are_the_plans_steps_in_order_for_any_number_of_workers(
    shards: Any, plan: Plan, workers: int
) -> None:
    dataset = PlanDataset(plan, shards.folders)
    start = 2
    batches = list(
        DataLoader(
            dataset, batch_size=None, sampler=range(start, len(dataset)), num_workers=workers
        )
    )
    loader = Loader(plan, shards.folders)
    assert len(batches) == plan.steps - start
    for step, item in enumerate(batches, start):
        wanted = loader.batch(step)
        assert int(item["step"]) == step
        for name in ("tokens", "targets", "weights", "positions", "documents", "lengths", "source"):
            assert torch.equal(item[name], torch.from_numpy(getattr(wanted, name))), (step, name)


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_the_ranks_items_one_behind_the_other_are_the_global_batch(
    shards: Any, plan: Plan, world_size: int
) -> None:
    whole = PlanDataset(plan, shards.folders)
    ranks = [PlanDataset(plan, shards.folders, rank, world_size) for rank in range(world_size)]
    for step in range(len(whole)):
        assert torch.equal(
            torch.cat([rank[step]["tokens"] for rank in ranks]), whole[step]["tokens"]
        )


def test_it_travels_to_other_processes_without_what_it_has_open(shards: Any, plan: Plan) -> None:
    dataset = PlanDataset(plan, shards.folders, 1, 2)
    first = dataset[3]
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy._opened is None
    assert torch.equal(copy[3]["targets"], first["targets"])


def test_shards_are_opened_with_the_first_item_and_not_before(plan: Plan, tmp_path: Path) -> None:
    dataset = PlanDataset(plan, {name: tmp_path / name for name in plan.names})
    assert len(dataset) == plan.steps
    with pytest.raises(UserError):
        dataset[0]


def test_it_ends_where_the_plan_ends(shards: Any, plan: Plan) -> None:
    dataset = PlanDataset(plan, shards.folders)
    assert sum(1 for _ in DataLoader(dataset, batch_size=None)) == plan.steps
    for step in (-1, plan.steps):
        with pytest.raises(IndexError, match=f"plan of {plan.steps} steps"):
            dataset[step]
