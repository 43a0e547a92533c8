"""EasyNLP's defects, one test for each that this command line could have inherited; the names are those of docs/easynlp.md."""

import json
import math
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from raykd.data.batch_plan import BatchPlan
from raykd.easynlp.settings import Workers, read_settings
from raykd.errors import ConfigError, ModelError
from raykd.models import load_classifier
from raykd.trainers.events import StepMetrics
from tests.easynlp_world import save_model, scoring_flags

KD = "enable_distillation=True type=vanilla_kd logits_name=logits logits_saved_path={}"
KD_SCHEMA = "sent:str:1,label:str:1,logits:float:2"


@pytest.fixture
def logits(tmp_path):
    path = tmp_path / "logits.tsv"
    path.write_text("0.5,-0.5\n" * 130)
    return path


@pytest.fixture
def kd_flags(train_flags, world, logits):
    def flags(more="", **changes):
        parameters = f"pretrain_model_name_or_path={world['student']} {KD.format(logits)} {more}"
        return train_flags(**{"input_schema": KD_SCHEMA, "user_defined_parameters": parameters} | changes)

    return flags


@pytest.fixture
def history(easynlp, tmp_path):
    """Runs a training; its records by event."""

    def run(flags):
        records = []
        easynlp(*flags, listen=records.append)
        return {event: [one.to_json() for one in records if one.kind == event] for event in ("train", "eval", "end")}

    return run


def weights(folder):
    return {name: value.clone() for name, value in load_classifier(str(folder), labels=("0", "1")).state_dict().items()}


@pytest.mark.parametrize("app", ["text_classify", "text_match"])
def test_b01_distillation_evaluates_and_leaves_a_checkpoint(app, history, kd_flags, tmp_path):
    events = history(kd_flags(app_name=app, save_checkpoint_steps=2))
    assert [one["step"] for one in events["eval"]] == [2, 4, 5]
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_b02_dev_rows_never_meet_the_training_logits(history, kd_flags, world):
    assert len(Path(world["sst2_dev"]).read_text().splitlines()) > 130
    assert history(kd_flags())["eval"]


def test_b03_enable_distillation_false_does_not_distil(history, kd_flags):
    events = history(kd_flags(more="enable_distillation=False multi_label=False"))
    assert set(events["train"][0]["terms"]) == {"ce"}


@pytest.mark.parametrize(("rows", "batch"), [(5, 4), (5, 1), (1, 32)])
def test_b04_a_last_batch_of_one_row_is_predicted(rows, batch, easynlp, world, tmp_path):
    model = save_model(tmp_path / "trained", hidden=16, seed=3, head=True)
    (tmp_path / "rows.tsv").write_text("good film\n" * rows)
    flags = {"output_schema": "predictions,logits", "outputs": tmp_path / "out.tsv", "micro_batch_size": batch}
    easynlp(*scoring_flags("predict", tmp_path / "rows.tsv", model, input_schema="sent:str:1", **flags))
    assert len((tmp_path / "out.tsv").read_text().splitlines()) == rows


def test_b06_dropout_stays_on_after_an_evaluation(history, train_flags, tmp_path):
    often, once = (
        history(train_flags(save_checkpoint_steps=steps, logging_steps=1, checkpoint_dir=tmp_path / str(steps)))
        for steps in (1, 100)
    )
    assert len(often["eval"]) > len(once["eval"])
    assert [one["terms"] for one in often["train"]] == [one["terms"] for one in once["train"]]


def test_b07_bert_adam_trains_and_others_are_refused(history, train_flags, world, tmp_path):
    history(train_flags(optimizer="BertAdam"))
    before = {f"bert.{name}": value for name, value in torch_weights(world["student"]).items()}
    after = weights(tmp_path / "model")
    assert all(not torch.equal(after[name], value) for name, value in before.items() if value.dim() > 1)
    for name in ("Adam", "SGD"):
        with pytest.raises(ConfigError, match=f"--optimizer_type={name}: allowed are AdamW and BertAdam"):
            history(train_flags(optimizer_type=name))


