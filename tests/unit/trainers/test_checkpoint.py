import contextlib
import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from raykd.config import TorchEngineConfig
from raykd.data import file_systems, storage
from raykd.errors import CheckpointError, ResourceError
from raykd.trainers.checkpoint import Checkpoints, verify
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.engines.engine import Engine

FILES = ["exp_avg.safetensors", "exp_avg_sq.safetensors", "manifest.json", "state.json", "weights.safetensors"]

ALONE = WorkerContext(0, 1, torch.device("cpu"))


def make_engine(seed: int = 0, *, width: int = 3, layers: int = 2) -> Engine:
    torch.manual_seed(seed)
    model = nn.Sequential(*[nn.Linear(width, width) for _ in range(layers)])
    return build_engine(TorchEngineConfig(), model, weight_decay=0.1, precision="fp32", device=torch.device("cpu"))


def train(engine: Engine, steps: int = 1) -> None:
    width = engine.module[0].in_features
    for _ in range(steps):
        engine.accumulate(engine.model(torch.ones(2, width)).square().sum(), boundary=True)
        engine.reduce_gradients()
        engine.step(0.1, max_grad_norm=1.0)


def weights(engine: Engine) -> list[torch.Tensor]:
    return [p.detach().clone() for p in engine.module.parameters()]


def steps_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(str(folder), identity="mine", context=ALONE)


@pytest.fixture
def two_saved(checkpoints: Checkpoints) -> Checkpoints:
    engine = make_engine()
    for step in (1, 2):
        train(engine)
        checkpoints.save(engine, step, {"step": step})
    return checkpoints


