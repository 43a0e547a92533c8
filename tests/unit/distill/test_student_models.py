"""Students made of a larger model's layers and tokens, from TSV to the comparison, without Ray."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from raykd.config import build, merge
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.dry_run import outline
from raykd.errors import ConfigError, ModelError
from raykd.models import ModelShape, build_classifier, load_classifier, load_config, load_tokenizer, save_classifier
from raykd.progress import Terminal
from raykd.tune.jobs.distill_job import DistillationWork
from tests.local_pipeline import LocalPipeline
from tests.unit.models.architectures import pretrained
from tests.unit.models.spelling_tokenizers import spelling_wordpiece

TRAINING = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3}
FROM_TEACHER = {"from": "teacher", "layers": [0, 2]}
Make = Callable[..., Any]


def write_rows(path: Path, count: int, seed: int, *, label: Callable[[int], str] = str) -> str:
    """Rows of two texts; the class decides one word."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        kind = draw.randint(0, 1)
        words = [("good", "love")[kind], *draw.choices(["the", "film", "plot", "there"], k=draw.randint(1, 6))]
        rows.append(f"{' '.join(words)}\t{draw.choice(['plot', 'film'])} x\t{label(kind)}\n")
    path.write_text("".join(rows))
    return str(path)


def save_teacher(folder: Path, labels: tuple[str, ...] = ("0", "1"), layers: int = 3) -> str:
    tokenizer = spelling_wordpiece()
    shape = ModelShape(
        vocab_size=len(tokenizer), hidden=16, layers=layers, heads=2, positions=32, pad_token_id=tokenizer.pad_token_id
    )
    model = build_classifier(shape, labels=labels, seed=1)
    save_classifier(model, tokenizer, str(folder))
    return str(folder)


@pytest.fixture
def job(tmp_path: Path) -> Make:
    """Builds a job whose teacher has three layers, changed by ``section__key=value``."""

    def make(**changes: Any) -> Any:
        content = {
            "name": "small",
            "storage": str(tmp_path / "runs"),
            "data": {
                "input_schema": "text:str:1,other:str:1,label:str:1",
                "first_sequence": "text",
                "label": "label",
                "train": [write_rows(tmp_path / "train.tsv", 160, 1)],
                "test": [write_rows(tmp_path / "test.tsv", 60, 2)],
                "validation": 0.2,
                "sequence_length": 32,
            },
            "teacher": {"model": save_teacher(tmp_path / "teacher"), "training": TRAINING},
            "student": {"init": FROM_TEACHER, "training": TRAINING},
            "compute": {"engine": {"kind": "torch"}},
        }
        return build(merge(content, [(path.split("__"), value) for path, value in changes.items()]))

    return make


def task_of(pipeline: LocalPipeline, student: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(pipeline.runner.folder, "students", student, "task.json").read_text())
    return content


def state_of(folder: str) -> dict[str, torch.Tensor]:
    labels = tuple(load_config(folder).id2label.values())
    return load_classifier(folder, labels=labels, new_head=False).state_dict()


def test_student_starts_from_layers_and_tokens_of_the_fine_tuned_teacher(job, local):
    config = job(student__vocabulary={"min_count": 2})
    pipeline = local(config)
    comparison = pipeline.run()
    assert [system.name for system in comparison.systems] == ["teacher", "no_kd", "kd"]
    task = task_of(pipeline, "kd-seed1")
    initial = str(Path(pipeline.runner.folder, "students/initial/teacher-layers-0-2-tokens-2/model"))
    assert task["model"] == task_of(pipeline, "no_kd-seed1")["model"] == initial
    teacher, student = (state_of(folder) for folder in (f"{pipeline.runner.folder}/teacher/model", initial))
    for name in ("classifier.weight", "bert.pooler.dense.weight", "bert.embeddings.position_embeddings.weight"):
        assert torch.equal(student[name], teacher[name])
    query = "bert.encoder.layer.{}.attention.self.query.weight"
    assert torch.equal(student[query.format(1)], teacher[query.format(2)])
    tokenizer, large = load_tokenizer(initial), load_tokenizer(config.teacher.model)
    assert load_config(initial).vocab_size == len(tokenizer) < len(large)
    assert "lovely" not in tokenizer.get_vocab()
    rows = TokenisedSet.open(task["train"]).read_group(0)
    texts = [line.split("\t")[0] for line in Path(config.data.train[0]).read_text().splitlines()]
    encoded = tokenizer(texts)["input_ids"]
    assert [encoded[row] for row in rows["row"].to_pylist()] == rows["input_ids"].to_pylist()
    trained = f"{pipeline.runner.folder}/students/kd-seed1/model"
    answer = hf.pipeline("text-classification", trained)("the film")[0]
    assert answer["label"] in ("0", "1")

    again = local(config)
    again.run()
    assert again.trained == []
    assert any(line.startswith("students/initial/teacher-layers-0-2-tokens-2: finished") for line in again.runner.said)


