"""A trained model of a run or a search."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class TrainedModel:
    """A model folder in the format of Hugging Face transformers."""

    path: str
    """Folder, or address of a remote one."""
    role: Literal["teacher", "student"]
    name: str
    """Name of a teacher, a student's variant, or its method in a Meta-KD run."""
    seed: int | None = None
    """Seed of its training; None for a teacher."""
    domain: str | None = None
    """Domain of a Meta-KD model; None where it is for all."""

    def __fspath__(self) -> str:
        """Return the folder, so that the model can be passed wherever a path can."""
        return self.path

    def pipeline(self, **settings: Any) -> Any:
        """Load the model as a ``text-classification`` pipeline of transformers; ``settings`` are passed on (``device=0``).

        The pipeline answers with the labels of the job. Raises ModelError when the folder is no longer there.
        """
        from raykd.models import load_tokenizer, local_folder

        with local_folder(self.path) as folder:
            from transformers import pipeline

            return pipeline("text-classification", model=str(folder), tokenizer=load_tokenizer(str(folder)), **settings)
