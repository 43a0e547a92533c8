"""Whole training tasks in this process, without Ray: validation, early stopping, resuming, tracking."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from raykd.config import ExperimentConfig, FineTuneConfig, VanillaKDConfig
from raykd.data.logits_tsv import import_tsv
from raykd.data.parquet_files import write_part
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.data.side_tables import SideTable, commit
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.tasks import StudentInputs, student_task
from raykd.distill.training_length import match_lengths
from raykd.errors import CheckpointError, ConfigError, DataError, TrainingError
from raykd.models import (
    ModelShape,
    build_classifier,
    check_compiler,
    compiled_forward,
    load_classifier,
    load_tokenizer,
    save_classifier,
)
from raykd.run.task import TrainTask, cache_folder, model_folder
from raykd.run.train_task import open_task, run_open_task, run_task
from raykd.task_kinds import label_codec
from raykd.tracking import read_offline_run
from raykd.trainers.context import local_context
from raykd.trainers.control import ControlRequests, StopRequested
from raykd.trainers.events import CheckpointSaved, Evaluated, TrainingEvent
from raykd.trainers.fine_tune import FineTune
from raykd.trainers.gradient_norms import GradientNormProbe
from raykd.trainers.model_selection import ModelSelection
from tests.unit.run.tasks import TORCH, Make, task_of, train

KINDS = {"train", "eval"}
GOLDEN = Path(__file__).parents[2] / "assets" / "golden_losses.json"


class InterruptedRunError(Exception):
    """Stands for the end of a killed process, without killing the tests."""


def weights(task: TrainTask) -> dict[str, torch.Tensor]:
    return load_file(Path(task.model_folder, "model.safetensors"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("engine", [{"kind": "torch"}, {"kind": "deepspeed", "zero_stage": 1}], ids=["torch", "zero1"])
def test_four_steps_equal_two_steps_a_restart_and_two_more(experiment: Make, engine: dict[str, Any], precision: str) -> None:
    changes = {"teacher__training__max_steps": 4, "teacher__training__checkpoint_steps": 1, "compute__engine": engine}
    changes["compute__precision"] = precision

    def stop_after_two(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 2:
            raise InterruptedRunError

    whole, halves = (task_of(experiment(name=name, **changes)) for name in ("whole", "halves"))
    train(whole)
    with pytest.raises(InterruptedRunError):
        train(halves, stop_after_two)
    history = train(halves)
    assert [record["step"] for record in history if record["event"] == "resumed"] == [2]
    assert all(torch.equal(value, weights(halves)[name]) for name, value in weights(whole).items())
    assert not Path(halves.checkpoints).exists(), "a finished task needs no checkpoints"


def test_without_padding_the_losses_and_metrics_are_those_with_it_also_after_a_restart(experiment: Make) -> None:
    changes = TORCH | {"teacher__training__dropout": 0.0, "teacher__training__max_steps": 8}
    changes |= {"teacher__training__evaluate_every": 4, "teacher__training__checkpoint_steps": 3}

    def stop_after_six(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 6:
            raise InterruptedRunError

    tasks = [
        task_of(experiment(name=name, compute__attention=attention, **changes))
        for name, attention in [("padded", "padded"), ("whole", "unpadded"), ("halves", "unpadded")]
    ]
    assert [task.unpadded for task in tasks] == [False, True, True]
    assert tasks[0].key != tasks[1].key
    with pytest.raises(InterruptedRunError):
        train(tasks[2], stop_after_six)
    numbers = ("loss", "grad_norm", "metrics")
    padded, whole, halves = (
        [{name: record[name] for name in numbers if name in record} for record in train(task) if record["event"] in KINDS]
        for task in tasks
    )
    assert len(padded) == 8 + 2
    assert [one.keys() for one in whole] == [one.keys() for one in padded]
    for one, other in zip(padded, whole, strict=True):
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-4)
    assert halves == whole
    assert all(torch.equal(value, weights(tasks[2])[name]) for name, value in weights(tasks[1]).items())
    assert not all(torch.equal(value, weights(tasks[1])[name]) for name, value in weights(tasks[0]).items()), "by rounding"


def test_stopped_from_outside_with_a_checkpoint_it_continues_bit_for_bit(experiment: Make) -> None:
    changes = TORCH | {"teacher__training__max_steps": 6}
    whole, stopped = (task_of(experiment(name=name, **changes)) for name in ("whole", "stopped"))
    train(whole)
    answers = iter([False, False, True])
    heard: list[tuple[str, int]] = []
    with local_context() as context, pytest.raises(StopRequested, match="after step 3"):
        run_open_task(
            open_task(stopped, context, local_feed),
            context,
            listeners=[lambda record: heard.append((record.kind, record.step))],
            control=ControlRequests(stop=lambda: next(answers)),
        )
    assert heard[-2:] == [("checkpoint", 3), ("stopped", 3)]
    history = train(stopped)
    assert [record["step"] for record in history if record["event"] == "resumed"] == [3]
    assert all(torch.equal(value, weights(stopped)[name]) for name, value in weights(whole).items())


def test_word_of_a_leaving_node_is_worth_one_checkpoint(experiment: Make) -> None:
    task = task_of(experiment(**TORCH, teacher__training__max_steps=6))
    answers = iter([False, True, False, False, False, False])
    saved: list[int] = []
    with local_context() as context:
        run_open_task(
            open_task(task, context, local_feed),
            context,
            listeners=[lambda record: saved.append(record.step) if isinstance(record, CheckpointSaved) else None],
            control=ControlRequests(checkpoint=lambda: next(answers)),
        )
    assert saved == [2]


def test_a_best_model_whose_saving_was_cut_off_is_the_one_before(experiment: Make) -> None:
    """Killed between taking the former model away and putting the new one in its place: nothing is lost by it."""
    changes = TORCH | {"teacher__training__max_steps": 8, "teacher__training__evaluate_every": 2}
    changes |= {"teacher__training__checkpoint_steps": 2, "teacher__training__metric": "loss"}
    whole, cut = (task_of(experiment(name=name, **changes)) for name in ("whole", "cut"))
    train(whole)

    def stop(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 4:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(cut, stop)
    folder = Path(cut.model_folder)
    folder.rename(folder.with_name(".model.before"))
    history = train(cut)
    assert folder.is_dir()
    assert not folder.with_name(".model.before").exists()
    best = [record["best_step"] for record in history if record["event"] == "end"]
    expected = [json.loads(line) for line in Path(whole.history).read_text().splitlines()]
    assert best == [record["best_step"] for record in expected if record["event"] == "end"]
    assert all(torch.equal(value, weights(cut)[name]) for name, value in weights(whole).items())


def test_a_training_that_stops_itself_leaves_the_history_that_led_there(experiment: Make) -> None:
    changes = {"learning_rate": 1e30, "max_grad_norm": 0, "warmup_ratio": 0, "evaluate_every": 100}
    task = task_of(experiment(**TORCH, **{f"teacher__training__{name}": value for name, value in changes.items()}))
    with pytest.raises(TrainingError, match="stopped before the update"):
        train(task)
    assert "train" in {json.loads(line)["event"] for line in Path(task.history).read_text().splitlines()}


def test_a_finished_task_is_not_trained_again(experiment: Make) -> None:
    task = task_of(experiment(**TORCH))
    train(task)
    heard: list[Any] = []
    train(task, heard.append)
    assert not heard


def test_a_model_that_another_task_has_begun_to_replace_is_trained_again(experiment: Make) -> None:
    def stop(record: TrainingEvent) -> None:
        if isinstance(record, Evaluated):
            raise InterruptedRunError

    first = task_of(experiment(**TORCH))
    train(first)
    expected = weights(first)
    with pytest.raises(InterruptedRunError):  # the same folder with another setting: its first evaluation saves a model
        train(task_of(experiment(teacher__training__learning_rate=1e-4, **TORCH)), stop)
    assert not first.is_done(), "the model in the folder is no longer this task's"
    train(first)
    assert all(torch.equal(value, weights(first)[name]) for name, value in expected.items())


def test_a_checkpoint_of_other_settings_is_refused(experiment: Make) -> None:
    changes = TORCH | {"teacher__training__checkpoint_steps": 1}

    def stop(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved):
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(task_of(experiment(**changes)), stop)
    with pytest.raises(CheckpointError, match="belongs to another task"):
        train(task_of(experiment(teacher__training__learning_rate=1e-4, **changes)))


def test_the_model_is_the_best_one_and_training_stops_when_patience_ends(experiment: Make) -> None:
    changes = {"teacher__training__evaluate_every": 5, "teacher__training__patience": 2, "teacher__training__epochs": 50}
    history = train(task_of(experiment(**TORCH, **changes, teacher__training__metric="accuracy")))
    evaluations = [record for record in history if record["event"] == "eval"]
    assert len(evaluations) < 200, "50 epochs would have had 200"
    assert [record["best"] for record in evaluations[-2:]] == [False, False]
    best = max(evaluations, key=lambda record: (record["metrics"]["accuracy"], -record["metrics"]["loss"]))
    assert history[-1]["best_step"] == best["step"]


def test_equal_accuracy_is_decided_by_the_loss() -> None:
    validation = ModelSelection("accuracy")
    offered = [(0.9, 0.5), (0.9, 0.3), (0.9, 0.4), (0.8, 0.1)]
    kept = [validation.update(step, {"accuracy": value, "loss": loss}) for step, (value, loss) in enumerate(offered)]
    assert kept == [True, True, False, False]
    by_loss = ModelSelection("loss", smaller_is_better=True)
    assert [by_loss.update(0, {"loss": 2.0}), by_loss.update(1, {"loss": 1.0}), by_loss.update(2, {"loss": 1.5})] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("metric", ["loss", "ece"])
def test_the_smallest_error_is_the_best(metric: str) -> None:
    validation = ModelSelection(metric, smaller_is_better=True)
    values = [0.3, 0.1, 0.2]
    assert [validation.update(step, {"loss": 1.0, metric: value}) for step, value in enumerate(values)] == [True, True, False]
    assert (validation.best, validation.best_step) == (0.1, 1)


def test_an_unknown_metric_is_named(experiment: Make) -> None:
    with pytest.raises(ConfigError, match=r"training\.metric = 'bleu'"):
        train(task_of(experiment(teacher__training__metric="bleu", teacher__training__max_steps=1, **TORCH)))


def test_padding_ends_where_the_models_positions_do(experiment: Make, small_world: dict[str, str], tmp_path: Path) -> None:
    """13 positions are no multiple of 8: padded to 16 tokens, rows would not go through the model."""
    tokenizer = load_tokenizer(small_world["teacher"])
    shape = ModelShape(vocab_size=len(tokenizer), hidden=16, layers=1, heads=2, positions=13)
    save_classifier(build_classifier(shape, labels=("0", "1"), seed=1), tokenizer, str(tmp_path / "short"))
    changes = {"teacher__model": str(tmp_path / "short"), "data__sequence_length": 13, "teacher__training__max_steps": 3}
    history = train(task_of(experiment(**TORCH, **changes)))
    assert [record["event"] for record in history][-2:] == ["eval", "end"]


def test_the_optimiser_steps_through_micro_batches_as_through_whole_ones(experiment: Make) -> None:
    changes = TORCH | {"teacher__training__dropout": 0.0, "teacher__training__max_steps": 6}
    whole = task_of(experiment(name="whole", **changes))
    split = task_of(experiment(name="split", teacher__training__micro_batch_size=3, **changes))
    train(whole)
    train(split)
    worst = max(float((value - weights(split)[name]).abs().max()) for name, value in weights(whole).items())
    assert worst < 1e-5


def test_the_tracker_has_the_figures_of_the_history(experiment: Make, tmp_path: Path) -> None:
    config = experiment(tracking={"kind": "wandb"}, teacher__training__max_steps=5, **TORCH)
    task = task_of(config)
    history = train(task)
    (file,) = (tmp_path / "runs").rglob("*.wandb")
    run = read_offline_run(str(file))
    tracked = {row["_step"]: row for row in run.history if "train/loss" in row}
    trained = [record for record in history if record["event"] == "train"]
    assert [record["step"] for record in trained] == sorted(tracked)
    assert all(tracked[record["step"]]["train/ce"] == pytest.approx(record["terms"]["ce"]) for record in trained)
    assert run.summary["best/accuracy"] == pytest.approx(history[-1]["best"])


@pytest.mark.parametrize(
    "engine",
    [{"kind": "torch"}, *({"kind": "deepspeed", "zero_stage": stage} for stage in (0, 2, 3))],
    ids=["torch", "zero0", "zero2", "zero3"],
)
def test_each_terms_share_of_the_gradient_is_logged_and_changes_nothing(
    experiment: Make, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(compute__engine=engine, teacher__training__max_steps=3, teacher__training__dropout=0.0)
    plain = task_of(config)
    side = with_logits(plain, config)
    kd = VanillaKDConfig(temperature=2.0, alpha=0.25)
    logged, silent = (plain.model_copy(update={"objective": kd, "logits": side, "folder": plain.folder + n}) for n in "ab")
    history = train(logged)
    (shares,) = [record["shares"] for record in history if record["event"] == "gradient_share"]
    assert set(shares) == {"kd_kl", "ce"}
    assert sum(shares.values()) == pytest.approx(1.0)
    monkeypatch.setattr(GradientNormProbe, "term_norms", lambda *_: [])
    train(silent)
    assert all(torch.equal(value, weights(silent)[name]) for name, value in weights(logged).items())


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_every_architecture_trains_and_opens_in_a_pipeline(
    experiment: Make, new_model: Callable[..., str], tmp_path: Path, architecture: str
) -> None:
    start = new_model(tmp_path / "start", hidden=16, seed=3, architecture=architecture)
    config = experiment(teacher__model=start, teacher__training__max_steps=2)
    plain = task_of(config)
    task = plain.model_copy(update={"objective": VanillaKDConfig(), "logits": with_logits(plain, config)})
    train(task)
    before = load_file(Path(start, "model.safetensors"))
    after = weights(task)
    assert before.keys() == after.keys()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert any(name.endswith("word_embeddings.weight") for name in moved)
    assert any(name.startswith("classifier.") for name in moved)
    classify = pipeline("text-classification", model=task.model_folder, device="cpu", top_k=None)
    assert {item["label"] for item in classify(["the film was good"])[0]} == {"0", "1"}


def test_a_model_without_token_types_trains_on_pairs_that_have_them(
    experiment: Make, new_model: Callable[..., str], small_world: dict[str, str], tmp_path: Path
) -> None:
    """A RoBERTa with a BERT tokenizer has embeddings for type 0 alone: type 1 would be an index out of range."""
    start = new_model(tmp_path / "start", hidden=16, seed=3, architecture="roberta")
    settings = Path(start, "tokenizer_config.json")
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | names))
    rows = [line.split("\t") for line in Path(small_world["train"]).read_text().splitlines()[:80]]
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("".join(f"{text}\t{text}\t{label}\n" for text, label in rows))
    columns = {"input_schema": "left:str:1,right:str:1,label:str:1", "first_sequence": "left", "second_sequence": "right"}
    data = {f"data__{name}": value for name, value in columns.items()}
    config = experiment(**TORCH, **data, data__train=[str(pairs)], teacher__model=start, teacher__training__max_steps=2)
    task = task_of(config)
    assert 1 in TokenisedSet.open(task.train).read_group(0)["token_type_ids"].to_pylist()[0]
    assert [record["step"] for record in train(task) if record["event"] == "eval"] == [2]


class Reading(FineTune):
    """Reads a column that it names, or one that it does not."""

    def __init__(self, named: tuple[str, ...], read: str) -> None:
        self.named, self.read = named, read

    @property
    def side_columns(self) -> tuple[str, ...]:
        return self.named

    def __call__(self, model: Any, batch: Any) -> Any:
        assert self.read in batch.extras
        return super().__call__(model, batch)


def build_reading(named: tuple[str, ...], read: str) -> Callable[..., Reading]:
    return lambda task, context: Reading(named, read)


def test_a_batch_has_the_columns_that_the_objective_names_and_no_others(experiment: Make) -> None:
    config = experiment(**TORCH, teacher__training__max_steps=1)
    plain = task_of(config)
    rows = TokenisedSet.open(plain.train)
    folder = f"{cache_folder(config)}/scores"
    tables = [
        rows.read_group(group, ["shard", "row"]).append_column("score", pa.array(np.ones(size, np.float32)))
        for group, size in enumerate(rows.group_rows)
    ]
    commit(folder, rows, [write_part(folder, 0, tables)], ("score",), {})
    for number, (named, read) in enumerate(((("score",), "score"), ((), "score"))):
        task = plain.model_copy(update={"side_tables": (folder,), "folder": f"{plain.folder}-{number}"})
        with local_context() as context:
            run = functools.partial(run_task, task, context, build_feed=local_feed, build_objective=build_reading(named, read))
            if named:
                run()
            else:
                with pytest.raises(AssertionError):
                    run()


def test_a_column_that_no_table_has_is_refused_before_the_first_step(experiment: Make) -> None:
    task = task_of(experiment(**TORCH, teacher__training__max_steps=1))
    builder = build_reading(("score",), "score")
    with local_context() as context, pytest.raises(DataError, match="reads score, but no side table"):
        run_task(task, context, build_feed=local_feed, build_objective=builder)
    assert not Path(task.history).exists()


def test_labels_that_are_not_there_are_missed_before_the_first_step(experiment: Make, small_world: dict[str, str]) -> None:
    task = unlabelled(experiment, small_world).model_copy(update={"objective": FineTuneConfig()})
    with pytest.raises(DataError, match="the objective needs labels, but the rows have none"):
        train(task)
    assert not Path(task.history).exists()


def loss_curve(experiment: Make, precision: str) -> list[list[float]]:
    """Terms of the loss and norm of the gradient in 24 steps of a student with KD."""
    config = experiment(**TORCH, teacher__training__max_steps=24, teacher__training__dropout=0.0, name=precision)
    plain = task_of(config)
    kd = VanillaKDConfig(temperature=2.0, alpha=0.5)
    changes = {"objective": kd, "logits": with_logits(plain, config), "precision": precision}
    history = train(plain.model_copy(update=changes))
    return [[*record["terms"].values(), record["grad_norm"]] for record in history if record["event"] == "train"]


def test_the_loss_curve_is_the_recorded_one(experiment: Make) -> None:
    """A change that moves it is meant to, says so in the changelog, and records the new one (see the message below)."""
    curve, recorded = loss_curve(experiment, "fp32"), json.loads(GOLDEN.read_text())
    # the same weights on another processor's kernels: 1e-6 after a step, growing with each; another seed or order moves 1e-1
    same = np.shape(curve) == np.shape(recorded) and np.allclose(curve, recorded, rtol=1e-3)
    assert same, f"to record this curve, write into {GOLDEN.name}: {json.dumps(np.round(curve, 6).tolist())}"


def test_the_loss_curve_in_bf16_is_that_of_fp32_up_to_its_rounding(experiment: Make) -> None:
    """A bf16 number has 8 bits: 0.4% of it. Weights, optimiser and loss are fp32."""
    curve, exact = (np.array(loss_curve(experiment, precision)) for precision in ("bf16", "fp32"))
    assert not np.array_equal(curve, exact)
    assert np.allclose(curve[:, :-1], exact[:, :-1], rtol=0.02)


def unlabelled(experiment: Make, world: dict[str, str], **changes: Any) -> TrainTask:
    """The student's task where no row has a label and the teacher comes as it is."""
    config = experiment(
        data__label=None,
        teacher={"model": world["teacher"], "fine_tune": False},
        student__variants={"kd": {}},
        student__objective={"kind": "vanilla_kd", "alpha": 1.0},
        student__seeds=[1],
        **TORCH,
        **changes,
    )
    sets = {
        part: prepare(spec_from_config(config.data, part, config.student.model, label_codec(config.data)), cache_folder(config))
        for part in ("train", "validation")
    }
    (variant,) = config.student_variants
    length = match_lengths([variant], {variant.name: sets["train"].num_rows}, unit="steps")[variant.name]
    logits = with_logits_of(sets["train"], config)
    start, tokenizer = model_folder(config.student.model), config.student.model
    inputs = StudentInputs(variant=variant, start=start, tokenizer=tokenizer, **sets, logits=logits, length=length)
    return student_task(config, inputs, seed=1)


