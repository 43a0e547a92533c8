"""Loading of causal language models, with a check that the folder holds one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.errors import ModelError
from raykd.models.classifiers import open_config
from raykd.models.folders import check_weights, first_line, local_folder, quiet_transformers
from raykd.models.model_code import import_model_code

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

SHOWN_WEIGHTS = 4


def check_causal_model(path: str) -> Any:
    """The configuration of a causal language model, whose weights are not read.

    Raises ModelError: no such folder, no safetensors, or a model of another kind.
    """
    with local_folder(path) as folder:
        check_weights(folder)
        config = open_config(folder, name=path)
    from transformers.models.auto import modeling_auto

    wanted = modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    named = list(getattr(config, "architectures", None) or [])
    encodes = config.model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", True)
    if wanted is None or wanted not in named or encodes:
        raise ModelError(
            f"{path} is no causal language model: its config.json names {', '.join(named) or 'no architecture'} "
            f"({config.model_type}); give a folder of {wanted or 'LlamaForCausalLM, GPT2LMHeadModel or the like'}, or "
            "teacher.kind = classifier"
        )
    return config


def load_causal_model(path: str, *, dtype: "torch.dtype") -> "PreTrainedModel":
    """``AutoModelForCausalLM`` with weights of ``dtype``, in evaluation mode.

    Raises ModelError: no causal language model, a missing package, or weights that the checkpoint lacks.
    """
    config = check_causal_model(path)
    with local_folder(path) as folder:
        model, report = _open(folder, config, dtype, name=path)
    missing, other = sorted(report["missing_keys"]), sorted(key for key, *_ in report["mismatched_keys"])
    if missing or other:
        shown = ", ".join([*missing, *other][:SHOWN_WEIGHTS])
        raise ModelError(f"{path} lacks weights that its config.json asks for, or has them in another shape: {shown}")
    return model.eval()


def _open(folder: Path, config: Any, dtype: "torch.dtype", *, name: str) -> tuple["PreTrainedModel", dict[str, Any]]:
    import_model_code()
    from transformers import AutoModelForCausalLM

    try:
        with quiet_transformers():
            return AutoModelForCausalLM.from_pretrained(  # type: ignore[no-any-return]  # an untyped class method
                str(folder), config=config, dtype=dtype, use_safetensors=True, ignore_mismatched_sizes=True,
                output_loading_info=True, local_files_only=True, trust_remote_code=False,
            )  # fmt: skip
    except ImportError as error:
        raise ModelError(f"{name} needs a package that is not installed: {first_line(error)}; install it") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} does not open as a causal language model: {first_line(error)}") from error
