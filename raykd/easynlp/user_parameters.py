"""``--user_defined_parameters``: ``key=value`` separated by whitespace, each with its own type."""

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raykd.config.paths import expand_home
from raykd.easynlp.flags import TRUTH, default_text
from raykd.errors import ConfigError

log = logging.getLogger(__name__)

ParameterType = Literal["str", "path", "int", "float", "bool"]
READERS: Mapping[str, Callable[[str], Any]] = {
    "str": str,
    "path": expand_home,
    "int": int,
    "float": float,
    "bool": TRUTH.__getitem__,
}
ALLOWED = {"int": "a whole number", "float": "a number", "bool": "True or False"}


@dataclass(frozen=True)
class Parameter:
    """A key."""

    name: str
    type: ParameterType
    meaning: str
    """Effect in raykd; for keys without effect, the reason."""
    default: Any = None
    """Value of an absent key; None where that follows from other settings, or there is none."""


OTHER_TASK = "no effect: belongs to a task that raykd does not have"
PARAMETERS = (
    Parameter("pretrain_model_name_or_path", "path", "train: the model to start from, a folder or a name"),
    Parameter("do_eval", "bool", "train: select the model on the last table; False keeps the last weights", True),
    Parameter("enable_distillation", "bool", "train: distil; False trains on labels alone", False),
    Parameter("type", "str", "kind of distillation: vanilla_kd"),
    Parameter("logits_name", "str", "column of --input_schema that holds the teacher's logits"),
    Parameter("logits_saved_path", "path", "TSV file whose line i belongs to training row i"),
    Parameter("temperature", "float", "T of the distillation", 1.0),
    Parameter("alpha", "float", "weight of the teacher's term, 0 to 1", 0.2),
    Parameter("multi_label", "bool", "rows have any number of labels, joined by commas; when absent: by --app_name"),
    Parameter("two_tower", "bool", "two encoders: refused when True"),
    Parameter("siamese", "bool", "two encoders: refused when True"),
    Parameter("enable_fewshot", "bool", "prompts: refused when True"),
    Parameter("enable_vit", "bool", "images: refused when True"),
    Parameter("enable_vqgan", "bool", "images: refused when True"),
    Parameter("vocab_size", "int", "no effect: belongs to config.json of the model"),
    Parameter("hidden_size", "int", "no effect: belongs to config.json of the model"),
    Parameter("embedding_size", "int", OTHER_TASK),
    Parameter("loss_type", "str", OTHER_TASK),
    Parameter("margin", "float", OTHER_TASK),
    Parameter("gamma", "int", OTHER_TASK),
    Parameter("label_desc", "str", OTHER_TASK),
    Parameter("pattern", "str", OTHER_TASK),
    Parameter("expansion_rate", "int", OTHER_TASK),
    Parameter("mask_proportion", "float", OTHER_TASK),
    Parameter("remove_blanks", "bool", OTHER_TASK),
    Parameter("append_original", "bool", OTHER_TASK),
)
META_PARAMETERS = (
    Parameter("teacher_model_path", "path", "meta_student_distill: folder that meta_teacher_train has made"),
    Parameter(
        "distill_stage",
        "str",
        "meta_student_distill: first (intermediate-layer distillation) or second (prediction-layer distillation)",
    ),
    Parameter("genre", "str", "domain of the training, validation and scored rows; all, or absent, takes every row"),
    Parameter(
        "domain_label",
        "str",
        "domains joined by commas, in the order of their ids; when absent: the meta-teacher's for a student, those of the rows "
        "for scoring, else books,dvd,electronics,kitchen",
    ),
    Parameter("domain_loss_weight", "float", "weight of the domain loss", 0.5),
    Parameter("use_domain_loss", "bool", "meta_teacher_train: train with the domain loss", True),
    Parameter("use_sample_weights", "bool", "meta_teacher_train: use the weights of the file", True),
    Parameter("use_sample_weight", "bool", "another spelling of use_sample_weights"),
    Parameter("T", "float", "temperature of prediction-layer distillation", 1.0),
    Parameter("compat", "str", "easynlp: EasyNLP's arithmetic, known errors included, for comparisons; one worker"),
)
"""Keys of Meta-KD's scripts in addition."""
DEFAULTS = {parameter.name: parameter.default for parameter in (*PARAMETERS, *META_PARAMETERS)}
REFUSED = ("two_tower", "siamese", "enable_fewshot", "enable_vit", "enable_vqgan")
HINTS = dict.fromkeys((p.name for p in PARAMETERS), "; it belongs into --user_defined_parameters, written key=value") | {
    "pretrained_model_name_or_path": "; give pretrain_model_name_or_path=MODEL in --user_defined_parameters",
}
"""Advice for parameter names given as flags."""


def parse_user_parameters(text: str, known: Sequence[Parameter] = PARAMETERS) -> dict[str, Any]:
    """Parse keys with typed values; a value ends at the next whitespace and may contain ``=``.

    Of two values for one key the last counts, as in EasyNLP, with a warning.

    Raises ConfigError for a piece without ``=``, an unknown key (with the nearest known one), an ill-typed value, and what
    raykd refuses.
    """
    by_name = {parameter.name: parameter for parameter in known}
    values: dict[str, Any] = {}
    for piece in text.split():
        name, separator, value = piece.partition("=")
        if not separator or not name:
            raise ConfigError(f"--user_defined_parameters: {piece!r} is not of the form key=value; values hold no spaces")
        read = _read(name, value, by_name)
        if name in values and values[name] != read:
            log.warning("--user_defined_parameters: %s is given as %s and as %s; the last counts", name, values[name], read)
        values[name] = read
    for name in REFUSED:
        if values.get(name):
            raise ConfigError(
                f"--user_defined_parameters: {name}=True; raykd trains text classifiers of one encoder, so leave it out"
            )
    return values


def _read(name: str, value: str, known: Mapping[str, Parameter]) -> Any:
    if name not in known:
        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
        raise ConfigError(f"--user_defined_parameters: unknown key {name}; {hint}")
    parameter = known[name]
    try:
        return READERS[parameter.type](value)
    except (ValueError, KeyError):
        raise ConfigError(f"--user_defined_parameters: {name}={value}; give {ALLOWED[parameter.type]}") from None


def parameter_table(parameters: Sequence[Parameter] = PARAMETERS) -> str:
    """The keys as the Markdown table of the documentation."""
    rows = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for parameter in parameters:
        default = "" if parameter.default is None else f"`{parameter.default}`"
        rows.append(f"| `{parameter.name}` | {parameter.type} | {default} | {parameter.meaning} |")
    return "\n".join(rows)


def parameter_help(parameters: Sequence[Parameter] = PARAMETERS) -> str:
    """The keys with types and defaults, one a line, for ``--help``."""
    return "\n".join(
        f"  {parameter.name:27} {parameter.type:5} {parameter.meaning}{default_text(parameter.default)}"
        for parameter in parameters
    )
