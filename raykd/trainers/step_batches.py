"""Micro-batches of one worker for an optimiser step."""

from collections.abc import Collection
from dataclasses import dataclass

from raykd.data.batch import Batch, micro_batches
from raykd.data.padding import EXACT, PaddingRule
from raykd.data.step_stream import StepRows


@dataclass(frozen=True)
class StepBatches:
    """Cuts the worker's rows of a step into padded batches, the same number on every worker."""

    world_size: int
    pad_token_id: int
    with_token_types: bool
    """Pass ``token_type_ids`` to the model."""
    padding_side: str = "right"
    """Side of the padding: ``left`` or ``right``."""
    micro_batch_size: int | None = None
    """Rows per forward pass; None takes all at once."""
    padding: PaddingRule = EXACT
    """Padded lengths of the batches."""
    unpadded: bool = False
    """The model runs without padding."""
    columns: Collection[str] | None = None
    """Columns to keep: those of the tokenised set and those that the objective names. None keeps all."""

    def __call__(self, rows: StepRows) -> list[Batch]:
        """Never an empty list: a worker without rows gets a batch of one row that is not valid."""
        if self.columns is not None:
            unread = [name for name in rows.table.column_names if name not in self.columns]
            rows = rows if not unread else rows.with_table(rows.table.drop_columns(unread))
        return micro_batches(
            rows,
            world=self.world_size,
            micro_batch_size=self.micro_batch_size,
            pad_token_id=self.pad_token_id,
            with_token_types=self.with_token_types,
            padding_side=self.padding_side,
            padding=self.padding,
            unpadded=self.unpadded,
        )
