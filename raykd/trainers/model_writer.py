"""Saves the model that a training ends with, and the models of its evaluations where they are kept."""

from dataclasses import dataclass
from typing import Any

from raykd.data import storage
from raykd.models import restore_classifier, save_classifier
from raykd.trainers.auxiliary import save_modules, split_state
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.engine import Engine


@dataclass(frozen=True)
class ModelWriter:
    """Writes model folders; auxiliary modules of the best model are stored in ``folder``."""

    model: Any
    """The classifier, for its configuration."""
    tokenizer: Any
    context: WorkerContext
    folder: str
    """Folder of the training."""
    model_folder: str
    """Folder of its best model."""
    auxiliary: tuple[str, ...] = ()
    """Names of the modules that are trained with the model."""
    keep_best: bool = True
    """Save the best model. False where only metrics are wanted."""
    keep_evaluated: bool = False
    """Save the model of every evaluation too."""

    def save_best(self, engine: Engine) -> None:
        """Save the current weights as the training's model. *Collective.*"""
        if self.keep_best:
            self._save(engine, self.model_folder, modules_in=self.folder)

    def save_evaluated(self, engine: Engine) -> None:
        """Save the current weights as those of an evaluation, where these are kept. *Collective.*"""
        if self.keep_evaluated:
            folder = storage.join(self.folder, "evaluated", f"step-{engine.updates}")
            self._save(engine, folder, modules_in=folder)

    def recover(self) -> bool:
        """Put back the best model if its replacement was interrupted; false when it is lost. *Collective.*"""
        if self.context.is_first:
            restore_classifier(self.model_folder)
        self.context.barrier()
        return not self.keep_best or storage.exists(storage.join(self.model_folder, "config.json"))

    def _save(self, engine: Engine, folder: str, *, modules_in: str) -> None:
        named = ((name, state.weight) for name, state in engine.state(moments=False) if state is not None)
        weights, modules = split_state(named, self.auxiliary)
        if self.context.is_first:
            save_classifier(self.model, self.tokenizer, folder, state=weights)
            save_modules(modules_in, modules)
