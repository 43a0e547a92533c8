"""Flags of EasyNLP's Meta-KD scripts: those of ``easynlp`` and additional ``--user_defined_parameters``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raykd.data.schema import InputSchema
from raykd.easynlp.flags import FlagValues, parse_flags
from raykd.easynlp.folder import read_published
from raykd.easynlp.model_names import resolve_model
from raykd.easynlp.user_parameters import DEFAULTS, HINTS, META_PARAMETERS, PARAMETERS, parse_user_parameters
from raykd.errors import ConfigError

DOMAINS = ("books", "dvd", "electronics", "kitchen")
EVERY = ("all", "mix", "")
"""Names for all domains."""
DOMAIN_COLUMN, WEIGHT_COLUMN = 4, 5
"""Positions of domain and weight in EasyNLP's files, when no column has that name."""


@dataclass(frozen=True)
class MetaSettings:
    """Settings of a script besides the flags of ``easynlp``."""

    domains: tuple[str, ...]
    """Domains in the order of their ids; empty for scoring, which needs none, unless they are given."""
    genre: str | None
    """Requested domain; None is all of them."""
    schema: str
    domain_column: str
    weight_column: str
    weighted: bool
    """Use the weights of the file."""
    domain_loss_weight: float
    temperature: float
    stage: Literal["first", "second"] | None
    teacher: str | None
    model: str | None
    """pretrain_model_name_or_path as given."""
    compat: bool
    """Use EasyNLP's arithmetic."""


def read_meta_settings(script: str, arguments: Sequence[str]) -> tuple[MetaSettings, FlagValues]:
    """The settings of a script's command, and its flags. Raises ConfigError for invalid flags."""
    flags = parse_flags(arguments, hints=HINTS | {p.name: HINTS_TEXT for p in META_PARAMETERS})
    user = parse_user_parameters(flags["user_defined_parameters"], known=(*PARAMETERS, *META_PARAMETERS))
    domains = _domains(script, flags["mode"], user)
    schema = flags.required("input_schema")
    weight = _number(user, "domain_loss_weight", least=0.0)
    teaching = script == "meta_teacher_train"
    return MetaSettings(
        domains=domains,
        genre=_genre(user.get("genre", ""), domains),
        schema=schema,
        domain_column=_column(schema, "domain", DOMAIN_COLUMN),
        weight_column=_column(schema, "weight", WEIGHT_COLUMN),
        weighted=_weighted(user),
        domain_loss_weight=0.0 if teaching and not user.get("use_domain_loss", DEFAULTS["use_domain_loss"]) else weight,
        temperature=_number(user, "T", above=0.0),
        **_stage(script, flags["mode"], user),
        model=user.get("pretrain_model_name_or_path") or None,
        compat=_compat(user),
    ), flags


HINTS_TEXT = "; it belongs into --user_defined_parameters, written key=value"


def _wrong(key: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"--user_defined_parameters: {key}={value}; {allowed}")


def _domains(script: str, mode: str, user: Mapping[str, Any]) -> tuple[str, ...]:
    """The domains that are given; else a student's are those of its meta-teacher, and scoring takes any."""
    given, training = user.get("domain_label"), script != "main_evaluate" and mode == "train"
    domains = tuple(given.split(",")) if given is not None else ()
    if given is not None and (len(domains) < 2 or len(set(domains)) != len(domains) or not all(domains)):
        raise _wrong("domain_label", given, "give at least two domains, each once, joined by commas")
    teacher = user.get("teacher_model_path") if script == "meta_student_distill" and training else None
    taught = tuple(read_published(resolve_model(teacher)).get("domains", ())) if teacher else ()
    if taught and domains and domains != taught and user.get("distill_stage") == "first":
        allowed = f"{teacher} was trained with {','.join(taught)}; give those, in this order, or leave domain_label out"
        raise _wrong("domain_label", given, allowed)
    return domains or taught or (DOMAINS if training else ())


def _genre(genre: str, domains: tuple[str, ...]) -> str | None:
    if genre in EVERY:
        return None
    if domains and genre not in domains:
        raise _wrong("genre", genre, f"there is no such domain; domains are {', '.join(domains)}, and all for every row")
    return genre


def _column(schema: str, name: str, position: int) -> str:
    names = InputSchema.parse(schema).names
    if name in names:
        return name
    if position < len(names):
        return names[position]
    raise ConfigError(f"--input_schema={schema} has no column {name!r}; the rows of these scripts have one ({name}:str:1)")


def _weighted(user: Mapping[str, Any]) -> bool:
    given = {user[name] for name in ("use_sample_weights", "use_sample_weight") if name in user}
    if len(given) > 1:
        raise _wrong("use_sample_weights", user["use_sample_weights"], "but use_sample_weight differs; give one of them")
    return bool(given.pop() if given else DEFAULTS["use_sample_weights"])


def _number(user: Mapping[str, Any], key: str, *, least: float | None = None, above: float | None = None) -> float:
    value: float = user.get(key, DEFAULTS[key])
    if not math.isfinite(value) or (least is not None and value < least) or (above is not None and value <= above):
        raise _wrong(
            key, f"{value:g}", f"it must be at least {least:g}" if least is not None else f"it must be above {above:g}"
        )
    return value


def _compat(user: Mapping[str, Any]) -> bool:
    given = user.get("compat")
    if given not in (None, "easynlp"):
        raise _wrong("compat", given, "the one arithmetic to be compatible with is easynlp")
    return given is not None


def _stage(script: str, mode: str, user: Mapping[str, Any]) -> dict[str, Any]:
    """Check that stage and teacher are given, which a student's training needs."""
    stage, teacher = user.get("distill_stage"), user.get("teacher_model_path")
    if script != "meta_student_distill" or mode != "train":
        return {"stage": None, "teacher": None}
    if stage not in ("first", "second"):
        raise _wrong("distill_stage", stage or "", "give first, or second from the checkpoint_dir of first")
    if not teacher:
        raise _wrong("teacher_model_path", "", "give the checkpoint_dir of meta_teacher_train")
    return {"stage": stage, "teacher": resolve_model(teacher)}
