"""Smaller models: chosen layers and tokens, the same numbers where nothing was left out."""

import json
from pathlib import Path

import pytest
import torch
import transformers as hf

from raykd.errors import ModelError
from raykd.models import count_parameters, load_classifier, load_config, load_tokenizer, probe_classifier
from raykd.models.shrink import LAYOUTS, check_layers, shrink_model
from raykd.models.vocabulary import count_tokens_of_texts, save_vocabulary, tokens_to_keep
from tests.unit.models.architectures import LABELS, ROWS, pretrained
from tests.unit.models.small_models import edit_weights
from tests.unit.models.spelling_tokenizers import USED, spelling_unigram, spelling_wordpiece

KINDS = ("bert", "distilbert", "electra", "modernbert", "mpnet", "roberta", "xlm-roberta")
LAYER_LISTS = {"bert": "encoder.layer", "distilbert": "transformer.layer", "modernbert": "layers"}


def logits_of(folder: str, texts=ROWS):
    tokenizer = load_tokenizer(folder)
    model = load_classifier(folder, labels=LABELS, new_head=False)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    inputs.pop("token_type_ids", None)
    with torch.inference_mode():
        return model(**inputs).logits


def reduce_vocabulary(folder: str, out: Path, text: str, min_count: int = 1) -> str:
    tokenizer, config = load_tokenizer(folder), load_config(folder)
    counts = count_tokens_of_texts(tokenizer, [text], int(config.vocab_size))
    kept = tokens_to_keep(tokenizer, config, counts, min_count=min_count)
    save_vocabulary(tokenizer, kept, str(out), name=folder)
    return str(out)


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_layers_compute_what_they_computed(tmp_path, kind):
    source = pretrained(tmp_path / "large", kind, layers=5)
    shrink_model(source, str(tmp_path / "small"), layers=[0, 2, 3])
    small = load_classifier(str(tmp_path / "small"), labels=LABELS, new_head=False)
    large = load_classifier(source, labels=LABELS)
    path = LAYER_LISTS.get(kind, "encoder.layer")
    parent, _, name = path.rpartition(".")
    holder = large.base_model.get_submodule(parent) if parent else large.base_model
    setattr(holder, name, torch.nn.ModuleList(getattr(holder, name)[layer] for layer in (0, 2, 3)))
    ids = torch.randint(2, 20, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(small(ids).logits, large(ids).logits, atol=1e-6)
    assert load_config(str(tmp_path / "small")).num_hidden_layers == 3
    assert load_tokenizer(str(tmp_path / "small")).get_vocab() == load_tokenizer(source).get_vocab()
    before, after = count_parameters(source), count_parameters(str(tmp_path / "small"))
    assert (after.embeddings, after.head) == (before.embeddings, before.head)
    assert after.encoder < before.encoder


@pytest.mark.parametrize("kind", KINDS)
def test_all_layers_are_the_model_itself(tmp_path, kind):
    source = pretrained(tmp_path / "large", kind)
    shrink_model(source, str(tmp_path / "small"))
    assert torch.allclose(logits_of(str(tmp_path / "small")), logits_of(source), atol=1e-6)


def test_kinds_of_attention_follow_their_layers(tmp_path):
    source = pretrained(tmp_path / "large", "modernbert", layers=5)
    shrink_model(source, str(tmp_path / "small"), layers=[0, 3, 4])
    assert load_config(str(tmp_path / "small")).layer_types == ["full_attention", "full_attention", "sliding_attention"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_kept_tokens_keep_their_logits(tmp_path, kind):
    tokenizer = spelling_unigram() if kind == "xlm-roberta" else spelling_wordpiece()
    source = pretrained(tmp_path / "large", kind, tokenizer=tokenizer)
    shrink_model(source, str(tmp_path / "small"), vocabulary=reduce_vocabulary(source, tmp_path / "vocabulary", USED))
    small = load_config(str(tmp_path / "small"))
    assert small.vocab_size == len(load_tokenizer(str(tmp_path / "small"))) < len(tokenizer)
    texts = [USED, "the film", "love the plot, the plot"]
    assert torch.allclose(logits_of(str(tmp_path / "small"), texts), logits_of(source, texts), atol=1e-6)
    probe_classifier(str(tmp_path / "small"), [*texts, "other words", "日本"], labels=LABELS, sequence_length=32)


def test_ids_of_the_configuration_follow_their_tokens(tmp_path):
    tokenizer = spelling_wordpiece()
    source = pretrained(tmp_path / "large", "bert", tokenizer=tokenizer)
    config = json.loads(Path(source, "config.json").read_text())
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.sep_token_id}
    Path(source, "config.json").write_text(json.dumps({**config, **ids, "raykd_task": "single_label"}))
    vocabulary = reduce_vocabulary(source, tmp_path / "vocabulary", "nothing", min_count=2)
    shrink_model(source, str(tmp_path / "small"), vocabulary=vocabulary)
    small, tokenizer = load_config(str(tmp_path / "small")), load_tokenizer(str(tmp_path / "small"))
    assert (small.pad_token_id, small.eos_token_id) == (tokenizer.pad_token_id, tokenizer.sep_token_id) == (1, 3)
    assert small.raykd_task == "single_label"


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "modernbert", "electra", "mpnet"])
def test_heads_of_language_models_come_along(tmp_path, kind):
    tokenizer = spelling_wordpiece()
    source = pretrained(tmp_path / "large", kind, tokenizer=tokenizer, auto=hf.AutoModelForMaskedLM)
    vocabulary = reduce_vocabulary(source, tmp_path / "vocabulary", USED)
    shrink_model(source, str(tmp_path / "small"), layers=[0], vocabulary=vocabulary)
    shrink_model(source, str(tmp_path / "layers"), layers=[0])
    kept = json.loads(Path(vocabulary, "kept_tokens.json").read_text())
    large, small = (hf.AutoModelForMaskedLM.from_pretrained(tmp_path / name).eval() for name in ("layers", "small"))
    ids = torch.tensor([[2, 3, 4, 5]])
    with torch.inference_mode():
        assert torch.allclose(small(ids).logits, large(torch.tensor(kept)[ids]).logits[..., kept], atol=1e-5)
    tables = (small.get_input_embeddings().weight, small.get_output_embeddings().weight)
    assert tables[0].data_ptr() == tables[1].data_ptr(), "tied, as before"


