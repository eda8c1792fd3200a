"""Train a recipe's mixture over the shards its run has, without looking at the corpus again.

    outcome = train_run(load_recipe("recipes/quickstart.yaml"), "runs", until_step=100)

Plan, keys and folders are those of :func:`pipelines.run.driver.run_recipe`: what is trained here a
later run finds, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from artifacts.books import told_of_damage
from artifacts.commands import Command
from artifacts.errors import UserError
from artifacts.ledger import Ledger
from artifacts.lock import run_lock
from artifacts.paths import Store
from mixtures.plan.format import Plan
from pipelines.executors.progress import Progress, Silent
from pipelines.recipe.load import LoadedRecipe, given_recipe
from pipelines.report.calls import SHARDS, recipe_of
from pipelines.run.after_training import after_training, check_ahead, finished
from pipelines.run.driver import RunOutcome
from pipelines.run.earlier import book_costs, trained
from pipelines.run.given_tokenizer import given_model
from pipelines.run.record import LEDGERS, load_run, write_ledger, write_record
from pipelines.stages.step_names import is_training
from pipelines.training.train import train_recipe
from pipelines.training.watch import TrainingWatch
from pipelines.training.way import chosen_way
from tokenizer.encode import Tokenizer

DECIDE_SHARDS = ("seed", "corpus", "tokenizer", "shards")  # parts of a recipe
STOP_A_RUN = ("max_quarantined_share",)  # settings of a source that decide no byte


def train_run(
    loaded: LoadedRecipe,
    runs: str = "runs",
    *,
    resume: bool = True,
    until_step: int | None = None,
    plan: Plan | None = None,
    progress: Progress | None = None,
    keep: bool = False,
    back: bool = False,
    restart: bool = False,
) -> RunOutcome:
    """Train to the end of the recipe, branches and samples included, or to ``until_step`` updates
    of its own training.

    Without ``resume`` a training that has a checkpoint is refused. ``plan``: follow it instead of
    the run's. ``keep``, ``back`` or ``restart``: of weights that have seen a document which was
    taken down since, to go on with them, from the last checkpoint that has not, or from the start.
    Raises: StoppedError after a signal; UserError when the run has no shards, or those of other
    settings, and as :func:`pipelines.training.train.train_recipe`.
    """
    way = chosen_way(keep, back, restart)
    store, record = load_run(runs, f"{runs.rstrip('/')}/{loaded.recipe.name}")
    if not record["shards"]:
        raise UserError(
            "this run has no shards yet",
            file=store.root,
            found=f"it reached {record['reached']}",
            fix=Command("run RECIPE", RECIPE=loaded.file.path),
        )
    check_shards_are_of(loaded, record)
    check_ahead(loaded)
    progress = progress or Silent()
    with told_of_damage(progress.note), run_lock(store):
        watch = TrainingWatch(progress, until_step)
        made = train_recipe(
            loaded, store, record, watch, resume=resume, until_step=until_step, plan=plan, way=way
        )
        _note_recipe(record, loaded.resolved())
        record["reached"] = "train" if finished(store, record) else "shards"
        _book(store, record, made)
        if after := after_training(loaded, store, record, progress):
            made += after
            _book(store, record, made)
    return RunOutcome(store, record, made, sum(ledger.computed for ledger in made))


def check_shards_are_of(loaded: LoadedRecipe, record: dict[str, Any]) -> None:
    """Raises: UserError at the first setting of the corpus, the tokenizer or the shards that is not
    the one the shards were made with.
    """
    recipe, made_with = loaded.resolved(), _of_this_release(recipe_of(record, SHARDS))
    given = given_model(loaded)
    if given is not None and Tokenizer.load(given).hash == record["tokenizer"]["hash"]:
        recipe["tokenizer"] = made_with["tokenizer"]  # the same one, wherever it lies
    elif given is not None and recipe["tokenizer"] == made_with["tokenizer"]:
        raise loaded.file.error(
            ("tokenizer", "model") if loaded.recipe.start is None else ("start",),
            "the run's shards were made with another tokenizer than lies there now",
            found=Tokenizer.load(given).hash,
            allowed=[record["tokenizer"]["hash"]],
            fix=(
                Command("run RECIPE", RECIPE=loaded.file.path),
                " makes the shards of this one and trains on them; or put the former one back",
            ),
        )
    for part in DECIDE_SHARDS:
        for path, now, then in _differences(
            (part,), _deciding(recipe[part]), _deciding(made_with[part])
        ):
            raise loaded.file.error(
                path,
                "the run's shards were made with another setting",
                found=now,
                allowed=[then],
                fix=(
                    Command("run RECIPE", RECIPE=loaded.file.path),
                    " makes the shards of this recipe and trains on them; or set it back",
                ),
            )


def _of_this_release(recorded: dict[str, Any]) -> dict[str, Any]:
    """A recorded recipe's parts that decide shards, with the settings that came since at their
    defaults, which mean what was done before.

    One that this release does not take is compared as it stands.
    """
    try:
        parts = {part: recorded[part] for part in ("name", *DECIDE_SHARDS)}
        return given_recipe(parts).resolved()
    except UserError:
        return recorded


def _deciding(part: Any) -> Any:
    """A part of a recipe without what only says when a run stops."""
    if not isinstance(part, dict) or "sources" not in part:
        return part
    sources = [
        {name: value for name, value in source.items() if name not in STOP_A_RUN}
        for source in part["sources"]
    ]
    return {**part, "sources": sources}


def _differences(
    path: tuple[str | int, ...], now: Any, then: Any
) -> Iterator[tuple[tuple[str | int, ...], Any, Any]]:
    """(place, this value, that value) wherever two plain values differ."""
    if isinstance(now, dict) and isinstance(then, dict) and now.keys() == then.keys():
        for key in now:
            yield from _differences((*path, key), now[key], then[key])
    elif isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        for place, (one, other) in enumerate(zip(now, then, strict=True)):
            yield from _differences((*path, place), one, other)
    elif now != then:
        yield path, now, then


def _note_recipe(record: dict[str, Any], recipe: dict[str, Any]) -> None:
    """Make the recipe the record's, where its corpus is of that recipe too; note the training."""
    before = _of_this_release(record["recipe"])
    same = [_deciding(recipe[part]) == _deciding(before[part]) for part in DECIDE_SHARDS]
    if all(same):
        record["recipe"] = recipe
    trained(record, recipe)


def _book(store: Store, record: dict[str, Any], made: list[Ledger]) -> None:
    """Put the trainings' ledgers behind those of the corpus, in place of older ones."""
    kept = [ledger for ledger in record["ledgers"] if not is_training(ledger["step"])]
    for name in store.names(LEDGERS):
        number = name.rsplit("/", 1)[-1].split("-", 1)[0]
        if number.isdigit() and int(number) > len(kept):
            store.delete(name)
    for place, ledger in enumerate(made, len(kept) + 1):
        write_ledger(store, place, ledger)
    ledgers = [ledger.to_json() for ledger in made]
    record["ledgers"] = [*kept, *ledgers]
    book_costs(record, ledgers)
    write_record(store, record)
