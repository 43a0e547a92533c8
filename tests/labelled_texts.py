"""Specification of a file of single texts with a label each."""

from pathlib import Path

from raykd.data.prepare_spec import PrepareSpec
from raykd.task_kinds import SINGLE_LABEL


def labelled_texts(file: Path, tokenizer: str, *, labels: tuple[str, ...] = ("neg", "pos"), length: int = 8) -> PrepareSpec:
    """The columns ``text`` and ``label`` of a TSV file; rows of at most ``length`` tokens."""
    return PrepareSpec(
        files=(str(file),),
        input_schema="text:str:1,label:str:1",
        first_sequence="text",
        second_sequence=None,
        label="label",
        codec=SINGLE_LABEL.label_codec(labels),
        skip_header=False,
        sequence_length=length,
        max_rejected_rows=0,
        tokenizer=tokenizer,
        keep=None,
    )