def test_another_teacher_makes_another_student(job, local):
    first = local(job())
    first.students()
    other = local(job(seed=7))
    other.students()
    assert {"teacher", "student no kd seed 1", "student kd seed 1"} <= set(other.trained)


def test_variants_differ_in_their_layers(job, local, tmp_path):
    model = save_teacher(tmp_path / "other")
    variants = {
        "no_kd": {"objective": {"kind": "fine_tune"}, "init": {"from": "model", "layers": [0]}},
        "model": {"init": {"from": "model", "layers": [0]}},
        "whole": {"init": None},
        "kd": {},
    }
    pipeline = local(job(student__model=model, student__variants=variants))
    pipeline.students()
    starts = {name: task_of(pipeline, f"{name}-seed1")["model"] for name in variants}
    assert starts["no_kd"] == starts["model"], "made once"
    assert starts["whole"] == model
    assert starts["kd"].endswith("students/initial/teacher-layers-0-2/model")
    layers = {name: load_config(start).num_hidden_layers for name, start in starts.items()}
    assert layers == {"no_kd": 1, "model": 1, "whole": 3, "kd": 2}
    assert torch.equal(
        state_of(starts["model"])["bert.embeddings.word_embeddings.weight"],
        state_of(model)["bert.embeddings.word_embeddings.weight"],
    )


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ({"second_sequence": "other"}, ("0", "1")),
        ({"task": "multi_label", "labels": ["0", "1"]}, ("0", "1")),
        ({"task": "regression"}, ("value",)),
    ],
    ids=["pairs", "multi-label", "regression"],
)
def test_every_kind_of_task(job, local, tmp_path, data, labels):
    config = job(
        student__objective={"kind": "mse_kd"},
        student__vocabulary={"min_count": 1},
        teacher__model=save_teacher(tmp_path / "large", labels),
        **{f"data__{key}": value for key, value in data.items()},
    )
    pipeline = local(config)
    assert pipeline.run().systems
    student = load_config(f"{pipeline.runner.folder}/students/kd-seed1/model")
    assert (student.num_hidden_layers, student.raykd_task) == (2, config.data.task)


def test_unlabelled_text_keeps_its_tokens(job, local, tmp_path):
    (tmp_path / "more.tsv").write_text("lovely lovely\tx\t0\n" * 3)
    tokens = []
    for files in ([], [str(tmp_path / "more.tsv")]):
        pipeline = local(job(student__vocabulary={"min_count": 2}, data__unlabelled=files))
        tokens.append(load_tokenizer(pipeline.student_models.tokenizer(pipeline.config.searched_variant)).get_vocab())
    assert "lovely" not in tokens[0]
    assert "lovely" in tokens[1]


@pytest.mark.parametrize(
    ("layers", "reason"),
    [([0, 3], r"layers = \[0, 3\]: .* has 3 layers, 0 to 2, and no layer 3"), ([0, 0], "each layer once")],
)
def test_impossible_layers_end_before_anything_starts(job, local, layers, reason):
    with pytest.raises(ModelError, match=reason):
        local(job(student__init={"from": "teacher", "layers": layers}))


def test_other_architectures_and_vocabularies_end_before_anything_starts(job, local, tmp_path):
    gpt2, roberta = (pretrained(tmp_path / kind, kind) for kind in ("gpt2", "roberta"))
    with pytest.raises(ModelError, match="of type gpt2, which cannot be made smaller"):
        local(job(student__model=gpt2, student__init={"layers": [0]})).check()
    with pytest.raises(ModelError, match="is BPE and cannot be reduced"):
        local(job(student__model=roberta, student__init=None, student__vocabulary={"min_count": 1})).check()


