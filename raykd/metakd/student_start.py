"""The initial model of the students of a Meta-KD run: a model as it is, or layers of one or of the fine-tuned meta-teacher."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from raykd.config import MetaKDConfig
from raykd.data import storage
from raykd.metakd.tasks import teacher_folder
from raykd.models import load_config, model_digest
from raykd.models.shrink import check_layers, shrink_model
from raykd.run.stages import StageRunner
from raykd.run.task import ModelFolder, model_folder

FOLDER = "students/initial"


def student_start(config: MetaKDConfig, runner: StageRunner) -> ModelFolder:
    """The initial model of every student, whatever its method; made in the run's folder where it has layers of another.

    The meta-teacher must be trained where the layers are its own. Raises ModelError.
    """
    init = config.student.init
    if init is None:
        return model_folder(config.student.model)
    source = config.student.model
    if config.student.from_teacher:
        source = storage.join(teacher_folder(config, "meta", config.domains), "model")
    stage = runner.stage(FOLDER, model_digest(source), init.layers)
    model = storage.join(stage.folder, "model")
    if not stage.is_done():
        runner.require("students")
        stage.begin()
        shrink_model(source, model, layers=init.layers)
        stage.finish()
    return model_folder(model)


def check_student_start(config: MetaKDConfig) -> None:
    """Raise ModelError when the model lacks the layers, or is of an architecture that none can be taken from."""
    if config.student.init is not None:
        check_layers(load_config(config.student.model), config.student.init.layers, name=config.student.model)


@contextmanager
def stand_in(config: MetaKDConfig) -> Iterator[str]:
    """A model shaped as the students will be, made before the meta-teacher is trained."""
    if config.student.init is None:
        yield config.student.model
        return
    with tempfile.TemporaryDirectory(prefix="raykd-student-") as folder:
        model = storage.join(folder, "model")
        shrink_model(config.student.model, model, layers=config.student.init.layers)
        yield model
