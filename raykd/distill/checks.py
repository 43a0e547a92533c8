"""Errors of an experiment that can be found before Ray starts: in files, in models, and in settings that need both."""

from raykd.cluster import check_compile
from raykd.config import CausalTeacherConfig, DataConfig, ExperimentConfig
from raykd.config.student import StudentSection
from raykd.data.first_rows import first_texts
from raykd.data.headers import check_skip_header
from raykd.data.mixed_plan import check_rows, unlabelled_rows
from raykd.data.prepare import check_sources
from raykd.data.prepare_spec import file_format, spec_from_config
from raykd.data.sources import expand_data, find_sources
from raykd.data.tokenizer import load_mask_token
from raykd.data.unlabelled import unlabelled_spec
from raykd.distill.given_logits import check_given_logits
from raykd.distill.prompted_teacher import prompted_teacher
from raykd.distill.student_models import check_student_source, initial_name, stand_in
from raykd.errors import ConfigError, list_values
from raykd.models import PROBE_ROWS, check_sequence_length, check_unpadded, load_config, load_tokenizer, probe_classifier
from raykd.run.build_objective import objective_from_config
from raykd.run.task import cache_folder
from raykd.stage_names import SPLITS
from raykd.task_kinds import label_codec, task_kind
from raykd.tracking import check_tracking
from raykd.trainers.objective import Objective


def check_experiment(config: ExperimentConfig) -> None:
    """Check everything that a later stage would fail on. Raises RaykdError."""
    data = config.data
    check_tracking(config.tracking.kind)
    check_compile(config.compute)
    _check_data(data)
    check_given_logits(config)
    for variant in config.student_variants:
        check_student_source(variant, config.source_model(variant))
    _check_intermediate(config)
    _check_unlabelled(config)
    _check_augment(config)
    kind, num_labels = task_kind(data.task), len(label_codec(data).names)
    for teacher in config.every_teacher:
        if isinstance(teacher, CausalTeacherConfig):
            prompted_teacher(config, teacher)
    models = dict.fromkeys([*(one.model for one in config.every_classifier), *config.student_models])
    if config.compute.unpadded:
        check_unpadded(models)
    for model in models:
        check_sequence_length(load_config(model), data.sequence_length, model=model)
        load_tokenizer(model)
    for classifier in config.every_classifier:
        if classifier.fine_tune:
            kind.check_metric("teacher.training.metric", classifier.training.metric, num_labels)
    for variant in config.student_variants:
        training = variant.student.training
        kind.check_metric(variant.key("training.metric"), training.metric, num_labels)
        whole = training.micro_batch_size is None and config.compute.num_workers == 1
        built = objective_from_config(variant.student.objective, kind)
        built.check(num_labels=num_labels, whole_batch=whole)
        _check_inputs(variant.key("objective"), built, config)
        mixed = variant.augment or (config.data.has_unlabelled_rows and variant.rows == "all")
        if mixed and not built.takes_unlabelled:
            raise ConfigError(
                f"{variant.key('objective')} (variant {variant.name}) needs the label of every row, but data.unlabelled, "
                "data.label_budget and augment give rows without one; set the variant's rows to labelled and augment to false, "
                "or use vanilla_kd"
            )


def _check_data(data: DataConfig) -> None:
    """Raise RaykdError for files that are absent, do not open, or lack columns."""
    given = (data.train, data.validation, data.test, data.unlabelled)
    paths = expand_data([pattern for one in given if isinstance(one, tuple) for pattern in one])
    check_skip_header(paths, file_format(data), skip_header=data.skip_header)
    for split in SPLITS:
        check_sources(spec_from_config(data, split, "", label_codec(data)))


def probe_models(config: ExperimentConfig) -> None:
    """Run every model forward, and backward where it is trained, on the first training rows. Raises ModelError, ConfigError."""
    data, codec = config.data, label_codec(config.data)
    texts = first_texts(spec_from_config(data, "train", config.student_models[0], codec), PROBE_ROWS)
    plain = [one.student for one in config.student_variants if not one.student.has_own_weights]
    models = {one.model: one.fine_tune for one in config.every_classifier} | {one.model: True for one in plain}
    teachers = {one.model for one in config.every_classifier if one.fine_tune and one.training.gradient_checkpointing}
    checkpointed = teachers | {one.model for one in plain if _checkpoints(one)}
    for model, train in models.items():
        probe_classifier(
            model,
            texts,
            labels=codec.names,
            sequence_length=data.sequence_length,
            train=train,
            gradient_checkpointing=model in checkpointed,
        )
    made_here = [one for one in config.student_variants if one.student.has_own_weights]
    with_checkpoints = {initial_name(one) for one in made_here if _checkpoints(one.student)}
    for name, variant in {initial_name(one): one for one in made_here}.items():
        with stand_in(variant, config.source_model(variant), texts) as model:
            probe_classifier(
                model,
                texts,
                labels=codec.names,
                sequence_length=data.sequence_length,
                gradient_checkpointing=name in with_checkpoints,
                name=f"the student of variant {variant.name}",
            )


