"""EasyNLP's flags: one table for parsing, checks and documentation."""

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raykd.config.paths import expand_home
from raykd.errors import ConfigError

log = logging.getLogger(__name__)

FlagType = Literal["str", "path", "paths", "int", "float", "switch"]
TRUTH = {"True": True, "true": True, "False": False, "false": False}


def _whole(text: str) -> int:
    """A whole number, also as ``3.0``, the default of --epoch_num in older versions of EasyNLP."""
    value = float(text)
    if not value.is_integer():
        raise ValueError(text)
    return int(value)


def _paths(text: str) -> str:
    return ",".join(map(expand_home, text.split(",")))


READERS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "path": expand_home,
    "paths": _paths,
    "int": _whole,
    "float": float,
}


@dataclass(frozen=True)
class Flag:
    """One flag of the command line."""

    name: str
    type: FlagType
    default: Any
    meaning: str
    """Effect in raykd; for flags without effect, the reason."""
    aliases: tuple[str, ...] = ()
    """Other names, without dashes."""
    choices: tuple[str, ...] = ()
    """Allowed values; empty allows any."""
    at_least: float | None = None
    """Minimum."""
    below: float | None = None
    """Exclusive maximum."""
    keys: tuple[str, ...] = ()
    """Keys of a job file with the same meaning, which messages of raykd may name."""
    secret: bool = False
    """The value may contain a key and is never written to a file."""

    def read(self, text: str) -> Any:
        """The typed value. Raises ConfigError with what is allowed."""
        try:
            value = READERS[self.type](text)
        except (ValueError, OverflowError):
            raise ConfigError(f"--{self.name}={text}: give a value of type {self.type}") from None
        if self.choices and value not in self.choices:
            raise ConfigError(f"--{self.name}={text}: allowed are {', '.join(self.choices)}{_nearest(text, self.choices)}")
        low, high = self.at_least, self.below
        if (low is not None and not value >= low) or (high is not None and not value < high):
            bounds = [f"at least {low:g}"] if low is not None else []
            bounds += [f"below {high:g}"] if high is not None else []
            raise ConfigError(f"--{self.name}={text}: the value must be {' and '.join(bounds)}")
        return value


TINY = 1e-30
APPS = ("text_classify", "text_classify_multi_label", "text_match", "text_match_two_tower")
OPTIMIZERS = ("BertAdam", "Adam", "AdamW", "SGD")

