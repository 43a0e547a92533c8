"""``raykd push`` against a local stand-in of the hub's HTTP API."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from raykd.errors import ConfigError, ResourceError
from raykd.model_push import push
from tests.unit.serve.conftest import save_model

SECRET = "hf_of_a_test"


class Hub(BaseHTTPRequestHandler):
    """Creates repositories and takes commits, as the hub's API documents both; keeps what it was sent."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {SECRET}":
            return self.reply({"error": f"no permission for {self.headers.get('Authorization')}"}, 403)
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            return self.reply({"url": f"{self.address}/me/student"})
        if self.path == "/api/validate-yaml":
            return self.reply({"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self.reply(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}
            )
        if "/commit/" in self.path:
            for line in body.splitlines():
                content = json.loads(line)
                if content["key"] == "file":
                    self.server.files[content["value"]["path"]] = base64.b64decode(content["value"]["content"])
                else:
                    self.server.message = content["value"]["summary"]
            return self.reply({"commitUrl": f"{self.address}/me/student/commit/1", "commitOid": "1" * 40})
        return self.reply({"error": f"unknown path {self.path}"}, 404)

    def do_GET(self):
        self.server.paths.append(self.path)
        self.reply(
            {"id": "me/student", "sha": "0" * 40, "siblings": [], "private": True, "tags": [], "downloads": 0, "likes": 0}
        )

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def reply(self, content, status=200):
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.paths, server.files, server.created, server.message = [], {}, None, None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(small_world, tmp_path):
    folder = tmp_path / "model"
    save_model(folder, small_world["student"])
    (folder / "README.md").write_text("---\nlibrary_name: transformers\n---\n# A student\n")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"a graph")
    (folder / "notes.tmp").write_text("not of the model")
    return folder


def test_folder_card_and_onnx_arrive_in_one_commit(hub, model):
    assert push(str(model), "me/student").endswith("/me/student/commit/1")
    assert (hub.created["name"], hub.created["organization"], hub.created["visibility"]) == ("student", "me", "private")
    for name in ("config.json", "model.safetensors", "raykd.json", "README.md", "onnx/model.onnx"):
        assert hub.files[name] == (model / name).read_bytes(), name
    assert "notes.tmp" not in hub.files
    assert sum("/commit/" in path for path in hub.paths) == 1
    assert hub.message.startswith("Upload weights ")


def test_a_refusal_is_one_sentence_without_the_token(hub, model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(
        ResourceError, match=r"me/student cannot be uploaded to http://127.*: 403 Forbidden: no permission for Bearer .*; check"
    ) as refused:
        push(str(model), "me/student")
    assert "hf_wrong" not in str(refused.value)
    assert "None" not in str(refused.value)
    assert not hub.files


@pytest.mark.parametrize(("repository", "message"), [("student", "give OWNER/NAME"), ("me/student", "HF_TOKEN is not set")])
def test_what_is_missing(repository, message, model, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(ConfigError, match=message):
        push(str(model), repository)
    with pytest.raises(ConfigError, match="is not a model folder"):
        push(str(model / "onnx"), "me/student")
