"""YAML of job files and overrides: YAML 1.2 scalars, no duplicate keys, text fields as written.

PyYAML reads YAML 1.1, where ``no`` is false, ``010`` is 8, ``12:30`` is 750, ``1e-4`` is text and the last of two equal keys
wins. Here only ``true`` and ``false`` are booleans, numbers are decimal (``0o17`` and ``0x1F`` apart), dates are text, and a
number keeps its spelling, so that a label written ``010`` or ``1.10`` stays what it is.
"""

import re
from typing import Any, ClassVar

import yaml

_INT = re.compile(r"[-+]?[0-9]+$|0o[0-7]+$|0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_NUMBER = re.compile(rf"({_INT.pattern})|({_FLOAT.pattern})")
_BOOL = re.compile(r"true$|True$|TRUE$|false$|False$|FALSE$")
_NULL = re.compile(r"~$|null$|Null$|NULL$|$")
_MERGE = re.compile(r"<<$")
_TAGS = "tag:yaml.org,2002:"
"""Beginning of the tags of YAML's own types; a file may shorten it to ``!!``."""
_MAX_DIGITS = 4000
"""Longest number; Python writes none of more than 4,300 digits."""


class _WrittenInt(int):
    """An integer whose text is the one in the file."""

    written: str

    def __str__(self) -> str:
        return self.written


class _WrittenFloat(float):
    """A float whose text is the one in the file."""

    written: str

    def __str__(self) -> str:
        return self.written


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2, keys that are text, and an error for a key that stands twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute; filled below)
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The node of a mapping. Raises YAMLError for a key that stands twice, or is a list or a mapping."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RefusedValueError(f"on line {line} a key is a list or a mapping; keys are text")
            if key.value in lines:
                first = lines[key.value]
                where = f"twice on line {line}" if line == first else f"on line {first} and again on line {line}"
                raise DuplicateKeyError(f"the key {key.value} stands {where}; keep one of them")
            lines[key.value] = line
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; keys are text as written."""
        self.flatten_mapping(node)
        return {_construct_str(self, key): self.construct_object(value, deep=deep) for key, value in node.value}


class RefusedValueError(yaml.YAMLError):
    """A key or a value that no job file may have; the message is a sentence that names the line."""


class DuplicateKeyError(RefusedValueError):
    """A mapping has a key twice; the message names the lines."""


def _construct_str(loader: _Loader, node: yaml.ScalarNode) -> str:
    text = str(loader.construct_scalar(node))
    if text.isascii():
        return text
    try:  # JSON escapes a character outside the basic plane as two surrogates, which PyYAML leaves apart
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise RefusedValueError(f"on line {node.start_mark.line + 1} an escaped character is half of a pair") from None


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = _scalar(loader, node, _INT, "a whole number")
    digits = text[2:]
    if len(text) > _MAX_DIGITS:
        raise RefusedValueError(
            f"on line {node.start_mark.line + 1} a number has {len(text):,} digits; give one of at most {_MAX_DIGITS:,}, or "
            "quote it if it is text"
        )
    value = int(digits, 8) if text.startswith("0o") else int(digits, 16) if text.startswith("0x") else int(text)
    return value if str(value) == text else _written(_WrittenInt(value), text)


def _construct_float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = _scalar(loader, node, _NUMBER, "a number")
    value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return value if str(value) == text else _written(_WrittenFloat(value), text)


def _written(number: Any, text: str) -> Any:
    number.written = text
    return number


def _construct_bool(loader: _Loader, node: yaml.ScalarNode) -> bool:
    return _scalar(loader, node, _BOOL, "true or false").lower() == "true"


def _construct_null(loader: _Loader, node: yaml.ScalarNode) -> None:
    _scalar(loader, node, _NULL, "null")


def _scalar(loader: _Loader, node: yaml.ScalarNode, pattern: re.Pattern[str], meaning: str) -> str:
    """The text of a value, which a tag such as ``!!int`` may have given to any text. Raises RefusedValueError."""
    text = str(loader.construct_scalar(node))
    if not pattern.match(text):
        raise RefusedValueError(
            f"on line {node.start_mark.line + 1} {text!r} has the tag {node.tag.replace(_TAGS, '!!')}, but is not {meaning}; "
            "leave the tag out"
        )
    return text


def _refuse(_: _Loader, node: yaml.Node) -> None:
    """Refuse a tag that no job file needs, such as ``!!timestamp``, ``!!set`` and those of a program's own."""
    tag = str(node.tag).replace(_TAGS, "!!")
    raise RefusedValueError(f"on line {node.start_mark.line + 1} a value has the tag {tag}; leave the tag out")


for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", _NULL, ["~", "n", "N", ""]),
    ("merge", _MERGE, "<"),
):
    _Loader.add_implicit_resolver(_TAGS + _tag, _pattern, list(_first))
for _tag, _construct in (
    ("str", _construct_str),
    ("int", _construct_int),
    ("float", _construct_float),
    ("bool", _construct_bool),
    ("null", _construct_null),
    ("seq", _Loader.construct_yaml_seq),
    ("map", _Loader.construct_yaml_map),
):
    _Loader.yaml_constructors[_TAGS + _tag] = _construct
_Loader.yaml_constructors[None] = _refuse


def parse_yaml(text: str) -> Any:
    """The value of a YAML document. Raises yaml.YAMLError, :class:`DuplicateKeyError` among them."""
    return yaml.load(text, Loader=_Loader)
