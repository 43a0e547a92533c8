"""Parser from the content of a row to an example: text, label, extra values."""

import codecs
from collections.abc import Sequence
from typing import Any, NamedTuple

from raykd.data.cell_values import label_cell, text_cell
from raykd.data.label_codec import LabelCodec
from raykd.data.readers import Reader
from raykd.data.schema import CellValue, InputSchema
from raykd.data.tokenizer import Text
from raykd.errors import ConfigError, DataError

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class Example(NamedTuple):
    """A row that parsed."""

    text: Text
    label: Any
    """Value that the codec parsed; None for unlabelled rows."""
    extras: tuple[CellValue, ...]


class RowParser:
    """Parses rows of one schema. The constructor raises ConfigError when a required column is missing or of a wrong type."""

    def __init__(
        self,
        schema: InputSchema,
        *,
        first_sequence: str,
        second_sequence: str | None,
        label: str | None,
        codec: LabelCodec | None,
        extra_columns: Sequence[str] = (),
    ) -> None:
        for name in filter(None, (first_sequence, second_sequence)):
            if schema.column(name).type != "str":
                raise ConfigError(f"column {name!r} is text, but its type is {schema.column(name).type}; make it {name}:str:1")
        if label is not None and schema.column(label).is_list:
            raise ConfigError(f"column {label!r} holds the label, but is a list of numbers; make it {label}:str:1")
        self._schema = schema
        self.strict = schema.strict
        self._first = schema.position(first_sequence)
        self._second = None if second_sequence is None else schema.position(second_sequence)
        self._label = None if label is None else schema.position(label)
        self._codec = codec
        self._extras = tuple(map(schema.position, extra_columns))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of a row."""
        return self._schema.names

    def parse(self, data: Any, reader: Reader) -> Example:
        """Parse a row of ``reader``'s format. Raises DataError with the found and the allowed content."""
        cells = reader.cells(self._decode(data) if isinstance(data, bytes) else data, self.names)
        if reader.names_columns and not self._schema.named:
            cells = [label_cell(cell, name) for cell, name in zip(cells, self.names, strict=True)]
        values = self._schema.parse_values(cells, reader.surplus_advice)
        first = self._text(values, self._first)
        text = first if self._second is None else (first, self._text(values, self._second))
        label = None if self._label is None or self._codec is None else self._codec.parse(self._cell(values, self._label))
        return Example(text, label, tuple(self._extra(values, index) for index in self._extras) if self._extras else ())

    def _text(self, values: list[Any], index: int) -> str:
        return text_cell(values[index], self.names[index])

    def _cell(self, values: list[Any], index: int) -> str:
        return label_cell(values[index], self.names[index]) if self._schema.named else str(values[index])

    def _extra(self, values: list[Any], index: int) -> CellValue:
        return self._cell(values, index) if self._schema.named else values[index]

    def is_labelled_row(self, data: Any, reader: Reader) -> bool:
        """True when a row's content parses as a row with a known label, which a header does not."""
        if self._label is None:
            return False
        try:
            return bool(self.parse(data, reader).label != ())
        except DataError:
            return False

    def _decode(self, data: bytes) -> str:
        if data.startswith(_UTF_16_MARKS) or (self._schema.strict and b"\0" in data):
            raise DataError("not UTF-8 text: a UTF-16 mark, or bytes 0x00 as UTF-16 has them; convert the file to UTF-8")
        if self._schema.strict and data.startswith(codecs.BOM_UTF8):
            raise DataError("a byte-order mark inside the file, as joined files have it; remove the mark")
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8 text: {error.reason} (byte {data[error.start]:#04x} at position {error.start})"
            ) from None
