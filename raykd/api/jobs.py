"""``raykd.run`` and ``raykd.load_run``."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from raykd.api.data_objects import with_data
from raykd.api.job_input import GivenOverrides, JobInput, job_content
from raykd.api.run_result import RunResult
from raykd.config import ExperimentConfig, MetaKDConfig
from raykd.config.load import build_job
from raykd.config.paths import expand_home
from raykd.data import storage
from raykd.errors import ConfigError
from raykd.job_kinds import RUN_KINDS


def run(
    job: JobInput,
    *,
    data: Mapping[str, Any] | None = None,
    overrides: GivenOverrides | None = None,
    root: str | None = None,
    stages: Sequence[str] = (),
) -> RunResult:
    """Run a distillation, as ``raykd run`` does: finished stages are skipped, an interrupted run resumes.

    ``job`` is the path of a job file, a mapping with its content, or a configuration object. ``data`` has objects for
    ``train``, ``validation``, ``test`` and ``unlabelled``: pandas DataFrame, pyarrow Table, ``datasets.Dataset`` or
    ``ray.data.Dataset``; they replace the files of the job's ``data`` section, which names their columns. A
    ``kind: meta_kd`` job has no ``unlabelled``, and its rows have a domain. ``overrides`` maps paths to values
    (``{"student.objective.temperature": 4}``), or lists texts as for ``--set``. Relative paths start from
    ``root``, by default the current folder. ``stages`` runs some stages only.

    A Ray that the caller has started is used and left running; otherwise Ray starts and ends with the call.
    Raises RaykdError for anything a user can cause, mostly before Ray starts. After a KeyboardInterrupt the same call resumes.
    """
    content, source = job_content(job, overrides)

    def build(given: Mapping[str, Any]) -> ExperimentConfig | MetaKDConfig:
        return build_job(given, source=source, root=root)

    config = build(content) if data is None else with_data(content, data, build)
    kind = RUN_KINDS[type(config)]
    chosen = kind.choose(stages)
    from raykd.api.notebook_terminal import call_terminal
    from raykd.run.task import run_folder

    report = kind.run(config, chosen, call_terminal())
    return RunResult(run_folder(config), config, report)


def load_run(folder: str | os.PathLike[str]) -> RunResult:
    """Load the result of a run from its folder. Raises ConfigError for another folder, DataError for a damaged one."""
    path = expand_home(os.fspath(folder), "folder").rstrip("/")
    written = storage.join(path, "experiment.json")
    if not storage.exists(written):
        raise ConfigError(f"{path} is not the folder of a run: it has no experiment.json; give STORAGE/NAME of a job")
    config = build_job(storage.read_json(written), source=written)
    reports = storage.join(path, "report")
    report = RUN_KINDS[type(config)].read(reports) if storage.exists(storage.join(reports, "report.json")) else None
    return RunResult(path, config, report)
