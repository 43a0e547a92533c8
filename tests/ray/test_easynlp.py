"""EasyNLP's SST-2 flow as written, on Ray: TorchTrainer with DeepSpeed trains, a pool of model actors scores."""

import json
from pathlib import Path

import pytest

from raykd.easynlp import main
from tests.easynlp_world import commands, environment, make_world, meta_commands, scoring_flags, write_reviews

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.usefixtures("ray_session")]  # the flow takes a minute


@pytest.fixture(scope="module")
def flow(ray_session, tmp_path_factory):
    """Variables of the script after all its commands; nothing listens to what they print."""
    folder = tmp_path_factory.mktemp("flow")
    variables = environment(folder, make_world(folder), "sst2")
    for arguments in commands("sst2_text_classify.sh", variables):
        assert main(arguments[1:]) == 0
    return variables


def lines(path):
    return Path(path).read_text(encoding="utf-8").splitlines()


def test_the_flow_leaves_what_easynlp_leaves(flow):
    assert len(lines(flow["LOGITS_PATH"])) == len(lines(flow["TRAIN"]))
    assert set(lines(flow["PREDICTIONS"])) <= {"0", "1"}
    assert len(lines(flow["PREDICTIONS"])) == len(lines(flow["DEV"]))
    for folder in (flow["TEACHER_CKPT"], flow["STUDENT_CKPT"]):
        names = {path.name for path in Path(folder).iterdir()}
        assert {"config.json", "model.safetensors", "vocab.txt", "label_mapping.json", "train_config.json"} <= names


def test_training_went_through_ray_train_and_deepspeed(flow):
    history = [json.loads(line) for line in lines(Path(flow["STUDENT_CKPT"]) / ".raykd" / "history.jsonl")]
    start = next(record for record in history if record["event"] == "start")
    assert start["engine"].startswith("deepspeed")
    assert start["world_size"] == 1
    assert set(next(record for record in history if record["event"] == "train")["terms"]) == {"kd_kl", "ce"}


def test_b05_many_workers_write_every_row_once(flow, tmp_path):
    """The flow's own predictions come from one worker."""
    columns = {"output_schema": "logits,predictions", "append_cols": "sent,label", "outputs": tmp_path / "two.tsv"}
    main(scoring_flags("predict", flow["DEV"], flow["STUDENT_CKPT"], worker_gpu=2, **columns))
    cells = [line.split("\t", 2) for line in lines(tmp_path / "two.tsv")]
    assert [predicted for _, predicted, _ in cells] == lines(flow["PREDICTIONS"])
    assert [row for *_, row in cells] == lines(flow["DEV"])


@pytest.mark.long  # the product is in tests/unit/easynlp/test_settings.py, two workers are in test_run.py
def test_machines_times_gpus_are_training_workers(flow, tmp_path):
    flags = scoring_flags("train", f"{flow['TRAIN']},{flow['DEV']}", tmp_path, label_name="label", worker_count=2, worker_gpu=0)
    parameters = f"--user_defined_parameters=pretrain_model_name_or_path={flow['STUDENT_MODEL']}"
    main([*flags, "--micro_batch_size=32", "--epoch_num=1", parameters])
    history = [json.loads(line) for line in lines(tmp_path / ".raykd" / "history.jsonl")]
    assert next(record for record in history if record["event"] == "start")["world_size"] == 2
    assert next(record for record in history if record["event"] == "train")["total_steps"] == 3  # of 64 rows, of 130


@pytest.mark.long
def test_two_processes_of_the_launcher_are_two_workers_with_one_warning(flow, tmp_path, monkeypatch, capfd):
    """Meta-KD's data and teacher: ``--gpu 7`` and two processes, on a machine without GPUs."""
    write_reviews(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("preprocess", "teacher"):
        capfd.readouterr()
        for arguments in meta_commands(name, flow):
            assert main(arguments) == 0
        assert capfd.readouterr().err.count("running on the CPU") == 1
    history = [json.loads(line) for line in lines(tmp_path / "tmp" / "meta_teacher" / ".raykd" / "history.jsonl")]
    assert next(record for record in history if record["event"] == "start")["world_size"] == 2
    assert set(next(record for record in history if record["event"] == "train")["terms"]) == {"ce", "domain"}
