"""A model's logits on prepared rows, as a side table: one Ray Data execution with a pool of model actors, or in this process.

The batches of a row group follow from the row group alone (sorted by length, cut, padded to the longest row), so the logits are
the same bytes whichever actor computes them, and however many there are. Actors write the table's parts themselves; only their
names travel back, and the manifest is written last. Row groups of small sets are divided, batch by batch, so that no actor
waits for another one; the outputs of such shares travel back and are written here.
"""

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import torch

from raykd import models
from raykd.config.training import PrecisionChoice
from raykd.data import storage
from raykd.data.kept_actors import KeptActors
from raykd.data.parquet_files import MANIFEST, PartInfo
from raykd.data.prepare import Progress
from raykd.data.ray_map import run_actors
from raykd.data.side_tables import ROW_ID, SideTable, commit, write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError, ResourceError
from raykd.predict.answer_scorer import AnswerScorer
from raykd.predict.scorer import ScoredPart, ScoredShare, ScoreItem, ScoreJob, Scorer, group_table

Scored = ScoredPart | ScoredShare
"""Result of an item."""
BATCH_ROWS = 64
"""Rows of one forward pass."""
PARTS_AIM, MAX_GROUPS_PER_PART = 64, 32
"""Small sets are cut finely, so that actors share them evenly; large ones into parts of at most 65,536 rows."""
ITEMS_PER_ACTOR = 2
"""Items of each actor, about, where row groups are fewer; with one, three groups on two actors take the time of two. Each item
costs about a tenth of a second."""
SPARE = 0.25
"""Fraction of an item that a row group may be longer before it is divided."""


def score(
    jobs: Sequence[ScoreJob],
    *,
    actors: int = 1,
    cpus_per_actor: int = 1,
    batch_rows: int = BATCH_ROWS,
    precision: PrecisionChoice = "auto",
    use_gpu: bool = False,
    unpadded: bool = False,
    progress: Progress | None = None,
    scorer: type[Scorer] = AnswerScorer,
    kept: KeptActors | None = None,
) -> list[SideTable]:
    """Logits of every job as a side table with the column ``logits``, ``[C]`` float32: one Ray Data execution for all of them.

    Another ``scorer`` gives its own column; actors that are ``kept`` score in place of new ones. ``unpadded`` runs classifiers
    without padding, which changes logits by rounding alone.
    At most ``actors`` model actors of ``cpus_per_actor`` CPUs (and torch threads) each; Ray must be up.
    Raises ModelError (a model that is not trained, does not fit its rows, or gives NaN), DataError, ResourceError (also when no
    place comes free for an actor, :func:`raykd.data.watchdog.limit_waits`).
    """
    jobs = [_absolute(job) for job in jobs]
    prepared = [_open_rows(job) for job in jobs]
    items = _items(jobs, prepared, batch_rows=batch_rows, actors=actors)
    _require_place(cpus_per_actor, use_gpu)
    done: list[Scored] = []
    if items:
        build = functools.partial(
            scorer,
            jobs,
            threads=cpus_per_actor,
            batch_rows=batch_rows,
            precision=precision,
            use_gpu=use_gpu,
            unpadded=unpadded,
        )
        run = functools.partial(run_actors, actors=actors, use_gpu=use_gpu) if kept is None else kept.run
        for _, one in run(build, items, cpus=cpus_per_actor, to="score rows"):
            done.append(one)
            _report_progress(progress, done, prepared)
    return _commit(jobs, prepared, done, batch_rows, scorer.column)


def score_locally(
    jobs: Sequence[ScoreJob],
    *,
    threads: int = 1,
    batch_rows: int = BATCH_ROWS,
    precision: PrecisionChoice = "auto",
    use_gpu: bool = False,
    unpadded: bool = False,
    progress: Progress | None = None,
    scorer: type[Scorer] = AnswerScorer,
) -> list[SideTable]:
    """The same as :func:`score`, and the same bytes, in this process and without Ray."""
    prepared = [_open_rows(job) for job in jobs]
    before = torch.get_num_threads()
    try:
        score_item = scorer(
            jobs, threads=threads, batch_rows=batch_rows, precision=precision, use_gpu=use_gpu, unpadded=unpadded
        )
        done: list[Scored] = []
        for item in _items(jobs, prepared, batch_rows=batch_rows, actors=1):
            done.append(score_item(item))
            _report_progress(progress, done, prepared)
    finally:
        torch.set_num_threads(before)
    return _commit(jobs, prepared, done, batch_rows, scorer.column)


def _absolute(job: ScoreJob) -> ScoreJob:
    """The same job for actors with another working directory; the name of a model on the hub stays what it is."""
    return replace(
        job,
        model=models.absolute_model(job.model),
        prepared=storage.absolute(job.prepared),
        output=storage.absolute(job.output),
    )