FLAGS = (
    Flag("mode", "str", "train", "training, evaluation or prediction", choices=("train", "evaluate", "predict")),
    Flag("app_name", "str", "text_classify", "task; single texts or pairs follow from --second_sequence", choices=APPS),
    Flag("tables", "paths", None,
         "TSV files joined by commas; train: training file first, validation file last; otherwise the last is read"),
    Flag("skip_first_line", "switch", False, "the first line of every data file is a header; logits files have none",
         keys=("data.skip_header",)),
    Flag("input_schema", "str", None, "columns as name:type:length joined by commas", keys=("data.input_schema",)),
    Flag("first_sequence", "str", None, "column of the text", keys=("data.first_sequence",)),
    Flag("second_sequence", "str", None, "column of the second text of a pair", keys=("data.second_sequence",)),
    Flag("label_name", "str", None, "column of the label", keys=("data.label",)),
    Flag("label_enumerate_values", "str", None, "labels joined by commas in the order of their ids, or a file with one a line; "
         "0,1 when absent, and those of the checkpoint in evaluate and predict", keys=("data.labels",)),
    Flag("checkpoint_dir", "path", None, "train: output folder; otherwise the model", aliases=("checkpoint_path",)),
    Flag("outputs", "path", None, "predict: output file"),
    Flag("output_schema", "str", "", "predict: columns to write, of id, output, predictions, probabilities, logits"),
    Flag("append_cols", "str", None, "predict: input columns to write after them"),
    Flag("sequence_length", "int", 16, "maximum tokens of a row; shorter rows are not padded to it", at_least=4,
         keys=("data.sequence_length",)),
    Flag("micro_batch_size", "int", 2, "rows per forward pass of one worker", aliases=("train_batch_size",), at_least=1,
         keys=("training.micro_batch_size", "training.batch_size")),
    Flag("epoch_num", "int", 3, "passes over the training rows", at_least=1, keys=("training.epochs",)),
    Flag("learning_rate", "float", 5e-5, "peak learning rate", at_least=TINY, keys=("training.learning_rate",)),
    Flag("weight_decay", "float", 1e-4, "decoupled weight decay of AdamW", aliases=("wd",), at_least=0,
         keys=("training.weight_decay",)),
    Flag("gradient_accumulation_steps", "int", 1, "micro-batches per optimiser step", at_least=1),
    Flag("random_seed", "int", 1234, "seed of row order, new weights and dropout", at_least=0),
    Flag("save_checkpoint_steps", "int", None, "optimiser steps between evaluations; once per epoch when absent", at_least=1,
         keys=("training.evaluate_every", "training.checkpoint_steps")),
    Flag("worker_gpu", "int", -1, "workers per machine; 0, -1 or absent is one worker on the CPU", at_least=-1,
         keys=("compute.use_gpu",)),
    Flag("worker_count", "int", 1, "machines; worker_count x worker_gpu Ray workers train and predict", at_least=1,
         keys=("compute.num_workers",)),
    Flag("logging_steps", "int", 100, "optimiser steps between lines with the loss", at_least=1, keys=("training.log_every",)),
    Flag("warmup_proportion", "float", 0.1, "fraction of the steps for the warm-up of the learning rate", at_least=0, below=1,
         keys=("training.warmup_ratio",)),
    Flag("max_grad_norm", "float", 1.0, "gradient norm above which gradients are clipped; 0 disables clipping",
         aliases=("mn",), at_least=0, keys=("training.max_grad_norm",)),
    Flag("optimizer_type", "str", "AdamW", "AdamW, of which BertAdam is another name; Adam and SGD are refused",
         aliases=("optimizer",), choices=OPTIMIZERS),
    Flag("use_amp", "switch", False, "bfloat16 in the forward pass; weights and optimiser stay float32",
         keys=("compute.precision",)),
    Flag("resume_from_checkpoint", "path", None, "checkpoint_dir of an interrupted training to resume from"),
    Flag("save_all_checkpoints", "switch", False, "keep the model of every evaluation in checkpoint_dir/step-N",
         keys=("training.keep_evaluated",)),
    Flag("user_defined_parameters", "str", "", "key=value separated by spaces or line ends; keys are listed below"),
    Flag("data_threads", "int", 10, "no effect: rows are read by Ray Data"),
    Flag("predict_queue_size", "int", 1024, "no effect: EasyNLP does not use it either"),
    Flag("predict_slice_size", "int", 4096, "no effect: EasyNLP does not use it either"),
    Flag("predict_thread_num", "int", 2, "no effect: EasyNLP does not use it either"),
    Flag("predict_table_read_thread_num", "int", 16, "no effect: EasyNLP does not use it either"),
    Flag("modelzoo_base_dir", "str", "", "no effect: models are folders, or names on the Hugging Face hub"),
    Flag("buckets", "str", None, "no effect: data is local, or on s3://, gs://, hdfs:// with keys in the environment",
         secret=True),
    Flag("odps_config", "str", None, "no effect: there is no reader for ODPS tables", secret=True),
    Flag("do_lower_case", "switch", False, "no effect: casing belongs to the model's tokenizer"),
    Flag("use_torchacc", "switch", False, "no effect: there is no TorchAccelerator"),
    Flag("distributed_backend", "str", "nccl", "no effect: nccl on GPUs, gloo on CPUs", choices=("nccl", "gloo")),
    Flag("local_rank", "int", None, "no effect: Ray numbers the workers"),
    Flag("master_port", "int", 23456, "no effect: Ray finds a free port"),
    Flag("worker_hosts", "str", None, "no effect: workers run on the nodes of the Ray cluster that have free resources"),
    Flag("user_script", "str", None, "no effect: nothing is downloaded and run"),
    Flag("user_entry_file", "str", None, "no effect: nothing is downloaded and run"),
    Flag("mg_model", "switch", False, "no effect: Megatron models are not read"),
)  # fmt: skip

