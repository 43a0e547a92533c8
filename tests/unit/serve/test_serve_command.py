"""The command: errors of a user are one sentence and exit code 2; --stdin needs neither Ray nor a server."""

import io
import json
import socket
import subprocess
import sys

import pytest

from raykd.cli import main


@pytest.fixture
def raykd_serve(monkeypatch, capsys):
    """``raykd serve`` with arguments and standard input; its exit code and what it printed."""

    def run(*arguments, lines=""):
        monkeypatch.setattr(sys, "argv", ["raykd", "serve", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/absent"], "/absent does not exist; give the folder of a trained model, or of a run"),
        (["MODEL", "--format", "tflite"], "--format tflite: there is no such format; use torch, onnx, openvino"),
        (["MODEL", "--format", "onnx"], "make it with: raykd export"),
        (["MODEL", "--int8"], "--int8 is a form of the ONNX file; add --format onnx"),
        (["MODEL", "--threshold", "0.5"], "--threshold 0.5 hands texts on to a teacher; give its folder with --teacher"),
        (["MODEL", "--replicas", "a"], "--replicas a is not MIN,MAX"),
        (["MODEL", "--replicas", "3,1"], "the first number is at least 1 and at most the second"),
        (["MODEL", "--teacher", "/absent"], "--teacher /absent does not exist; give the folder of a model, or leave it out"),
    ],
)
def test_errors_of_a_user(arguments, message, served_folder_path, raykd_serve):
    code, said = raykd_serve(*[served_folder_path if one == "MODEL" else one for one in arguments])
    assert code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_a_port_in_use(served_folder_path, raykd_serve):
    pytest.importorskip("fastapi", reason="the extra raykd[serve] is not installed")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = raykd_serve(served_folder_path, "--port", port)
    assert code == 2
    assert f"--host 127.0.0.1 --port {port} cannot be used (Address already in use)" in said.err


def test_without_the_libraries_the_extra_is_named(served_folder_path):
    code = "import sys; sys.modules['fastapi'] = None; from raykd.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", served_folder_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "serving needs fastapi, which is not installed; pip install 'raykd[serve]'" in result.stderr


def test_lines_of_standard_input(served_folder_path, raykd_serve):
    code, said = raykd_serve(served_folder_path, "--stdin", lines='{"inputs": "good"}\n{"inputs": 1}\n')
    assert code == 0
    answer, error = map(json.loads, said.out.splitlines())
    assert {entry["label"] for entry in answer[0]} == {"bad", "good"}
    assert "input 0 is neither" in error["error"]
