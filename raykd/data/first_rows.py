"""Texts of the first rows of a data specification, on which models are tested before anything is prepared."""

from collections.abc import Iterator
from itertools import islice

from raykd.data import storage
from raykd.data.prepare import PrepareSpec
from raykd.data.readers import read_chunk, reader_of, scan
from raykd.data.schema import InputSchema
from raykd.data.tokenizer import Text
from raykd.errors import DataError


def first_texts(spec: PrepareSpec, count: int) -> list[Text]:
    """Texts of the first ``count`` rows; rows that do not parse are skipped, since preparing names them."""
    return list(islice(_texts(spec), count))


def _texts(spec: PrepareSpec) -> Iterator[Text]:
    schema = InputSchema.parse(spec.input_schema)
    for file in storage.expand(spec.files):
        for chunk in scan([file], spec.skip_header):
            for row in read_chunk(chunk):
                try:
                    cells = schema.parse_row(reader_of(file).cells(row.data.decode(), schema.names))
                except (DataError, UnicodeDecodeError):
                    continue
                first = str(cells[spec.first_sequence])
                yield first if spec.second_sequence is None else (first, str(cells[spec.second_sequence]))
