import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.errors import ConfigError, ModelError
from raykd.models import ModelShape, build_classifier, load_tokenizer, save_classifier
from raykd.report.footprint import footprint
from raykd.report.latency import load_predictor, measure_latency

ROWS = [("good film",), ("bad film",), ("a book",)]


class Clock:
    """Time that passes only in predictors."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def __call__(self) -> float:
        return self.now

    def predictor(self, name: str, *, single: float, row: float, slow_every: int = 0):
        def predict(rows: Sequence[tuple[str, ...]]) -> None:
            self.calls.append((name, len(rows)))
            slow = slow_every and len(self.calls) % slow_every == 0
            self.now += (10 * single if slow else single) if len(rows) == 1 else row * len(rows)

        return predict


def test_latency_and_throughput_from_the_clock():
    clock = Clock()
    predictors = {
        "teacher": clock.predictor("teacher", single=0.01, row=0.004),
        "student": clock.predictor("student", single=0.004, row=0.001),
    }
    measured = measure_latency(predictors, ROWS, batch_size=8, seconds=12, clock=clock)
    assert (measured["teacher"].p50_ms, measured["teacher"].p99_ms) == (pytest.approx(10), pytest.approx(10))
    assert measured["teacher"].rows_per_second == pytest.approx(250)
    assert measured["student"].rows_per_second == pytest.approx(1000)
    assert measured["student"].single_rows == measured["teacher"].single_rows >= 200
    assert (measured["student"].batch_size, measured["student"].threads) == (8, 1)


def test_models_take_turns_on_the_same_calls():
    clock = Clock()
    predictors = {name: clock.predictor(name, single=0.0625, row=0.0625) for name in "ab"}
    measured = measure_latency(predictors, ROWS, batch_size=2, seconds=6, clock=clock)
    order = [name for index, (name, _) in enumerate(clock.calls) if not index or clock.calls[index - 1][0] != name]
    assert order == list("ab") * (1 + 2 + 12)  # the warm-up, 2 turns of 20 single rows, 12 batches
    assert {(one.single_rows, one.batches) for one in measured.values()} == {(40, 12)}
    assert [size for name, size in clock.calls if name == "a"] == [size for name, size in clock.calls if name == "b"]


@given(
    lengths=st.lists(st.integers(1, 500), min_size=1, max_size=300).map(sorted),
    cost=st.floats(1e-5, 1e-2),
    seconds=st.floats(0.01, 2),
)
@settings(max_examples=50)
def test_ten_times_faster_on_every_row_reads_as_ten(lengths: list[int], cost: float, seconds: float):
    """Whatever the rows' order, and however few calls a slow model has time for."""
    clock = Clock()

    def predictor(factor: float):
        def predict(rows: Sequence[tuple[str, ...]]) -> None:
            clock.now += factor * cost * sum(len(text) for (text,) in rows)

        return predict

    rows = [("x" * length,) for length in lengths]
    measured = measure_latency({"slow": predictor(10), "fast": predictor(1)}, rows, seconds=seconds, clock=clock)
    slow, fast = measured["slow"], measured["fast"]
    assert slow.p50_ms / fast.p50_ms == pytest.approx(10, rel=1e-3)
    assert fast.rows_per_second / slow.rows_per_second == pytest.approx(10, rel=1e-3)
    assert slow.single_rows == fast.single_rows
    assert (slow.p99_ms is None) == (slow.single_rows < 200)


@given(costs=st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=6), seconds=st.floats(0.1, 3))
@settings(max_examples=50)
def test_all_models_share_the_seconds(costs: list[float], seconds: float):
    """One turn of every model is measured anyway: 20 single rows, and a batch of 8."""
    clock = Clock()
    predictors = {index: clock.predictor(str(index), single=cost, row=cost / 4) for index, cost in enumerate(costs)}
    measure_latency(predictors, ROWS, batch_size=8, seconds=seconds, clock=clock)
    turn, warm_up = sum(costs) * (20 + 2), 2 * 3 * sum(costs)
    assert clock.now <= seconds + turn + warm_up + 1e-6


def test_a_slow_row_shows_in_the_tail_only():
    clock = Clock()
    measured = measure_latency(
        {"m": clock.predictor("m", single=0.001, row=0.001, slow_every=20)}, ROWS, seconds=4, clock=clock
    )
    assert measured["m"].p50_ms == pytest.approx(1)
    assert measured["m"].p99_ms == pytest.approx(10)


def test_threads_and_environment_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    before, seen = torch.get_num_threads(), []

    def predict(rows: Sequence[tuple[str, ...]]) -> None:
        seen.append((torch.get_num_threads(), os.environ.get("TOKENIZERS_PARALLELISM")))

    measure_latency({"m": predict}, ROWS, seconds=0, threads=1)
    assert set(seen) == {(1, "false")}
    assert torch.get_num_threads() == before
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_no_rows_is_an_error():
    with pytest.raises(ConfigError, match="needs sample rows"):
        measure_latency({}, [])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "book", "a")
    folder = tmp_path_factory.mktemp("model")
    (folder / "words").mkdir()
    (folder / "words" / "vocab.txt").write_text("\n".join(words) + "\n")
    (folder / "words" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    shape = ModelShape(vocab_size=len(words), hidden=8, layers=1, heads=2, positions=16)
    classifier = build_classifier(shape, labels=("bad", "good"), seed=0)
    save_classifier(classifier, load_tokenizer(str(folder / "words")), str(folder / "model"))
    return str(folder / "model")


@pytest.mark.parametrize("rows", [ROWS, [("good film", "a book"), ("bad", "film")]])
def test_a_model_folder_predicts(model: str, rows: list[tuple[str, ...]]):
    assert load_predictor(model, sequence_length=8)(rows).shape == (len(rows), 2)


def test_long_text_is_cut(model: str):
    assert load_predictor(model, sequence_length=8)([("good " * 100,)]).shape == (1, 2)


def test_footprint_counts_weights_and_bytes(model: str):
    size = footprint(model)
    loaded = build_classifier(ModelShape(vocab_size=10, hidden=8, layers=1, heads=2, positions=16), labels=("a", "b"), seed=0)
    assert size.parameters == sum(parameter.numel() for parameter in loaded.parameters())
    assert size.bytes_on_disk == sum(file.stat().st_size for file in Path(model).iterdir())


def test_a_model_card_and_exports_are_not_in_a_models_size(model: str, tmp_path: Path):
    """A report that is made again would tell another size."""
    copy = tmp_path / "model"
    shutil.copytree(model, copy, ignore=shutil.ignore_patterns("README.md"))
    before = footprint(str(copy))
    (copy / "README.md").write_text("# a student")
    (copy / "onnx").mkdir()
    (copy / "onnx" / "model.onnx").write_bytes(b"graph")
    assert footprint(str(copy)) == before


def test_a_folder_without_weights_has_no_footprint(tmp_path: Path):
    with pytest.raises(ModelError):
        footprint(str(tmp_path))
