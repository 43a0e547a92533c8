"""Configuration of a student's initial weights: layers of a larger model, and a smaller vocabulary."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from raykd.config.section import Section

STUDENT_INIT_KEYS = ("init", "init.from", "init.layers", "vocabulary", "vocabulary.min_count")
"""Keys of the student section that this module describes."""


class InitConfig(Section):
    """Initial weights of the student: layers of a larger model, with its embeddings, pooler and classifier."""

    model_config = ConfigDict(serialize_by_alias=True)

    from_: Literal["model", "teacher"] = Field("model", alias="from")
    """Model that the layers are taken from: `student.model`, or the fine-tuned teacher, whose tokenizer it then has."""
    layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Encoder layers to keep, numbered from 0, ascending; null keeps all."""

    @property
    def summary(self) -> str:
        """The layers in words."""
        layers = "all layers" if self.layers is None else f"layers {', '.join(map(str, self.layers))}"
        return f"{layers} of the {'fine-tuned teacher' if self.from_ == 'teacher' else 'model'}"


class VocabularyConfig(Section):
    """A smaller vocabulary of the student, with a tokenizer that still encodes every text."""

    min_count: int = Field(1, ge=1)
    """Times that a token must stand in the training and unlabelled rows to be kept. Special tokens, single characters and
    bytes are always kept."""


def with_teacher_model(content: Any) -> Any:
    """A job's content, with the teacher's model as ``student.model`` where the layers are the teacher's and it is left out."""
    if not isinstance(content, Mapping):
        return content
    student, teacher = content.get("student"), content.get("teacher")
    if not isinstance(student, Mapping) or not isinstance(teacher, Mapping) or "model" in student or "model" not in teacher:
        return content
    init = student.get("init")
    if not isinstance(init, Mapping) or init.get("from") != "teacher":
        return content
    return {**content, "student": {"model": teacher["model"], **student}}
