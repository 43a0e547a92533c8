"""Classifiers and tokenizers: stock Hugging Face models in and out, checked on the way."""

from raykd.models.activation_checkpointing import checkpoint_activations
from raykd.models.attention_masks import use_given_masks
from raykd.models.classifiers import (
    label_names,
    load_classifier,
    load_config,
)
from raykd.models.compiled_forward import check_compiler, compile_training
from raykd.models.folders import absolute_model, folder_bytes, local_folder, model_digest
from raykd.models.inputs import (
    check_sequence_length,
    fit_tokenizer,
    ignore_token_types,
    max_sequence_length,
    share_token_types,
    takes_token_types,
)
from raykd.models.new_classifier import ModelShape, build_classifier
from raykd.models.parameters import ParameterCounts, count_parameters
from raykd.models.probe import PROBE_ROWS, probe_classifier, row_logits
from raykd.models.saving import restore_classifier, save_classifier
from raykd.models.tokenizers import load_tokenizer
from raykd.models.unpadding import check_unpadded, first_layer_input, runs_unpadded, set_attention, unpad_rows
from raykd.models.verify import verify_saved_classifier, verify_trained_model

__all__ = [
    "PROBE_ROWS",
    "ModelShape",
    "ParameterCounts",
    "absolute_model",
    "build_classifier",
    "check_compiler",
    "check_sequence_length",
    "check_unpadded",
    "checkpoint_activations",
    "compile_training",
    "count_parameters",
    "first_layer_input",
    "fit_tokenizer",
    "folder_bytes",
    "ignore_token_types",
    "label_names",
    "load_classifier",
    "load_config",
    "load_tokenizer",
    "local_folder",
    "max_sequence_length",
    "model_digest",
    "probe_classifier",
    "restore_classifier",
    "row_logits",
    "runs_unpadded",
    "save_classifier",
    "set_attention",
    "share_token_types",
    "takes_token_types",
    "unpad_rows",
    "use_given_masks",
    "verify_saved_classifier",
    "verify_trained_model",
]