_BY_NAME = {name: flag for flag in FLAGS for name in (flag.name, *flag.aliases)}


@dataclass(frozen=True)
class FlagValues:
    """Every flag's value, given or default."""

    values: Mapping[str, Any]
    given: frozenset[str]
    """Names of the flags given on the command line."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def required(self, name: str) -> str:
        """The value of a flag without default. Raises ConfigError when it is absent or empty."""
        value: str | None = self.values[name]
        if not value:
            raise ConfigError(f"--{name} is missing, but --mode={self.values['mode']} needs it: {_BY_NAME[name].meaning}")
        return value


def parse_flags(arguments: Sequence[str], *, hints: Mapping[str, str] | None = None) -> FlagValues:
    """Read ``--flag=value`` and ``--flag value``; of two values for one flag the last counts, with a warning.

    ``hints`` maps names that are no flags to advice. Raises ConfigError for an unknown flag (with the nearest
    known one), a missing or ill-typed value, and anything that is not a flag.
    """
    values = {flag.name: flag.default for flag in FLAGS}
    given, rest = set(), list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--"):
            raise ConfigError(f"unexpected argument {argument!r}: flags are written --flag=value or --flag value")
        name, separator, text = argument[2:].partition("=")
        flag = _BY_NAME.get(name)
        if flag is None:
            raise ConfigError(f"unknown flag --{name}{(hints or {}).get(name) or _nearest(name, _BY_NAME, prefix='--')}")
        if flag.type == "switch":
            value = _switch(flag, text) if separator else True
        else:
            value = flag.read(text if separator else _next_value(flag, rest))
        if flag.name in given and values[flag.name] != value:
            log.warning("--%s is given twice with different values; the last counts", flag.name)
        values[flag.name] = value
        given.add(flag.name)
    return FlagValues(values, frozenset(given))


def _switch(flag: Flag, text: str) -> bool:
    if text not in TRUTH:
        raise ConfigError(f"--{flag.name}={text}: this flag takes no value, or True or False")
    return TRUTH[text]


def _next_value(flag: Flag, rest: list[str]) -> str:
    if not rest or rest[0].startswith("--"):
        raise ConfigError(f"--{flag.name} has no value; write --{flag.name}=VALUE")
    return rest.pop(0)


def _nearest(name: str, known: Sequence[str] | Mapping[str, Any], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {prefix}{near[0]}?" if near else ""


def flag_help() -> str:
    """The flags with aliases and defaults, one a line, for ``--help``."""
    names = {flag: ", ".join(f"--{name}" for name in (flag.name, *flag.aliases)) for flag in FLAGS}
    return "\n".join(f"  {names[flag]:38} {flag.meaning}{default_text(_default(flag))}" for flag in FLAGS)


def default_text(default: Any) -> str:
    """A default as ``--help`` shows it behind a meaning; nothing where there is none."""
    return "" if default in (None, "") else f" (default: {default})"


def _default(flag: Flag) -> Any:
    """The default to show; none for a switch, which is off."""
    return None if flag.type == "switch" else flag.default


def flag_table() -> str:
    """The flags as the Markdown table of the documentation."""
    rows = ["| flag | default | meaning |", "| --- | --- | --- |"]
    for flag in FLAGS:
        names = ", ".join(f"`--{name}`" for name in (flag.name, *flag.aliases))
        default = "" if _default(flag) in (None, "") else f"`{flag.default}`"
        rows.append(f"| {names} | {default} | {flag.meaning} |")
    return "\n".join(rows)
