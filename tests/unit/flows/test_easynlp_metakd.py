"""EasyNLP's Meta-KD scripts, as its own shell scripts call them, trained and scored in this process."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from raykd.easynlp.launcher import read_launch
from raykd.easynlp.metakd_settings import read_meta_settings
from raykd.errors import ConfigError, DataError, ModelError, RaykdError
from raykd.models import load_classifier, load_tokenizer
from tests.easynlp_world import meta_commands, save_model, write_reviews

HEADER = ["guid", "text_a", "text_b", "label", "domain"]
SCHEMA = "guid:str:1,text_a:str:1,text_b:str:1,label:str:1,domain:str:1,weight:str:1"


@pytest.fixture
def models(world):
    return {"TEACHER_MODEL": world["teacher"], "STUDENT_MODEL": world["student"]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    write_reviews(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(easynlp, name, models):
    for arguments in meta_commands(name, models):
        assert easynlp(*arguments) == 0, arguments


def cells(path):
    return [line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines()]


def flags(**changes):
    values = {
        "mode": "train", "tables": "train.tsv,dev.tsv", "input_schema": SCHEMA, "first_sequence": "text_a",
        "second_sequence": "text_b", "label_name": "label", "label_enumerate_values": "positive,negative",
        "checkpoint_dir": "model", "sequence_length": 32, "micro_batch_size": 16, "epoch_num": 1,
    } | changes  # fmt: skip
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def write_table(path, rows, last="weight"):
    Path(path).write_text("\n".join("\t".join(row) for row in [[*HEADER, last], *rows]) + "\n")


def table_rows(count=24, domains=("books", "dvd"), text_b="None"):
    words = {"positive": "good fine", "negative": "bad sad"}
    return [
        [str(n), f"the plot {words[label]}", text_b, label, domains[n % len(domains)], "0.5"]
        for n, label in ((n, ("positive", "negative")[(n // 2) % 2]) for n in range(count))
    ]


def test_the_three_scripts_run_as_written(easynlp, here, models, capfd):
    run(easynlp, "preprocess", models)
    train = cells("data/SENTI/train_with_weights.tsv")
    assert train[0] == [*HEADER, "weight"]
    assert {row[2] for row in train[1:]} == {""}
    assert {row[4] for row in train[1:]} == {"books", "dvd", "electronics", "kitchen"}
    assert all(-1 <= float(row[5]) <= 1 for row in train[1:])
    embeddings = cells("data/SENTI/train.embeddings.tsv")
    assert [row[:5] for row in embeddings] == [row[:5] for row in train]
    assert {len(row[5].split()) for row in embeddings[1:]} == {32}
    dev = cells("data/SENTI/dev_standard.tsv")
    assert [row[1] for row in dev[1:]] == [row[0] for row in cells("data/SENTI/dev.tsv")[1:]]

    run(easynlp, "teacher", models)
    names = {path.name for path in Path("tmp/meta_teacher").iterdir()}
    assert {"domain_head.safetensors", "config.json", "model.safetensors", "vocab.txt"} <= names
    assert load_file("tmp/meta_teacher/domain_head.safetensors")["domain_embedding.weight"].shape == (4, 32)
    load_classifier("tmp/meta_teacher", labels=("positive", "negative"), new_head=False)

    capfd.readouterr()
    run(easynlp, "student", models)
    printed = capfd.readouterr().err
    books = [row for row in train if row[4] == "books"]
    mine = [row for row in dev if row[4] == "books"]
    assert printed.count(f"Num training examples = {len(books)}") == 2
    assert f"Num validation examples = {len(mine)}" in printed, "M5: dev rows of the genre alone"
    first, second = printed.split("Num validation examples")
    assert re.search(r"embedding *: .*hidden *: .*attention *: .*domain *: ", first, re.DOTALL)
    assert "Evaluation at global step" not in first
    assert "Best score" in second

    folder = "./tmp/books/meta_student_fintune/"
    assert f"Scoring {folder} on the domain books" in printed, "M6: the student, not the teacher"
    tokenizer, model = load_tokenizer(folder), load_classifier(folder, labels=("positive", "negative"), new_head=False)
    with torch.no_grad():  # M7: training, validation and scoring give the model one text
        inputs = tokenizer([row[1] for row in mine], truncation=True, max_length=128, padding=True, return_tensors="pt")
        predicted = model(**inputs).logits.argmax(-1).tolist()
    accuracy = np.mean([("positive", "negative")[one] == row[3] for one, row in zip(predicted, mine, strict=True)])
    assert f"Accuracy: {accuracy}\n" in printed.split("Inference time")[1]
    assert list(here.glob("**/.raykd-*")) == []


def test_the_files_of_a_teacher_are_those_of_its_own_rows(easynlp, here, models):
    """A folder is one model's: a student's second stage leaves no head of the first beside it."""
    write_table("train.tsv", table_rows())
    write_table("dev.tsv", table_rows(8, text_b=""), last="embeddings")
    parameters = f"pretrain_model_name_or_path={models['TEACHER_MODEL']} domain_label=books,dvd use_sample_weight=False"
    easynlp("meta_teacher_train", *flags(user_defined_parameters=parameters))
    assert load_file("model/domain_head.safetensors")["domain_embedding.weight"].shape == (2, 32)
    easynlp("meta_teacher_train", *flags(user_defined_parameters=parameters))  # nothing to do
    student = f"pretrain_model_name_or_path={models['STUDENT_MODEL']} domain_label=books,dvd distill_stage=second T=2.5"
    easynlp(
        "meta_student_distill", *flags(checkpoint_dir="student", user_defined_parameters=f"{student} teacher_model_path=model")
    )
    assert not Path("student/domain_head.safetensors").exists()


@pytest.mark.parametrize(
    "head", [["meta_student_distill"], ["meta_teacher_train.py"], []], ids=["student", "teacher", "easynlp"]
)
def test_prediction_reads_rows_like_the_training_files(easynlp, here, models, head):
    """By a script's name or none, with the literal None of EasyNLP's files or without: the same model, the same text."""
    for name, text_b in (("train", "None"), ("dev", "")):
        write_table(f"{name}.tsv", table_rows(24 if name == "train" else 9, text_b=text_b))
    parameters = f"pretrain_model_name_or_path={models['TEACHER_MODEL']} domain_label=books,dvd"
    easynlp("meta_teacher_train", *flags(user_defined_parameters=parameters))
    given = {"mode": "predict", "outputs": "out.tsv", "output_schema": "predictions,logits", "append_cols": "guid,domain"}
    own = {"skip_first_line": True} if not head else {"user_defined_parameters": "domain_label=books,dvd"}
    easynlp(*head, *flags(**given, **own, tables="train.tsv", epoch_num=None))
    predicted, rows = cells("out.tsv"), cells("train.tsv")[1:]
    assert [row[2:] for row in predicted] == [[row[0], row[4]] for row in rows]
    tokenizer, model = load_tokenizer("model"), load_classifier("model", labels=("positive", "negative"))
    with torch.no_grad():
        logits = model(**tokenizer([row[1] for row in rows], padding=True, return_tensors="pt")).logits.numpy()
    np.testing.assert_allclose(np.array([row[1].split(",") for row in predicted], np.float32), logits, rtol=1e-4, atol=1e-6)


def test_main_evaluate_takes_the_checkpoint_where_no_model_is_given(easynlp, here, models, capfd):
    write_table("train.tsv", table_rows())
    write_table("dev.tsv", table_rows(10))
    parameters = f"pretrain_model_name_or_path={models['TEACHER_MODEL']} domain_label=books,dvd"
    easynlp("meta_teacher_train", *flags(user_defined_parameters=parameters))
    capfd.readouterr()
    easynlp("main_evaluate", *flags(mode="evaluate", user_defined_parameters="domain_label=books,dvd genre=all"))
    assert "Scoring model on all domains" in capfd.readouterr().err


def test_domains_are_named_once(easynlp, here, models, capfd):
    """A student takes its meta-teacher's domains, in their order; scoring takes any domain that the rows have."""
    domains = ("toys", "baby", "apparel")
    write_table("train.tsv", table_rows(domains=domains))
    write_table("dev.tsv", table_rows(12, domains=domains))
    teacher = f"pretrain_model_name_or_path={models['TEACHER_MODEL']} domain_label={','.join(domains)}"
    easynlp("meta_teacher_train", *flags(user_defined_parameters=teacher))
    student = f"teacher_model_path=model distill_stage=first pretrain_model_name_or_path={models['STUDENT_MODEL']} genre=baby"
    easynlp("meta_student_distill", *flags(checkpoint_dir="first", user_defined_parameters=student))
    assert load_file("first/domain_head.safetensors")["domain_embedding.weight"].shape[0] == 3
    second = "teacher_model_path=model distill_stage=second pretrain_model_name_or_path=first genre=baby"
    easynlp("meta_student_distill", *flags(checkpoint_dir="second", user_defined_parameters=second))
    capfd.readouterr()
    scored = {"mode": "evaluate", "checkpoint_dir": "second", "tables": "dev.tsv"}
    easynlp("main_evaluate", *flags(**scored, user_defined_parameters="genre=baby"))
    assert "Scoring second on the domain baby" in capfd.readouterr().err
    predicted = {**scored, "mode": "predict", "outputs": "out.tsv", "output_schema": "predictions"}
    easynlp("meta_student_distill", *flags(**predicted))
    assert len(cells("out.tsv")) == 12
    with pytest.raises(
        DataError, match=r"no rows of the domain babies under its header; it has rows of 'apparel', 'baby', 'toys'"
    ):
        easynlp("main_evaluate", *flags(**scored, user_defined_parameters="genre=babies"))
    with pytest.raises(ConfigError, match="genre=music; there is no such domain; domains are toys, baby, apparel"):
        easynlp("meta_student_distill", *flags(user_defined_parameters=student.replace("genre=baby", "genre=music")))
    with pytest.raises(ConfigError, match="model was trained with toys,baby,apparel; give those, in this order"):
        easynlp("meta_student_distill", *flags(user_defined_parameters=f"{student} domain_label=baby,toys,apparel"))


