"""Submission of a job, its output until the end, and its stop.

The folder of the job file is uploaded and ``raykd run JOB`` started in it. Keys are passed as environment variables of the job,
the cluster's token in a header. Neither is logged or written into the job's metadata.
"""

import asyncio
import fnmatch
import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from raykd.config import load_job, load_tune
from raykd.config.paths import expand_home, local_paths
from raykd.errors import ConfigError, ResourceError
from raykd.submit.client import ADDRESS_VARIABLE, connect, explaining
from raykd.submit.upload import EXCLUDES, check_upload

log = logging.getLogger(__name__)

ENV_PASSTHROUGH = (
    *("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_MODE", "HF_TOKEN", "HF_ENDPOINT"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL*"),
)
"""Variables that a job receives from this shell; none that name files or profiles of this machine."""

STOP_GRACE_S = 60
"""Seconds between SIGTERM and SIGKILL of a stopped job; a checkpoint needs more than Ray's default of 3."""

LOST_LIMIT_S = 300
"""Seconds for which the job server may be unreachable while a job is followed; a restart of the head takes minutes."""

QUIET_S = 15
"""Seconds without output after which the job's status is requested, since a connection can break unnoticed."""

STOPPED_EXIT_CODE = 143
"""Exit code of a process ended by SIGTERM, with which Ray stops jobs."""


def submit(
    job: str,
    *,
    address: str,
    overrides: Sequence[str] = (),
    root: str | None = None,
    wait: bool = True,
    working_dir: str = ".",
    env_passthrough: Sequence[str] = ENV_PASSTHROUGH,
    command: Literal["run", "tune"] = "run",
) -> int:
    """Run ``raykd run JOB``, or ``tune``, on the cluster at ``address``, print its output, and return its exit code.

    The job's id is printed first, and nothing else with ``wait=False``. ``env_passthrough`` contains names or patterns of
    variables. ``root`` is the folder on the cluster that relative paths in the job file start from. Returns 143 for a stopped
    job, and 130 after Ctrl-C, which leaves the job running. Raises ConfigError for a job file that cannot run there, and
    ResourceError when the cluster cannot be reached, refuses the token, or never starts the job.
    """
    working_dir = expand_home(working_dir, "--working-dir")
    entrypoint = _entrypoint(job, overrides, root, working_dir, command)
    environment = _job_environment(env_passthrough)
    client = connect(address)
    with explaining(address):
        job_id = client.submit_job(
            entrypoint=entrypoint,
            runtime_env={"working_dir": working_dir, "excludes": list(EXCLUDES), "env_vars": environment},
            metadata={"raykd": command, "job": job},
        )
    _write(f"{job_id}\n")
    if not wait:
        return 0
    try:
        return _exit_code(_follow(client, job_id, address))
    except KeyboardInterrupt:
        sys.stderr.write(f"raykd: {job_id} keeps running; {_next_commands(job_id, address)}\n")
        return 130


def status(job_id: str, *, address: str) -> str:
    """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED. Raises ResourceError for an unknown job or an unreachable cluster."""
    client = connect(address)
    with explaining(address):
        return str(client.get_job_status(job_id))


def stop(job_id: str, *, address: str) -> str:
    """Stop a job, wait for its end, and return its status; a training writes a checkpoint first.

    Raises ResourceError for an unknown job, an unreachable cluster, and a job that runs after twice the grace period.
    """
    client = connect(address)
    with explaining(address):
        client.stop_job(job_id)
    deadline = time.monotonic() + 2 * STOP_GRACE_S
    while True:
        with explaining(address):
            state = client.get_job_status(job_id)
        if state.is_terminal():
            return str(state)
        if time.monotonic() > deadline:
            raise ResourceError(
                f"{job_id} is {state} {2 * STOP_GRACE_S} s after it was asked to stop; see its log on the cluster"
            )
        time.sleep(1)


def _entrypoint(job: str, overrides: Sequence[str], root: str | None, working_dir: str, command: str) -> str:
    """The command line for the cluster. Raises ConfigError for a job that would fail there or lose its results."""
    upload, file = Path(os.path.abspath(working_dir)), Path(os.path.abspath(expand_home(job)))
    if not file.is_file():
        raise ConfigError(f"cannot read the job file {job}; give the path of a YAML file")
    if root is not None and not os.path.isabs(root) and not root.startswith("~"):  # the home of the cluster's user
        raise ConfigError(
            f"root = {root!r} is relative; give a folder of the cluster that all its nodes see, /shared for example"
        )
    if command == "run":
        content = load_job(job, overrides, root=root)
        _check_storage(content.storage, "storage")
    else:
        content = load_tune(job, overrides, root=root).base
        _check_storage(content.storage, "base.storage")
    if not file.is_relative_to(upload):
        raise ConfigError(f"{job} is not in {working_dir}, the folder that is uploaded; give the one it is in as working_dir")
    files = check_upload(working_dir)
    if file not in files:
        raise ConfigError(
            f"{job} would not be uploaded: .gitignore, .rayignore or raykd exclude it; move it, for example to jobs/"
        )
    if root is None:
        _check_paths(content, upload, files)
    words = [word for override in overrides for word in ("--set", override)]
    words += ["--root", root] if root is not None else []
    return shlex.join(["raykd", command, file.relative_to(upload).as_posix(), *words])


def _check_paths(config: BaseModel, upload: Path, files: frozenset[Path]) -> None:
    """Raise ConfigError for data and models that would be missing on the cluster."""
    for key, value, matches in local_paths(config, str(upload)):
        if not any(Path(match) in files or any(file.is_relative_to(match) for file in files) for match in matches):
            raise ConfigError(
                f"{key} = {value!r} is not in what is uploaded to the cluster. Put data and models where all nodes see them "
                "and name the folder that relative paths then start from (--root /shared/project), or give absolute paths or "
                f"s3:// addresses (--set {key}=...)"
            )


def _check_storage(storage: str, key: str) -> None:
    if "://" not in storage and not os.path.isabs(storage):
        raise ConfigError(
            f"{key} = {storage!r} is relative: on a cluster it would lie in the job's own folder, which is deleted after it; "
            f"give --set {key}=/a/folder/every/node/sees or {key}=s3://bucket/folder"
        )


def _job_environment(names: Sequence[str]) -> dict[str, str]:
    for name in filter(None, names):
        if "=" in name:
            raise ConfigError(
                f"env_passthrough takes names, not values: give {name.partition('=')[0]}, and set it in this shell, where "
                "neither the history of commands nor a list of processes shows it"
            )
        if name not in ENV_PASSTHROUGH and not fnmatch.filter(os.environ, name):
            raise ConfigError(f"env_passthrough: there is no variable {name} in this shell; set it, or leave it out")
    wanted = {key for key in os.environ if any(fnmatch.fnmatchcase(key, name) for name in names)}
    passed = {key: os.environ[key] for key in sorted(wanted) if os.environ[key]}
    log.info("variables passed on to the job: %s", ", ".join(passed) or "none")
    return {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S), **passed}


