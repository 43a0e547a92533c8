"""Compiled training passes: the same numbers, names and signature, for the passes that repeat their shapes."""

import inspect
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from raykd.errors import ConfigError
from raykd.models import check_compiler, compile_training, compiled_forward, takes_token_types, use_given_masks

ROWS = 4


def make_model() -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=50, max_position_embeddings=32, **sizes))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # compiled code draws other numbers
    use_given_masks(model)
    return model.train()


def gradients(model: BertForSequenceClassification, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    model(**inputs).logits.square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def batch(rows: int, length: int) -> dict[str, Tensor]:
    ids = torch.arange(rows * length).reshape(rows, length) % 50
    mask = torch.ones_like(ids)
    mask[0, length - 2 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes of the token ids of the graphs that a compiler is asked for; it runs them as they are."""
    torch._dynamo.reset()
    found: list[torch.Size] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        found.append(next((value.shape for value in inputs if value.dtype == torch.int64), torch.Size()))
        return graph

    monkeypatch.setattr(compiled_forward, "BACKEND", backend)
    return found


def test_each_shape_of_whole_batches_has_one_graph_with_the_same_gradients(graphs: list[torch.Size]) -> None:
    plain, compiled = make_model(), make_model()
    compile_training(compiled, min_rows=ROWS)
    for length in (8, 16, 8):
        expected = gradients(plain, batch(ROWS, length))
        for name, gradient in gradients(compiled, batch(ROWS, length)).items():
            torch.testing.assert_close(gradient, expected[name])
    assert graphs == [(ROWS, 8), (ROWS, 16)]


def test_evaluation_short_batches_and_hidden_states_are_not_compiled(graphs: list[torch.Size]) -> None:
    model = make_model()
    compile_training(model, min_rows=ROWS)
    gradients(model, batch(ROWS - 1, 8))
    assert len(model(**batch(ROWS, 8), output_hidden_states=True).hidden_states) == 2
    model.eval()
    with torch.inference_mode():
        model(**batch(ROWS, 8))
    assert not graphs
    model.train()
    gradients(model, batch(ROWS, 8))
    assert len(graphs) == 1


def test_inputs_may_be_given_by_position_or_as_embeddings(graphs: list[torch.Size]) -> None:
    model = make_model()
    compile_training(model, min_rows=ROWS)
    ids, short = (batch(rows, 8)["input_ids"] for rows in (ROWS, ROWS - 1))
    expected = model(input_ids=ids).logits
    torch.testing.assert_close(model(ids).logits, expected)
    embeddings = model.get_input_embeddings()(ids).detach()
    torch.testing.assert_close(model(attention_mask=None, inputs_embeds=embeddings).logits, expected)
    compiled = len(graphs)
    assert compiled > 0
    model(short)
    assert len(graphs) == compiled, "a short batch is not compiled"


def test_names_and_signature_stay(graphs: list[torch.Size]) -> None:
    plain, compiled = make_model(), make_model()
    compile_training(compiled, min_rows=ROWS)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert inspect.signature(compiled.forward) == inspect.signature(plain.forward)
    assert takes_token_types(compiled)
    assert not graphs


def test_a_cpu_without_build_tools_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler \(g\+\+, or .*set compute.compile to false"):
        check_compiler(on_gpu=False)
    check_compiler(on_gpu=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    check_compiler(on_gpu=None)

    compiler = tmp_path / "g++"
    compiler.write_text("")
    compiler.chmod(0o700)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))
    with pytest.raises(ConfigError, match=r"needs the header Python\.h"):
        check_compiler(on_gpu=False)
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    check_compiler(on_gpu=False)