@pytest.mark.parametrize(
    ("script", "changes", "message"),
    [
        ("meta_student_distill", {"user": "genre=toys distill_stage=first"}, "no such domain; domains are books, dvd"),
        ("meta_student_distill", {"user": "distill_stage=third"}, "distill_stage=third; give first, or second"),
        ("meta_student_distill", {"user": "distill_stage=first"}, "teacher_model_path=; give the checkpoint_dir"),
        ("meta_student_distill", {"user": "distill_stage=second teacher_model_path=./no"}, "./no does not exist"),
        ("meta_teacher_train", {"user": "use_sample_weights=True use_sample_weight=False"}, "give one of them"),
        ("meta_teacher_train", {"user": "use_sample_wights=True"}, "did you mean use_sample_weights"),
        ("meta_teacher_train", {"user": "domain_label=books"}, "at least two domains"),
        ("meta_teacher_train", {"user": "domain_loss_weight=-1"}, "domain_loss_weight=-1; it must be at least 0"),
        ("meta_student_distill", {"user": "T=0"}, "T=0; it must be above 0"),
        ("meta_teacher_train", {"input_schema": "text_a:str:1,label:str:1"}, "no column 'domain'"),
        ("meta_teacher_train", {"user": "compat=bert"}, "compat=bert; the one arithmetic"),
        ("meta_teacher_train", {"genre": "books"}, "it belongs into --user_defined_parameters"),
        ("main_evaluate", {"mode": "evaluate", "checkpoint_dir": None}, "--checkpoint_dir is missing"),
    ],
)  # fmt: skip
def test_mistakes_are_named_before_anything_starts(easynlp, here, script, changes, message):
    user = changes.pop("user", "")
    with pytest.raises(ConfigError, match=re.escape(message)):
        easynlp(script, *flags(user_defined_parameters=user, **changes))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["1", "good", "", "positive", "toys", "1"], "train.tsv:2: domain 'toys' is not one of books, dvd"),
        (["1", "good", "", "positive", "books", "heavy"], "train.tsv:2: weight 'heavy' is not a number"),
        (["1", "good", "", "positive", "books"], "train.tsv:2: 5 columns where at least 6 are needed"),
        (["1", "good", "", "neutral", "books", "1"], "train.tsv:2: label 'neutral' is not one of 'positive', 'negative'"),
    ],
)
def test_rows_that_cannot_be_read_are_named(easynlp, here, models, row, message):
    write_table("train.tsv", [row])
    write_table("dev.tsv", table_rows(4))
    parameters = f"pretrain_model_name_or_path={models['TEACHER_MODEL']} domain_label=books,dvd"
    with pytest.raises(DataError, match=re.escape(message)):
        easynlp("meta_teacher_train", *flags(user_defined_parameters=parameters))


