"""Settings of a Serve configuration file: one sentence for each wrong one, as on the command line."""

from pathlib import Path
from typing import Any

import pytest

from raykd.errors import ConfigError
from raykd.serve.served_application import command_settings, read_arguments
from tests.unit.serve.conftest import save_model


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "bogus"}, "args.form = bogus: there is no such format; use torch, onnx, openvino"),
        ({"threads": "two"}, "args.threads = two: give a whole number of at least 1"),
        ({"threads": True}, "args.threads = True: give a whole number"),
        ({"threshold": 2}, "args.threshold = 2: give a confidence between 0 and 1"),
        ({"int8": "yes"}, "args.int8 = yes: give true or false"),
        ({"replicas": [3, 1]}, "args.replicas = 3,1: .*the first number is at least 1 and at most the second"),
        ({"replicas": 0}, "args.replicas = 0,0: give one or two whole numbers"),
        ({"replicas": "1,4"}, "args.replicas = 1,4: give one or two whole numbers"),
        ({"replicas": []}, "args.replicas = : give one or two whole numbers"),
        ({"teacher": 1}, "args.teacher = 1: give the folder of a model, or leave it out"),
        ({"student": None}, "args.student = None: give the folder of a model, or of a run"),
        ({"model": "x"}, "args.model: there is no such setting; there are student, teacher"),
    ],
)
def test_wrong_values_are_named(arguments: dict[str, Any], message: str, served_folder_path: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_arguments({"student": served_folder_path} | arguments)
    with pytest.raises(ConfigError, match=r"args\.student is missing"):
        read_arguments({})


def test_a_file_and_the_command_give_the_same_settings(served_folder_path: str) -> None:
    command = command_settings(served_folder_path, None, threshold=None, form="onnx", int8=True, replicas="2", threads=3)
    assert read_arguments({"student": served_folder_path, "form": "onnx", "int8": True, "replicas": 2, "threads": 3}) == command
    assert read_arguments({"student": served_folder_path, "replicas": [1, 4]}).replicas == (1, 4)


def test_a_file_has_the_checks_of_the_command(served_folder_path: str, small_world: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the extra raykd[serve] is not installed")
    from raykd.serve.deployment import from_arguments

    other = save_model(tmp_path / "teacher", small_world["student"], labels=("good", "bad"))
    for arguments, message in (
        ({"int8": True}, "args.int8 = True is a form of the ONNX file; set args.form to onnx"),
        ({"threshold": 0.5}, "args.threshold = 0.5 hands texts on to a teacher; give its folder with args.teacher"),
        ({"teacher": other}, "args.teacher = .* cannot answer for .*; give its own teacher"),
        ({"form": "onnx"}, "make it with: raykd export"),
    ):
        with pytest.raises(ConfigError, match=message):
            from_arguments({"student": served_folder_path, **arguments})
