"""Texts of random rows of a job's files, on which speed is measured and exported models are compared."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from raykd.config import DataConfig
from raykd.data.first_rows import text_parser
from raykd.data.prepare_spec import file_format
from raykd.data.readers import Chunk, reader_of, scan
from raykd.data.sources import expand_data
from raykd.errors import DataError

CANDIDATE_ROWS = 20_000
"""Rows that the sample is taken from: more, since some may not parse."""


def sample_rows(data: DataConfig, count: int) -> list[tuple[str, ...]]:
    """Texts of random rows of the test files, or training files, in random order; rows that do not parse are skipped."""
    files = data.test if isinstance(data.test, tuple) else data.train
    chunks = scan(expand_data(files), data.skip_header, files=file_format(data))
    numbers = range(sum(chunk.rows for chunk in chunks))
    chosen = random.Random(0).sample(numbers, min(len(numbers), CANDIDATE_ROWS))
    return list(islice(_texts(data, chunks, chosen), count))


def _texts(data: DataConfig, chunks: Sequence[Chunk], chosen: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Texts of the rows with the ``chosen`` numbers, which count the rows of all chunks, in their order."""
    parser = text_parser(data.input_schema, data.first_sequence, data.second_sequence)
    readers = [reader_of(chunk.path, file_format(data)) for chunk in chunks]
    wanted = frozenset(chosen)
    rows = enumerate(
        (reader, raw.data) for chunk, reader in zip(chunks, readers, strict=True) for raw in reader.read(chunk, parser.names)
    )
    found = {number: row for number, row in rows if number in wanted}
    for reader, content in map(found.__getitem__, chosen):
        try:
            text = parser.parse(content, reader).text
        except DataError:
            continue
        yield (text,) if isinstance(text, str) else text
