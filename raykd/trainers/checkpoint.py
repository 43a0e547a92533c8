"""Checkpoints that any engine, ZeRO stage and number of workers can resume from.

    folder/step-00000200/weights.safetensors      every parameter and persistent buffer, full and fp32
                         exp_avg.safetensors      AdamW's moments of the trainable ones
                         exp_avg_sq.safetensors
                         state.json               step, hash of the task, and the trainer's position
                         manifest.json            size and hash of the files above

A checkpoint is written aside and renamed (object stores: its manifest comes last), then verified when it is read: one that is
half-written, truncated or damaged is never resumed from. Nothing in it is pickled.
"""

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from raykd.data import file_systems, storage
from raykd.errors import CheckpointError, DataError, ResourceError
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.engine import Engine, ParameterState

log = logging.getLogger(__name__)

FORMAT = "raykd checkpoint 1"
KEEP = 2
"""Checkpoints that stay: the newest, and the one before in case the newest is damaged."""
_FOLDER = re.compile(r"step-(\d{8,})")
_ASIDE = ".writing-"


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one task in one folder."""

    folder: str
    identity: str
    """Hash of the task: its data, model and settings. No other task resumes from these checkpoints."""
    context: WorkerContext

    def save(self, engine: Engine, step: int, position: Mapping[str, Any]) -> None:
        """Write a checkpoint after ``step`` steps; delete all but it and the one before. *Collective.*

        Raises ResourceError, on all ranks, when it cannot be written.
        """
        self.context.on_first(self.snapshot(engine, step, position))

    def snapshot(self, engine: Engine, step: int, position: Mapping[str, Any]) -> Callable[[], None]:
        """Copy the state to CPU memory; return the function that writes it, for rank 0 alone. *Collective.*

        ``position`` is any JSON, returned by :meth:`load`. Until it is written, rank 0 holds the whole state a second time (12
        bytes a parameter), and its serialised form of one file; the others hold one tensor while it is copied.
        """
        tensors = _gather(engine)
        state = {
            "identity": self.identity,
            "step": step,
            "updates": engine.updates,
            "engine": engine.kind,
            "world_size": self.context.world_size,
            "position": dict(position),
        }
        return lambda: _write(self.folder, step, tensors, state)

    def latest_step(self) -> int | None:
        """Step of the newest checkpoint that is complete and undamaged (every file is read). *Collective.*

        Damaged ones are logged and skipped. Raises CheckpointError, on all ranks, when it belongs to another task.
        """
        return self.context.on_first(self._latest_step)

    def has(self, step: int) -> bool:
        """True when the checkpoint of ``step`` is complete and undamaged; for one process."""
        try:
            verify(self._path(step))
        except CheckpointError:
            return False
        return True

    def position(self, step: int) -> dict[str, Any]:
        """Position saved with the checkpoint of ``step``."""
        position: dict[str, Any] = storage.read_json(storage.join(self._path(step), "state.json"))["position"]
        return position

    def load(self, engine: Engine, step: int) -> dict[str, Any]:
        """Set the engine's weights, buffers and moments to those of ``step``; the position saved with them. *Collective.*

        Each rank reads for itself, one tensor at a time. Raises CheckpointError when names or shapes are not the model's.
        """
        path = self._path(step)
        state = storage.read_json(storage.join(path, "state.json"))
        with storage.local_dir(path) as folder, _reader(folder) as (names, read):
            asked: set[str] = set()

            def read_and_note(name: str) -> ParameterState:
                if name not in names:
                    raise CheckpointError(f"{path} has no {name}, which the model has: it is another model's")
                asked.add(name)
                return read(name)

            engine.load_state(read_and_note, updates=state["updates"])
        if left := sorted(names - asked):
            raise CheckpointError(f"{path} has {', '.join(left[:3])}, which the model has not: it is another model's")
        position: dict[str, Any] = state["position"]
        return position

    def clear(self) -> None:
        """Delete them all, by one process, once the task is done."""
        storage.remove(self.folder)

    def _path(self, step: int) -> str:
        return storage.join(self.folder, f"step-{step:08d}")

    def _latest_step(self) -> int | None:
        for step, path in reversed(_steps(self.folder)):
            try:
                verify(path)
            except CheckpointError as error:
                log.warning("%s; looking for the checkpoint before it", error)
                continue
            identity = storage.read_json(storage.join(path, "state.json"))["identity"]
            if identity != self.identity:
                raise CheckpointError(
                    f"{path} belongs to another task ({identity}, not {self.identity}): data, model or settings have changed; "
                    "choose another output folder, or delete that one to start again"
                )
            return step
        return None


def verify(path: str) -> None:
    """Compare size and hash of every file with the manifest. Raises CheckpointError naming the file."""
    try:
        manifest = storage.read_json(storage.join(path, "manifest.json"))
        files = manifest["files"] if manifest["format"] == FORMAT else None
        sizes = storage.file_sizes(path)
        expected = {name: (entry["bytes"], entry["blake2b"]) for name, entry in files.items()} if files else None
    except (DataError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path} is not complete: it has no readable manifest.json") from None
    if expected is None:
        raise CheckpointError(f"{path} is not a checkpoint of this version of raykd ({FORMAT})")
    for name, (size, digest) in expected.items():
        if sizes.get(name) != size:
            raise CheckpointError(f"{path}/{name} has {sizes.get(name, 'no')} bytes instead of {size}")
        if _hash_of(storage.join(path, name)) != digest:
            raise CheckpointError(f"{path}/{name} is damaged: its hash is not the one in manifest.json")


def _gather(engine: Engine) -> dict[str, dict[str, Tensor]]:
    """File name -> tensor name -> tensor; empty on ranks other than the first."""
    tensors: dict[str, dict[str, Tensor]] = {"weights": {}, "exp_avg": {}, "exp_avg_sq": {}}
    for name, state in engine.state():
        if state is None:
            continue
        tensors["weights"][name] = state.weight
        if state.exp_avg is not None and state.exp_avg_sq is not None:
            tensors["exp_avg"][name] = state.exp_avg
            tensors["exp_avg_sq"][name] = state.exp_avg_sq
    return tensors


def _write(folder: str, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
    from safetensors.torch import save as serialise

    target = storage.join(folder, f"step-{step:08d}")
    in_place = not file_systems.renames_atomically(folder)
    written = target if in_place else storage.join(folder, f"{_ASIDE}{step:08d}-{uuid.uuid4().hex}")
    storage.remove(written)
    files: dict[str, dict[str, Any]] = {}

    def put(name: str, data: bytes) -> None:
        storage.write_bytes(storage.join(written, name), data)
        files[name] = {"bytes": len(data), "blake2b": hashlib.blake2b(data).hexdigest()}

    try:
        for name in list(tensors):
            put(f"{name}.safetensors", serialise(tensors.pop(name)))
        put("state.json", json.dumps(state, sort_keys=True, indent=1).encode())
        storage.write_json(storage.join(written, "manifest.json"), {"format": FORMAT, "files": files})
    except ResourceError:
        if not in_place:
            storage.remove(written)  # a disk that is full must not stay full of it
        raise
    if not in_place:
        storage.remove(target)
        storage.rename_dir(written, target)
    _delete_others(folder, step)


def _delete_others(folder: str, step: int) -> None:
    """Keep the checkpoint of ``step`` and the complete one before it. One beyond it was skipped as damaged."""
    complete = [
        path for number, path in _steps(folder) if number <= step and storage.exists(storage.join(path, "manifest.json"))
    ]
    for path in storage.list_dir(folder):
        name = path.rsplit("/", 1)[-1]
        if (_FOLDER.fullmatch(name) and path not in complete[-KEEP:]) or name.startswith(_ASIDE):
            storage.remove(path)


def _steps(folder: str) -> list[tuple[int, str]]:
    """Steps and paths of folders named like a checkpoint, by ascending step."""
    found = [(_FOLDER.fullmatch(path.rsplit("/", 1)[-1]), path) for path in storage.list_dir(folder)]
    return sorted((int(match[1]), path) for match, path in found if match)


def _hash_of(path: str) -> str:
    digest = hashlib.blake2b()
    with storage.open_input(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _reader(folder: str) -> Iterator[tuple[set[str], Callable[[str], ParameterState]]]:
    """The names in a local checkpoint folder, and a function that reads one."""
    from safetensors import safe_open

    def opened(name: str) -> Any:
        return safe_open(f"{folder}/{name}.safetensors", framework="pt", device="cpu")

    with opened("weights") as weights, opened("exp_avg") as exp_avg, opened("exp_avg_sq") as exp_avg_sq:
        moments = set(exp_avg.keys())

        def read(name: str) -> ParameterState:
            if name not in moments:
                return ParameterState(weights.get_tensor(name))
            return ParameterState(weights.get_tensor(name), exp_avg.get_tensor(name), exp_avg_sq.get_tensor(name))

        yield set(weights.keys()), read
