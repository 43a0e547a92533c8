"""Texts of random rows of a job's files, on which speed is measured and exported models are compared."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from raykd.config import DataConfig
from raykd.data import storage
from raykd.data.readers import Chunk, read_chunk, reader_of, scan
from raykd.data.schema import InputSchema
from raykd.errors import DataError

CANDIDATE_ROWS = 20_000
"""Rows that the sample is taken from: more, since some may not parse."""


def sample_rows(data: DataConfig, count: int) -> list[tuple[str, ...]]:
    """Texts of random rows of the test files, or training files, in random order; rows that do not parse are skipped."""
    files = data.test if isinstance(data.test, tuple) else data.train
    chunks = scan(storage.expand(files), data.skip_header)
    numbers = range(sum(chunk.rows for chunk in chunks))
    chosen = random.Random(0).sample(numbers, min(len(numbers), CANDIDATE_ROWS))
    return list(islice(_texts(data, chunks, chosen), count))


def _texts(data: DataConfig, chunks: Sequence[Chunk], chosen: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Texts of the rows with the ``chosen`` numbers, which count the rows of all chunks, in their order."""
    schema = InputSchema.parse(data.input_schema)
    columns = [column for column in (data.first_sequence, data.second_sequence) if column is not None]
    wanted = frozenset(chosen)
    rows = enumerate((chunk.path, raw.data) for chunk in chunks for raw in read_chunk(chunk))
    found = {number: row for number, row in rows if number in wanted}
    for path, content in map(found.__getitem__, chosen):
        try:
            cells = schema.parse_row(reader_of(path).cells(content.decode(), schema.names))
        except (DataError, UnicodeDecodeError):
            continue
        yield tuple(str(cells[column]) for column in columns)
