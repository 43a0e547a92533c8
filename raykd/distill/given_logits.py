"""Teacher logits from a file: a table of another run, logits as text or Parquet, or answers of any kind."""

from dataclasses import replace

from raykd.config import ExperimentConfig
from raykd.config.logits import LogitsConfig, names_columns
from raykd.data import storage
from raykd.data.answer_files import read_answers
from raykd.data.answer_values import AnswerValues
from raykd.data.logits_answers import IdJoin, import_answers, read_ids
from raykd.data.logits_parquet import COLUMN, file_digest, import_parquet, open_parquet
from raykd.data.logits_tsv import import_tsv
from raykd.data.prepare import check_sources
from raykd.data.prepare_spec import spec_from_config
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError
from raykd.run.stages import StageRunner
from raykd.task_kinds import label_codec


def import_logits(
    config: ExperimentConfig, file: str, prepared: TokenisedSet, runner: StageRunner, *, kind: str | None = None
) -> SideTable:
    """The logits of ``logits.file`` on the training rows ``prepared``, imported once.

    ``kind`` names the rows where they are some of the training rows.

    Raises DataError with file and row for a value that cannot be used; ConfigError for a column that fits the format not.
    """
    section = config.logits
    if storage.is_dir(file):  # a table that another run of raykd made
        if section.kind != "logits":
            raise ConfigError(f"logits.kind = {section.kind}, but {file} is a folder of logits of another run; leave it out")
        table = SideTable.open(file)
        table.check_fits(prepared)
        return table
    settings = section.model_dump(mode="json", exclude={"file", "folds"})
    stage = runner.stage("logits" if kind is None else f"logits/{kind}", prepared.fingerprint, file_digest(file), settings)
    if not runner.skip_or_begin(stage):
        if _holds_matrix(section, file):
            _import_matrix(file, section.column, prepared, stage.folder)
        else:
            _import_answers(config, file, prepared, runner, stage.folder)
        stage.finish(rows=prepared.num_rows)
    return SideTable.open(stage.folder)


def check_given_logits(config: ExperimentConfig) -> None:
    """Find errors before anything is prepared: of the file, its columns and its first row, and of the column that names rows.

    Raises DataError; ConfigError for a column that fits the format not.
    """
    section, file = config.logits, config.logits.file
    if file is None or storage.is_dir(file):
        return
    storage.expand([file])
    if section.key is not None:
        spec = spec_from_config(config.data, "train", "", label_codec(config.data))
        check_sources(replace(spec, extra_columns=(section.key,)))
    if not _holds_matrix(section, file):
        next(read_answers(file, column=section.column, key=section.key, votes=section.kind == "votes"), None)
    elif file.endswith(".parquet"):
        open_parquet(file)


def _holds_matrix(section: LogitsConfig, file: str) -> bool:
    """True for lists of logits in the order of the rows, or keyed by shard and row, which are converted a group at a time."""
    return section.kind == "logits" and section.key is None and (file.endswith(".parquet") or not names_columns(file))


def _import_matrix(file: str, column: int | str, prepared: TokenisedSet, out: str) -> None:
    """Lists of logits, in the order of the rows or keyed by shard and row."""
    if file.endswith(".parquet"):
        import_parquet(file, prepared, column=column if isinstance(column, str) else COLUMN, out=out)
    elif isinstance(column, str):
        raise ConfigError(f"logits.column = {column!r}: columns of a TSV are counted from 0; give a number")
    else:
        import_tsv(file, prepared, column=column, out=out)


def _import_answers(config: ExperimentConfig, file: str, prepared: TokenisedSet, runner: StageRunner, out: str) -> None:
    section = config.logits
    values = AnswerValues(section.kind, label_codec(config.data).names, floor=section.floor, smoothing=section.smoothing)
    answers = read_answers(file, column=section.column, key=section.key, votes=section.kind == "votes")
    _, counts = import_answers(answers, values, prepared, path=file, out=out, join=_join(config, runner))
    runner.terminal.print_line(f"logits.file: {counts.summary}")


def _join(config: ExperimentConfig, runner: StageRunner) -> IdJoin | None:
    """The ids of every row of the training files, whatever split it is in; None for a join by position."""
    section, data = config.logits, config.data
    if section.key is None:
        return None
    spec = spec_from_config(data, "train", config.student_models[0], label_codec(data))
    rows = runner.tokenise(replace(spec, keep=None, extra_columns=(section.key,)), f"training, with {section.key}")
    return IdJoin(
        section.key,
        read_ids(rows, section.key),
        allow_missing=section.missing_ids == "uniform",
        allow_unknown=section.unknown_ids == "ignore",
    )
