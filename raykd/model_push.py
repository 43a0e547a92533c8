"""``raykd push``: a model folder with its card and exported files, as a repository of a Hugging Face hub."""

import os
import re

from raykd.data import storage
from raykd.errors import ConfigError, ResourceError
from raykd.models import local_folder, model_digest
from raykd.models.folders import first_line

FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "README.md", "onnx/*.onnx", "onnx/*.json", "openvino/*")
"""Files of a model folder that are uploaded."""
TOKEN = "HF_TOKEN"
"""Environment variable of the access token; there is no option for it, which other users of the machine could see."""
REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")


def push(model: str, repository: str, *, private: bool = True) -> str:
    """Upload a model folder in one commit, and make the repository where there is none. Returns the address of the commit.

    The hub is the one of ``HF_ENDPOINT``, by default huggingface.co; the token comes from ``HF_TOKEN``. Raises ConfigError for
    a folder that is no model's, a name that is none, or no token; ResourceError when the hub refuses or does not answer.
    """
    if not storage.exists(storage.join(model, "config.json")):
        raise ConfigError(f"{model} is not a model folder: it has no config.json; give the folder of a trained model")
    if REPOSITORY.fullmatch(repository) is None:
        raise ConfigError(f"{repository} is not the name of a repository; give OWNER/NAME")
    token = os.environ.get(TOKEN)
    if not token:
        raise ConfigError(f"{TOKEN} is not set; set it to an access token with write permission")
    digest = model_digest(model)  # also an error for weights that are not safetensors

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]  # imported there
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        with local_folder(model) as folder:
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=str(folder),
                allow_patterns=list(FILES),
                commit_message=f"Upload weights {digest[:12]}",
            )
    except (HfHubHTTPError, HTTPError, OSError) as error:
        reason = _reason(error).replace(token, "***").rstrip(".")
        raise ResourceError(
            f"{repository} cannot be uploaded to {api.endpoint}: {reason}; check the name, the token's permission and the "
            "network"
        ) from None
    return str(commit.commit_url)


def _reason(error: Exception) -> str:
    """The status and what the hub says about it: the library leaves the body of a 403 out of its first line."""
    line = first_line(error).replace("Forbidden: None", "Forbidden")
    said = next(iter((getattr(error, "server_message", None) or "").splitlines()), "")
    return line if said in line else f"{line.rstrip('.')}: {said}"
