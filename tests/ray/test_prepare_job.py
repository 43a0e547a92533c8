"""Preparing as a Ray Data job: the same bytes as without Ray, whatever becomes of its workers."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from raykd.data import prepare as prepare_module
from raykd.data import ray_map, sources, storage
from raykd.data.parquet_files import PartInfo, write_part
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.ray_map import run_job
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from tests.labelled_texts import labelled_texts

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


@pytest.fixture
def rows(tmp_path: Path, small_world: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> PrepareSpec:
    """Rows in many small chunks."""
    monkeypatch.setattr(sources, "CHUNK_BYTES", 8000)
    (tmp_path / "rows.tsv").write_text("".join(f"{'good film ' * (n % 9)}\t{n % 2}\n" for n in range(1000)))
    os.utime(tmp_path / "rows.tsv", (1, 1))
    return labelled_texts(tmp_path / "rows.tsv", small_world["student"], labels=("0", "1"), length=16)


@pytest.fixture
def as_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """However little there is to do."""
    for module in (sources, prepare_module):
        monkeypatch.setattr(module, "_IN_PROCESS_BYTES", 0)


def test_a_job_writes_the_bytes_of_one_process(
    rows: PrepareSpec, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = prepare(rows, str(tmp_path / "alone"))
    request.getfixturevalue("as_job")
    started: list[int] = []
    start = ray_map._ray_job
    monkeypatch.setattr(
        ray_map, "_ray_job", lambda function, items, to: started.append(len(items)) or start(function, items, to)
    )
    told: list[tuple[int, int]] = []
    job = prepare(rows, str(tmp_path / "job"), progress=lambda *done: told.append(done))
    assert len(job.parts) > 5
    assert [part.digest for part in job.parts] == [part.digest for part in alone.parts]
    assert (job.fingerprint, job.rows_fingerprint) == (alone.fingerprint, alone.rows_fingerprint)
    assert told == [(done + 1, len(job.parts)) for done in range(len(job.parts))]
    assert set(storage.file_sizes(job.path)) == {"manifest.json", "text_keys.bin", *(part.file for part in job.parts)}
    assert len(started) == 2  # the scan and the tokens
    assert prepare(rows, str(tmp_path / "job")) == job
    assert len(started) == 2


@pytest.mark.usefixtures("as_job")
def test_a_bad_row_in_a_task_is_the_users_error(rows: PrepareSpec, tmp_path: Path) -> None:
    with (tmp_path / "rows.tsv").open("a") as file:
        file.write("no label\n")
    with pytest.raises(DataError, match=r"rows\.tsv:1001: 1 column where 2 are needed"):
        prepare(rows, str(tmp_path / "cache"))


def dies_once(folder: str) -> Callable[[int], PartInfo]:
    def task(item: int) -> PartInfo:
        part = write_part(folder, item, [pa.table({"item": [item]})])
        if item == 1 and not os.path.exists(f"{folder}/died"):
            Path(f"{folder}/died").touch()
            os._exit(1)
        return part

    return task


def test_a_task_whose_worker_died_counts_once(tmp_path: Path) -> None:
    folder = str(tmp_path / "parts")
    results = dict(run_job(dies_once(folder), [0, 1, 2], in_process=False, to="write parts"))
    assert sorted(results) == [0, 1, 2]
    written = sorted(name for name in os.listdir(folder) if name.endswith(".parquet"))
    assert len(written) == 4
    assert {part.file for part in results.values()} < set(written)


def test_a_prepared_set_travels_to_tasks(rows: PrepareSpec, tmp_path: Path) -> None:
    prepared = prepare(rows, str(tmp_path / "cache"))
    prepared.lengths(0)

    def longest(item: TokenisedSet) -> int:
        return max(int(item.lengths(group).max()) for group in range(len(item.group_rows)))

    assert dict(run_job(longest, [prepared], in_process=False, to="look")) == {0: prepared.max_length}