def _checkpoints(student: StudentSection) -> bool:
    """True when a training of the student asks for gradient checkpointing."""
    layers = None if student.intermediate is None else student.intermediate.training
    return student.training.gradient_checkpointing or (layers is not None and layers.gradient_checkpointing)


def _check_intermediate(config: ExperimentConfig) -> None:
    """Raise RaykdError when a student cannot learn from the teacher's layers."""
    if not config.learns_from_layers or config.teacher is None:
        return
    from raykd.trainers.features.compatibility import check_teacher_and_student

    pairs, cache = config.data.second_sequence is not None, cache_folder(config)
    for variant in config.student_variants:
        losses = variant.student.intermediate
        if losses is not None:
            names = ("teacher.model", variant.key("model"))
            with stand_in(variant, config.source_model(variant), ()) as student:
                check_teacher_and_student(
                    config.teacher.model,
                    student,
                    losses=losses,
                    cache=cache,
                    names=names,
                    pairs=pairs,
                    unpadded=config.compute.unpadded,
                )


def _check_unlabelled(config: ExperimentConfig) -> None:
    """Raise RaykdError for files of unlabelled rows with other columns, or a label budget below the number of classes."""
    data, codec = config.data, label_codec(config.data)
    if data.unlabelled:
        check_sources(unlabelled_spec(spec_from_config(data, "train", config.student_models[0], codec), data.unlabelled))
    if data.label_budget is not None:
        sources = find_sources(data.train, data.skip_header, cache_folder(config), files=file_format(data))
        rows = sum(file.rows for file in sources.files)
        if data.label_budget > rows:
            raise ConfigError(
                f"data.label_budget = {data.label_budget}, but data.train has {rows} rows; lower it, or leave it out to keep "
                "every label"
            )
    if data.label_budget is not None and data.traits.outputs == "classes" and data.label_budget < len(codec.names):
        raise ConfigError(
            f"data.label_budget = {data.label_budget} is smaller than the {len(codec.names)} labels "
            f"({list_values(codec.names)}); raise it, each class needs a row"
        )
    for variant in config.student_variants:
        if data.unlabelled_fraction is not None and (variant.rows == "all" or variant.augment):
            _check_share(data, variant.student.training.batch_size, fraction=data.unlabelled_fraction)


def _check_share(data: DataConfig, batch_size: int, *, fraction: float) -> None:
    """Raise ConfigError for a batch that takes more labelled rows than the budget allows; other numbers are known later."""
    needed = batch_size - unlabelled_rows(batch_size, fraction)
    check_rows(data.label_budget or needed, batch_size, batch_size=batch_size, fraction=fraction)


def _check_augment(config: ExperimentConfig) -> None:
    """Raise RaykdError for a masked language model, or a tokenizer, that cannot make the views."""
    augment = config.augment
    if augment is None:
        return
    if augment.masked_lm is not None:
        from raykd.models.masked_words import check_masked_lm

        check_masked_lm(augment.masked_lm)
    elif augment.mask:
        for model in dict.fromkeys([*(one.model for one in config.every_classifier), *config.student_models]):
            load_mask_token(model)


def _check_inputs(path: str, objective: Objective, config: ExperimentConfig) -> None:
    """Raise ConfigError when the job lacks labels or side columns that an objective reads."""
    if objective.needs_labels and config.data.label is None:
        raise ConfigError(f"{path} needs labels, but data.label is not set; name the label column")
    given = ("logits",) if config.distils_from_teacher else ()
    missing = [name for name in objective.side_columns if name not in given]
    if missing == ["logits"]:
        raise ConfigError(f"{path} reads the teacher's logits, but there is neither a teacher nor logits.file; give one")
    if missing:
        raise ConfigError(f"{path} reads the side column {missing[0]!r}; a distillation has {', '.join(given) or 'none'}")
