"""Client of Ray's job server with the cluster's token, timeouts, and errors that name the remedy."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raykd.errors import ConfigError, ResourceError

log = logging.getLogger(__name__)

REQUEST_LIMIT_S = 60
"""Seconds without an answer after which a request has failed."""

ADDRESS_VARIABLE = "RAY_API_SERVER_ADDRESS"
"""Environment variable of the dashboard's address, Ray's own."""

_TOKEN_HELP = (
    "put the cluster's token, which its owner has in ~/.ray/auth_token, into that file on this machine, "
    "or into RAY_AUTH_TOKEN, or its path into RAY_AUTH_TOKEN_PATH"
)


def connect(address: str) -> Any:
    """Connect to the job server at ``address`` and check the token.

    Raises ConfigError for an invalid address; ResourceError without an answer, or for a refused or missing token.
    """
    url = urlsplit(address)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(
            f"address {address!r}: give the address of the cluster's dashboard, for example http://127.0.0.1:8265"
        )
    headers = token_header()
    if headers and url.scheme == "http" and url.hostname not in ("127.0.0.1", "localhost", "::1"):
        log.warning("the token and the job's keys travel to %s unencrypted; tunnel through ssh, or use https", url.hostname)
    # Ray lets these variables win over the argument, and RAY_ADDRESS means something else to training
    with explaining(address), _environment(ADDRESS_VARIABLE, address):
        return _client_class()(address, headers=headers)


def _client_class() -> type[Any]:
    from ray.job_submission import JobSubmissionClient

    for name in ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they set INFO themselves, and log every connection

    class Client(JobSubmissionClient):  # type: ignore[misc]  # an untyped base
        """Ray's client with a timeout, which it lacks."""

        def _do_request(self, method: str, endpoint: str, **options: Any) -> Any:
            return super()._do_request(method, endpoint, timeout=REQUEST_LIMIT_S, **options)

    return Client


def token_header() -> dict[str, str]:
    """The cluster's token as a header, from the files and variables that Ray reads; empty without a token or with
    authentication disabled.

    Raises ResourceError when a token is required and missing.
    """
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    token, path = os.environ.get("RAY_AUTH_TOKEN", "").strip(), os.environ.get("RAY_AUTH_TOKEN_PATH")
    if mode == "disabled":
        return {}
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    if not token and (path or file.is_file()):
        try:
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ResourceError(f"the token file {file} cannot be read ({error}); {_TOKEN_HELP}") from None
    if not token and (mode == "token" or path):
        raise ResourceError(f"there is no token in RAY_AUTH_TOKEN or {file}; {_TOKEN_HELP}")
    return {"Authorization": f"Bearer {token}"} if token else {}


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def explaining(address: str) -> Iterator[None]:
    """Turn errors of Ray's client and its HTTP libraries into a ResourceError with the remedy."""
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        missing = error.message.startswith("Authentication required")
        what = "wants a token and was given none" if missing else "refuses this token"
        raise ResourceError(f"{address} {what}; {_TOKEN_HELP}") from None
    except (ConnectionError, requests.RequestException, aiohttp.ClientError, TimeoutError) as error:
        raise ResourceError(
            f"cannot reach {address}: {_first_line(error)}; give the address of the cluster's dashboard (port 8265 if nobody "
            "changed it), and see that the cluster is up"
        ) from None
    except RuntimeError as error:
        raise ResourceError(f"{address} answers: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    """The first line without its full stop: a sentence goes on after it."""
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(". ")