def test_a_student_that_does_not_exist_yet_is_probed(job, local, monkeypatch):
    probed = []
    monkeypatch.setattr(
        "raykd.distill.checks.probe_classifier",
        lambda model, *_, **__: probed.append((load_config(model).num_hidden_layers, load_config(model).vocab_size)),
    )
    pipeline = local(job(student__vocabulary={"min_count": 1}))
    pipeline.check()
    whole = len(spelling_wordpiece())
    assert probed[0] == (3, whole)
    (student,) = set(probed) - {probed[0]}
    assert student[0] == 2
    assert student[1] < whole
    assert not Path(pipeline.runner.folder, "students").exists()


def test_a_student_of_several_variants_is_probed_as_any_of_them_trains_it(job, local, monkeypatch):
    """Only the last variant's settings were looked at; an earlier one failed once its teacher was trained."""
    probed = []
    monkeypatch.setattr("raykd.distill.checks.probe_classifier", lambda *_, **settings: probed.append(settings))
    variants = {"one": {"training": {"gradient_checkpointing": True}}, "two": {}}
    local(job(student__variants=variants)).check()
    assert [one["gradient_checkpointing"] for one in probed[:2]] == [False, True], "the teacher, and the student of both"
    assert probed[1]["name"] == "the student of variant two", "its folder is a temporary one"


def test_layers_of_a_teacher_need_one(job, tmp_path):
    teachers = [{"model": str(tmp_path / "teacher")}] * 2
    with pytest.raises(ConfigError, match=r"student\.init\.from = teacher takes the layers of one teacher"):
        job(student__model="m", teacher=None, teachers=teachers)
    with pytest.raises(ConfigError, match=r"student\.model"):
        job(student__init={"from": "model"})


def test_tokens_of_its_own_do_not_go_with_the_teachers_layers(job):
    with pytest.raises(ConfigError, match=r"student\.intermediate runs the teacher on the student's tokens"):
        job(student__vocabulary={"min_count": 1}, student__intermediate={"relation_weight": 1.0})


def test_intermediate_layers_of_a_student_of_the_teacher(job, local):
    local(job(student__intermediate={"layers": "last", "training": TRAINING})).check()
    with pytest.raises(ConfigError, match=r"layers: .*\[\[2, 3\]\]"):
        local(job(student__intermediate={"layers": "uniform"})).check()


def test_dry_run_and_configuration_name_the_source(job):
    config = job(student__vocabulary={"min_count": 3})
    assert "layers 0, 2 of the fine-tuned teacher, tokens that stand 3 times" in outline(config)
    assert json.loads(config.model_dump_json())["student"]["init"] == {"from": "teacher", "layers": [0, 2]}
    assert build(json.loads(config.model_dump_json())) == config


def test_search_shares_the_student_or_makes_one_of_its_trials_teacher(job, tmp_path):
    base = job(student__vocabulary={"min_count": 1})
    work = DistillationWork(base, Terminal())
    work.pipeline = LocalPipeline(base)
    plan = work.make_plan()
    assert {Path(start.path).parent.name for start in plan.starts.values()} == {"teacher-layers-0-2-tokens-1"}
    keep = lambda task, **_: task  # noqa: E731
    chain = plan.chains(base, variant="kd", seed=1, folder=str(tmp_path / "trial"), adapt=keep)[""]
    assert next(chain).model == plan.starts["kd"].path

    training = base.teacher.training.model_copy(update={"learning_rate": 1e-3})
    config = base.model_copy(update={"teacher": base.teacher.model_copy(update={"training": training})})
    own = plan.trial_teacher(config)
    work.pipeline.runner.group.run([own.task], lambda *_: None)
    for _ in own.make(lambda _: None, lambda jobs: work.pipeline.runner.score(jobs, "logits")):
        pass
    task = next(plan.chains(config, variant="kd", seed=1, folder=str(tmp_path / "trial"), adapt=keep)[""])
    assert task.model == str(tmp_path / "trial" / "initial")
    assert torch.equal(state_of(task.model)["classifier.weight"], state_of(own.model)["classifier.weight"])
    assert not torch.equal(state_of(task.model)["classifier.weight"], state_of(plan.starts["kd"].path)["classifier.weight"])


def test_search_refuses_two_tokenizers(job):
    variants = {"no_kd": {"objective": {"kind": "fine_tune"}}, "kd": {"vocabulary": {"min_count": 1}}}
    with pytest.raises(ConfigError, match="the students no_kd and kd read different tokens"):
        DistillationWork(job(student__variants=variants), Terminal()).check()
