"""Command line. Heavy libraries are imported after a command has checked its input."""

import gc
import logging
import os
import signal
import sys
from typing import Annotated

import typer

from raykd.errors import ConfigError, RaykdError
from raykd.model_commands import export, push, serve, shrink
from raykd.stage_names import META_STAGES, STAGES
from raykd.standard_streams import protect_standard_streams

app = typer.Typer(
    name="raykd",
    help="Knowledge distillation for text classifiers, from a laptop to a Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from raykd import __version__

        typer.echo(f"raykd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


PRINTING_COMMANDS = ("report", "validate", "schema", "shrink", "status")
"""Commands whose result is what they print."""

JobFile = Annotated[str, typer.Argument(metavar="FILE", help="Job file (YAML); see docs/configuration.md.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="a.b=c",
        help="Override a value of the job file, for example student.objective.temperature=4; the last one for a value counts.",
    ),
]


Root = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Folder that relative paths in the job file start from; default: the current folder."),
]


@app.command()
def run(
    file: JobFile,
    set_: Overrides = None,
    root: Root = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Run only this stage; may be repeated. Stages: {', '.join(STAGES)}; of meta_kd jobs {', '.join(META_STAGES)}."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="List what would run; start nothing.")] = False,
) -> None:
    """Run a distillation: teacher, logits, students, evaluation, comparison. Finished stages are skipped."""
    from raykd.config import load_job
    from raykd.job_kinds import RUN_KINDS

    config = load_job(file, set_ or (), root=root)
    kind = RUN_KINDS[type(config)]
    stages = kind.choose(stage or ())
    if dry_run:
        typer.echo(kind.outline(config, stages))
        return
    try:
        found = kind.run(config, stages)
    except KeyboardInterrupt:
        typer.echo("raykd: interrupted; the same command resumes", err=True)
        raise typer.Exit(130) from None
    if found is not None:
        kind.show(found)


@app.command()
def demo(
    folder: Annotated[
        str, typer.Option(metavar="DIR", help="Folder of the demo's data, models and job file; made if it is not there.")
    ] = "raykd-demo",
    data_only: Annotated[bool, typer.Option("--data-only", help="Make the folder; run nothing.")] = False,
) -> None:
    """Run a whole distillation on generated reviews, offline; results are in runs/demo."""
    from raykd.config.paths import expand_home
    from raykd.demo import make_demo

    job = make_demo(expand_home(folder, "--folder"), print_line=typer.echo)
    if not data_only:
        run(job)


@app.command()
def tune(
    file: JobFile,
    set_: Overrides = None,
    root: Root = None,
    dry_run: Annotated[bool, typer.Option(help="List what would run; start nothing.")] = False,
) -> None:
    """Search hyperparameters (kind: tune): trials, retraining and test of the best, report. Finished trials are skipped."""
    from raykd.config import load_tune

    config = load_tune(file, set_ or (), root=root)
    if dry_run:
        from raykd.tune.search_outline import outline

        typer.echo(outline(config))
        return
    from raykd.tune.driver import run_search
    from raykd.tune.search_summary import show_search

    try:
        found = run_search(config)
    except KeyboardInterrupt:
        typer.echo("raykd: interrupted; the same command resumes", err=True)
        raise typer.Exit(130) from None
    show_search(found)


@app.command()
def validate(file: JobFile, set_: Overrides = None, root: Root = None) -> None:
    """Check a job file and print the resolved configuration as JSON. Starts nothing."""
    from raykd.config import is_search, load_job, load_tune

    load = load_tune if is_search(file) else load_job
    typer.echo(load(file, set_ or (), root=root).model_dump_json(indent=2))


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(metavar="[run|meta_kd|tune]", help="Kind of job file.")] = "run",
) -> None:
    """Print the JSON Schema of a kind of job file, for completion and checks in editors."""
    from raykd.config.json_schema import JOB_KINDS, schema_text

    if kind not in JOB_KINDS:
        raise ConfigError(f"schema {kind}: there is no such kind of job file; kinds are {', '.join(JOB_KINDS)}")
    typer.echo(schema_text(kind), nl=False)