def test_easynlps_arithmetic_is_asked_for_by_name(easynlp, here, models):
    for name in ("train", "dev"):
        write_table(f"{name}.tsv", table_rows())
    user = f"pretrain_model_name_or_path={models['TEACHER_MODEL']} domain_label=books,dvd compat=easynlp"
    with pytest.raises(ConfigError, match="it needs one worker"):
        easynlp("meta_teacher_train", *flags(user_defined_parameters=user, worker_gpu=2))
    easynlp("meta_teacher_train", *flags(user_defined_parameters=user))
    head = load_file("model/domain_head.safetensors")
    student = f"pretrain_model_name_or_path={models['STUDENT_MODEL']} domain_label=books,dvd compat=easynlp distill_stage=first"
    easynlp("meta_student_distill", *flags(checkpoint_dir="s", user_defined_parameters=f"{student} teacher_model_path=model"))
    assert set(load_file("s/projections.safetensors")) == {"fit_dense.weight", "fit_dense.bias"}
    assert set(load_file("s/domain_head.safetensors")) == set(head)


def test_a_genre_without_rows_is_named(easynlp, here, models):
    for name in ("train", "dev"):
        write_table(f"{name}.tsv", table_rows(4, domains=("books",)))
    parameters = f"pretrain_model_name_or_path={models['TEACHER_MODEL']} domain_label=books,dvd genre=dvd"
    with pytest.raises(DataError, match=r"train.tsv has no rows of the domain dvd"):
        easynlp("meta_teacher_train", *flags(user_defined_parameters=parameters))


