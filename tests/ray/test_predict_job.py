"""Scoring with a pool of model actors: the same bytes for any number of them, and errors as people can read them."""

import hashlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import ray

from raykd.data.folds import assign_folds
from raykd.data.kept_actors import KeptActors, LentWorkers
from raykd.data.side_tables import SideTable
from raykd.errors import DataError, ModelError, ResourceError
from raykd.models import load_classifier
from raykd.predict import ScoreJob, score, score_locally
from raykd.predict.answer_scorer import AnswerJob, AnswerScorer
from raykd.predict.import_scorer import import_scorer
from tests.causal_models import save_causal_model
from tests.unit.predict.random_rows import LABELS, all_logits, make_model, make_prepared, make_prompts

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def _digest(table: SideTable) -> str:
    return hashlib.sha256(all_logits(table).tobytes()).hexdigest()


@pytest.mark.parametrize("actors", [2, pytest.param(4, marks=pytest.mark.long)])
def test_the_number_of_actors_does_not_matter(actors, tmp_path):
    prepared = [make_prepared(tmp_path / f"set{i}", seed=i) for i in range(2)]
    models = [make_model(tmp_path / f"model{i}", seed=i) for i in range(2)]
    pairs = [(model, rows.path) for rows in prepared for model in models]

    def digests(run, name, **arguments):
        return [
            _digest(table)
            for table in run([ScoreJob(*pair, str(tmp_path / f"{name}-{i}")) for i, pair in enumerate(pairs)], **arguments)
        ]

    expected = digests(score_locally, "local", batch_rows=16)
    assert len(set(expected)) == len(pairs)
    assert digests(score, "pool", actors=actors, batch_rows=16) == expected


def test_actors_that_are_kept_score_one_job_after_the_other_and_survive_the_loss_of_a_process(tmp_path):
    """The same bytes from the same processes; a lost one is replaced."""
    rows, kept = make_prepared(tmp_path / "set"), KeptActors(2, preload=import_scorer)
    models = [make_model(tmp_path / f"model{i}", seed=i) for i in range(3)]
    expected = [_digest(score_locally([ScoreJob(one, rows.path, str(tmp_path / "local"))], batch_rows=16)[0]) for one in models]
    assert len(set(expected)) == len(models)
    processes = []
    for number, model in enumerate(models):
        (table,) = score([ScoreJob(model, rows.path, str(tmp_path / f"kept{number}"))], actors=2, batch_rows=16, kept=kept)
        assert _digest(table) == expected[number]
        processes.append(ray.get([actor.process.remote() for actor in kept._actors]))
        if number == 1:
            os.kill(processes[-1][0], signal.SIGKILL)
    kept.close()
    first, second, third = processes
    assert first == second
    assert first[0] != third[0]
    assert first[1] == third[1]


def test_an_error_of_a_kept_actor_arrives_as_it_is_and_ends_the_actors(tmp_path):
    prepared, kept = make_prepared(tmp_path / "set"), KeptActors(1)
    model = load_classifier(make_model(tmp_path / "model"), labels=LABELS)
    model.classifier.bias.data[:] = np.nan
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="not finite"):
        score([ScoreJob(str(tmp_path / "model"), prepared.path, str(tmp_path / "logits"))], kept=kept)
    assert kept._actors == []


def _sleep_a_while() -> Callable[[int], tuple[float, float]]:
    def sleep(_: int) -> tuple[float, float]:
        begin = time.monotonic()
        time.sleep(0.8)  # shorter than the second in which Ray Data ran one item alone
        return begin, time.monotonic()

    return sleep


def test_kept_actors_begin_together():
    """Ray Data, which learns a second late what a machine has, ran one item alone until then."""
    kept = KeptActors(2)
    list(kept.run(_sleep_a_while, [0, 1], cpus=1, to="sleep"))  # the processes are there
    (first_begin, first_end), (second_begin, second_end) = dict(kept.run(_sleep_a_while, [0, 1], cpus=1, to="sleep")).values()
    kept.close()
    assert max(first_begin, second_begin) < min(first_end, second_end)


def _sleep_by_turns():
    def sleep(item: int) -> int:
        time.sleep(0.5 if item % 2 == 0 else 0.0)  # long enough for the other actor to be asked meanwhile
        return os.getpid()

    return sleep


def test_long_and_short_items_by_turns_do_not_fall_to_one_actor_each():
    """As the test and the validation rows of each model would."""
    kept = KeptActors(2)
    list(kept.run(_sleep_by_turns, [0, 1], cpus=1, to="sleep"))  # the processes are there
    processes = dict(kept.run(_sleep_by_turns, list(range(8)), cpus=1, to="sleep"))
    kept.close()
    assert len({processes[item] for item in range(0, 8, 2)}) == 2


class Losing(AnswerScorer):
    """Forgets a row of each share."""

    def __call__(self, item):
        scored = super().__call__(item)
        return replace(scored, positions=scored.positions[1:], outputs=scored.outputs[1:]) if item.shares > 1 else scored


def test_a_share_that_is_not_whole_is_an_error(tmp_path):
    rows, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model")
    job = ScoreJob(model, rows.path, str(tmp_path / "logits"))
    with pytest.raises(DataError, match="of 130 rows of row group 1"):
        score([job], actors=2, batch_rows=16, scorer=Losing)


class Worker:
    """As a training worker of Ray Train: runs functions; ends its process at a call on request."""

    def __init__(self, last: int = 10**9) -> None:
        self.left = last

    def execute(self, function, *arguments):
        self.left -= 1
        if self.left < 0:
            os._exit(1)
        return function(*arguments)


