"""EasyNLP checkpoints become stock folders with the same logits, or are refused."""

import json
import pickle
import shutil

import pytest
import torch

from raykd.easynlp.import_checkpoint import import_command
from raykd.errors import ConfigError, ModelError
from raykd.models import load_classifier, load_tokenizer
from tests.easynlp_world import VOCABULARY

LABELS = ("bad", "good", "mixed")
KINDS = ("bert", "roberta", "albert")


def make_encoder(kind):
    from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel, RobertaConfig, RobertaModel

    sizes = {"vocab_size": len(VOCABULARY), "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 32, "max_position_embeddings": 34, "pad_token_id": 0}  # fmt: skip
    config, model = {
        "bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel), "albert": (AlbertConfig, AlbertModel),
    }[kind]  # fmt: skip
    return model(config(**sizes, **({"embedding_size": 8} if kind == "albert" else {}))).eval()


def make_checkpoint(folder, kind="bert", *, extra=()):
    """Write EasyNLP's files, with the encoder as ``backbone.*`` and a linear ``classifier``. Returns encoder and head."""
    torch.manual_seed(3)
    encoder, head = make_encoder(kind), torch.nn.Linear(16, len(LABELS))
    for parameter in encoder.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    folder.mkdir()
    weights = {f"backbone.{name}": value for name, value in encoder.state_dict().items()}
    weights |= {f"classifier.{name}": value for name, value in head.state_dict().items()} | dict(extra)
    torch.save(weights, folder / "pytorch_model.bin")
    config = encoder.config.to_dict() | {"num_labels": len(LABELS)}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "label_mapping.json").write_text(json.dumps({label: index for index, label in enumerate(LABELS)}))
    if kind == "bert":
        (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCABULARY))
    else:
        write_tokenizer(folder)
    return encoder, head


def write_tokenizer(folder):
    from transformers import BertTokenizerFast

    staged = folder / "staged"
    BertTokenizerFast(vocab={word: index for index, word in enumerate(VOCABULARY)}).save_pretrained(staged)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(staged / name, folder / name)
    shutil.rmtree(staged)


def easynlp_logits(encoder, head, inputs):
    """EasyNLP's forward pass: a linear layer on the pooled output."""
    with torch.no_grad():
        return head(encoder(**inputs).pooler_output)


@pytest.fixture
def inputs():
    ids = torch.randint(5, len(VOCABULARY), (4, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


@pytest.mark.parametrize("kind", KINDS)
def test_logits_stay_the_same(kind, tmp_path, inputs):
    encoder, head = make_checkpoint(tmp_path / "easynlp", kind)
    import_command([str(tmp_path / "easynlp"), str(tmp_path / "out")])
    model = load_classifier(str(tmp_path / "out"), labels=LABELS)
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, easynlp_logits(encoder, head, inputs), rtol=1e-6, atol=1e-6)
    assert not (tmp_path / "out" / "pytorch_model.bin").exists()


@pytest.mark.parametrize(
    ("kept", "options", "kind"),
    [
        (None, [], "single_label_classification"),
        (None, ["--multi_label"], "multi_label_classification"),
        ({"user_defined_parameters": "multi_label=True a=b"}, [], "multi_label_classification"),
        ({"user_defined_parameters": {"app_parameters": {"multi_label": True}}}, [], "multi_label_classification"),
        ({"user_defined_parameters": {"app_parameters": {}}}, [], "single_label_classification"),
    ],
)
def test_several_labels_a_row_are_told_by_the_flags_of_the_training(kept, options, kind, tmp_path):
    make_checkpoint(tmp_path / "easynlp")
    if kept is not None:
        (tmp_path / "easynlp" / "train_config.json").write_text(json.dumps(kept))
    import_command([str(tmp_path / "easynlp"), str(tmp_path / "out"), *options])
    assert json.loads((tmp_path / "out" / "config.json").read_text())["problem_type"] == kind


def test_the_folder_opens_everywhere_with_label_names(tmp_path):
    from transformers import pipeline

    make_checkpoint(tmp_path / "easynlp")
    import_command([str(tmp_path / "easynlp"), str(tmp_path / "out")])
    assert pipeline("text-classification", model=str(tmp_path / "out"), device="cpu")("good film")[0]["label"] in LABELS
    assert load_tokenizer(str(tmp_path / "out"))("Good film")["input_ids"][1:3] == [
        VOCABULARY.index("good"), VOCABULARY.index("film"),
    ]  # fmt: skip


def test_old_names_and_buffers_are_understood(tmp_path, inputs):
    encoder, head = make_checkpoint(tmp_path / "easynlp")
    file = tmp_path / "easynlp" / "pytorch_model.bin"
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in torch.load(file, weights_only=True).items()
    }
    torch.save(
        weights | {"backbone.embeddings.position_ids": torch.arange(34)[None]},
        tmp_path / "easynlp" / "pytorch_model_step_9.bin",
    )
    config = json.loads((tmp_path / "easynlp" / "config.json").read_text())
    del config["model_type"]
    (tmp_path / "easynlp" / "config.json").write_text(json.dumps(config))
    import_command([str(tmp_path / "easynlp" / "pytorch_model_step_9.bin"), str(tmp_path / "out")])
    with torch.no_grad():
        logits = load_classifier(str(tmp_path / "out"), labels=LABELS)(**inputs).logits
    torch.testing.assert_close(logits, easynlp_logits(encoder, head, inputs), rtol=1e-6, atol=1e-6)