def test_models_that_do_not_fit_are_refused_before_ray_starts(easynlp, here, models, tmp_path):
    for name in ("train", "dev"):
        write_table(f"{name}.tsv", table_rows(4))
    other = tmp_path / "other"
    save_model(other, hidden=16, seed=3)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {word: index for index, word in enumerate(reversed(tokenizer["model"]["vocab"]))}
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    user = f"domain_label=books,dvd distill_stage=first teacher_model_path={models['TEACHER_MODEL']} "
    with pytest.raises(ConfigError, match="different tokenizers"):
        easynlp("meta_student_distill", *flags(user_defined_parameters=f"{user} pretrain_model_name_or_path={other}"))
    heads = tmp_path / "heads"
    shutil.copytree(models["STUDENT_MODEL"], heads)
    config = json.loads((heads / "config.json").read_text())
    (heads / "config.json").write_text(json.dumps(config | {"num_attention_heads": 1}))
    with pytest.raises(ConfigError, match="head by head, but the student has 1 heads and the teacher 2"):
        easynlp(
            "meta_student_distill",
            *flags(user_defined_parameters=f"{user} compat=easynlp pretrain_model_name_or_path={heads}"),
        )
    student = f"pretrain_model_name_or_path={models['STUDENT_MODEL']}"
    with pytest.raises(ModelError, match=r"no trained classifier head|no domain head"):
        easynlp("meta_student_distill", *flags(user_defined_parameters=f"{user} {student}"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate_meta_weights", "a", "b"], "the following arguments are required: domains"),
        (["generate_meta_weights", "a", "b", "books"], "domains books: give at least two"),
        (["generate_meta_weights", "none.tsv", "b", "books,dvd"], "none.tsv"),
        (["extract_embeddings", "--input", "a", "--output", "b"], "--bert_path"),
        (["extract_embeddings", "--bert_path=m", "--input=a", "--output=b", "--task_name=toys"], "invalid choice: 'toys'"),
        (["generate_dev_file", "--input", "a"], "--output"),
        (["generate_senti_data", "--input", "nowhere"], "nowhere"),
        (["generate_weights"], "there is no such command; use import, main.py, generate_senti_data"),
        (["--nproc_per_node=two", "meta_teacher_train.py"], "--nproc_per_node=two: give the number of processes"),
    ],
)  # fmt: skip
def test_arguments_of_the_scripts_are_checked(easynlp, here, arguments, message):
    with pytest.raises(RaykdError, match=re.escape(message)):
        easynlp(*arguments)