def test_stock_pipeline_runs_the_folder(tmp_path):
    source = pretrained(tmp_path / "large", "bert", tokenizer=spelling_wordpiece())
    vocabulary = reduce_vocabulary(source, tmp_path / "vocabulary", USED)
    shrink_model(source, str(tmp_path / "small"), vocabulary=vocabulary)
    answers = [hf.pipeline("text-classification", folder)(USED, top_k=2) for folder in (source, str(tmp_path / "small"))]
    large, small = ({answer["label"]: answer["score"] for answer in one} for one in answers)
    assert small == pytest.approx(large, abs=1e-6)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([0, 2], r"layers = \[0, 2\]: large has 2 layers, 0 to 1, and no layer 2; leave it out"),
        ([0, 0], r"layers = \[0, 0\]: give each layer once, in ascending order"),
        ([1, 0], "in ascending order"),
        ([], "give at least one of the layers 0 to 1 of large"),
    ],
)
def test_impossible_layers_are_refused(tmp_path, layers, reason):
    config = load_config(pretrained(tmp_path / "large", "bert"))
    with pytest.raises(ModelError, match=reason):
        check_layers(config, layers, name="large")


@pytest.mark.parametrize("kind", ["gpt2", "bart", "t5", "xlnet", "deberta-v2"])
def test_other_architectures_are_refused(tmp_path, kind):
    reason = "its decoder reads its encoder" if kind in ("bart", "t5") else "does not know where it stores its layers"
    with pytest.raises(ModelError, match=f"large is of type {kind}, which cannot be made smaller: .*{reason}; take .*bert"):
        check_layers(load_config(pretrained(tmp_path / "large", kind)), [0], name="large")
    with pytest.raises(ModelError, match="all of its layers have the same weights"):
        check_layers(hf.AlbertConfig(), None, name="large")


def test_modernbert_begins_with_layer_0(tmp_path):
    source = pretrained(tmp_path / "large", "modernbert")
    with pytest.raises(ModelError, match=r"has no norm before its attention, .* begin with layer 0"):
        shrink_model(source, str(tmp_path / "small"), layers=[1])
    assert not (tmp_path / "small").exists()


def test_every_layout_is_tested():
    assert set(LAYOUTS) == {*KINDS, "camembert"}, "CamemBERT is RoBERTa with another tokenizer"


def test_weights_that_do_not_fit_are_refused_and_leave_nothing(tmp_path):
    source = pretrained(tmp_path / "large", "bert", tokenizer=spelling_wordpiece())
    vocabulary = reduce_vocabulary(source, tmp_path / "vocabulary", USED)

    def cut(weights):
        return {
            key: tensor[:5] if "word_embeddings" in key else tensor for key, tensor in weights.items() if "layer.1." not in key
        }

    edit_weights(Path(source), cut)
    with pytest.raises(ModelError, match=r"have no encoder\.layer\.1, which its config\.json asks for"):
        shrink_model(source, str(tmp_path / "small"), layers=[0, 1])
    with pytest.raises(ModelError, match=r"have no embeddings\.word_embeddings\.weight of \d+ rows"):
        shrink_model(source, str(tmp_path / "small"), layers=[0], vocabulary=vocabulary)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["large", "vocabulary"]


def test_real_encoder_keeps_its_logits(shared_models, tmp_path):
    source = str(shared_models / "review-tiny")
    text = "a good film with a very bad plot, and it is not great"
    vocabulary = reduce_vocabulary(source, tmp_path / "vocabulary", text)
    shrink_model(source, str(tmp_path / "small"), vocabulary=vocabulary)
    hidden = []
    for folder in (source, str(tmp_path / "small")):
        inputs = load_tokenizer(folder)(text, return_tensors="pt")
        with torch.inference_mode():
            hidden.append(hf.AutoModel.from_pretrained(folder, dtype=torch.float32)(**inputs).last_hidden_state)
    assert torch.allclose(*hidden, atol=1e-5)
    assert count_parameters(str(tmp_path / "small")).embeddings < 0.3 * count_parameters(source).embeddings
