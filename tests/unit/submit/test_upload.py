"""The files of the uploaded folder."""

import zipfile
from pathlib import Path

import pytest
import yaml

from raykd.errors import ConfigError
from raykd.submit import upload


def test_a_large_folder_is_refused_with_its_largest_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {
        "data/a.tsv": 900,
        "data/b.tsv": 700,
        "models/t/x.bin": 2000,
        "notes": 10,
        "runs/old.bin": 10**6,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * size * 1000)
    monkeypatch.setattr(upload, "UPLOAD_LIMIT", 3_500_000)
    with pytest.raises(
        ConfigError, match=r"holds 3\.6 MB .* limit is 3\.5 MB; largest: models/t 2\.0 MB, data/a\.tsv 0\.9 MB.*\.rayignore"
    ):
        upload.check_upload(".")
    (folder / ".rayignore").write_text("models\n")
    assert folder / "data" / "a.tsv" in upload.check_upload(".")


def test_what_is_counted_is_what_ray_packs(folder: Path, tmp_path: Path) -> None:
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    names = [
        *("a.py", ".env", "key.pem", ".git/objects/1", ".venv/bin/python", "wandb/x", "sub/wandb/x", "sub/runs/y", "runs/y"),
        *("pkg.egg-info/z", "sub/__pycache__/c.pyc", "deep/.gitignore", "deep/cache/1", "deep/kept", "ignored/1", "build/1"),
    ]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "deep" / ".gitignore").write_text("cache\n")
    (folder / ".rayignore").write_text("/ignored\n")
    package = tmp_path / "package.zip"
    create_package(
        str(folder), package, include_gitignore=True, excludes=[*get_runtime_env_default_excludes(), *upload.EXCLUDES]
    )
    packed = {folder / name for name in zipfile.ZipFile(package).namelist() if not name.endswith("/")}
    assert upload.check_upload(".") == packed
    expected = {"a.py", "sub/wandb/x", "sub/runs/y", "deep/.gitignore", "deep/kept", ".rayignore", "jobs/demo.yaml"}
    assert packed == {folder / name for name in expected}


def test_excludes_are_those_of_the_pasted_command() -> None:
    runtime_env = yaml.safe_load((Path(__file__).parents[3] / "clusters" / "runtime-env.yaml").read_text())
    assert tuple(runtime_env["excludes"]) == upload.EXCLUDES


def test_a_working_dir_that_is_no_folder(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        upload.check_upload("jobs/demo.yaml")
