"""Teachers: sequence classifiers, and causal language models that are asked by a prompt."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from raykd.config.data import DataConfig
from raykd.config.paths import ModelRef, PathField
from raykd.config.section import Section
from raykd.config.training import ModelTask
from raykd.errors import list_values

TEXT, TEXT_PAIR = "{text}", "{text_pair}"
"""Fields of a prompt."""


class TeacherConfig(ModelTask):
    """A large sequence classifier."""

    kind: Literal["classifier"] = "classifier"
    fine_tune: bool = True
    """Fine-tune the model first; false takes `model` as a classifier that is already fine-tuned for these labels."""


class CausalTeacherConfig(Section):
    """A causal language model, used as it is. Its logits are the log-probabilities of each label's answer after a prompt,
    normalised over the labels; an answer of several tokens counts whole.
    """

    fine_tune: ClassVar[bool] = False

    kind: Literal["causal_lm"] = "causal_lm"
    model: ModelRef
    """Folder of the language model, local or remote, or its name on the Hugging Face hub."""
    prompt: str
    """Text in which `{text}` stands for a row's text, and `{text_pair}` for the second text of a pair; other braces are text.
    Only these texts are truncated: to `data.sequence_length` tokens, and so that the prompt fits the context."""
    answers: dict[str, str]
    """Answer to the prompt for each label, exactly as it follows: usually it begins with a space."""
    calibration: Literal["none", "contextual"] = "none"
    """contextual: divide by the answers' probabilities after the content-free texts `N/A`, `[MASK]` and an empty one."""
    shots: PathField | None = None
    """Examples with answers before each prompt: a file with a JSON object in each line, with the keys `text`, `label` and, for
    pairs, `text_pair`."""
    chat_template: bool = True
    """Send the prompt as a user's message where the tokenizer has a chat template; examples are earlier messages."""
    batch_size: int = Field(32, ge=1)
    """Prompts of one forward pass."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if TEXT not in self.prompt:
            raise ValueError(f"prompt = {self.prompt!r} has no {TEXT}, where a row's text is to stand; add it")
        empty = [label for label, answer in self.answers.items() if not answer.strip()]
        if empty:
            raise ValueError(f"answers: the answer for the label {empty[0]!r} is empty; give the text that follows the prompt")
        for label, answer in self.answers.items():
            twin = next((other for other, same in self.answers.items() if same == answer and other != label), None)
            if twin is not None:
                raise ValueError(
                    f"answers: the labels {label!r} and {twin!r} have the same answer {answer!r}; give different ones"
                )
        return self

    def check_data(self, labels: tuple[str, ...], *, pairs: bool) -> None:
        """Raise ValueError when the answers are not those of ``labels``, or the prompt is not for rows of ``pairs``."""
        lacking = [label for label in labels if label not in self.answers]
        unknown = [label for label in self.answers if label not in labels]
        if lacking or unknown:
            problem = f"no answer for {lacking}" if lacking else f"an answer for {unknown}, which is no label"
            raise ValueError(f"teacher.answers has {problem}; give one for each of data.labels ({list_values(labels)})")
        if pairs != (TEXT_PAIR in self.prompt):
            problem = (
                f"has no {TEXT_PAIR}, but data.second_sequence is set"
                if pairs
                else (f"has {TEXT_PAIR}, but data.second_sequence is not set")
            )
            raise ValueError(f"teacher.prompt = {self.prompt!r} {problem}; change one of them")


class WeightedTeacher(TeacherConfig):
    """One of several large models, a sequence classifier."""

    weight: float = Field(1.0, gt=0)
    """Weight in the average of the teachers' logits, relative to the sum of all weights."""


class WeightedCausalTeacher(CausalTeacherConfig):
    """One of several large models, a causal language model; see the single teacher."""

    weight: float = Field(1.0, gt=0)
    """Weight in the average of the teachers' logits, relative to the sum of all weights."""


AnyTeacher = Annotated[TeacherConfig | CausalTeacherConfig, Field(discriminator="kind")]
AnyWeightedTeacher = Annotated[WeightedTeacher | WeightedCausalTeacher, Field(discriminator="kind")]


def check_causal_teachers(teachers: Sequence[WeightedTeacher | WeightedCausalTeacher], data: DataConfig) -> None:
    """Raise ValueError when a language model does not fit the data; labels in a file are left to the checks before a run."""
    for teacher in teachers:
        if not isinstance(teacher, CausalTeacherConfig):
            continue
        if data.traits.outputs != "classes":
            raise ValueError(
                f"teacher.kind = causal_lm chooses one of data.labels, but data.task = {data.task}; use a classifier"
            )
        if isinstance(data.labels, tuple):
            teacher.check_data(data.labels, pairs=data.second_sequence is not None)


def with_teacher_kind(given: Any) -> Any:
    """The content of a job in which a teacher without ``kind`` is a classifier."""
    if not isinstance(given, Mapping):
        return given

    def named(teacher: Any) -> Any:
        return {"kind": "classifier", **teacher} if isinstance(teacher, Mapping) else teacher

    filled = {"teacher": named(given["teacher"])} if "teacher" in given else {}
    several = given.get("teachers")
    if isinstance(several, list | tuple):
        filled["teachers"] = [named(teacher) for teacher in several]
    return {**given, **filled}
