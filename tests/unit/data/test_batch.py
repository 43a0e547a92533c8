from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.data.batch import Batch, collate, micro_batch_rows, micro_batches
from raykd.data.batch_plan import slice_bounds
from raykd.data.step_stream import StepRows
from raykd.errors import DataError

PAD = 99


def table_of(rows: list[list[int]], *, first_row: int = 0, drop: tuple[str, ...] = ()) -> pa.Table:
    numbers = np.arange(first_row, first_row + len(rows))
    logits = np.stack([numbers / 2, -numbers / 4, numbers + 0.1], axis=1).astype(np.float32)
    columns = {
        "shard": pa.array(np.full(len(rows), 3, dtype=np.int32)),
        "row": pa.array(numbers),
        "length": pa.array([len(row) for row in rows], pa.int32()),
        "input_ids": pa.array(rows, pa.list_(pa.int32())),
        "token_type_ids": pa.array([[i % 2 for i in range(len(row))] for row in rows], pa.list_(pa.uint8())),
        "label": pa.array(numbers % 2, pa.int32()),
        "domain": pa.array([f"d{n}" for n in numbers]),
        "weight": pa.array(numbers / 8, pa.float64()),
        "genre": pa.array(numbers % 5, pa.int16()),
        "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), 3),
    }
    return pa.table({name: column for name, column in columns.items() if name not in drop})


ROWS = [[5, 6, 7], [8], [9, 10, 11, 12, 13]]


def collated(table: pa.Table, *, padded_length: int = 8, with_token_types: bool = True) -> Batch:
    return collate(table, padded_length=padded_length, pad_token_id=PAD, with_token_types=with_token_types)


def equal(one: Batch, other: Batch) -> bool:
    return fields(one).keys() == fields(other).keys() and all(torch.equal(a, fields(other)[k]) for k, a in fields(one).items())


def fields(batch: Batch) -> dict[str, torch.Tensor]:
    named: dict[str, Any] = {name: value for name, value in vars(batch).items() if name != "extras"} | batch.extras
    return {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}


def test_rows_are_padded_on_the_right_to_the_planned_length() -> None:
    batch = collated(table_of(ROWS))
    assert batch.input_ids.tolist() == [row + [PAD] * (8 - len(row)) for row in ROWS]
    assert batch.attention_mask.tolist() == [[1] * len(row) + [0] * (8 - len(row)) for row in ROWS]
    assert batch.token_type_ids is not None
    assert batch.token_type_ids[2].tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert {tensor.dtype for tensor in batch.model_inputs().values()} == {torch.int64}
    assert batch.model_inputs().keys() == {"input_ids", "attention_mask", "token_type_ids"}
    assert batch.valid.tolist() == [True] * 3
    assert batch.row_ids.tolist() == [[3, 0], [3, 1], [3, 2]]


def test_labels_logits_and_other_columns_become_tensors() -> None:
    batch = collated(table_of(ROWS))
    assert batch.labels is not None
    assert (batch.labels.dtype, batch.labels.tolist()) == (torch.int64, [0, 1, 0])
    assert batch.teacher_logits is not None
    expected = torch.tensor([[0, 0, 0.1], [0.5, -0.25, 1.1], [1, -0.5, 2.1]])
    torch.testing.assert_close(batch.teacher_logits, expected, rtol=0, atol=0)
    assert batch.extras.keys() == {"weight", "genre"}, "text is no tensor"
    assert batch.extras["weight"].dtype == torch.float32
    assert batch.extras["weight"].tolist() == [0, 0.125, 0.25]
    assert (batch.extras["genre"].dtype, batch.extras["genre"].tolist()) == (torch.int64, [0, 1, 2])


@pytest.mark.parametrize("rows", [3, 0])
def test_absent_columns_are_none(rows: int) -> None:
    batch = collated(table_of(ROWS, drop=("label", "logits", "token_type_ids", "weight", "genre")).slice(0, rows))
    assert (batch.labels, batch.teacher_logits, batch.token_type_ids, batch.extras) == (None, None, None, {})
    assert "token_type_ids" not in batch.model_inputs()


def test_token_types_are_left_out_for_models_without_them() -> None:
    assert collated(table_of(ROWS), with_token_types=False).token_type_ids is None