def losses(history: list[dict[str, Any]]) -> list[float]:
    return [record["loss"] for record in history if record["event"] == "step"]


@pytest.mark.parametrize("engine", [{"kind": "torch"}, {"kind": "deepspeed", "zero_stage": 2}], ids=["torch", "zero2"])
def test_a_compiled_training_resumes_and_gives_the_same_model(
    experiment: Make, monkeypatch: pytest.MonkeyPatch, engine: dict[str, Any]
) -> None:
    """Traced by torch.compile's front end and run without a compiler, so that every bit can be compared."""
    monkeypatch.setattr(compiled_forward, "BACKEND", "eager")
    changes = {"compute__engine": engine, "teacher__training__max_steps": 4, "teacher__training__checkpoint_steps": 1}
    plain = task_of(experiment(name="plain", **changes))
    compiled = task_of(experiment(name="compiled", compute__compile=True, **changes))
    assert plain.key != compiled.key

    def stop_after_two(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(compiled, stop_after_two)
    assert losses(train(compiled)) == losses(train(plain))
    expected, found = weights(plain), weights(compiled)
    assert list(found) == list(expected)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.long
def test_a_training_compiled_to_native_code_has_the_same_losses(experiment: Make) -> None:
    try:
        check_compiler(on_gpu=False)
    except ConfigError as error:
        pytest.skip(str(error))
    changes = TORCH | {"teacher__training__max_steps": 3, "teacher__training__dropout": 0, "teacher__training__log_every": 1}
    plain = losses(train(task_of(experiment(name="plain", **changes))))
    compiled = losses(train(task_of(experiment(name="compiled", compute__compile=True, **changes))))
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_alpha_one_trains_on_rows_without_labels(experiment: Make, small_world: dict[str, str]) -> None:
    task = unlabelled(experiment, small_world)
    history = train(task)
    assert not [record for record in history if record["event"] == "eval"], "nothing can be measured without labels"
    model = load_classifier(task.model_folder, labels=("0", "1"), new_head=False)
    assert model.config.id2label == {0: "0", 1: "1"}


def test_without_labels_the_names_must_be_the_teachers(experiment: Make, small_world: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"set data\.labels to the teacher's names"):
        unlabelled(experiment, small_world, data__labels=["negative", "positive"])


def with_logits(task: TrainTask, config: ExperimentConfig) -> str:
    """Made-up teacher logits on the task's training rows."""
    return with_logits_of(TokenisedSet.open(task.train), config).path


def with_logits_of(rows: TokenisedSet, config: ExperimentConfig) -> SideTable:
    """Made-up teacher logits on training rows."""
    folder = f"{cache_folder(config)}/made-up-logits"
    lines = Path(config.data.train[0]).read_text().splitlines()
    file = Path(folder + ".tsv")
    file.write_text("".join(f"{len(line) % 3 - 1}.5,0.25\n" for line in lines))
    return import_tsv(str(file), rows, out=folder)
