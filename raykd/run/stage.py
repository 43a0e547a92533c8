"""Stages that can be skipped and repeated: a folder is a stage's finished result when its ``stage.json`` says so."""

from dataclasses import dataclass
from typing import Any

from raykd.data import storage


@dataclass(frozen=True)
class Stage:
    """A step of a run whose results lie in one folder."""

    name: str
    folder: str
    key: str
    """Hash of configuration, inputs and versions: another key means that the result is another's."""

    @property
    def manifest(self) -> str:
        """The file that is written last."""
        return storage.join(self.folder, "stage.json")

    def is_done(self) -> bool:
        """Whether the folder holds the finished result of this very stage."""
        return storage.exists(self.manifest) and bool(storage.read_json(self.manifest)["key"] == self.key)

    def begin(self) -> None:
        """Take back an older result's manifest, so that nothing half-made looks complete."""
        storage.remove(self.manifest)

    def finish(self, **results: Any) -> None:
        """Say that the result is complete."""
        storage.write_json(self.manifest, {"name": self.name, "key": self.key, **results})
