"""Model folders: a local folder, a remote one, or a name on the model hub, resolved to a checked local folder."""

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raykd.data import storage
from raykd.data.tokenizer_files import holds_vocabulary
from raykd.errors import ModelError

HUB_TIMEOUT_S = 5.0
HUB_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
INDEX = "model.safetensors.index.json"
UNSAFE_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")


@contextmanager
def local_folder(path: str) -> Iterator[Path]:
    """The model ``path`` as a local folder: itself, a copy of a remote folder (deleted at the end), or the hub's cache.

    Never waits longer than a few seconds for a hub that does not answer.
    Raises ModelError when there is neither such a folder nor such a model on the hub.
    """
    if "://" in path:
        if not storage.is_dir(path):
            raise ModelError(
                f"model folder {path} does not exist; give one with config.json, model.safetensors and tokenizer files"
            )
        with storage.local_dir(path) as copy:
            yield Path(copy)
        return
    folder = Path(path).expanduser()
    if folder.is_dir():
        yield folder
        return
    if folder.exists():
        raise ModelError(f"model {path} is a file; give the folder that holds config.json and model.safetensors")
    if not _may_be_hub_name(path):
        raise ModelError(f"model folder {path} does not exist (looked in {Path.cwd()}); give an existing folder")
    yield _from_hub(path)


def _may_be_hub_name(path: str) -> bool:
    owner, separator, _ = path.partition("/")
    if separator and Path(owner).is_dir():
        return False
    return re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", path) is not None


def _from_hub(name: str) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # imported there

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if weight_files(folder) and holds_vocabulary(file.name for file in folder.iterdir()):
            return folder
    except OSError:
        pass  # nothing cached: ask the hub
    try:
        # one request with a deadline of its own: the download below retries for half a minute before it gives up
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=HUB_TIMEOUT_S)
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES), ignore_patterns=["*/*"]))
    except (HTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"model {name!r} is neither a folder (looked in {Path.cwd()}) nor to be had from the model hub "
            f"({first_line(error)}); give the path of a local model folder, or download the model where the hub can be reached"
        ) from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, all of them present; [] when one is missing or there is none.

    Raises ModelError for an index that is not one.
    """
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not (folder / INDEX).is_file():
        return []
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{folder / INDEX} is not an index of weights; copy the folder again, whole") from None
    files = [folder / name for name in names]
    return files if all(file.is_file() for file in files) else []


def check_weights(folder: Path) -> list[Path]:
    """The folder's safetensors files. Raises ModelError: no config.json, no weights, cut ones, or only pickled ones."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json; give a Hugging Face model folder")
    files = weight_files(folder)
    for file in files:
        _check_whole(file)
    if files:
        return files
    if (folder / INDEX).is_file():
        raise ModelError(f"{folder} lacks some of the files that {INDEX} names; copy the folder again, whole")
    unsafe = [name for name in UNSAFE_WEIGHTS if (folder / name).is_file()]
    if unsafe:
        raise ModelError(
            f"{folder} holds its weights only as {unsafe[0]}, a pickle, which can run code when it is opened; "
            f"convert it once:\n  {conversion_command(folder)}"
        )
    raise ModelError(f"{folder} has no model.safetensors; give a folder saved by save_pretrained")


def _check_whole(file: Path) -> None:
    """Raises ModelError for a file that was cut while it was copied, or is something else: the header is read, no weight."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is not a whole safetensors file ({first_line(error)}); copy or download it again") from None


def conversion_command(folder: Path) -> str:
    """The shell command that writes ``model.safetensors`` beside ``pytorch_model.bin`` without running pickled code."""
    code = (
        "import sys, torch, safetensors.torch as s; d = sys.argv[1]; "
        "w = torch.load(d + '/pytorch_model.bin', map_location='cpu', weights_only=True); "
        "s.save_file({k: v.clone().contiguous() for k, v in w.items()}, d + '/model.safetensors', {'format': 'pt'})"
    )
    return f"python -c {shlex.quote(code)} {shlex.quote(str(folder))}"


def absolute_model(model: str) -> str:
    """Return the path of a local model folder for a process with another working directory; a hub name stays as it is."""
    return storage.absolute(model) if os.path.isdir(model) else model


def model_digest(path: str) -> str:
    """Hash of configuration and weights, 32 hexadecimal digits: two folders with equal digests give equal logits."""
    digest = hashlib.blake2b(digest_size=16)
    with local_folder(path) as folder:
        for file in [*check_weights(folder), folder / "config.json"]:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, hashlib.blake2b).digest())
    return digest.hexdigest()


def folder_bytes(path: str) -> int:
    """Bytes of the files of a model folder that a deployment copies.

    Exports in ``onnx/`` and ``openvino/`` are other forms of the same; the model card and raykd.json are written after the
    report, which has the size.
    """
    with local_folder(path) as folder:
        files = [file for file in folder.rglob("*") if file.is_file()]
        return sum(
            file.stat().st_size
            for file in files
            if file.relative_to(folder).parts[0] not in {"onnx", "openvino", "README.md", "raykd.json"}
        )


def first_line(error: BaseException) -> str:
    """First line of an error's message, without the paragraphs that follow."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no loading table while a model is read or written: the report is checked and told in our own log."""
    from transformers.utils import logging as hf_logging

    level, bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bar:
            hf_logging.enable_progress_bar()
