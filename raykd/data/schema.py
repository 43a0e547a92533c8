"""Columns of input rows: ``name:type:length`` joined by commas, the notation of EasyNLP's ``input_schema``."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from raykd.config.input_schema import ColumnType, parse_items
from raykd.errors import ConfigError, DataError, shorten

Scalar = str | int | float
CellValue = Scalar | list[int] | list[float]
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    type: ColumnType
    length: int
    """Numbers in the cell, joined by commas; 0 allows any number of them. Ignored for ``str``."""

    @property
    def is_list(self) -> bool:
        """True when a cell holds a list of numbers."""
        return self.type != "str" and self.length != 1

    def parse(self, cell: str) -> CellValue:
        """The cell's value. Raises DataError when it is not of the column's type, finite, and of its length."""
        if self.type == "str":
            return cell
        if not self.is_list:
            return self._number(cell)
        numbers = [self._number(item) for item in cell.split(",")]
        if self.length and len(numbers) != self.length:
            raise DataError(f"column {self.name!r} has {len(numbers)} numbers, not {self.length}: {shorten(cell)}")
        return cast(list[int] | list[float], numbers)

    def _number(self, text: str) -> int | float:
        try:
            number = int(text) if self.type == "int" else float(text)
        except ValueError:
            raise DataError(f"column {self.name!r} is {shorten(text)}, not a number of type {self.type}") from None
        if isinstance(number, int) and number not in _INT64:
            raise DataError(f"column {self.name!r} is {shorten(text)}, more than 64 bits hold")
        if not math.isfinite(number):
            raise DataError(f"column {self.name!r} is {shorten(text)}, not a finite number")
        return number


@dataclass(frozen=True)
class InputSchema:
    """The columns of a row, in file order."""

    columns: tuple[Column, ...]
    strict: bool = True
    """Reject rows with more cells than columns, and headers; EasyNLP ignores cells after the last column."""
    named: bool = False
    """Columns are those that rows are asked for by name, and values have the types of the files."""

    @staticmethod
    def of(text: str | None, columns: Iterable[str | None], *, strict: bool = True) -> "InputSchema":
        """Parse ``text``; without one, the schema of ``columns`` that files name themselves, each once, None left out."""
        if text is not None:
            return InputSchema.parse(text, strict=strict)
        names = dict.fromkeys(name for name in columns if name is not None)
        return InputSchema(tuple(Column(name, "str", 1) for name in names), strict, named=True)

    @staticmethod
    def parse(text: str, *, strict: bool = True) -> "InputSchema":
        """Parse ``sent:str:1,label:str:1``. Raises ConfigError for an item of another form, or a repeated name."""
        try:
            items = parse_items(text)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        return InputSchema(tuple(Column(item.name, item.type, item.length) for item in items), strict)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Column names in file order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def _numeric(self) -> tuple[int, ...]:
        return tuple(index for index, column in enumerate(self.columns) if column.type != "str")

    def position(self, name: str) -> int:
        """Position of the column of that name, from 0. Raises ConfigError when there is none."""
        if name not in self.names:
            raise ConfigError(f"{name!r} is not a column of the input schema; its columns are {', '.join(self.names)}")
        return self.names.index(name)

    def column(self, name: str) -> Column:
        """The column of that name. Raises ConfigError when there is none."""
        return self.columns[self.position(name)]

    def parse_row(self, cells: list[Any]) -> dict[str, CellValue]:
        """The values of a row by their columns' names. Raises DataError as :meth:`parse_values`."""
        return dict(zip(self.names, self.parse_values(cells), strict=False))

    def parse_values(self, cells: list[Any], advice: str = "replace tabs in a text by spaces") -> list[Any]:
        """The values of a row's cells, in the order of the columns; ``advice`` is for a row with more cells than columns.

        Raises DataError (without file and line, which the caller adds) for a cell that is not of its column's type, and in a
        strict schema for more cells than columns, and for a header.
        """
        if self.named:
            return cells
        if self.strict:
            self._check_shape(cells, advice)
        values: list[Any] = cells
        for index in self._numeric:
            values[index] = self.columns[index].parse(cells[index])
        return values

    def _check_shape(self, cells: list[str], advice: str) -> None:
        if len(cells) > len(self.names):
            reason = f"{len(cells)} columns where input_schema has {len(self.names)} ({', '.join(self.names)})"
            if any("\r" in cell for cell in cells):
                raise DataError(f"{reason}; the carriage returns look like line ends: end lines with line feeds")
            raise DataError(f"{reason}; {advice}, or add the other columns to input_schema")
        if len(cells) > 1 and cells[0] == self.names[0] and tuple(cells) == self.names:
            raise DataError(
                "the line holds the names of the columns; set data.skip_header for a header at the start of each file"
            )
