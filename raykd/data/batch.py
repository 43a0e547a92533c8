"""From one rank's planned rows to the tensors of a forward pass."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from raykd.data.batch_plan import slice_bounds
from raykd.data.padding import EXACT, PaddingRule
from raykd.data.step_stream import StepRows
from raykd.data.tokenised_set import LABELLED
from raykd.data.unpadded_rows import UnpaddedRows
from raykd.errors import DataError

_OWN_COLUMNS = {"shard", "row", "length", "input_ids", "token_type_ids", "label", LABELLED, "logits"}
_ALWAYS_ON_CPU = {"row_ids", "row_lengths"}


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one forward pass: B rows, all padded to L tokens by the length of the longest row of their global batch."""

    input_ids: Tensor
    """``[B, L]`` int64."""
    attention_mask: Tensor
    """``[B, L]`` int64, 1 on tokens; at least one position of every row is on, so that no softmax is over nothing."""
    token_type_ids: Tensor | None
    """``[B, L]`` int64; None for models or tokenizers without them."""
    labels: Tensor | None
    """``[B]`` int64 label ids, ``[B, C]`` 0 and 1 for multi-label rows, ``[B]`` float32 for regression; None without labels."""
    teacher_logits: Tensor | None
    """``[B, C]`` float32; None without the side column `logits`."""
    extras: dict[str, Tensor]
    """Every other numeric column, ``[B]`` or ``[B, K]``; floats as float32, integers as int64."""
    valid: Tensor
    """``[B]`` bool; false only for the placeholder row of an empty slice."""
    row_ids: Tensor
    """``[B, 2]`` int64, always on the CPU: shard and row; -1 where not valid."""
    labelled: Tensor | None = None
    """``[B]`` bool: rows whose label is known; `labels` holds zeros for the others. None: all rows, or none of them."""
    padded: bool = True
    """False when every row has L tokens, so that attention needs no mask. Known on the CPU."""
    row_lengths: Tensor | None = None
    """``[B]`` int64, always on the CPU: tokens of each row, for a model that runs without padding. None for any other model,
    where no row is padded, and with padding on the left."""

    @property
    def all_valid(self) -> bool:
        """True without a placeholder row; reads nothing from the device."""
        return bool((self.row_ids[:, 0] >= 0).all())

    def model_inputs(self) -> dict[str, Any]:
        """Keyword arguments of a Hugging Face forward pass; the attention mask only where a row is padded.

        With `row_lengths` also ``unpadded_rows``, which :func:`raykd.models.unpad_rows` makes a model take.
        """
        inputs: dict[str, Any] = {"input_ids": self.input_ids}
        if self.padded:
            inputs["attention_mask"] = self.attention_mask
        if self.row_lengths is not None:
            inputs["unpadded_rows"] = UnpaddedRows.from_lengths(
                self.row_lengths.numpy(),
                width=self.input_ids.shape[1],
                copy=lambda tensor: copied_to(tensor, self.input_ids.device),
            )
        return inputs if self.token_type_ids is None else inputs | {"token_type_ids": self.token_type_ids}

    def to(self, device: torch.device | str) -> Self:
        """A copy on a device, or the batch itself where it is there. The host does not wait for a GPU."""
        if self.input_ids.device == torch.device(device):
            return self
        return self.each_tensor(lambda tensor: copied_to(tensor, torch.device(device)), on_cpu=lambda tensor: tensor)

    def each_tensor(self, change: Callable[[Tensor], Tensor], *, on_cpu: Callable[[Tensor], Tensor]) -> Self:
        """A batch with `change` made to every tensor, and `on_cpu` to those that are always on the CPU."""
        changed: dict[str, Any] = {"extras": {name: change(tensor) for name, tensor in self.extras.items()}}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = on_cpu(value) if field.name in _ALWAYS_ON_CPU else change(value)
        return dataclasses.replace(self, **changed)


def copied_to(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. From the CPU to a GPU by page-locked memory, so that the host does not wait for the copy."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def collate(
    table: pa.Table,
    *,
    padded_length: int,
    pad_token_id: int,
    with_token_types: bool,
    padding_side: str = "right",
    unpadded: bool = False,
) -> Batch:
    """Pad the rows of a joined table to `padded_length` tokens; an empty table gives one row that is not valid.

    `unpadded` is for a model that runs without padding (:func:`raykd.models.runs_unpadded`): the batch has `row_lengths`.

    `table` has shard, row, input_ids and, where there are any, token_type_ids, label, labelled, logits and others; it may be
    sliced and chunked. Text columns are left out. Raises DataError when a row is longer than `padded_length`, or a column
    misses values or holds lists of varying length.
    """
    rows, columns = table.num_rows, set(table.column_names)
    values, lengths = _ragged(table.column("input_ids"))
    if rows and lengths.max() > padded_length:
        raise DataError(
            f"a row has {lengths.max()} tokens, but its batch was planned for {padded_length}; prepare the data again"
        )
    mask, attention_mask = _masks(lengths if rows else np.zeros(1, dtype=np.int32), padded_length, padding_side)
    token_types = None
    if with_token_types and "token_type_ids" in columns:
        token_types = _scatter(_ragged(table.column("token_type_ids"))[0], mask, fill=0)
    padded = not attention_mask.all()
    return Batch(
        input_ids=_scatter(values, mask, fill=pad_token_id),
        attention_mask=torch.from_numpy(attention_mask),
        token_type_ids=token_types,
        labels=_tensor(table, "label", _number_type(table.schema.field("label"))) if "label" in columns else None,
        teacher_logits=_tensor(table, "logits", np.float32) if "logits" in columns else None,
        extras={
            field.name: _tensor(table, field.name, _number_type(field))
            for field in table.schema
            if field.name not in _OWN_COLUMNS and not _is_text(field.type)
        },
        valid=torch.full((max(rows, 1),), rows > 0),
        row_ids=torch.stack([_tensor(table, name, np.int64, placeholder=-1) for name in ("shard", "row")], dim=1),
        labelled=_tensor(table, LABELLED, np.bool_) if LABELLED in columns else None,
        padded=padded,
        row_lengths=torch.from_numpy(attention_mask.sum(1)) if unpadded and padded and padding_side == "right" else None,
    )