def test_a_relu_head_is_refused_and_its_encoder_can_be_had(tmp_path, inputs):
    from transformers import AutoModel

    extra = {"domain_embedding.weight": torch.zeros(4, 16), "domain_classifier.weight": torch.zeros(4, 16)}
    encoder, _ = make_checkpoint(tmp_path / "meta", extra=extra)
    with pytest.raises(ModelError, match=r"classifier reads relu\(pooler\), which no stock class"):
        import_command([str(tmp_path / "meta"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    import_command([str(tmp_path / "meta"), str(tmp_path / "out"), "--without_head"])
    with torch.no_grad():
        found, expected = AutoModel.from_pretrained(tmp_path / "out")(**inputs), encoder(**inputs)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output)
    load_classifier(str(tmp_path / "out"), labels=("a", "b"))


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_that_runs_code_is_refused(tmp_path, capfd):
    make_checkpoint(tmp_path / "easynlp")
    (tmp_path / "easynlp" / "pytorch_model.bin").write_bytes(pickle.dumps({"backbone.x": Evil()}, protocol=2))
    with pytest.raises(ModelError, match="is not a file of weights alone"):
        import_command([str(tmp_path / "easynlp"), str(tmp_path / "out")])
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda folder: (folder / "pytorch_model.bin").unlink(), ConfigError, "is no EasyNLP checkpoint"),
        (lambda folder: torch.save({"bert.x": torch.zeros(1)}, folder / "pytorch_model.bin"), ModelError, r"backbone\.\*"),
        (lambda folder: (folder / "label_mapping.json").write_text('{"a": 0, "b": 1}'), ModelError, "has 2 labels, but"),
        (lambda folder: change_config(folder, num_hidden_layers=3), ModelError, r"layer\.2\..* is absent"),
        (lambda folder: change_config(folder, hidden_size=32), ModelError, "does not fit config.json"),
        (lambda folder: change_config(folder, model_type="distilbert"), ModelError, "model of type distilbert"),
        (lambda folder: (folder / "vocab.txt").unlink(), ModelError, "has no tokenizer"),
    ],
)
def test_what_does_not_fit_is_named(damage, error, message, tmp_path):
    make_checkpoint(tmp_path / "easynlp")
    damage(tmp_path / "easynlp")
    with pytest.raises(error, match=message):
        import_command([str(tmp_path / "easynlp"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_missing_weight_is_not_drawn_at_random(tmp_path):
    make_checkpoint(tmp_path / "easynlp")
    file = tmp_path / "easynlp" / "pytorch_model.bin"
    weights = torch.load(file, weights_only=True)
    del weights["backbone.pooler.dense.bias"]
    torch.save(weights, file)
    with pytest.raises(ModelError, match=r"bert\.pooler\.dense\.bias is absent"):
        import_command([str(tmp_path / "easynlp"), str(tmp_path / "out")])


@pytest.mark.parametrize("arguments", [[], ["one"], ["a", "b", "c"], ["a", "b", "--fast"]])
def test_usage(arguments):
    with pytest.raises(ConfigError, match="use: raykd easynlp import DIR OUT"):
        import_command(arguments)


def test_a_checkpoint_is_not_overwritten(tmp_path):
    make_checkpoint(tmp_path / "easynlp")
    with pytest.raises(ConfigError, match="would overwrite"):
        import_command([str(tmp_path / "easynlp"), str(tmp_path / "easynlp")])
