"""Files of two texts and a label."""

from pathlib import Path

from raykd.config import DataConfig


def data(folder: Path, **files: str) -> DataConfig:
    for name, content in files.items():
        (folder / f"{name}.tsv").write_text(content)
    return DataConfig(
        input_schema="a:str:1,b:str:1,label:str:1", first_sequence="a", second_sequence="b", label="label",
        train=(str(folder / "train.tsv"),), test=(str(folder / "test*.tsv"),), skip_header=True,
    )  # fmt: skip
