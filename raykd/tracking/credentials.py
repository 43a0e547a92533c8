"""Keys and settings of Weights & Biases, and removal of secrets from tracked values."""

import logging
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

from pydantic import ValidationError

from raykd.errors import ConfigError
from raykd.extras import EXTRAS, require_extra

log = logging.getLogger(__name__)

OLD_SERVER = "api.wandb.ai"
"""Name of W&B's server in netrc files, independent of the library's default."""
TRUE = ("true", "1", "yes", "on")
SECRET_NAME = re.compile(
    r"(?i)(^|[_.-])(api_?key|access_?key(_id)?|secret\w*|password|passwd|auth_?token|access_?token|credentials?)$"
)
USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")


def wandb_settings() -> Any:
    """W&B's own settings: defaults, then ``~/.config/wandb/settings``, ``wandb/settings`` here, and the environment.

    Read at each call, since the library caches its first result. Raises ConfigError for a setting that W&B refuses.
    """
    import wandb

    folder = os.environ.get("WANDB_CONFIG_DIR") or os.path.join("~", ".config", "wandb")
    settings = wandb.Settings(silent=True)
    settings.settings_system = os.path.join(os.path.expanduser(folder), "settings")
    settings.update_from_system_settings()
    try:
        settings.update_from_env_vars(dict(os.environ))
    except ValidationError as error:  # its text would show the value, which may be a key
        wrong = error.errors(include_url=False, include_input=False)[0]
        name = f"WANDB_{'_'.join(map(str, wrong['loc'])).upper()}"
        raise ConfigError(f"{name} is set to what Weights & Biases refuses: {wrong['msg']}; change it or unset it") from None
    except wandb.errors.UsageError as error:
        raise ConfigError(f"Weights & Biases refuses a WANDB_ variable of the environment: {error}") from None
    return settings


def wandb_mode() -> Literal["online", "offline", "disabled"]:
    """The mode of a run, found without a prompt: that of W&B's settings, and offline without a key.

    ``WANDB_DISABLED`` switches tracking off, as in Hugging Face's trainer. Raises ConfigError as :func:`wandb_settings`.
    """
    if os.environ.get("WANDB_DISABLED", "").lower() in TRUE:
        return "disabled"
    settings = wandb_settings()
    if settings.mode == "disabled":
        return "disabled"
    if settings.mode in ("offline", "dryrun"):
        return "offline"
    if has_wandb_key(settings):
        return "online"
    if "mode" in settings.model_fields_set:
        log.warning("W&B is to be online (mode = %s), but there is no key here; runs are kept offline", settings.mode)
    return "offline"


def check_tracking(kind: str) -> None:
    """Raise ConfigError when the package of a tracker is absent, or the environment has settings that it cannot start with."""
    if kind in EXTRAS:
        require_extra(kind, f"tracking.kind = {kind}")
    if kind == "wandb":
        wandb_mode()


def server_answers(address: str, timeout_s: float) -> bool:
    """True when the server of Weights & Biases answers; the library itself would retry for over 30 s."""
    try:
        with urlopen(address, timeout=timeout_s):
            return True
    except HTTPError:
        return True
    except (OSError, HTTPException):
        return False


def has_wandb_key(settings: Any) -> bool:
    """True when environment or settings contain a key, or the netrc file an entry for the server."""
    if settings.api_key or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    servers = {urlsplit(settings.base_url).netloc}
    if "base_url" not in settings.model_fields_set:
        servers.add(OLD_SERVER)
    given = os.environ.get("NETRC")
    for path in [Path(given).expanduser()] if given else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            entries = [netrc.netrc(path).authenticators(server) for server in servers]
        except (OSError, netrc.NetrcParseError):
            continue
        if any(entry and entry[2] for entry in entries):
            return True
    return False


def without_secrets(value: Any) -> Any:
    """A JSON-like value without entries named like keys or passwords, and without users and passwords in addresses."""
    if isinstance(value, Mapping):
        return {name: without_secrets(item) for name, item in value.items() if not SECRET_NAME.search(str(name))}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    return USER_IN_ADDRESS.sub("", value) if isinstance(value, str) else value