def _masks(lengths: NDArray[np.int32], width: int, padding_side: str) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """The positions of tokens ``[B, L]``, and the attention mask, in which a row without tokens has one."""
    mask = np.arange(width) < lengths[:, None]
    if padding_side == "left":
        mask = mask[:, ::-1]
    attention_mask = mask.astype(np.int64)
    attention_mask[:, 0 if padding_side == "right" else -1] = 1
    return mask, attention_mask


def micro_batches(
    rows: StepRows,
    *,
    world: int,
    micro_batch_size: int | None,
    pad_token_id: int,
    with_token_types: bool,
    padding_side: str = "right",
    padding: PaddingRule = EXACT,
    unpadded: bool = False,
) -> list[Batch]:
    """Split one rank's rows of a step into at least one batch of at most `micro_batch_size` rows; None makes one batch.

    `unpadded` as for :func:`collate`.
    The number of batches depends on the global batch and the world size alone, so every rank runs the same number of forward
    passes, with a row that is not valid where it has none. Raises ValueError when `micro_batch_size` is below 1.
    """
    if micro_batch_size is not None and micro_batch_size < 1:
        raise ValueError(f"micro_batch_size = {micro_batch_size} must be 1 or more")
    largest = -(-rows.num_rows // world)
    count = 1 if micro_batch_size is None else -(-largest // micro_batch_size)
    batches = []
    for i in range(count):
        start, stop = slice_bounds(rows.table.num_rows, i, count)
        table = rows.table if count == 1 else rows.table.slice(start, stop - start)
        batches.append(
            collate(
                table,
                padded_length=padding.length(rows.longest),
                pad_token_id=pad_token_id,
                with_token_types=with_token_types,
                padding_side=padding_side,
                unpadded=unpadded,
            )
        )
    return batches


def micro_batch_rows(num_rows: int, *, world: int, micro_batch_size: int | None) -> tuple[int, int]:
    """Rows of the smallest and the largest batch that :func:`micro_batches` makes, on any rank, of `num_rows`; 1 at least."""
    largest = -(-num_rows // world)
    count = 1 if micro_batch_size is None else -(-largest // micro_batch_size)
    return max(1, num_rows // world // count), -(-largest // count)


def _scatter(values: NDArray[Any], mask: NDArray[np.bool_], *, fill: int) -> Tensor:
    """Write the concatenated values of all rows to the true positions of `mask` ``[B, L]``, `fill` to the others."""
    padded = np.full(mask.shape, fill, dtype=np.int64)
    padded[mask] = values
    return torch.from_numpy(padded)


def _ragged(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Concatenated values of a list column, and each row's length ``[rows]``."""
    array = _whole(column)
    offsets = array.offsets.to_numpy()
    # a sliced list array keeps all its values: its offsets select those of the slice
    return array.values.to_numpy(zero_copy_only=False)[offsets[0] : offsets[-1]], np.diff(offsets)


def _tensor(table: pa.Table, name: str, dtype: Any, *, placeholder: int = 0) -> Tensor:
    """A column of numbers or of lists of one length as ``[B]`` or ``[B, K]``; without rows one row of `placeholder`."""
    array = _whole(table.column(name))
    if array.null_count:
        raise DataError(f"column {name} has {array.null_count} missing values; every row needs one")
    if pa.types.is_fixed_size_list(array.type):
        values = array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), array.type.list_size)
    else:
        values = array.to_numpy(zero_copy_only=False)
    if not len(values):
        values = np.full((1, *values.shape[1:]), placeholder)
    return torch.from_numpy(values.astype(dtype))  # always a copy: Arrow's memory is read-only


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _number_type(field: pa.Field) -> Any:
    inner = field.type.value_type if pa.types.is_fixed_size_list(field.type) else field.type
    if pa.types.is_floating(inner):
        return np.float32
    if pa.types.is_integer(inner) or pa.types.is_boolean(inner):
        return np.int64
    raise DataError(f"column {field.name} of type {field.type} is no tensor; use numbers or lists of one fixed length")


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
