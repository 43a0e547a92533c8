"""Meta-KD on real Ray: from rows of three domains to the table in one command, and nothing twice."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from raykd.data.side_tables import SideTable
from raykd.metakd.embeddings import Embedder
from raykd.metakd.pipeline import run_meta_kd
from raykd.predict import ScoreJob, score, score_locally
from tests.ray.metakd_jobs import config
from tests.unit.metakd.worlds import prepared_rows, save_model, write_rows

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def test_one_run_makes_the_table_and_the_next_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.train.torch import TorchTrainer

    fits = []
    fit = TorchTrainer.fit
    monkeypatch.setattr(TorchTrainer, "fit", lambda trainer: (fits.append(trainer), fit(trainer))[1])
    given = config(tmp_path)
    given = given.model_copy(update={"compute": given.compute.model_copy(update={"parallel_tasks": 2})})
    report = run_meta_kd(given)

    assert len(fits) == 2, "two groups of workers side by side serve every teacher, domain and stage"
    assert [(one.teacher, one.method) for one in report.lines] == [
        ("one domain's teacher", "–"),
        ("meta-teacher", "–"),
        ("–", "hard labels"),
        ("one domain's teacher", "TinyBERT-KD"),
        ("meta-teacher", "meta-distillation"),
    ]
    assert report.rows == {"kitchen": 30}
    assert report.contrasts[0].reference == "hard labels"
    folder = tmp_path / "runs" / "small"
    first, second = (folder / "students" / "meta_kd" / "kitchen" / "seed1" / name for name in ("intermediate", "."))
    terms = [json.loads(line)["terms"] for line in (first / "history.jsonl").read_text().splitlines() if '"train"' in line]
    assert list(terms[0]) == ["embedding", "hidden", "attention", "domain"]
    start = json.loads((second / "history.jsonl").read_text().splitlines()[0])
    assert start["engine"] == "deepspeed-zero0"
    assert (folder / "teachers" / "meta" / "domain_head.safetensors").exists()

    assert run_meta_kd(given) == report
    assert len(fits) == 2, "nothing is trained twice"


@pytest.mark.long
def test_domains_train_side_by_side_in_groups_of_their_own(tmp_path: Path) -> None:
    """Two groups of one worker each: one trains the meta-teacher, the other meanwhile the students on hard labels."""
    given = config(tmp_path, baselines=["hard_labels"])
    student = given.student.model_copy(update={"domains": ("books", "kitchen")})
    given = given.model_copy(update={"compute": given.compute.model_copy(update={"parallel_tasks": 2})})
    report = run_meta_kd(given.model_copy(update={"student": student}))

    trainings = sorted((tmp_path / "runs" / "small").glob("*/**/history.jsonl"))
    starts = {str(path): json.loads(path.read_text().splitlines()[0])["pid"] for path in trainings}
    assert len(starts) == 7  # the meta-teacher; for each domain hard labels, stage first and stage second
    assert len(set(starts.values())) == 2, starts
    assert report is not None
    assert list(report.rows) == ["books", "kitchen"]


def test_embeddings_are_the_same_bytes_from_two_actors(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model", hidden=16)
    rows = prepared_rows([str(write_rows(tmp_path / f"{seed}.tsv", 40, seed=seed)) for seed in (1, 2, 3)], model, tmp_path)
    os.makedirs(tmp_path / "out", exist_ok=True)
    here = score_locally([ScoreJob(model, rows.path, str(tmp_path / "out" / "here"))], scorer=Embedder)[0]
    there = score([ScoreJob(model, rows.path, str(tmp_path / "out" / "there"))], actors=2, scorer=Embedder)[0]

    def groups(table: SideTable) -> list[Any]:
        return [table.read_group(group) for group in range(len(table.group_rows))]

    assert here.columns == there.columns == ("embedding",)
    assert groups(here) == groups(there)
