"""Rows of three domains and a model's tokens of them."""

from pathlib import Path

import pytest

from raykd.data.tokenised_set import TokenisedSet
from tests.unit.metakd import worlds


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return worlds.save_model(tmp_path_factory.mktemp("models") / "teacher", hidden=16, layers=4)


@pytest.fixture
def rows(tmp_path: Path, model: str) -> TokenisedSet:
    path = worlds.write_rows(tmp_path / "rows.tsv", 60, seed=1)
    return worlds.prepared_rows([str(path)], model, tmp_path / "cache")
