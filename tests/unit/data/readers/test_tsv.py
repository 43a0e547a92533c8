"""Rows by bytes: the same ones whatever the chunks, each with its number and line."""

import gzip
import itertools
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raykd.data import storage
from raykd.data.readers import CHUNK_BYTES, Chunk, RawRow, read_chunk, scan
from raykd.errors import DataError

BOM = b"\xef\xbb\xbf"


def rows_of(path: Path | str, *, skip_header: bool = False, chunk_bytes: int = CHUNK_BYTES) -> list[RawRow]:
    return [row for chunk in scan([str(path)], skip_header, chunk_bytes=chunk_bytes) for row in read_chunk(chunk)]


def expected_rows(content: bytes, skip_header: bool) -> list[RawRow]:
    """The rule, on a whole file in memory."""
    lines = content.removeprefix(BOM).split(b"\n")
    ended, last = lines[:-1], lines[-1]
    rows = [line.removesuffix(b"\r") for line in ended] + ([last] if last else [])
    while rows and not rows[-1].strip(b"\r"):
        rows.pop()
    return [RawRow(number - skip_header, number + 1, data) for number, data in enumerate(rows)][int(skip_header) :]


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


ODD_BYTES = st.lists(
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\t", b"a", b'"', b"\x00", b"\x0b", b"\x0c", b"\xff", BOM, "\x85\u2028é".encode()])
    | st.binary(max_size=12),
    max_size=40,
).map(b"".join)


BLANK_ENDS = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r"]), max_size=12).map(b"".join)


@given(
    st.builds(bytes.__add__, ODD_BYTES, BLANK_ENDS),
    st.booleans(),
    st.booleans(),
    st.sampled_from([4, 5, 7, 16, 64, CHUNK_BYTES]),
)
@example(BOM, False, False, 4)
@example(BOM + b"h\n", True, False, 4)
@example(b"header without an end", True, False, 4)
@example(b"a\n\n\r\n\r", False, False, 4)
@example(b"a\n\nb\n" + b"\r\n" * 20, False, False, 7)
@example(b"\n" * 20, True, True, 4)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_bytes_give_the_same_rows_for_any_chunks(
    tmp_path: Path, content: bytes, skip_header: bool, compress: bool, chunk_bytes: int
) -> None:
    path = write(tmp_path / ("rows.tsv.gz" if compress else "rows.tsv"), content)
    chunks = scan([str(path)], skip_header, chunk_bytes=chunk_bytes)
    rows = [row for chunk in chunks for row in read_chunk(chunk)]
    assert rows == expected_rows(content, skip_header)
    assert sum(chunk.rows for chunk in chunks) == len(rows)
    assert all(chunk.rows > 0 for chunk in chunks)
    for before, after in itertools.pairwise(chunks):
        assert (after.start, after.first_row, after.first_line) == (
            before.stop,
            before.first_row + before.rows,
            before.first_line + before.rows,
        )


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\r", "\x00", '"', "'"])
def test_only_a_line_feed_ends_a_row(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path / "rows.tsv", f"a{mark}b\tc\n{mark}x".encode())
    assert [row.data.decode() for row in rows_of(path)] == [f"a{mark}b\tc", f"{mark}x"]


def test_rows_are_numbered_without_the_header(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.tsv", BOM + b"text\tlabel\r\na\t1\r\n\r\nb\t0")
    assert rows_of(path, skip_header=True) == [RawRow(0, 2, b"a\t1"), RawRow(1, 3, b""), RawRow(2, 4, b"b\t0")]


def test_a_chunk_owns_the_rows_that_start_in_it(tmp_path: Path) -> None:
    long = b"x" * 100
    path = write(tmp_path / "rows.tsv", b"ab\n" + long + b"\ncd\n")
    chunks = scan([str(path)], False, chunk_bytes=16)
    assert [(chunk.start, chunk.stop, chunk.rows) for chunk in chunks] == [(0, 104, 2), (104, 107, 1)]
    assert [row.data for row in rows_of(path, chunk_bytes=16)] == [b"ab", long, b"cd"]


def test_files_are_numbered_in_the_order_given(tmp_path: Path) -> None:
    paths = [str(write(tmp_path / name, content)) for name, content in (("a", b"1\n2\n"), ("b", b""), ("c.gz", b"3\n"))]
    assert [(chunk.shard, chunk.path, chunk.rows) for chunk in scan(paths, False)] == [(0, paths[0], 2), (2, paths[2], 1)]


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    content = b"a\t1\nb\t0\n"
    plain, packed = write(tmp_path / "rows.tsv", content), write(tmp_path / "rows.tsv.gz", content)
    other = write(tmp_path / "other.tsv", content.replace(b"b", b"c"))
    digests = [scan([str(path)], False)[0].digest for path in (plain, packed, other)]
    assert digests[0] == digests[1] != digests[2]


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "rows.gz").write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"))
    assert [row.data for row in rows_of(tmp_path / "rows.gz")] == [b"a", b"bc", b"d"]


@pytest.mark.parametrize("damage", ["not gzip", "cut short", "a byte changed"])
def test_a_broken_gzip_file_is_named(tmp_path: Path, damage: str) -> None:
    whole = bytearray(gzip.compress(bytes(range(256)) * 50))
    whole[-6] ^= 1  # the checksum
    content = {"not gzip": b"a\t1\n", "cut short": bytes(whole[:-9]), "a byte changed": bytes(whole)}[damage]
    (tmp_path / "rows.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.gz is not a whole gzip file"):
        rows_of(tmp_path / "rows.gz")


@pytest.mark.parametrize("content", [b"a\nB\n", b"a\n", b""])
def test_a_file_that_changes_after_the_scan_is_refused(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "rows.tsv", b"a\nb\n")
    (chunk,) = scan([str(path)], False)
    path.write_bytes(content)
    with pytest.raises(DataError, match="changed while it was read"):
        list(read_chunk(chunk))


@pytest.mark.parametrize("name", ["rows.tsv", "rows.tsv.gz"])
def test_a_large_file_is_never_in_memory_whole(tmp_path: Path, name: str) -> None:
    size = 24 * CHUNK_BYTES
    path = write(tmp_path / name, (b"x" * 65_535 + b"\n") * (size // 65_536))
    tracemalloc.start()
    chunks = scan([str(path)], False)
    rows = sum(1 for chunk in chunks for _ in read_chunk(chunk))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == size // 65_536
    assert peak < size / 4


def test_reads_other_file_systems() -> None:
    path = "mock://reader/rows.tsv.gz"
    storage.write_bytes(path, gzip.compress(b"a\nb\n"))
    assert [row.data for row in rows_of(path)] == [b"a", b"b"]
    storage.write_bytes("mock://reader/rows.tsv", b"h\na\nb\nc\n")
    assert [row.data for row in rows_of("mock://reader/rows.tsv", skip_header=True, chunk_bytes=4)] == [b"a", b"b", b"c"]


def test_the_scan_takes_any_map() -> None:
    storage.write_bytes("mock://reader/many.tsv", b"row\n" * 100)
    calls: list[int] = []

    def counting_map(function, items):  # type: ignore[no-untyped-def]  # any function
        calls.append(len(items))
        return [function(item) for item in items]

    chunks: list[Chunk] = scan(["mock://reader/many.tsv"], False, map_fn=counting_map, chunk_bytes=40)
    assert calls == [10]
    assert [chunk.rows for chunk in chunks] == [10] * 10
