"""Initial models of students: as they are, or made from layers and tokens of a larger model.

A reduced vocabulary depends on the rows alone, so it lies in the cache and is there before the teacher is trained. A student of
the teacher's layers is made when the teacher is finished, in a stage of its own.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from raykd.config import ExperimentConfig, StudentVariant
from raykd.data import storage
from raykd.data.tokenizer import Text
from raykd.distill.training_rows import TrainingRows
from raykd.models import load_config, load_tokenizer, local_folder, model_digest
from raykd.models.saving import replaced_folder
from raykd.models.shrink import check_layers, shrink_model
from raykd.models.vocabulary import (
    KEPT,
    check_reducible,
    count_tokens,
    count_tokens_of_texts,
    save_vocabulary,
    token_ids_of,
    tokens_to_keep,
)
from raykd.run.stages import StageRunner
from raykd.run.task import ModelFolder, key_of, model_folder


class StudentModels:
    """Tokenizer and initial model of each student of one experiment; each is made if it is not there."""

    def __init__(
        self, config: ExperimentConfig, runner: StageRunner, training_rows: TrainingRows, teacher: Callable[[], str]
    ) -> None:
        """Prepare the models. ``teacher`` returns the folder of the fine-tuned teacher, and trains it where needed."""
        self._config, self._runner, self._training_rows, self._teacher = config, runner, training_rows, teacher
        self._starts: dict[str, ModelFolder] = {}

    def tokenizer(self, variant: StudentVariant) -> str:
        """Folder or name of the tokenizer of a student's rows."""
        return self.vocabulary(variant) or self._config.source_model(variant)

    def vocabulary(self, variant: StudentVariant) -> str | None:
        """Folder of a student's reduced vocabulary; None for one with all tokens of its model."""
        section, source = variant.student.vocabulary, self._config.source_model(variant)
        if section is None:
            return None
        sets = [self._training_rows.of_kind(kind, source) for kind in self._training_rows.every_kind]
        config = load_config(source)
        inputs = ([rows.fingerprint for rows in sets], int(config.vocab_size), token_ids_of(config), section.min_count)
        folder = storage.join(self._runner.cache, "vocabularies", key_of("vocabulary", *inputs))
        if not storage.exists(storage.join(folder, KEPT)):
            tokenizer = load_tokenizer(source)
            kept = tokens_to_keep(tokenizer, config, count_tokens(sets, int(config.vocab_size)), min_count=section.min_count)
            with replaced_folder(folder) as target:
                save_vocabulary(tokenizer, kept, target, name=source)
            self._runner.terminal.print_line(f"vocabulary: {len(kept):,} of {config.vocab_size:,} tokens of {source}")
        return folder

    def start(self, variant: StudentVariant) -> ModelFolder:
        """A student's initial model; made in the run's folder unless it is a model as it is."""
        student, name = variant.student, initial_name(variant)
        if not student.has_own_weights:
            return model_folder(student.model)
        if name not in self._starts:
            source, vocabulary = self._teacher() if student.from_teacher else student.model, self.vocabulary(variant)
            kept = None if vocabulary is None else storage.read_json(storage.join(vocabulary, KEPT))
            stage = self._runner.stage(f"students/initial/{name}", model_digest(source), student.layers, kept)
            if not self._runner.skip_or_begin(stage):
                make_student(variant, source, storage.join(stage.folder, "model"), vocabulary=vocabulary)
                stage.finish()
            self._starts[name] = model_folder(storage.join(stage.folder, "model"))
        return self._starts[name]


def make_student(variant: StudentVariant, source: str, folder: str, *, vocabulary: str | None) -> None:
    """Write a student's initial model; ``source`` is the model that its weights come from. Raises ModelError."""
    if vocabulary is None:
        shrink_model(source, folder, layers=variant.student.layers)
        return
    with local_folder(vocabulary) as tokenizer:
        shrink_model(source, folder, layers=variant.student.layers, vocabulary=str(tokenizer))


def check_student_source(variant: StudentVariant, source: str) -> None:
    """Raise ModelError when a student cannot be made from the model ``source``: layers, architecture, or vocabulary."""
    config = load_config(source)
    if variant.student.has_own_weights:
        check_layers(config, variant.student.layers, name=source)
    if variant.student.vocabulary is not None:
        check_reducible(load_tokenizer(source), config, name=source)


@contextmanager
def stand_in(variant: StudentVariant, source: str, texts: Sequence[Text]) -> Iterator[str]:
    """A model shaped as the student will be: made from ``source`` before it is fine-tuned, with the tokens of some texts."""
    if not variant.student.has_own_weights:
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="raykd-student-") as folder:
        vocabulary = None
        if variant.student.vocabulary is not None:
            vocabulary = storage.join(folder, "vocabulary")
            config, tokenizer = load_config(source), load_tokenizer(source)
            parts = [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
            counts = count_tokens_of_texts(tokenizer, parts, int(config.vocab_size))
            save_vocabulary(tokenizer, tokens_to_keep(tokenizer, config, counts, min_count=1), vocabulary, name=source)
        model = storage.join(folder, "model")
        make_student(variant, source, model, vocabulary=vocabulary)
        yield model


def initial_name(variant: StudentVariant) -> str:
    """Name of a student's initial model: variants with equal settings share it."""
    student = variant.student
    source = "teacher" if student.from_teacher else key_of(student.model)[:8]
    layers = [] if student.layers is None else ["layers", *map(str, student.layers)]
    tokens = [] if student.vocabulary is None else ["tokens", str(student.vocabulary.min_count)]
    return "-".join([source, *layers, *tokens])