def test_nothing_saved_is_no_checkpoint(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest_step() is None


def test_continues_bit_for_bit(checkpoints: Checkpoints) -> None:
    engine = make_engine()
    train(engine, 3)
    position = {"validation": {"best": 0.5, "patience": [1, None]}, "worst": float("-inf"), "name": "ü"}
    checkpoints.save(engine, 3, position)
    other = make_engine(1)
    assert checkpoints.latest_step() == 3
    assert checkpoints.load(other, 3) == position
    assert other.updates == 3
    for each in (engine, other):
        train(each, 2)
    assert all(map(torch.equal, weights(other), weights(engine)))


def test_files_are_safetensors_and_json(two_saved: Checkpoints, folder: Path) -> None:
    assert sorted(path.name for path in (folder / "step-00000002").iterdir()) == FILES
    state = json.loads((folder / "step-00000002" / "state.json").read_text())
    assert state == {
        "identity": "mine",
        "step": 2,
        "updates": 2,
        "engine": "torch",
        "world_size": 1,
        "position": {"step": 2},
    }


def test_the_newest_two_stay(two_saved: Checkpoints, folder: Path) -> None:
    engine = make_engine()
    for step in (3, 4):
        two_saved.save(engine, step, {})
    assert steps_in(folder) == ["step-00000003", "step-00000004"]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_never_continued_from(
    name: str, two_saved: Checkpoints, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "step-00000002" / name
    data = path.read_bytes()
    # the last number of tensors, a digit of JSON: positions where a parser would not notice
    position = max(i for i, byte in enumerate(data) if chr(byte).isdigit()) if name.endswith("json") else len(data) - 2
    path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
    with caplog.at_level(logging.WARNING):
        assert two_saved.latest_step() == 1
    assert "step-00000002" in caplog.text
    assert two_saved.load(make_engine(), 1) == {"step": 1}


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_never_continued_from(name: str, two_saved: Checkpoints, folder: Path) -> None:
    path = folder / "step-00000002" / name
    data = path.read_bytes()
    for size in (len(data) - 1, len(data) // 2, 0):
        path.write_bytes(data[:size])
        assert two_saved.latest_step() == 1
    path.unlink()
    assert two_saved.latest_step() == 1


@pytest.mark.parametrize("content", ["[]", "null", '{"format": 3}', '{"format": "raykd checkpoint 1", "files": 3}', "\xff"])
def test_any_other_manifest_is_refused(content: str, two_saved: Checkpoints, folder: Path) -> None:
    (folder / "step-00000002" / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(CheckpointError, match="step-00000002"):
        verify(str(folder / "step-00000002"))
    assert two_saved.latest_step() == 1


def test_a_full_disk_leaves_the_checkpoint_before(
    two_saved: Checkpoints, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = storage.write_bytes
    for allowed in range(4):
        left = [allowed]

        def write(path: str, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise ResourceError(f"{path}: No space left on device")
            left[0] -= 1
            whole(path, data)

        monkeypatch.setattr(storage, "write_bytes", write)
        with pytest.raises(ResourceError, match="No space left"):
            two_saved.save(make_engine(), 3, {})
        assert two_saved.latest_step() == 2
        assert steps_in(folder) == ["step-00000001", "step-00000002"], "what was written of it is removed"
    monkeypatch.setattr(storage, "write_bytes", whole)
    two_saved.save(make_engine(), 3, {})
    assert steps_in(folder) == ["step-00000002", "step-00000003"]  # what the failed ones left is gone


def test_a_checkpoint_is_replaced_only_by_a_complete_one(two_saved: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, data: bytes) -> None:
        raise ResourceError(path)

    monkeypatch.setattr(storage, "write_bytes", fail)
    with pytest.raises(ResourceError):
        two_saved.save(make_engine(), 2, {})
    assert two_saved.latest_step() == 2


def test_after_falling_back_damaged_ones_go_and_do_not_count(two_saved: Checkpoints, folder: Path) -> None:
    """Two complete ones stay, however many steps behind the damaged one the run continues."""
    engine = make_engine()
    two_saved.save(engine, 8, {})
    (folder / "step-00000008" / "manifest.json").unlink()
    assert two_saved.latest_step() == 2
    two_saved.save(engine, 5, {})
    assert steps_in(folder) == ["step-00000002", "step-00000005"]


def test_another_tasks_checkpoint_is_an_error(two_saved: Checkpoints, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"belongs to another task \(mine, not yours\).*another output folder"):
        Checkpoints(str(folder), identity="yours", context=ALONE).latest_step()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"width": 4}, r"0\.weight is \[3, 3\] in the checkpoint and \[4, 4\] in the model"),
        ({"layers": 3}, "has no 2.weight, which the model has"),
        ({"layers": 1}, "has 1.bias, 1.weight, which the model has not"),
    ],
)
def test_another_models_checkpoint_is_an_error(shape: dict[str, int], message: str, two_saved: Checkpoints) -> None:
    with pytest.raises(CheckpointError, match=message):
        two_saved.load(make_engine(**shape), 2)


def test_on_an_object_store_the_manifest_comes_last(
    two_saved: Checkpoints, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_systems, "OBJECT_STORES", ("local",))
    written: list[str] = []
    whole = storage.write_bytes

    def write(path: str, data: bytes) -> None:
        written.append(path)
        Path(path).parent.mkdir(exist_ok=True)  # an object store needs no folders
        whole(path, data)

    monkeypatch.setattr(storage, "write_bytes", write)
    two_saved.save(make_engine(), 3, {})
    assert sorted(Path(path).name for path in written) == FILES
    assert written[-1].endswith("manifest.json")
    assert {Path(path).parent for path in written} == {folder / "step-00000003"}
    assert two_saved.latest_step() == 3


def test_clear_deletes_them(two_saved: Checkpoints, folder: Path) -> None:
    two_saved.clear()
    assert not folder.exists()
    assert two_saved.latest_step() is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=False)


def test_a_disk_that_fills_up_costs_no_checkpoint_and_no_disk_space(small_disk: Path) -> None:
    checkpoints = Checkpoints(str(small_disk / "checkpoints"), identity="mine", context=ALONE)
    engine = make_engine(width=40)
    checkpoints.save(engine, 1, {})
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    with pytest.raises(ResourceError, match="No space left on device; free space there"):
        checkpoints.save(engine, 2, {})
    assert steps_in(small_disk / "checkpoints") == ["step-00000001"]
    filler.unlink()
    checkpoints.save(engine, 2, {})
    assert checkpoints.latest_step() == 2
