"""The folder uploaded with a job: excluded files and the size limit."""

import logging
import os
from collections import Counter
from pathlib import Path

from raykd.errors import ConfigError

EXCLUDES = (
    *(".git", ".venv", "venv", "node_modules"),
    *("__pycache__", ".benchmarks", ".hypothesis", ".import_linter_cache", ".ipynb_checkpoints"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", "*.egg-info"),
    *("/build", "/demo", "/dist", "/runs", "/wandb"),
    *(".aws", ".env", ".netrc", ".ssh", "*.key", "*.pem"),
)
"""Excluded files in .gitignore's notation, as in clusters/runtime-env.yaml; .gitignore and .rayignore add to them."""

UPLOAD_LIMIT = 100 * 1000**2
"""Maximum bytes. Ray's own limit is 512 MiB; a job needs its file and perhaps some code, data belongs in storage."""


def check_upload(working_dir: str) -> frozenset[Path]:
    """Files that Ray would upload. Raises ConfigError above UPLOAD_LIMIT, naming the largest parts of the folder."""
    root = Path(os.path.abspath(working_dir))
    if not root.is_dir():
        raise ConfigError(f"working_dir {working_dir} is not a folder; give the one that holds the job file")
    files = _files(root)
    sizes: Counter[str] = Counter()
    for path in files:
        sizes["/".join(path.relative_to(root).parts[:2])] += path.stat().st_size
    if sizes.total() > UPLOAD_LIMIT:
        largest = ", ".join(f"{name} {_megabytes(size)}" for name, size in sizes.most_common(5))
        raise ConfigError(
            f"{working_dir} holds {_megabytes(sizes.total())} that would be uploaded, the limit is {_megabytes(UPLOAD_LIMIT)}; "
            f"largest: {largest}. Move data and models to storage the cluster reads, or list them in a .rayignore file there"
        )
    return files


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _files(root: Path) -> frozenset[Path]:
    """Files that Ray packs, listed by Ray's own code, which applies ignore files at every level."""
    from ray._private.ray_constants import RAY_RUNTIME_ENV_IGNORE_GITIGNORE, get_runtime_env_default_excludes
    from ray._private.runtime_env import packaging

    quiet = logging.getLogger(f"{__name__}.walk")
    quiet.setLevel(logging.ERROR)
    found: list[Path] = []
    excluded = packaging._get_excludes(root, [*get_runtime_env_default_excludes(), *EXCLUDES])
    gitignore = os.environ.get(RAY_RUNTIME_ENV_IGNORE_GITIGNORE, "0") != "1"
    packaging._dir_travel(root, [excluded], found.append, include_gitignore=gitignore, logger=quiet)
    return frozenset(path for path in found if path.is_file())