def test_lent_workers_score_and_spare_actors_do_what_a_lost_one_has_left(tmp_path):
    rows, spare = make_prepared(tmp_path / "set"), KeptActors(1)
    model = make_model(tmp_path / "model")
    expected = _digest(score_locally([ScoreJob(model, rows.path, str(tmp_path / "local"))], batch_rows=16)[0])
    worker = ray.remote(num_cpus=0)(Worker)
    sound = [worker.remote() for _ in range(2)]
    (table,) = score([ScoreJob(model, rows.path, str(tmp_path / "lent"))], batch_rows=16, kept=LentWorkers(sound, spare))
    assert _digest(table) == expected
    assert spare._actors == [], "none was needed"
    assert ray.get([one.execute.remote(os.getpid) for one in sound]), "they are not ended"
    left = [worker.remote(last=1), worker.remote(last=0)]  # one item is done, whichever worker is free for it
    (table,) = score([ScoreJob(model, rows.path, str(tmp_path / "lost"))], batch_rows=16, kept=LentWorkers(left, spare))
    assert _digest(table) == expected
    assert len(spare._actors) == 1
    spare.close()


def test_an_error_in_a_lent_worker_arrives_as_it_is(tmp_path):
    prepared, spare = make_prepared(tmp_path / "set"), KeptActors(1)
    worker = ray.remote(num_cpus=0)(Worker).remote()
    model = load_classifier(make_model(tmp_path / "model"), labels=LABELS)
    model.classifier.bias.data[:] = np.nan
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="not finite"):
        score([ScoreJob(str(tmp_path / "model"), prepared.path, str(tmp_path / "logits"))], kept=LentWorkers([worker], spare))
    assert spare._actors == []
    assert ray.get(worker.execute.remote(os.getpid))


def test_language_models_and_classifiers_are_scored_in_one_execution(tmp_path):
    prepared, prompts = make_prepared(tmp_path / "set"), make_prompts(tmp_path / "prompts")
    folder = save_causal_model(tmp_path / "lm", "gpt2")

    def digests(run, name, **arguments):
        jobs = [
            ScoreJob(make_model(tmp_path / "model"), prepared.path, str(tmp_path / f"{name}-0")),
            AnswerJob(folder, prompts.path, str(tmp_path / f"{name}-1"), answers=((5,), (6, 7)), content_free=((1, 2, 3),)),
        ]
        return [_digest(table) for table in run(jobs, batch_rows=16, **arguments)]

    assert digests(score, "pool", actors=2) == digests(score_locally, "local")


def test_the_batches_of_a_row_group_are_divided_where_there_are_fewer_groups_than_actors_need(tmp_path):
    """Language models and classifiers: the bytes of whole groups, in parts of whole groups, and rows of no fold left out."""
    rows, prompts, kept = make_prepared(tmp_path / "set"), make_prompts(tmp_path / "prompts"), KeptActors(2)
    model, folder = make_model(tmp_path / "model"), save_causal_model(tmp_path / "lm", "gpt2")
    answers = {"answers": ((5,), (6, 7)), "content_free": ((1, 2, 3),)}
    fold = assign_folds(rows, 2, str(tmp_path / "cache"))[1]

    def tables(run, name, **arguments):
        jobs = [
            ScoreJob(model, rows.path, str(tmp_path / f"{name}-0")),
            AnswerJob(folder, prompts.path, str(tmp_path / f"{name}-1"), **answers),
            ScoreJob(model, rows.path, str(tmp_path / f"{name}-2"), only=fold),
        ]
        return run(jobs, batch_rows=16, **arguments)

    done = [0]
    divided = tables(score, "divided", actors=16, kept=kept, progress=lambda now, total: done.append(now))
    whole = tables(score_locally, "whole")
    assert [_digest(table) for table in divided] == [_digest(table) for table in whole]
    assert [table.group_rows.tolist() for table in divided] == [table.group_rows.tolist() for table in whole]
    assert np.isnan(all_logits(divided[2])).any()
    largest = max(rows.group_rows)
    assert sum(step >= largest for step in np.diff(done)) == 1, "the fold's alone goes whole"
    kept.close()


def test_relative_paths_mean_the_same_in_actors(tmp_path, monkeypatch):
    make_prepared(tmp_path / "set")
    make_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    seen = []
    score([ScoreJob("model", "set", "out/logits")], progress=lambda done, total: seen.append((done, total)))
    assert SideTable.open(str(tmp_path / "out" / "logits")).group_rows.sum() == seen[-1][0] == seen[-1][1]


def test_errors_of_actors_arrive_as_they_are(tmp_path):
    prepared, model = make_prepared(tmp_path / "set"), load_classifier(make_model(tmp_path / "model"), labels=LABELS)
    model.classifier.bias.data[:] = np.nan
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="not finite") as error:
        score([ScoreJob(str(tmp_path / "model"), prepared.path, str(tmp_path / "logits"))])
    assert type(error.value) is ModelError
    assert "UDF" not in str(error.value)
    assert not os.path.exists(tmp_path / "logits" / "manifest.json")


def test_an_actor_that_fits_nowhere_is_refused(tmp_path):
    prepared, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model")
    with pytest.raises(ResourceError, match="needs 64 CPUs"):
        score([ScoreJob(model, prepared.path, str(tmp_path / "logits"))], cpus_per_actor=64)