def _follow(client: Any, job_id: str, address: str) -> Any:
    """Print the job's output until its end, reconnecting when needed; returns Ray's details of the job."""
    output, lost_at = _Output(), None
    while True:
        try:
            with explaining(address):
                asyncio.run(_show(client, job_id, output))
                details = client.get_job_info(job_id)
            if details.status.is_terminal():
                return details
            lost_at = None
        except ResourceError as error:
            if lost_at is None:
                lost_at = time.monotonic()
                log.warning("%s; trying again for %d s", error, LOST_LIMIT_S)
            if time.monotonic() - lost_at > LOST_LIMIT_S:
                raise ResourceError(
                    f"no answer about {job_id} for {LOST_LIMIT_S} s, it may still run ({error}); "
                    f"{_next_commands(job_id, address)}"
                ) from None
        time.sleep(1)


def _next_commands(job_id: str, address: str) -> str:
    """The commands that follow a job, with the address unless the shell's variable has it."""
    job = job_id if os.environ.get(ADDRESS_VARIABLE) == address else shlex.join([job_id, "--address", address])
    return f"`raykd status {job}` shows its state, `raykd stop {job}` ends it"


_NOTICE = re.compile(r"\A[^\n]*INFO job_manager\.py:\d+ -- Runtime env is setting up\.\n")
"""The line that Ray's job server writes before a job's own output."""


class _Output:
    """A job's log without what was printed before: every connection sends it from its beginning."""

    def __init__(self) -> None:
        self._shown = self._seen = 0

    def rewind(self) -> None:
        self._seen = 0

    def add(self, text: str) -> None:
        new = text[max(self._shown - self._seen, 0) :]
        if not self._shown:
            new = _NOTICE.sub("", new)
        self._seen += len(text)
        self._shown = max(self._shown, self._seen)
        _write(new)


async def _show(client: Any, job_id: str, output: _Output) -> None:
    """Print output until the server closes the connection or the job has ended."""
    output.rewind()
    lines = client.tail_job_logs(job_id)
    while True:
        coming = asyncio.ensure_future(anext(lines, None))
        while not (await asyncio.wait({coming}, timeout=QUIET_S))[0]:
            if client.get_job_status(job_id).is_terminal():
                coming.cancel()
                output.rewind()
                output.add(client.get_job_logs(job_id))
                return
        text = coming.result()
        if text is None:
            return
        output.add(text)


def _exit_code(details: Any) -> int:
    state, code = str(details.status), details.driver_exit_code
    if state == "SUCCEEDED":
        return 0
    if state == "STOPPED":
        return STOPPED_EXIT_CODE
    if code is None:
        reason = " ".join(str(details.message).split())[:500]
        raise ResourceError(f"{details.submission_id} did not run: {reason}; see the logs on the cluster's head")
    return int(code) if code >= 0 else 128 - int(code)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # `raykd submit ... | head`: the job keeps running, and its exit code is still wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
