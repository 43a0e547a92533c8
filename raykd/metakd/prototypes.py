"""Instance weights: how typical a row is of its class, in its own domain and in the others.

Two passes over a table of row embeddings, each memory-flat: sums and counts per (domain, class), then a score for every row.
Both are jobs over row groups; results are added in the order of the groups, so they do not depend on who computed them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.data.cell_values import known_text
from raykd.data.parquet_files import PartInfo
from raykd.data.ray_map import run_job
from raykd.data.side_tables import SideTable, commit, logits_numpy, write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.metakd.embeddings import EMBEDDING

T = TypeVar("T")
ScoreKind = Literal["paper", "easynlp"]
WEIGHT, DOMAIN_ID = "weight", "domain_id"
"""Columns of the side table: the score float32, and the position of the row's domain among the domains, int32."""
GROUPS_PER_ITEM = 8
_IN_PROCESS_ROWS = 200_000
"""Fewer rows take less time than starting a job."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Sums of embeddings per domain and class; addable, and small whatever the number of rows."""

    sums: NDArray[np.float64]
    """``[K, M, H]``."""
    counts: NDArray[np.int64]
    """``[K, M]`` rows."""

    @staticmethod
    def of(
        embeddings: NDArray[np.float32], domain_ids: NDArray[Any], label_ids: NDArray[Any], *, domains: int, labels: int
    ) -> "Prototypes":
        """Sums over some rows: embeddings ``[n, H]``, ids ``[n]``."""
        cell = domain_ids.astype(np.int64) * labels + label_ids  # [n]
        sums = np.zeros((domains * labels, embeddings.shape[1]))
        np.add.at(sums, cell, embeddings)
        counts = np.bincount(cell, minlength=domains * labels)
        return Prototypes(sums.reshape(domains, labels, -1), counts.reshape(domains, labels))

    def __add__(self, other: "Prototypes") -> "Prototypes":
        return Prototypes(self.sums + other.sums, self.counts + other.counts)

    @property
    def means(self) -> NDArray[np.float32]:
        """The prototypes of Pan et al. 2021, arXiv:2012.01266: mean embedding per domain and class, ``[K, M, H]``."""
        means: NDArray[np.float32] = (self.sums / np.maximum(self.counts, 1)[..., None]).astype(np.float32)
        return means

    @property
    def centroids(self) -> NDArray[np.float32]:
        """EasyNLP's: mean embedding per domain over all classes, ``[K, H]``."""
        counts = np.maximum(self.counts.sum(1), 1)[:, None]
        centroids: NDArray[np.float32] = (self.sums.sum(1) / counts).astype(np.float32)
        return centroids

    def check(self, domains: Sequence[str], labels: Sequence[str]) -> None:
        """Raise DataError for a domain without rows, or without rows of some class: it has no prototype there."""
        for domain, counts in zip(domains, self.counts, strict=True):
            if not counts.any():
                raise DataError(f"domain {domain!r} has no training rows; remove it from domains, or give it rows")
            if not counts.all():
                found = dict(zip(labels, counts.tolist(), strict=True))
                raise DataError(f"domain {domain!r} lacks a class: its training rows are {found}; every class needs some")


@dataclass(frozen=True)
class _EmbeddedRows:
    """The rows of a job and their domain column."""

    prepared: str
    embeddings: str
    domain: str
    domains: tuple[str, ...]

    def groups(self, first: int, count: int) -> Iterator[tuple[pa.Table, NDArray[np.int32], NDArray[np.float32]]]:
        """Row names with labels, domain ids ``[n]`` and embeddings ``[n, H]`` of each row group."""
        prepared = TokenisedSet.open(self.prepared)
        side = SideTable.open(self.embeddings)
        side.check_fits(prepared)
        for group in range(first, first + count):
            rows = prepared.read_group(group, ["shard", "row", "label", self.domain])
            embeddings = logits_numpy(side.read_group(group)[EMBEDDING])
            yield rows, domain_ids(rows[self.domain], self.domains), embeddings


def domain_ids(column: pa.ChunkedArray, domains: Sequence[str]) -> NDArray[np.int32]:
    """Position of each row's domain among ``domains``. Raises DataError naming a domain that is not one of them."""
    ids = {name: index for index, name in enumerate(domains)}
    found = column.combine_chunks().dictionary_encode()
    names = found.dictionary.to_pylist()
    names = [known_text(str(name), ids) for name in names]
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise DataError(
            f"domain {unknown[0]!r} of a row is not one of {', '.join(domains)}; list it in domains, or drop its rows"
        )
    table = np.array([ids[name] for name in names], np.int32)
    chosen: NDArray[np.int32] = table[found.indices.to_numpy()]
    return chosen


