"""Several jobs of scoring, their side tables, and the threads they use."""

import numpy as np
import torch

from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.predict import ScoreJob, score_locally
from tests.unit.predict.random_rows import all_logits, make_model, make_prepared


def test_the_table_names_its_rows_and_model(tmp_path):
    prepared, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model")
    score_locally([ScoreJob(model, prepared.path, str(tmp_path / "logits"))])
    table = SideTable.open(str(tmp_path / "logits"))
    table.check_fits(prepared)
    assert table.columns == ("logits",)
    assert list(table.group_rows) == list(prepared.group_rows)
    assert table.provenance["precision"] == ["fp32"]
    other = make_model(tmp_path / "other", seed=2)
    (changed,) = score_locally([ScoreJob(other, prepared.path, str(tmp_path / "logits"))])
    assert changed.provenance["model_digest"] != table.provenance["model_digest"]
    assert len(list((tmp_path / "logits").glob("part-*"))) == len(changed.parts)  # the older table's parts are gone
    assert not np.allclose(all_logits(changed)[:, 0], 0)


def test_several_jobs_give_what_each_gives_alone(tmp_path):
    sets = [make_prepared(tmp_path / f"set{i}", seed=i) for i in range(2)]
    names = [make_model(tmp_path / f"model{i}", seed=i) for i in range(2)]
    jobs = [ScoreJob(names[m], sets[s].path, str(tmp_path / f"out{m}{s}")) for s, m in ((0, 1), (1, 0), (1, 1), (0, 0))]
    seen = []
    together = score_locally(jobs, progress=lambda done, total: seen.append((done, total)))
    total = sum(TokenisedSet.open(job.prepared).num_rows for job in jobs)
    assert seen[-1] == (total, total)
    for job, table in zip(jobs, together, strict=True):
        (alone,) = score_locally([ScoreJob(job.model, job.prepared, job.output + "-alone")])
        assert np.array_equal(all_logits(table), all_logits(alone))


def test_threads_are_put_back(tmp_path):
    prepared, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model")
    before = torch.get_num_threads()
    score_locally([ScoreJob(model, prepared.path, str(tmp_path / "logits"))], threads=before + 1)
    assert torch.get_num_threads() == before