@app.command()
def report(
    runs: Annotated[list[str], typer.Argument(metavar="DIR...", help="Folders of finished runs, or their report folders.")],
    page: Annotated[
        str | None, typer.Option(metavar="FILE", help="HTML file to write; runs with other label budgets are plotted there.")
    ] = None,
) -> None:
    """Compare finished runs in one table."""
    from raykd.config.paths import expand_home
    from raykd.progress import print_result
    from raykd.report.files import compare_runs, report_folder, verdicts_of_runs

    runs, written = [expand_home(run, "DIR") for run in runs], None if page is None else expand_home(page, "--page")
    folders = [report_folder(run) for run in runs]
    print_result(compare_runs(folders, page=written), summary=verdicts_of_runs(folders))


for command in (export, shrink, push, serve):
    app.command()(command)


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
def easynlp(context: typer.Context) -> None:
    """Run EasyNLP's command line: replace `easynlp` by `raykd easynlp`, or `python X.py` by `raykd easynlp X`."""
    from raykd.easynlp import main as run_easynlp

    raise typer.Exit(run_easynlp(context.args))


ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
Address = Annotated[
    str | None,
    typer.Option(envvar=ADDRESS_VARIABLE, help="Address of the cluster's dashboard, for example http://head:8265; required."),
]


def _required_address(command: str, address: str | None) -> str:
    if not address:
        raise ConfigError(
            f"{command}: --address is missing; give the address of the cluster's dashboard, for example "
            f"--address http://127.0.0.1:8265, or set {ADDRESS_VARIABLE}"
        )
    return address


@app.command()
def submit(
    file: JobFile,
    address: Address = None,
    set_: Overrides = None,
    root: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder on the cluster, visible to all nodes, that relative paths start from."),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the job's output and return its exit code.")] = True,
    working_dir: Annotated[str, typer.Option(help="Folder to upload, which contains the job file.")] = ".",
    env_passthrough: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Variable, or pattern of variables, of this shell that the job receives; values are never printed. Replaces "
            "the default (W&B, Hugging Face and AWS keys); '' passes none.",
        ),
    ] = None,
) -> None:
    """Run a job file, or a search, on a cluster through Ray's job server."""
    address = _required_address("submit", address)
    from raykd.config import is_search
    from raykd.submit import ENV_PASSTHROUGH
    from raykd.submit import submit as submit_job

    code = submit_job(
        file,
        address=address,
        overrides=set_ or (),
        root=root,
        wait=wait,
        working_dir=working_dir,
        command="tune" if is_search(file) else "run",
        env_passthrough=ENV_PASSTHROUGH if env_passthrough is None else env_passthrough,
    )
    raise typer.Exit(code)


@app.command()
def status(job_id: str, address: Address = None) -> None:
    """Print the status of a submitted job."""
    address = _required_address("status", address)
    from raykd.submit import status as job_status

    typer.echo(job_status(job_id, address=address))


@app.command()
def stop(job_id: str, address: Address = None) -> None:
    """Stop a submitted job and wait for its end."""
    address = _required_address("stop", address)
    from raykd.submit import stop as stop_job

    typer.echo(stop_job(job_id, address=address))


def main() -> None:
    """Entry point: exit code 2 and one message for anything a user can cause."""
    protect_standard_streams()
    for name, value in {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    _handle_stop_signals()
    try:
        app(standalone_mode=True)
    except RaykdError as error:
        typer.echo(f"raykd: {error}", err=True)
        sys.exit(2)
    except SystemExit as end:
        sys.exit(_exit_code(end))
    finally:
        gc.freeze()  # at its end the interpreter would look for garbage among all imported modules: 1.3 s


def _handle_stop_signals() -> None:
    """Make a stopped job, and one whose terminal is closed, end like an interrupted one. ``nohup`` keeps its meaning."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)


def _hang_up(*_: object) -> None:
    """Interrupt the command once: shell and kernel both send the signal, and the second would end the checkpoint's writing."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise KeyboardInterrupt


def _exit_code(end: SystemExit) -> int | str | None:
    """The command's exit code; 2 for a command whose result is its output, where that could not be written."""
    sys.stdout.flush()
    failure = getattr(sys.stdout, "failure", None)
    if failure is None or isinstance(failure, BrokenPipeError):
        return end.code
    typer.echo(f"raykd: standard output cannot be written: {failure.strerror}", err=True)
    return 2 if not end.code and sys.argv[1:2] and sys.argv[1] in PRINTING_COMMANDS else end.code


if __name__ == "__main__":
    main()
