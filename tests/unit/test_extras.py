"""Parts with packages of their own: one sentence where these are absent, and a plain run without any of them."""

import importlib
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from raykd.config import load_job
from raykd.distill.checks import check_experiment
from raykd.errors import ConfigError
from raykd.extras import EXTRAS, import_extra, require_extra
from raykd.metakd.checks import check_meta_kd
from raykd.model_export import export
from raykd.progress import Terminal
from raykd.serve.serve_command import serve_http
from raykd.serve.served_application import ServedApplication
from raykd.tracking import open_tracker
from raykd.tune.driver import run_search
from tests.unit.tune.small_search import search

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEED_AN_EXTRA = {"raykd.serve.deployment", "raykd.serve.http_app", "raykd.tune.importance", "raykd.tune.trial_sampler"}
"""Modules that import the packages of an extra as they load."""
MODULES = [(extra, module) for extra, modules in EXTRAS.items() for module in modules]


def requirements(extra: str) -> str:
    return " ".join(PROJECT["optional-dependencies"][extra])


@pytest.mark.parametrize(("extra", "module"), MODULES)
def test_an_extra_installs_its_modules_and_a_plain_installation_does_not(extra: str, module: str) -> None:
    package, _, part = module.partition(".")
    pattern = rf"(^|\s){package}{re.escape(f'[{part}]') if part else ''}>="
    assert re.search(pattern, requirements(extra))
    assert not any(re.match(pattern, one) for one in PROJECT["dependencies"])


def test_the_developers_extra_has_all_others() -> None:
    others = set(PROJECT["optional-dependencies"]) - {"dev"}
    assert set(EXTRAS) <= others
    assert others == set(re.findall(r"raykd\[(.*?)\]", requirements("dev"))[0].split(","))


def test_every_requirement_has_a_version_in_the_constraints() -> None:
    known = {line.partition("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    listed = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[><=]", one)[0].lower().replace("_", "-") for one in listed} - {"raykd"}
    assert names <= known


def job(name: str, kind: str, folder: Path) -> object:
    return load_job(ROOT / "jobs" / name, [f"tracking.kind={kind}", f"storage={folder}"])


def served(folder: Path) -> None:
    serve_http(ServedApplication(str(folder)), host="127.0.0.1", port=8000, tell=print)


@pytest.mark.parametrize(
    ("module", "use", "said"),
    [
        ("wandb", lambda folder: check_experiment(job("sst2-kd.yaml", "wandb", folder)), "tracking.kind = wandb needs wandb"),
        (
            "wandb",
            lambda folder: check_meta_kd(job("metakd-amazon.yaml", "wandb", folder), str(folder)),
            "tracking.kind = wandb needs wandb",
        ),
        (
            "tensorboard",
            lambda folder: check_experiment(job("sst2-kd.yaml", "tensorboard", folder)),
            "tracking.kind = tensorboard needs tensorboard",
        ),
        ("optuna", lambda folder: run_search(search()), "a search needs optuna"),
        ("onnxscript", lambda folder: export(str(folder), int8=False, terminal=Terminal()), "exporting needs onnxscript"),
        (
            "openvino",
            lambda folder: export(str(folder), form="openvino", terminal=Terminal()),
            "--format openvino needs openvino",
        ),
        ("uvicorn", served, "serving needs uvicorn"),
    ],
    ids=["run with wandb", "meta_kd with wandb", "run with tensorboard", "tune", "export", "export to openvino", "serve"],
)
def test_an_absent_package_is_named_with_the_command_that_installs_it(module, use, said, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    extra = next(one for one, modules in EXTRAS.items() if module in modules)
    with pytest.raises(ConfigError) as caught:
        use(tmp_path)
    assert str(caught.value) == f"{said}, which is not installed; pip install 'raykd[{extra}]'"
    assert "ray" not in sys.modules or not importlib.import_module("ray").is_initialized()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_installed_extra_is_accepted(extra: str) -> None:
    for module in EXTRAS[extra]:
        try:
            import_extra(module)
        except ImportError as absent:
            pytest.skip(f"pip install 'raykd[{extra}]': {absent}")
    require_extra(extra, "this test")


def test_openvino_cannot_send_usage_data(tmp_path: Path) -> None:
    """Its import would make an id of the user in the home folder, and send an event."""
    if find_spec("openvino") is None:
        pytest.skip("pip install 'raykd[openvino]'")
    code = "from raykd.extras import require_extra; require_extra('openvino', 'this test'); import openvino; openvino.Core"
    environment = os.environ | {"HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.iterdir())


def test_runs_without_a_tracker_need_no_extra(tmp_path, monkeypatch) -> None:
    for _, module in MODULES:
        monkeypatch.setitem(sys.modules, module, None)
    tracker = open_tracker("none", project="p", run_name="r", group=None, run_id="r", config={}, folder=str(tmp_path))
    tracker.log(1, {"train/loss": 1.0})
    tracker.finish()
    assert not list(tmp_path.iterdir())


def test_all_other_modules_load_without_any_extra() -> None:
    names = [path.relative_to(ROOT).with_suffix("").parts for path in sorted((ROOT / "raykd").rglob("*.py"))]
    modules = {".".join(parts).removesuffix(".__init__") for parts in names} - NEED_AN_EXTRA
    code = (
        f"import importlib, sys\nsys.modules.update(dict.fromkeys({[module for _, module in MODULES]!r}))\n"
        f"for name in {sorted(modules)!r}:\n    importlib.import_module(name)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
