"""Keys: whether Weights & Biases has one here, and keeping all of them out of what is tracked."""

import netrc
import os
import re
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

DEFAULT_SERVER = "https://api.wandb.ai"
SECRET_NAME = re.compile(
    r"(?i)(^|[_.-])(api_?key|access_?key(_id)?|secret\w*|password|passwd|auth_?token|access_?token|credentials?)$"
)
USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")


def wandb_mode() -> Literal["online", "offline", "disabled"]:
    """How a run starts without a question: as WANDB_MODE says, but online only where there is a key."""
    asked = os.environ.get("WANDB_MODE", "online").lower()
    if asked == "disabled":
        return "disabled"
    return "online" if asked in ("online", "run", "shared") and has_wandb_key() else "offline"


def server_answers(timeout_s: float) -> bool:
    """Whether the server of Weights & Biases answers at all; the library itself would try for half a minute and more."""
    try:
        with urlopen(_server(), timeout=timeout_s):
            return True
    except HTTPError:
        return True
    except (OSError, HTTPException):
        return False


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL", DEFAULT_SERVER)


def has_wandb_key() -> bool:
    """Whether WANDB_API_KEY or WANDB_IDENTITY_TOKEN_FILE is set, or the netrc file has the server's entry."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    server = urlsplit(_server()).netloc
    given = os.environ.get("NETRC")
    for path in [Path(given)] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            entry = netrc.netrc(path).authenticators(server)
        except (OSError, netrc.NetrcParseError):
            continue
        if entry and entry[2]:
            return True
    return False


def without_secrets(value: Any) -> Any:
    """A JSON-like value without entries named like keys or passwords, and without users and passwords in addresses."""
    if isinstance(value, Mapping):
        return {name: without_secrets(item) for name, item in value.items() if not SECRET_NAME.search(str(name))}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    return USER_IN_ADDRESS.sub("", value) if isinstance(value, str) else value
