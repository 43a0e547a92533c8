"""Rows of three domains and a model's tokens of them."""

from pathlib import Path

import numpy as np
import pytest

from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.embeddings import EMBEDDING
from raykd.metakd.prototypes import prototypes, weigh
from tests.unit.metakd import worlds
from tests.unit.metakd.worlds import DOMAINS, side_of


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return worlds.save_model(tmp_path_factory.mktemp("models") / "teacher", hidden=16, layers=4)


@pytest.fixture
def rows(tmp_path: Path, model: str) -> TokenisedSet:
    path = worlds.write_rows(tmp_path / "rows.tsv", 60, seed=1)
    return worlds.prepared_rows([str(path)], model, tmp_path / "cache")


@pytest.fixture
def weights(rows: TokenisedSet, tmp_path: Path) -> SideTable:
    vectors = np.random.default_rng(1).standard_normal((rows.num_rows, 4)).astype(np.float32)
    side = side_of(rows, tmp_path / "e", EMBEDDING, vectors)
    found = prototypes(rows, side, domain="domain", domains=DOMAINS)
    return weigh(rows, side, found, domain="domain", domains=DOMAINS, out=str(tmp_path / "w"))
