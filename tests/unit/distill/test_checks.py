"""Errors that are found before anything is trained: in rows that are read last, in models that cannot take the rows."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raykd.config import ExperimentConfig
from raykd.errors import ConfigError, DataError, ModelError
from raykd.models import ModelShape, build_classifier, load_tokenizer, save_classifier
from raykd.run.job_pipeline import run_pipeline
from tests.local_pipeline import LocalMetaPipeline, LocalPipeline
from tests.unit.metakd.worlds import make_config

Make = Callable[..., ExperimentConfig]


def test_a_bad_row_of_the_test_file_is_found_before_the_teacher_is_trained(experiment: Make, tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("good film\t1\nbad film\t2\n")
    pipeline = LocalPipeline(experiment(data__test=[str(tmp_path / "test.tsv")]))
    with pytest.raises(DataError, match=r"test.tsv:2: label '2' is not one of"):
        run_pipeline(pipeline)
    assert pipeline.trained == []


def test_a_bad_test_row_of_a_domain_is_found_before_the_teachers_are_trained(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    with (tmp_path / "test.tsv").open("a") as rows:
        rows.write("good film\tdvd\tmixed\n")
    pipeline = LocalMetaPipeline(config)
    with pytest.raises(DataError, match="label 'mixed' is not one of"):
        run_pipeline(pipeline)
    assert pipeline.trained == []


def test_skip_header_is_refused_where_no_file_of_a_job_can_have_a_header(experiment: Make, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "good film", "label": "1"}\n{"text": "bad film", "label": "0"}\n')
    headed = tmp_path / "headed.tsv"
    headed.write_text("text\tlabel\ngood film\t1\nbad film\t0\n")
    changes = {"data__validation": [str(rows)], "data__test": [str(rows)], "data__skip_header": True}
    with pytest.raises(ConfigError, match=r"data\.skip_header = true, but files such as .*rows\.jsonl have no header line"):
        LocalPipeline(experiment(data__train=[str(rows)], **changes)).check()
    LocalPipeline(experiment(data__train=[str(headed)], data__unlabelled=[str(rows)], **changes)).check()


def other_architecture(folder: Path, like: str) -> str:
    """An ELECTRA model with the tokenizer of another."""
    from transformers import ElectraConfig, ElectraForSequenceClassification

    tokenizer = load_tokenizer(like)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = ElectraConfig(vocab_size=len(tokenizer), embedding_size=16, max_position_embeddings=32, **sizes)
    save_classifier(ElectraForSequenceClassification(config), tokenizer, str(folder))
    return str(folder)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_models_that_do_not_run_without_padding_are_refused_before_ray_starts(
    experiment: Make, tmp_path: Path, role: str
) -> None:
    model = other_architecture(tmp_path / "electra", experiment().student.model)
    changes = {f"{role}__model": model}
    LocalPipeline(experiment(compute__attention="auto", **changes)).check()
    with pytest.raises(ModelError, match=r"compute.attention = unpadded, but .*electra is of type electra"):
        LocalPipeline(experiment(compute__attention="unpadded", **changes)).check()


@pytest.mark.parametrize("role", ["student.model", "weights.encoder"])
def test_a_meta_kd_model_that_does_not_run_without_padding_is_refused(tmp_path: Path, role: str) -> None:
    config = make_config(tmp_path)
    section, key = role.split(".")
    model = other_architecture(tmp_path / "electra", config.student.model)
    config = config.model_copy(
        update={
            section: getattr(config, section).model_copy(update={key: model}),
            "compute": config.compute.model_copy(update={"attention": "unpadded"}),
        }
    )
    with pytest.raises(ModelError, match=r"compute.attention = unpadded, but .*electra is of type electra"):
        LocalMetaPipeline(config).check()


def broken_model(folder: Path, like: str, labels: tuple[str, ...]) -> str:
    """A classifier whose weights are not finite, as after a training that diverged."""
    tokenizer = load_tokenizer(like)
    shape = ModelShape(vocab_size=len(tokenizer), hidden=16, layers=1, heads=2, positions=32)
    model = build_classifier(shape, labels=labels, seed=1)
    model.base_model.embeddings.word_embeddings.weight.data.fill_(float("nan"))
    save_classifier(model, tokenizer, str(folder))
    return str(folder)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_model_that_cannot_take_the_rows_is_found_before_ray_starts(experiment: Make, tmp_path: Path, role: str) -> None:
    config = experiment()
    model = broken_model(tmp_path / "broken", config.student.model, ("0", "1"))
    pipeline = LocalPipeline(experiment(**{f"{role}__model": model}))
    with pytest.raises(ModelError, match="gives logits that are not finite in fp32 on the first rows"):
        pipeline.check()


def test_a_meta_kd_model_that_cannot_take_the_rows_is_found_before_ray_starts(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    model = broken_model(tmp_path / "broken", config.student.model, config.labels)
    config = config.model_copy(update={"student": config.student.model_copy(update={"model": model})})
    with pytest.raises(ModelError, match="gives logits that are not finite in fp32 on the first rows"):
        LocalMetaPipeline(config).check()
