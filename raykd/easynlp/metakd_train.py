"""A training of EasyNLP's Meta-KD scripts: the meta-teacher, or a student in one of its two stages."""

from collections.abc import Mapping
from typing import Any

from raykd.config import ComputeConfig
from raykd.config.features import FeatureLossConfig
from raykd.config.metakd_objectives import (
    EasyNLPArithmetic,
    MetaDistillationObjective,
    MetaTeacherObjective,
    PredictionObjective,
)
from raykd.config.task_objective import TaskObjective
from raykd.data import storage
from raykd.data.prepare import prepare
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.easynlp.metakd_rows import MetaRows, sides_of
from raykd.easynlp.metakd_settings import MetaSettings
from raykd.easynlp.settings import TrainSettings
from raykd.easynlp.train import Training
from raykd.errors import ConfigError, ModelError
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.metakd.compat import refuse_different_heads
from raykd.models import check_sequence_length, load_config, model_digest
from raykd.predict import ScoreJob
from raykd.run.build_objective import BuildObjective
from raykd.run.scoring import score_models
from raykd.trainers.features.compatibility import check_teacher_and_student


class MetaTraining(Training):
    """Additional inputs of these scripts' trainings: weights and domains of the rows, and a teacher."""

    def __init__(self, settings: TrainSettings, *, script: str, meta: MetaSettings, rows: MetaRows) -> None:
        """Check all inputs before Ray starts. Raises RaykdError."""
        super().__init__(settings)
        self.script, self.meta, self.rows = script, meta, rows
        if meta.compat and (settings.workers.count > 1 or settings.training.micro_batch_size is not None):
            raise ConfigError(
                "compat=easynlp averages over a whole batch: it needs one worker (--worker_gpu=1, one process of the launcher) "
                "and --gradient_accumulation_steps=1"
            )
        if meta.teacher is not None and not storage.is_dir(meta.teacher):
            raise ModelError(
                f"teacher_model_path={meta.teacher} is not a folder; give the checkpoint_dir of meta_teacher_train"
            )
        if meta.teacher is not None:
            check_sequence_length(load_config(meta.teacher), settings.columns.sequence_length, model=meta.teacher)
        if meta.teacher is not None and meta.stage == "first":
            names = ("teacher_model_path", "pretrain_model_name_or_path")
            # compat reads eager attention, which every model has
            losses = FeatureLossConfig(attention_weight=0 if meta.compat else 1)
            pairs = settings.columns.second_sequence is not None
            check_teacher_and_student(meta.teacher, settings.model, losses=losses, cache=self.cache, names=names, pairs=pairs)
            if meta.compat:
                refuse_different_heads(load_config(settings.model), load_config(meta.teacher))

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Facts that later commands need: single texts or pairs, and the domains in the order of their ids."""
        paired = self.columns.second_sequence is not None
        return {"script": self.script, "paired": paired, "domains": list(self.meta.domains)}

    @property
    def objective(self) -> TaskObjective:
        """Training objective."""
        meta, compat = self.meta, None
        if meta.compat:
            compat = EasyNLPArithmetic(sequence_length=self.settings.columns.sequence_length)
        if meta.teacher is None:
            return MetaTeacherObjective(
                num_domains=len(meta.domains), domain_loss_weight=meta.domain_loss_weight, compat=compat
            )
        if meta.stage == "second":
            return PredictionObjective(temperature=meta.temperature, compat=compat)
        teacher = storage.absolute(meta.teacher)
        return MetaDistillationObjective(
            teacher=teacher,
            domain_head=storage.join(teacher, f"{DOMAIN_HEAD}.safetensors") if meta.domain_loss_weight else None,
            num_domains=len(meta.domains),
            domain_loss_weight=meta.domain_loss_weight,
            compat=compat,
        )

    @property
    def build_objective(self) -> BuildObjective:
        """The builder of the objective: Meta-KD's."""
        return build_meta_objective

    @property
    def teacher_digest(self) -> str | None:
        """Hash of the meta-teacher, for intermediate-layer distillation."""
        return model_digest(self.meta.teacher) if self.meta.teacher is not None and self.meta.stage == "first" else None

    def prepare_teacher(self, compute: ComputeConfig) -> None:
        """The teacher's logits on the training rows, for prediction-layer distillation."""
        if self.meta.stage != "second" or self.meta.teacher is None:
            return
        rows = prepare(self.columns.spec(self.settings.train_file, self.meta.teacher), self.cache)
        score_models([ScoreJob(self.meta.teacher, rows.path, self._teacher_logits)], compute)

    @property
    def _teacher_logits(self) -> str:
        return storage.join(self.cache, "teacher-logits")

    def _logits(self, rows: TokenisedSet) -> SideTable | None:
        if self.meta.stage != "second":
            return None
        table = SideTable.open(self._teacher_logits)
        table.check_fits(rows)
        return table

    def _side_tables(self, rows: TokenisedSet) -> tuple[SideTable, ...]:
        if self.meta.stage == "second":
            return ()
        return (sides_of(self.rows, rows, self.meta, out=storage.join(self.cache, "sides")),)