def torch_weights(folder):
    from safetensors.torch import load_file

    return {name.removeprefix("bert."): value for name, value in load_file(Path(folder) / "model.safetensors").items()}


def test_b08_a_resumed_training_steps_on_with_its_schedule(easynlp, train_flags, tmp_path):
    flags = train_flags(epoch_num=2, save_checkpoint_steps=3, logging_steps=1)
    whole, resumed = [], []
    easynlp(
        *train_flags(epoch_num=2, save_checkpoint_steps=3, logging_steps=1, checkpoint_dir=tmp_path / "w"), listen=whole.append
    )

    def stop(record):
        if isinstance(record, StepMetrics) and record.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        easynlp(*flags, listen=stop)
    easynlp(*flags, listen=resumed.append)
    rates = {one.step: one.learning_rate for one in whole if isinstance(one, StepMetrics)}
    assert {one.step: one.learning_rate for one in resumed if isinstance(one, StepMetrics)} == {
        step: rate for step, rate in rates.items() if step > 3
    }
    assert all(
        torch.equal(a, b) for a, b in zip(weights(tmp_path / "w").values(), weights(tmp_path / "model").values(), strict=True)
    )


def test_b09_use_amp_distils_with_the_same_gradient(history, kd_flags, tmp_path):
    plain = history(kd_flags(logging_steps=1))["train"]
    amp = history(kd_flags(logging_steps=1, use_amp=True, checkpoint_dir=tmp_path / "amp"))["train"]
    ratio = [one["grad_norm"] / other["grad_norm"] for one, other in zip(amp, plain, strict=True)]
    assert ratio == pytest.approx([1.0] * len(ratio), rel=0.1)
    assert [one["grad_norm"] for one in amp] != [one["grad_norm"] for one in plain]


def test_b10_saving_steps_and_workers_may_be_left_out(history, train_flags):
    flags = train_flags(epoch_num=2)
    assert not any(flag.startswith(("--save_checkpoint_steps", "--worker_gpu")) for flag in flags)
    assert [one["step"] for one in history(flags)["eval"]] == [5, 10]


def test_b11_steps_are_counted_right(history, train_flags):
    events = history(train_flags(epoch_num=2, micro_batch_size=16, gradient_accumulation_steps=2, save_checkpoint_steps=3,
                                 logging_steps=1))  # fmt: skip
    total = 2 * math.ceil(130 / 32)
    assert [one["step"] for one in events["train"]] == list(range(1, total + 1))
    assert [one["step"] for one in events["eval"]] == [3, 6, 9, 10]
    assert events["train"][0]["learning_rate"] > 0
    assert {one["total_steps"] for one in events["train"]} == {total}


def test_b12_every_epoch_has_its_own_order():
    plan = BatchPlan(np.array([130]), lambda group: np.full(130, 8, np.int32), seed=42, batch_size=32, fingerprint="rows")
    first, second = ([batch.offsets.tolist() for batch in plan.batches(start, start + 5)] for start in (0, 5))
    assert first != second
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(130))


def test_b13_flags_that_easynlp_drops_count(train_flags):
    changes = {"logging_steps": 7, "warmup_proportion": 0.3, "max_grad_norm": 0.5, "optimizer_type": "BertAdam"}
    settings, _ = read_settings(train_flags(**changes, use_amp=True, resume_from_checkpoint="elsewhere"))
    training = settings.training
    assert (training.log_every, training.warmup_ratio, training.max_grad_norm) == (7, 0.3, 0.5)
    assert (settings.precision, settings.resume_from) == ("bf16", "elsewhere")


def test_b13_all_checkpoints_are_kept_where_asked(history, train_flags, tmp_path):
    events = history(train_flags(save_checkpoint_steps=2, save_all_checkpoints=True))
    assert [one["step"] for one in events["eval"]] == [2, 4, 5]
    kept = {step: weights(tmp_path / "model" / f"step-{step}") for step in (2, 4, 5)}
    assert not torch.equal(kept[2]["classifier.weight"], kept[4]["classifier.weight"])
    best = next(one["step"] for one in reversed(events["eval"]) if one["best"])
    assert all(torch.equal(value, kept[best][name]) for name, value in weights(tmp_path / "model").items())


