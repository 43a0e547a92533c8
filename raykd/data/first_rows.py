"""Texts of the first rows of a data specification, on which models are tested before anything is prepared."""

from collections.abc import Iterator
from itertools import islice

from raykd.data.examples import RowParser
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import reader_of, scan
from raykd.data.schema import InputSchema
from raykd.data.sources import expand_data
from raykd.data.tokenizer import Text
from raykd.errors import DataError


def first_texts(spec: PrepareSpec, count: int) -> list[Text]:
    """Texts of the first ``count`` rows; rows that do not parse are skipped, since preparing names them."""
    return list(islice(_texts(spec), count))


def text_parser(input_schema: str | None, first_sequence: str, second_sequence: str | None) -> RowParser:
    """Parser of the texts of a row alone."""
    schema = InputSchema.of(input_schema, (first_sequence, second_sequence))
    return RowParser(schema, first_sequence=first_sequence, second_sequence=second_sequence, label=None, codec=None)


def _texts(spec: PrepareSpec) -> Iterator[Text]:
    parser = text_parser(spec.input_schema, spec.first_sequence, spec.second_sequence)
    for file in expand_data(spec.files):
        reader = reader_of(file, spec.format)
        for chunk in scan([file], spec.skip_header, files=spec.format):
            for row in reader.read(chunk, parser.names):
                try:
                    text = parser.parse(row.data, reader).text
                except DataError:
                    continue
                yield text
