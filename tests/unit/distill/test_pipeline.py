"""Errors of a user: one sentence, exit code 2, no traceback, nothing half-written that looks complete; before Ray."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from raykd.cli import main
from raykd.distill.pipeline import DistillationPipeline
from raykd.errors import ConfigError, ResourceError
from raykd.progress import Terminal
from raykd.run.stages import StageRunner


@pytest.fixture
def raykd_run(experiment, tmp_path, monkeypatch, capsys):
    """``raykd run`` on the small experiment with changes; its exit code and what it printed. Ray may not start."""

    def refuse(_):
        raise AssertionError("Ray was started")

    def run(**changes):
        monkeypatch.setattr(StageRunner, "start_ray", refuse)
        job = tmp_path / "job.yaml"
        job.write_text(yaml.safe_dump(experiment(**changes).model_dump(mode="json")))
        monkeypatch.setattr(sys, "argv", ["raykd", "run", str(job)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err

    return run


def broken_model(kind, folder, source):
    if kind == "absent":
        return str(folder / "absent")
    shutil.copytree(source, folder / kind)
    (folder / kind / {"tokenizer": "tokenizer.json", "config": "config.json"}[kind]).unlink()
    return str(folder / kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("absent", "absent does not exist"),
        ("tokenizer", "has no tokenizer: none of tokenizer.json, vocab.txt"),
        ("config", "has no config.json"),
    ],
)
@pytest.mark.parametrize("who", ["teacher", "student"])
def test_models_that_cannot_be_used(who, kind, message, raykd_run, request):
    small_world, tmp_path = request.getfixturevalue("small_world"), request.getfixturevalue("tmp_path")
    code, said = raykd_run(**{f"{who}__model": broken_model(kind, tmp_path, small_world[who])})
    assert code == 2
    assert message in said
    assert said.count("\n") == 1, "one line, no traceback"
    assert not (tmp_path / "runs" / "small").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__train": ["absent.tsv"]}, "absent.tsv"),
        ({"data__test": ["absent.tsv"]}, "absent.tsv"),
        ({"teacher": None, "logits__file": "absent.tsv", "student__variants": {"kd": {}}}, "absent.tsv"),
        ({"data__sequence_length": 33}, "sequence_length 33 is over the 32 positions of "),
        ({"data__validation": ["absent.tsv"]}, "absent.tsv"),
        ({"data__labels": "absent.txt"}, "data.labels: there is no file absent.txt"),
        ({"student__training": {"metric": "acuracy"}}, "student.training.metric = 'acuracy': evaluations have accuracy, f1, "),
        ({"teacher__training": {"metric": "bleu"}}, "teacher.training.metric = 'bleu': evaluations have accuracy, f1, "),
        ({"student__objective": {"kind": "dist_kd"}}, "inter_weight = 1.0 with 2 labels"),
    ],
)
def test_files_and_lengths_that_cannot_be_used(changes, message, raykd_run, tmp_path):
    code, said = raykd_run(**changes)
    assert (code, message in said, said.count("\n")) == (2, True, 1), said


def test_a_report_on_rows_without_labels(experiment, tmp_path):
    changes = {
        "data__label": None,
        "teacher__fine_tune": False,
        "student__variants": {"kd": {}},
        "student__objective__alpha": 1.0,
    }
    config = experiment(**changes, student__objective__kind="vanilla_kd")
    pipeline = DistillationPipeline(config, terminal=Terminal())
    pipeline.check()
    assert pipeline.only == ("teacher", "logits", "students", "evaluation"), "all that can be done without labels"
    with pytest.raises(ConfigError, match=r"compares answers with labels, but data\.label is not set"):
        DistillationPipeline(config, only=("report",), terminal=Terminal()).check()


def test_a_place_that_cannot_be_written(raykd_run, tmp_path):
    (tmp_path / "file").write_text("")
    code, said = raykd_run(storage=str(tmp_path / "file" / "runs"))
    assert code == 2
    assert str(tmp_path / "file") in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "train.tsv"),
        ("good film\t2\n", "train.tsv:1: label '2' is not one of '0', '1'"),
        ("good film\t1\nbad\n", "train.tsv:2: 1 column where 2 are needed (text, label)"),
        ("good film\t1\n\nbad\t0\n", "train.tsv:2: the line is blank"),
        ("good film\t1\nb\udcffd\t0\n", "train.tsv:2: not UTF-8 text"),
    ],
)
def test_rows_that_do_not_parse_leave_no_set(content, message, experiment, local, tmp_path):
    from raykd.errors import DataError

    (tmp_path / "train.tsv").write_bytes(content.encode(errors="surrogateescape"))
    pipeline = local(experiment(data__train=[str(tmp_path / "train.tsv")]))
    with pytest.raises(DataError) as caught:
        pipeline.run()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(Path(tmp_path, "runs").rglob("manifest.json"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0.5,0.5"] * 399, "has 399 lines"),
        (["0.5,0.5"] * 399 + ["1,2,3"], ":400: 3 values, where 2 are needed"),
        (["0.5,0.5"] * 399 + ["nan,1"], ":400: 'nan,1' is not finite"),
    ],
)
def test_logits_that_do_not_fit_leave_no_table(lines, message, experiment, local, tmp_path):
    from raykd.errors import DataError

    (tmp_path / "logits.tsv").write_text("\n".join(lines) + "\n")
    # every row trains: the last line is looked at
    validation = tmp_path / "validation.tsv"
    validation.write_text("good\t1\nbad\t0\n")
    changes = {"teacher": None, "student__variants": {"kd": {}}, "data__validation": [str(validation)]}
    pipeline = local(experiment(logits__file=str(tmp_path / "logits.tsv"), **changes))
    with pytest.raises(DataError) as caught:
        pipeline.run()
    assert message in str(caught.value)
    assert not (tmp_path / "runs/small/logits/stage.json").exists()
    assert not (tmp_path / "runs/small/logits/manifest.json").exists()


def test_a_temperature_below_one_is_warned_of(experiment, local):
    pipeline = local(experiment(student__objective={"kind": "vanilla_kd", "temperature": 0.5, "final_temperature": 2}))
    assert [line for line in pipeline.runner.said if line.startswith("warning")] == [
        "warning: student.objective.temperature = 0.5 is below 1: it sharpens the teacher's probabilities, softening is above 1"
    ]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of a given size; ``resize`` changes it."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)

    made = mount("-t", "tmpfs", "-o", "size=64k", "tmpfs")
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    yield folder, lambda size: mount("-o", f"remount,size={size}")
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_full_disk_is_one_sentence_and_with_free_space_the_same_command_goes_on(experiment, local, small_disk):
    folder, resize = small_disk
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3, "checkpoint_steps": 2}
    config = experiment(
        storage=str(folder / "runs"), compute__engine={"kind": "torch"}, student__training=training, student__seeds=[1],
        teacher__training=training,
    )  # fmt: skip
    failures = []
    for size in (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 2048, 4096):
        resize(f"{size}k")
        pipeline = local(config)
        try:
            comparison = pipeline.run()
            break
        except ResourceError as error:
            failures.append(str(error))
            for done in folder.rglob("task.json"):
                assert (done.parent / "model" / "model.safetensors").stat().st_size > 0, "what says it is done is whole"
    assert len(failures) >= 3
    assert all("No space left on device" in failure and "\n" not in failure for failure in failures), failures
    assert len(comparison.systems) == 3