def test_b14_distillation_runs_on_the_cpu(history, kd_flags):
    assert history(kd_flags(worker_gpu=0))["end"]


def test_b15_a_path_with_modelzoo_in_it_is_a_path(easynlp, tmp_path, world):
    model = save_model(tmp_path / "modelzoo" / "trained", hidden=16, seed=3, head=True)
    save_model(tmp_path / "plain", hidden=16, seed=3, head=True)

    def predict(folder, out):
        easynlp(*scoring_flags("predict", world["sst2_dev"], folder, outputs=out, output_schema="logits"))
        return out.read_text()

    assert predict(model, tmp_path / "a.tsv") == predict(tmp_path / "plain", tmp_path / "b.tsv")


def test_b15_missing_weights_are_an_error(easynlp, tmp_path, world):
    from safetensors.torch import load_file, save_file

    model = save_model(tmp_path / "trained", hidden=16, seed=3, head=True)
    file = Path(model) / "model.safetensors"
    kept = load_file(file)
    del kept["bert.pooler.dense.weight"]
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights .*pooler\.dense\.weight"):
        easynlp(*scoring_flags("predict", world["sst2_dev"], model, outputs=tmp_path / "out.tsv", output_schema="logits"))
    assert not (tmp_path / "out.tsv").exists()


def test_b16_model_parameters_do_not_crash(train_flags, world):
    parameters = f"pretrain_model_name_or_path={world['student']} vocab_size=30522 hidden_size=312"
    assert read_settings(train_flags(user_defined_parameters=parameters))[0].model == world["student"]


def test_b18_a_name_that_nobody_has_is_an_error_at_once(easynlp, train_flags, tmp_path):
    with pytest.raises(ModelError, match=r"no-such-model.*give the path of a local model folder"):
        easynlp(*train_flags(user_defined_parameters="pretrain_model_name_or_path=no-such-model"))
    with pytest.raises(ConfigError, match="--checkpoint_dir=results/x is not a folder"):
        easynlp(*scoring_flags("predict", "a.tsv", "results/x", outputs="o.tsv", output_schema="logits"))


def test_b19_the_number_of_gpus_and_the_predicted_file_are_those_that_were_given(easynlp, train_flags, world, tmp_path):
    for given, workers in ((None, Workers(1, gpu=False)), (0, Workers(1, gpu=False)), (1, Workers(1, gpu=True))):
        assert read_settings(train_flags(worker_gpu=given))[0].workers == workers
    model, out = save_model(tmp_path / "trained", hidden=16, seed=3, head=True), tmp_path / "out.tsv"
    easynlp(*scoring_flags("predict", world["mrpc_dev"], model, outputs=out, output_schema="predictions", append_cols="id",
                           input_schema="label:str:1,id:str:1,id2:str:1,sent1:str:1,sent2:str:1", first_sequence="sent1",
                           second_sequence="sent2"))  # fmt: skip
    written = [line.split("\t")[1] for line in out.read_text().splitlines()]
    assert written == [line.split("\t")[1] for line in Path(world["mrpc_dev"]).read_text().splitlines()], "not the train file"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--pretrained_model_name_or_path=bert", "give pretrain_model_name_or_path=MODEL in --user_defined_parameters"),
        ("--enable_distillation=True", "it belongs into --user_defined_parameters, written key=value"),
        ("--worker_cpu=1", "unknown flag --worker_cpu; did you mean --worker_gpu?"),
        ("--user_defined_parameters={'type': 'vanilla_kd'}", "\"{'type':\" is not of the form key=value"),
    ],
)
def test_b20_flags_and_grammar_of_old_scripts_are_explained(argument, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_settings([argument])


def test_b21_figures_are_numbers_without_a_graph(history, kd_flags, tmp_path):
    history(kd_flags(logging_steps=1))
    for line in (tmp_path / "model" / ".raykd" / "history.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert all(isinstance(value, float) for value in record.get("terms", {}).values())