def _open_rows(job: ScoreJob) -> TokenisedSet:
    """Open the job's rows, check that they fit the model, and clear its output. Raises ModelError, DataError."""
    prepared = TokenisedSet.open(job.prepared)
    config = models.load_config(job.model)
    models.check_sequence_length(config, prepared.max_length, model=job.model)
    for path in storage.list_dir(job.output):  # an older table's, and nothing else that may lie there
        if os.path.basename(path) == MANIFEST or fnmatchcase(os.path.basename(path), "part-*.parquet"):
            storage.remove(path)
    return prepared


def _items(jobs: Sequence[ScoreJob], prepared: Sequence[TokenisedSet], *, batch_rows: int, actors: int) -> list[ScoreItem]:
    """All jobs cut into items, those of one model next to each other, so that actors seldom change models."""
    aim = ITEMS_PER_ACTOR * actors if actors > 1 else 1
    item_rows = max(1.0, sum(rows.num_rows for rows in prepared) / aim)
    items = []
    for index in sorted(range(len(jobs)), key=lambda index: jobs[index].model):
        job, groups = jobs[index], prepared[index].group_rows
        shares = [_shares(rows, item_rows, job.batch_rows or batch_rows) for rows in groups.tolist()]
        if max(shares, default=1) > 1 and job.only is None:
            items += [ScoreItem(index, group, 1, one, count) for group, count in enumerate(shares) for one in range(count)]
            continue
        fair = int(item_rows * len(groups) / max(1, groups.sum()))
        step = max(1, min(-(-len(groups) // PARTS_AIM), fair, MAX_GROUPS_PER_PART))
        items += [ScoreItem(index, first, min(step, len(groups) - first)) for first in range(0, len(groups), step)]
    return items


def _shares(rows: int, item_rows: float, batch_rows: int) -> int:
    """Number of items of a row group: each of about ``item_rows``, and of one batch at least."""
    return max(1, min(math.ceil(rows / item_rows - SPARE), -(-rows // batch_rows)))


def _require_place(cpus_per_actor: int, use_gpu: bool) -> None:
    """Raise ResourceError where no node can hold one actor: Ray would wait for it without limit."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= cpus_per_actor and (not use_gpu or node.get("GPU", 0) >= 1) for node in nodes):
        raise ResourceError(
            f"a prediction actor needs {cpus_per_actor} CPUs{' and a GPU' if use_gpu else ''} on one node; the nodes have "
            f"{[int(node.get('CPU', 0)) for node in nodes]} CPUs and {[int(node.get('GPU', 0)) for node in nodes]} GPUs; "
            "lower compute.cpus_per_worker or set compute.use_gpu = false"
        )


def _report_progress(progress: Progress | None, done: Sequence[Scored], prepared: Sequence[TokenisedSet]) -> None:
    if progress is not None:
        progress(sum(scored.rows for scored in done), sum(rows.num_rows for rows in prepared))


def _joined_shares(job: ScoreJob, rows: TokenisedSet, shares: Sequence[ScoredShare], column: str) -> list[PartInfo]:
    """Write the row groups that were divided, a part for each. Raises DataError when a share is not there."""
    parts = []
    for group in sorted({share.item.first_group for share in shares}):
        mine = [share for share in shares if share.item.first_group == group]
        positions = np.concatenate([share.positions for share in mine])
        if not np.array_equal(np.sort(positions), np.arange(rows.group_rows[group])):
            raise DataError(f"{job.output}: {len(positions)} of {rows.group_rows[group]} rows of row group {group} were scored")
        outputs = np.concatenate([share.outputs for share in mine])
        table = group_table(rows.read_group(group, ROW_ID), column, positions, outputs)
        parts.append(write_part(job.output, group, [table]))
    return parts


def _commit(
    jobs: Sequence[ScoreJob], prepared: Sequence[TokenisedSet], done: Sequence[Scored], batch_rows: int, column: str
) -> list[SideTable]:
    digests = {job.model: models.model_digest(job.model) for job in jobs}
    tables = []
    for index, (job, rows) in enumerate(zip(jobs, prepared, strict=True)):
        mine = [scored for scored in done if scored.item.job == index]
        provenance = {
            "model": job.model,
            "model_digest": digests[job.model],
            "tokens": rows.fingerprint,
            "batch_rows": job.batch_rows or batch_rows,
            "precision": sorted({scored.precision for scored in mine}),
            "device": sorted({scored.device for scored in mine}),
            "seconds": sum(scored.seconds for scored in mine),
        }
        parts = [scored.part for scored in mine if isinstance(scored, ScoredPart)]
        parts += _joined_shares(job, rows, [scored for scored in mine if isinstance(scored, ScoredShare)], column)
        tables.append(commit(job.output, rows, parts, [column], provenance))
    return tables
