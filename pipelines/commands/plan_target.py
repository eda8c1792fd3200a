"""Which plan and which shards a command speaks of: those of a run, or a plan's file and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from artifacts.errors import UserError
from artifacts.paths import Store
from mixtures.loader.loader import Folders
from mixtures.order.sound_plan import load_plan
from mixtures.plan.format import Plan
from pipelines.run.record import RECORD, load_run
from pipelines.training.materials import Materials
from tokenizer.shards.manifest import MANIFEST_NAME, parse_manifest


def plan_and_folders(target: str, shards: Sequence[str], runs: str) -> tuple[Plan, Folders]:
    """The plan and the folders of its sources.

    ``target``: a plan's file or a run. ``shards``: as :func:`named_folders`; without any those of
    the run, for a file the run it lies in. Raises: UserError when there is no such plan, or no
    shards are named.
    """
    if Path(target).is_file():
        plan = load_plan(target)
        return plan, named_folders(shards) if shards else _folders_around(Path(target))
    from pipelines.training.plan_file import plan_of_run  # needs torch, which a file does not

    store, record = load_run(runs, target)
    plan = plan_of_run(store)
    return plan, named_folders(shards) if shards else Materials.of(store, record).folders


def check_branch(plan: Plan, branch: str | None, target: str, runs: str) -> None:
    """Raises: UserError for a branch that neither the plan's rules nor the run's recipe name."""
    if branch is None:
        return
    known = set(plan.rules.reserve.values()) - {segment.name for segment in plan.segments}
    if not Path(target).is_file():
        recipe = load_run(runs, target)[1]["recipe"]
        known |= {entry["name"] for entry in recipe.get("branches", ())}
    if branch not in known:
        raise UserError(
            "no such branch",
            field="--branch",
            found=branch,
            allowed=sorted(known) or None,
            fix="leave --branch out: the plan reserves nothing for a branch" if not known else None,
        )


def named_folders(shards: Sequence[str]) -> dict[str, Path | str]:
    """Folders by source from ``SOURCE=FOLDER``, a source's folder, or a folder of such folders.

    Raises: UserError when a folder is neither.
    """
    folders: dict[str, Path | str] = {}
    for text in shards:
        name, named, place = text.partition("=")
        if named and not Path(text).exists():
            folders[name] = place
        else:
            folders |= _sources_in(text)
    return folders


def _sources_in(place: str) -> dict[str, Path | str]:
    """The source in a folder, or those below it; of this disk or of a store."""
    store = Store(place)
    names = [MANIFEST_NAME] if store.exists(MANIFEST_NAME) else store.names()
    found: dict[str, Path | str] = {}
    for name in (one for one in names if one.rpartition("/")[2] == MANIFEST_NAME):
        full = store.full(name)
        folder = full.rpartition("/")[0]
        source = parse_manifest(store.read(name), full).source
        found[source] = Path(folder) if store.local else folder
    if not found:
        raise UserError(
            "no shards here",
            file=place,
            field="--shards",
            fix="name a folder with source.json, a folder of such, or SOURCE=FOLDER",
        )
    return found


def _folders_around(plan: Path) -> Folders:
    """The shards of the run that a plan's file lies in."""
    for folder in plan.resolve().parents:
        if (folder / RECORD).is_file():
            return Materials.of(*load_run(str(folder.parent), str(folder))).folders
    raise UserError(
        "the shards of this plan are not named",
        file=plan,
        field="--shards",
        found="no folder, and no run around the file",
        fix="name them: --shards FOLDER, or --shards SOURCE=FOLDER",
    )
