"""A comparison that removes most of a source stops the run: more often a template or a wrong
setting than a corpus of copies.

The check follows the comparison, whose evidence and selection are published by then. So it loses
nothing: a run with a higher limit finds them and goes on.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from artifacts.errors import Setting, Text, UserError
from artifacts.ids import as_words
from artifacts.ledger import Entry
from artifacts.paths import Store
from artifacts.tables import read_parquet
from pipelines.corpus.outcomes import CorpusOutcome
from pipelines.stages.base import CompareStep

FEWEST = 100  # documents a source has at least for its share to mean anything
CLUSTERS, PAIRS, EXCERPT = 3, 3, 100  # shown; characters of a text

Id = tuple[int, int]


def check_removals(store: Store, step: CompareStep, outcome: CorpusOutcome) -> None:
    """Hold what a comparison removed of each source against ``max_removed_share``.

    Raises: UserError naming the source of which the largest share went, with the largest clusters
    and pairs from it.
    """
    shares = {
        source: _share(entry)
        for source, entry in outcome.entries.items()
        if entry.entered.documents >= FEWEST
    }
    most = 1.0 if step.max_removed_share is None else step.max_removed_share
    beyond = {source: share for source, share in shares.items() if share > most}
    if not beyond:
        return
    source = max(sorted(beyond), key=lambda name: beyond[name])
    entry = outcome.entries[source]
    removed = entry.entered.documents - entry.kept.documents
    said = (
        f"{step.name} removes {100 * beyond[source]:.1f} % of source {source!r}: "
        f"{removed:,} of {entry.entered.documents:,} documents"
    )
    stricter: Text = (
        ("look at the pairs above",)
        if step.strictness is None
        else ("raise ", Setting((step.name, step.strictness)))
    )
    enough = min(1.0, np.ceil(100 * beyond[source]) / 100)
    raise UserError(
        "\n".join([said, *_examples(store, step.name, source, outcome)]),
        field=(step.name, "max_removed_share"),
        found=f"{beyond[source]:.4f}, more than {most:g}",
        fix=(
            "where these are copies, allow it with ",
            Setting((step.name, "max_removed_share"), f"{enough:g}"),
            " (nothing is made again); else ",
            *stricter,
        ),
    )


def _share(entry: Entry) -> float:
    return 1 - entry.kept.documents / entry.entered.documents


def _examples(store: Store, step: str, source: str, outcome: CorpusOutcome) -> list[str]:
    """Lines on the largest clusters of a source and pairs over the range of similarities, with the
    beginnings of their texts.
    """
    from pipelines.corpus.chunk_columns import ChunkColumns
    from pipelines.corpus.excerpts import Excerpt, Places, one_line, read_excerpts

    evidence = read_parquet(store, outcome.files[0].name, "evidence")
    removed, kept = (
        as_words(evidence["id"].combine_chunks()),
        as_words(evidence["kept_id"].combine_chunks()),
    )
    ours = np.flatnonzero(_of_source(store, step, source, outcome, removed))
    clusters = Counter(map(tuple, kept[ours].tolist())).most_common(CLUSTERS)
    similarity = evidence["similarity"].to_numpy()[ours]
    order = ours[np.argsort(similarity, kind="stable")]
    rows = dict.fromkeys(
        int(order[place]) for place in np.linspace(0, len(order) - 1, PAIRS).astype(np.int64)
    )
    ends: list[tuple[int, Id, Id]] = [(row, _id(removed[row]), _id(kept[row])) for row in rows]
    places = Places(
        [
            *(identity for identity, _ in clusters),
            *(end for _, one, other in ends for end in (one, other)),
        ]
    )
    for chunk in outcome.chunks:
        places.add(ChunkColumns(store, chunk))
    excerpts = read_excerpts(store, outcome.chunks, places.found.values())

    def shown(identity: Any) -> str:
        found: Excerpt = excerpts[places.found[identity]]
        return f"{found.source} {found.id}  {one_line(found.text, EXCERPT)}"

    lines = ["  most documents went in favour of"]
    lines += [f"    {count:>9,} for {shown(identity)}" for identity, count in clusters]
    lines.append("  pairs")
    for row, one, other in ends:
        lines.append(f"    similarity {evidence['similarity'][row].as_py():.3f}")
        lines += [f"      removed {shown(one)}", f"      kept    {shown(other)}"]
    return lines


def _id(halves: Any) -> Id:
    return int(halves[0]), int(halves[1])


def _of_source(store: Store, step: str, source: str, outcome: CorpusOutcome, ids: Any) -> Any:
    """Which of these ids (n, 2) belong to documents of a source that the step removed, (n,)."""
    own = [np.empty(0, np.uint64)]
    for chunk in outcome.chunks:
        if chunk.source == source and chunk.selection is not None:
            table = read_parquet(store, chunk.selection.name, "selection", ["id", "stage"])
            mine = table.filter(np.asarray(table["stage"].to_numpy(zero_copy_only=False) == step))
            own.append(as_words(mine["id"].combine_chunks())[:, 1])
    return np.isin(ids[:, 1], np.concatenate(own))  # half an id is enough for examples
