"""Addresses and tokens of a cluster."""

import os
import socket
from pathlib import Path

import pytest

from raykd.errors import ConfigError, ResourceError
from raykd.submit import client

ADDRESS = "http://127.0.0.1:8265"


def test_where_the_token_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.token_header() == {}
    default = Path.home() / ".ray" / "auth_token"
    default.parent.mkdir()
    default.write_text("from-home\n")
    assert client.token_header() == {"Authorization": "Bearer from-home"}
    named = folder / "token"
    named.write_text(" from-path\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert client.token_header() == {"Authorization": "Bearer from-path"}
    monkeypatch.setenv("RAY_AUTH_TOKEN", "from-variable")
    assert client.token_header() == {"Authorization": "Bearer from-variable"}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert client.token_header() == {}


def test_a_token_that_is_announced_and_absent(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ResourceError, match=r"no token in RAY_AUTH_TOKEN or .*auth_token; put the cluster's token"):
        client.token_header()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "absent"))
    with pytest.raises(ResourceError, match=r"absent cannot be read .*RAY_AUTH_TOKEN_PATH"):
        client.token_header()
    (folder / "empty").write_text("\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(folder / "empty"))
    with pytest.raises(ResourceError, match=r"no token in RAY_AUTH_TOKEN or .*empty"):
        client.token_header()


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "auto", "ray://127.0.0.1:10001", "http://", ""])
def test_an_address_is_the_dashboards(folder: Path, address: str) -> None:
    with pytest.raises(ConfigError, match="give the address of the cluster's dashboard"):
        client.connect(address)


def test_the_address_given_wins_over_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ResourceError, match=r"cannot reach http://127\.0\.0\.1:1: [^;]*[^.]; give .*8265"):
        client.connect("http://127.0.0.1:1")
    assert os.environ["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert "RAY_API_SERVER_ADDRESS" not in os.environ


def test_silence_is_not_waited_for_for_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_LIMIT_S", 0.2)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(ResourceError, match=r"cannot reach http://127.0.0.1:\d+: .*timed out"):
            client.connect(f"http://127.0.0.1:{listener.getsockname()[1]}")


def test_a_token_in_the_clear_is_warned_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "sesame")
    monkeypatch.setattr(client, "_client_class", lambda: lambda address, headers: headers)
    client.connect(ADDRESS)
    client.connect("https://ray.example.org")
    assert not caplog.records
    assert client.connect("http://ray.example.org") == {"Authorization": "Bearer sesame"}
    assert "unencrypted" in caplog.text
    assert "sesame" not in caplog.text