def test_another_padded_length_changes_padding_only() -> None:
    short, long = collated(table_of(ROWS), padded_length=8), collated(table_of(ROWS), padded_length=16)
    for name, tensor in fields(short).items():
        other = fields(long)[name]
        assert torch.equal(tensor, other[:, :8] if tensor.ndim == 2 and tensor.shape[1] == 8 else other), name
    assert (long.input_ids[:, 8:] == PAD).all()
    assert long.attention_mask[:, 8:].sum() == 0


@given(
    rows=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=8), min_size=1, max_size=9),
    data=st.data(),
)
@settings(max_examples=60)
def test_sliced_and_chunked_tables_give_the_same_batch(rows: list[list[int]], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(rows) - 1))
    stop = data.draw(st.integers(start + 1, len(rows)))
    cut = data.draw(st.integers(start, stop))
    plain = collated(table_of(rows[start:stop], first_row=start))
    whole = table_of(rows)
    assert equal(collated(whole.slice(start, stop - start)), plain)
    assert equal(collated(pa.concat_tables([whole.slice(start, cut - start), whole.slice(cut, stop - cut)])), plain)


def test_no_rows_give_one_row_that_is_not_valid_and_has_something_to_attend_to() -> None:
    empty, full = collated(table_of(ROWS).slice(1, 0)), collated(table_of(ROWS))
    assert empty.valid.tolist() == [False]
    assert empty.row_ids.tolist() == [[-1, -1]]
    assert empty.attention_mask.tolist() == [[1] + [0] * 7]
    assert empty.input_ids.tolist() == [[PAD] * 8]
    for name, tensor in fields(full).items():
        stand_in = fields(empty)[name]
        assert (stand_in.dtype, stand_in.shape) == (tensor.dtype, (1, *tensor.shape[1:])), name


def test_a_row_without_tokens_attends_to_one_position() -> None:
    assert collated(table_of([[], [4, 5]])).attention_mask.sum(1).tolist() == [1, 2]


def test_a_row_longer_than_planned_is_an_error() -> None:
    with pytest.raises(DataError, match="5 tokens, but its batch was planned for 4"):
        collated(table_of(ROWS), padded_length=4)


def test_a_column_of_varying_lists_is_an_error_that_names_it() -> None:
    table = table_of(ROWS).append_column("spans", pa.array([[1.0], [2.0, 3.0], []], pa.list_(pa.float32())))
    with pytest.raises(DataError, match="column spans of type"):
        collated(table)


def test_a_missing_value_is_an_error_that_names_the_column() -> None:
    table = table_of(ROWS, drop=("label",)).append_column("label", pa.array([1, None, 0], pa.int32()))
    with pytest.raises(DataError, match="column label has 1 missing"):
        collated(table)


def test_fixed_lists_and_embeddings_keep_their_width() -> None:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype=np.float64)), 4)
    batch = collated(table_of(ROWS).append_column("embedding", vectors).slice(1, 2))
    assert batch.extras["embedding"].dtype == torch.float32
    assert batch.extras["embedding"].tolist() == [[4, 5, 6, 7], [8, 9, 10, 11]]


def test_tensors_may_be_written_to() -> None:
    batch = collated(table_of(ROWS))
    for tensor in fields(batch).values():
        tensor.zero_()
    assert collated(table_of(ROWS)).input_ids[0, 0] == 5, "Arrow's memory is not shared"


def test_to_moves_every_tensor_but_the_names_of_the_rows() -> None:
    batch = collated(table_of(ROWS))
    assert batch.to("cpu") is batch
    moved = batch.to("meta")
    assert {name for name, tensor in fields(moved).items() if tensor.device.type != "meta"} == {"row_ids"}
    assert fields(moved).keys() == fields(batch).keys()
    assert moved.padded
    assert moved.all_valid


def test_rows_of_one_length_need_no_mask() -> None:
    same = collated(table_of([[1, 2, 3], [4, 5, 6]]), padded_length=3)
    assert not same.padded
    assert same.model_inputs().keys() == {"input_ids", "token_type_ids"}
    assert collated(table_of([[1, 2, 3], [4, 5, 6]]), padded_length=4).padded