def test_a_file_without_its_columns_is_named(easynlp, here):
    Path("dev.tsv").write_text("review\tdomain\tsentiment\ngood\tbooks\n")
    with pytest.raises(DataError, match=r"dev.tsv:2: 2 columns"):
        easynlp("generate_dev_file", "--input=dev.tsv", "--output=out.tsv")
    assert not Path("out.tsv").exists()


def test_mnli_rows_have_two_texts(easynlp, here, models):
    """Its own columns: pair id, genre, the two sentences, and the label last."""
    row = ["0", "7", "7n", "fiction", *["x"] * 4, "good plot", "bad end", "g1", "neutral"]
    Path("mnli.tsv").write_text("\t".join(map(str, range(12))) + "\n" + "\t".join(row) + "\n")
    easynlp("extract_embeddings", f"--bert_path={models['STUDENT_MODEL']}", "--input=mnli.tsv", "--output=out/e.tsv")
    (found,) = cells("out/e.tsv")[1:]
    assert found[:5] == ["7n", "good plot", "bad end", "neutral", "fiction"]


def test_the_launchers_flags_are_workers():
    """Either spelling; nproc x nnodes; what stands beside the script wins."""
    for first in (["--nproc_per_node", "2", "--nnodes", "3"], ["--nproc-per-node=2", "--nnodes=3", "--use_env"]):
        launched = read_launch([*first, "--master_port=6009", "examples/metakd/meta_teacher_train.py", "--mode=train"])
        assert launched is not None
        assert (launched.script, launched.arguments) == ("meta_teacher_train", ("--mode=train",))
        assert launched.worker_flags == ("--worker_gpu=2", "--worker_count=3")
    own = read_launch(["--nproc_per_node=2", "main.py", "--worker_gpu=1"])
    assert own is not None
    assert own.worker_flags == ()
    assert read_launch(["--master_port=6009", "--mode=train"]) is None, "a flag of EasyNLP's own too"
    assert read_launch(["main_evaluate", "--mode=evaluate"]).worker_flags == ()


def test_both_spellings_a_float_temperature_and_named_domains():
    user = "use_sample_weight=False T=1.5 domain_label=fiction,travel genre=travel distill_stage=second teacher_model_path=t/x"
    meta, _ = read_meta_settings("meta_student_distill", flags(user_defined_parameters=user))
    assert (meta.weighted, meta.temperature, meta.domains, meta.genre) == (False, 1.5, ("fiction", "travel"), "travel")
    assert read_meta_settings("main_evaluate", flags(user_defined_parameters="genre=mix"))[0].genre is None