def prototypes(prepared: TokenisedSet, embeddings: SideTable, *, domain: str, domains: Sequence[str]) -> Prototypes:
    """The first pass. ``domain`` is the column of ``prepared`` that names a row's domain, which must be one of ``domains``.

    Raises DataError: rows without labels, an unknown domain, a domain without rows of some class, embeddings of other rows.
    """
    if prepared.labels is None:
        raise DataError(f"{prepared.path} has no labels, but prototypes are means of a class; name the label column")
    if len(domains) < 2:
        raise DataError(f"domains = {list(domains)}: scores compare domains, at least two are needed")
    job = _Summing(_EmbeddedRows(prepared.path, embeddings.path, domain, tuple(domains)), len(prepared.labels))
    parts = dict(_pass_over(prepared, job, to="sum up domains"))
    total: Prototypes = sum((parts[index] for index in sorted(parts) if index), start=parts[0])
    total.check(domains, prepared.labels)
    return total


@dataclass(frozen=True)
class _Summing:
    rows: _EmbeddedRows
    labels: int

    def __call__(self, item: tuple[int, int]) -> Prototypes:
        total: Prototypes | None = None
        for table, domains, embeddings in self.rows.groups(*item):
            count = len(self.rows.domains)
            part = Prototypes.of(embeddings, domains, table["label"].to_numpy(), domains=count, labels=self.labels)
            total = part if total is None else total + part
        assert total is not None
        return total


def weigh(
    prepared: TokenisedSet,
    embeddings: SideTable,
    found: Prototypes,
    *,
    domain: str,
    domains: Sequence[str],
    out: str,
    kind: ScoreKind = "paper",
    alpha: float = 0.5,
) -> SideTable:
    """The second pass: a side table of ``prepared`` with the columns :data:`WEIGHT` and :data:`DOMAIN_ID`.

    ``kind`` paper is :func:`raykd.losses.prototype_score`; easynlp is ``(cos(h, c_own) + cos(h, mean of the other c)) / 2``
    with one centroid a domain. Raises DataError for an unknown domain or embeddings of other rows.
    """
    rows = _EmbeddedRows(prepared.path, embeddings.path, domain, tuple(domains))
    job = _Weighing(rows, found, kind, alpha, out)
    parts = [part for _, part in _pass_over(prepared, job, to="weigh rows")]
    provenance = {"kind": kind, "alpha": alpha, "domains": list(domains), "embeddings": embeddings.provenance}
    return commit(out, prepared, parts, [WEIGHT, DOMAIN_ID], provenance)


def count_negative_weights(tables: Sequence[SideTable]) -> tuple[int, int]:
    """Rows whose weight is below 0, and all rows, in tables that have weights."""
    negative = total = 0
    for table in tables:
        if WEIGHT in table.columns:
            for group in range(len(table.group_rows)):
                weights = table.read_group(group, [WEIGHT])[WEIGHT].to_numpy()
                negative, total = negative + int((weights < 0).sum()), total + len(weights)
    return negative, total


@dataclass(frozen=True)
class _Weighing:
    rows: _EmbeddedRows
    found: Prototypes
    kind: ScoreKind
    alpha: float
    out: str

    def __call__(self, item: tuple[int, int]) -> PartInfo:
        return write_part(self.out, item[0], self._tables(*item))

    def _tables(self, first: int, count: int) -> Iterator[pa.Table]:
        for table, domains, embeddings in self.rows.groups(first, count):
            labels = table["label"].to_numpy()
            weights = scores(embeddings, domains, labels, self.found, kind=self.kind, alpha=self.alpha)
            yield (
                table.select(["shard", "row"])
                .append_column(WEIGHT, pa.array(weights))
                .append_column(DOMAIN_ID, pa.array(domains))
            )


def scores(
    embeddings: NDArray[np.float32],
    domain_ids: NDArray[Any],
    label_ids: NDArray[Any],
    found: Prototypes,
    *,
    kind: ScoreKind,
    alpha: float,
) -> NDArray[np.float32]:
    """The scores of some rows, ``[n]``: embeddings ``[n, H]``, ids ``[n]``; see :func:`weigh`."""
    import torch

    from raykd.losses import prototype_score

    if kind == "easynlp":
        return _easynlp_scores(embeddings, found.centroids, domain_ids)
    ids = [torch.from_numpy(one.astype(np.int64)) for one in (domain_ids, label_ids)]
    prototype = torch.from_numpy(found.means)
    result: NDArray[np.float32] = prototype_score(torch.tensor(embeddings), prototype, *ids, alpha=alpha).numpy()
    return result


def _easynlp_scores(
    embeddings: NDArray[np.float32], centroids: NDArray[np.float32], domains: NDArray[Any]
) -> NDArray[np.float32]:
    others = (centroids.sum(0) - centroids) / (len(centroids) - 1)  # [K, H]
    both = _cosine(embeddings, centroids[domains]) + _cosine(embeddings, others[domains])
    return (both / 2).astype(np.float32)


def _cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    cosines: NDArray[np.float32] = ((left * right).sum(1) / np.maximum(norms, 1e-8)).astype(np.float32)
    return cosines


def _pass_over(prepared: TokenisedSet, job: Callable[[tuple[int, int]], T], *, to: str) -> Iterator[tuple[int, T]]:
    """Results of a job over successive row groups, each with its position."""
    total = len(prepared.group_rows)
    items = [(first, min(GROUPS_PER_ITEM, total - first)) for first in range(0, total, GROUPS_PER_ITEM)]
    return run_job(job, items, in_process=prepared.num_rows < _IN_PROCESS_ROWS, to=to)