def test_lengths_for_models_without_padding_stay_on_the_cpu() -> None:
    table = table_of(ROWS)
    batch = collate(table, padded_length=8, pad_token_id=PAD, with_token_types=False, unpadded=True)
    assert batch.row_lengths is not None
    assert batch.row_lengths.tolist() == [3, 1, 5]
    rows = batch.model_inputs()["unpadded_rows"]
    assert rows.join(batch.input_ids).tolist() == [[*ROWS[0], *ROWS[1], *ROWS[2]]]
    moved = batch.to("meta")
    assert moved.row_lengths is batch.row_lengths
    assert moved.model_inputs()["unpadded_rows"].positions.device.type == "meta"
    chosen = batch.each_tensor(lambda tensor: tensor[1:], on_cpu=lambda tensor: tensor[1:])
    assert chosen.model_inputs()["unpadded_rows"].join(chosen.input_ids).tolist() == [[*ROWS[1], *ROWS[2]]]


@pytest.mark.parametrize(
    ("rows", "padded_length", "side", "lengths"),
    [(ROWS[:1] * 2, 3, "right", None), (ROWS, 8, "left", None), ([], 8, "right", [1])],
    ids=["not-padded", "left", "placeholder"],
)
def test_lengths_are_for_padding_on_the_right(
    rows: list[list[int]], padded_length: int, side: str, lengths: list[int] | None
) -> None:
    table = table_of(rows or ROWS).slice(0, len(rows))
    batch = collate(
        table, padded_length=padded_length, pad_token_id=PAD, with_token_types=False, padding_side=side, unpadded=True
    )
    assert (None if batch.row_lengths is None else batch.row_lengths.tolist()) == lengths


def test_the_placeholder_row_is_not_valid() -> None:
    assert not collated(table_of(ROWS).slice(0, 0)).all_valid


def step_rows(num_rows: int, rank: int, world: int) -> StepRows:
    start, stop = slice_bounds(num_rows, rank, world)
    table = table_of([[i % 7 + 1] * (i % 5 + 1) for i in range(num_rows)]).slice(start, stop - start)
    return StepRows(step=4, epoch=1, num_rows=num_rows, longest=8, table=table)


@given(num_rows=st.integers(1, 40), world=st.integers(1, 9), micro_batch_size=st.none() | st.integers(1, 12))
@settings(max_examples=150)
def test_every_rank_makes_the_same_number_of_passes_over_all_rows(
    num_rows: int, world: int, micro_batch_size: int | None
) -> None:
    ranks = [
        micro_batches(
            step_rows(num_rows, rank, world),
            world=world,
            micro_batch_size=micro_batch_size,
            pad_token_id=PAD,
            with_token_types=True,
        )
        for rank in range(world)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    seen = [batch.row_ids[batch.valid, 1] for batches in ranks for batch in batches]
    assert torch.cat(seen).tolist() == list(range(num_rows))
    sizes = [len(batch.valid) for batches in ranks for batch in batches]
    assert (min(sizes), max(sizes)) == micro_batch_rows(num_rows, world=world, micro_batch_size=micro_batch_size)
    for batch in (batch for batches in ranks for batch in batches):
        assert len(batch.valid) <= (micro_batch_size or num_rows)
        assert batch.valid.all() or len(batch.valid) == 1
        assert batch.input_ids.shape == (len(batch.valid), 8)


def test_no_more_passes_than_the_largest_slice_needs() -> None:
    batches = micro_batches(step_rows(9, 1, 2), world=2, micro_batch_size=4, pad_token_id=PAD, with_token_types=False)
    assert [len(batch.valid) for batch in batches] == [2, 3]


def test_micro_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="micro_batch_size = 0"):
        micro_batches(step_rows(4, 0, 1), world=1, micro_batch_size=0, pad_token_id=PAD, with_token_types=False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_reach_the_gpu_and_come_back() -> None:
    batch = collated(table_of(ROWS))
    assert equal(batch.to("cuda").to("cpu"), batch)


@pytest.mark.parametrize("rows", [3, 0])
def test_padding_on_the_left_mirrors_padding_on_the_right(rows: int) -> None:
    table = pa.table({"shard": [0] * rows, "row": list(range(rows)), "input_ids": [[1, 2, 3], [4], [5, 6]][:rows]})
    table = table.cast(pa.schema([("shard", pa.int32()), ("row", pa.int64()), ("input_ids", pa.list_(pa.int32()))]))
    right, left = (
        collate(table, padded_length=4, pad_token_id=PAD, with_token_types=False, padding_side=side)
        for side in ("right", "left")
    )
    assert torch.equal(left.attention_mask, right.attention_mask.flip(1))
    if rows:
        assert left.input_ids.tolist() == [[PAD, 1, 2, 3], [PAD, PAD, PAD, 4], [PAD, PAD, 5, 6]]
