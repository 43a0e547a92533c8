"""raykd's storage against a real S3 server: a process of its own on loopback, spoken to over HTTP by pyarrow's S3 client."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raykd.data import file_systems, storage
from raykd.data import folder_lock as folder_lock_module
from raykd.data.folder_lock import FolderLock, folder_lock
from raykd.errors import DataError, ResourceError
from tests.cluster.s3_server import BUCKET, Server, s3_server

pytest.importorskip("moto.server", reason="moto[server] is not installed: no S3 server to test against")
pytest.importorskip("boto3", reason="boto3 is not installed: nothing to look into the S3 server with")
pytestmark = pytest.mark.cluster

RUNS = f"s3://{BUCKET}/runs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch, s3_server(tmp_path_factory.mktemp("s3")) as made:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        file_systems._remote_fs.cache_clear()
        yield made
        file_systems._remote_fs.cache_clear()


@pytest.fixture(autouse=True)
def empty(server: Server) -> Iterator[None]:
    """Every test starts with an empty bucket, and with a server that can be reached."""
    yield
    server.process.send_signal(signal.SIGCONT)
    server.tunnel.mend()
    for key in server.stored():
        server.client.delete_object(Bucket=BUCKET, Key=key)


def test_bytes_and_json_round_trip(server: Server) -> None:
    storage.write_bytes(f"{RUNS}/a/data.bin", b"\x00\xff" * 1000)
    storage.write_bytes(f"{RUNS}/a/empty", b"")
    storage.write_json(f"{RUNS}/a/b/value.json", {"z": 1, "a": [1.5, None, "ü"]})
    assert storage.read_bytes(f"{RUNS}/a/data.bin") == b"\x00\xff" * 1000
    assert storage.read_bytes(f"{RUNS}/a/empty") == b""
    assert storage.read_json(f"{RUNS}/a/b/value.json") == {"z": 1, "a": [1.5, None, "ü"]}
    stored = server.client.get_object(Bucket=BUCKET, Key="runs/a/data.bin")["Body"].read()
    assert stored == b"\x00\xff" * 1000
    assert storage.list_dir(f"{RUNS}/a") == [f"{RUNS}/a/b", f"{RUNS}/a/data.bin", f"{RUNS}/a/empty"]
    assert storage.file_sizes(f"{RUNS}/a") == {"data.bin": 2000, "empty": 0}
    assert [key for key in server.stored() if not key.endswith("/")] == [
        "runs/a/b/value.json",
        "runs/a/data.bin",
        "runs/a/empty",
    ]


def test_what_is_absent(server: Server) -> None:
    assert not storage.exists(f"{RUNS}/nothing")
    assert storage.list_dir(f"{RUNS}/nothing") == []
    storage.remove(f"{RUNS}/nothing")
    with pytest.raises(DataError, match=f"{RUNS}/nothing does not exist"):
        storage.read_bytes(f"{RUNS}/nothing")
    with pytest.raises(DataError, match=r"\*\.tsv matches no file"):
        storage.expand([f"{RUNS}/*.tsv"])
    with pytest.raises(ResourceError, match="s3://absent-bucket/x"):
        storage.write_bytes("s3://absent-bucket/x", b"1")


def test_removing(server: Server) -> None:
    for name in ("a/1", "a/b/2", "ab/3"):
        storage.write_bytes(f"{RUNS}/{name}", b"x")
    storage.remove(f"{RUNS}/a/1")
    assert storage.list_dir(f"{RUNS}/a") == [f"{RUNS}/a/b"]
    storage.remove(f"{RUNS}/a")
    assert not storage.exists(f"{RUNS}/a")
    assert storage.list_dir(RUNS) == [f"{RUNS}/ab"]
    assert storage.read_bytes(f"{RUNS}/ab/3") == b"x"


def test_an_overwrite_replaces_the_whole(server: Server) -> None:
    storage.write_bytes(f"{RUNS}/x", b"a long first version")
    storage.write_bytes(f"{RUNS}/x", b"short")
    assert storage.read_bytes(f"{RUNS}/x") == b"short"


def test_globs(server: Server) -> None:
    for name in ("train/a.tsv", "train/b.tsv", "train/c.txt", "train/deep/d.tsv"):
        storage.write_bytes(f"{RUNS}/{name}", b"x")
    assert storage.expand([f"{RUNS}/train/*.tsv"]) == [f"{RUNS}/train/a.tsv", f"{RUNS}/train/b.tsv"]
    assert storage.expand([f"{RUNS}/train/**/*.tsv", f"{RUNS}/train/c.txt"]) == [
        *(f"{RUNS}/train/a.tsv", f"{RUNS}/train/b.tsv", f"{RUNS}/train/c.txt", f"{RUNS}/train/deep/d.tsv"),
    ]


def test_a_model_folder_goes_and_comes_back(server: Server, tmp_path: Path) -> None:
    files = {
        "config.json": b"{}",
        "model.safetensors": bytes(range(256)) * 50_000,
        "manifest.json": b"{}",
        "tokenizer/vocab.txt": b"a",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    storage.upload_dir(str(tmp_path), f"{RUNS}/model")
    requests = re.findall(r'"(?:PUT|POST) /\S*?/runs/model/([\w./]+)', server.log.read_text())
    assert list(dict.fromkeys(requests))[-1] == "manifest.json"
    with storage.local_dir(f"{RUNS}/model") as folder:
        copied = {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
        assert copied == files
    assert not Path(folder).exists()
    storage.rename_dir(f"{RUNS}/model", f"{RUNS}/student")
    assert not storage.exists(f"{RUNS}/model")
    assert storage.read_bytes(f"{RUNS}/student/tokenizer/vocab.txt") == b"a"


def test_seeking_reads_a_part(server: Server) -> None:
    storage.write_bytes(f"{RUNS}/big", b"".join(b"%08d" % i for i in range(100_000)))
    with storage.open_input(f"{RUNS}/big") as stream:
        stream.seek(8 * 70_000)
        assert stream.read(16) == b"0007000000070001"


def write_and_raise(path: str, megabytes: int) -> None:
    with storage.open_output(path) as stream:
        for _ in range(megabytes):
            stream.write(b"x" * (1 << 20))
        raise KeyError


def test_a_write_that_raises_leaves_no_object(server: Server) -> None:
    with pytest.raises(KeyError):
        write_and_raise(f"{RUNS}/half", 12)
    assert not storage.exists(f"{RUNS}/half")
    assert not server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


def test_a_write_that_raises_keeps_what_was_there(server: Server) -> None:
    storage.write_bytes(f"{RUNS}/manifest.json", b"the old one")
    with pytest.raises(KeyError):
        write_and_raise(f"{RUNS}/manifest.json", 1)
    assert storage.read_bytes(f"{RUNS}/manifest.json") == b"the old one"


def test_a_reader_never_sees_half_a_file(server: Server) -> None:
    storage.write_bytes(f"{RUNS}/x", b"old")
    with storage.open_output(f"{RUNS}/x") as stream:
        for _ in range(12):
            stream.write(b"n" * (1 << 20))
        assert storage.read_bytes(f"{RUNS}/x") == b"old"
    assert storage.info(f"{RUNS}/x").size == 12 << 20


OPERATIONS = {
    "read": lambda: storage.read_bytes(f"{RUNS}/x"),
    "write": lambda: storage.write_bytes(f"{RUNS}/x", b"here"),
    "list": lambda: storage.list_dir(RUNS),
    "exists": lambda: storage.exists(f"{RUNS}/x"),
}


def test_a_server_that_goes_away_for_a_while_is_waited_for(server: Server) -> None:
    """Fifteen seconds without a server, less than a restart takes: each operation takes longer, and does not fail."""
    storage.write_bytes(f"{RUNS}/x", b"here")
    server.tunnel.cut()
    back = threading.Timer(15, server.tunnel.mend)
    with ThreadPoolExecutor(len(OPERATIONS)) as pool:
        going = {name: pool.submit(operation) for name, operation in OPERATIONS.items()}
        back.start()
        found = {name: one.result() for name, one in going.items()}
    assert found == {"read": b"here", "write": None, "list": [f"{RUNS}/x"], "exists": True}
    assert storage.read_bytes(f"{RUNS}/x") == b"here"


def test_a_server_that_hangs_for_a_while_is_waited_for(server: Server) -> None:
    """Stopped, not gone: connections stay open and nothing answers."""
    storage.write_bytes(f"{RUNS}/x", b"here")
    server.process.send_signal(signal.SIGSTOP)
    back = threading.Timer(8, server.process.send_signal, [signal.SIGCONT])
    back.start()
    assert storage.read_bytes(f"{RUNS}/x") == b"here"
    back.join()


def test_a_server_that_stays_away_is_an_error_that_names_the_path_and_no_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write_bytes(f"{RUNS}/x", b"here")
    monkeypatch.setattr(file_systems, "_MAX_ATTEMPTS", 6)  # at most half a minute of pauses, not one and a half
    file_systems._remote_fs.cache_clear()
    server.tunnel.cut()
    started = time.monotonic()
    with pytest.raises(ResourceError, match=f"{RUNS}/x") as caught:
        storage.read_bytes(f"{RUNS}/x")
    file_systems._remote_fs.cache_clear()
    assert "test-key" not in str(caught.value)
    assert "test-secret" not in str(caught.value)
    # no figure of speed but the limit of a wait: minutes at most
    assert time.monotonic() - started < 600
    server.tunnel.mend()
    assert storage.read_bytes(f"{RUNS}/x") == b"here"


HOLD = """
import sys, time
from raykd.data.folder_lock import folder_lock
with folder_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(server: Server) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of a run's folder."""
    words = [sys.executable, "-c", HOLD, f"{RUNS}/a"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_run_folder_has_one_writer(holder: subprocess.Popen[str], server: Server) -> None:
    with pytest.raises(ResourceError, match=rf"by another command: process {holder.pid} on "):
        FolderLock(f"{RUNS}/a").acquire()
    holder.kill()
    holder.wait()
    with folder_lock(f"{RUNS}/a") as lock:
        assert storage.read_json(f"{RUNS}/a/lock.json")["pid"] == os.getpid()
        lock.check()
    assert "runs/a/lock.json" not in server.stored()


def test_a_lock_of_another_machine_ends_with_its_heartbeat(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock_module, "EXPIRY_SECONDS", 3.0)
    with folder_lock(f"{RUNS}/a"):
        theirs = storage.read_json(f"{RUNS}/a/lock.json")
    theirs |= {"machine": "other", "host": "node-7", "token": "theirs"}
    storage.write_json(f"{RUNS}/a/lock.json", theirs)
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(0.2):
            theirs["heartbeat"] += 1
            storage.write_json(f"{RUNS}/a/lock.json", theirs)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(ResourceError, match="on node-7"):
            FolderLock(f"{RUNS}/a").acquire()
    finally:
        stopped.set()
        thread.join()
    with folder_lock(f"{RUNS}/a") as lock:  # it is silent now
        lock.check()


def test_of_two_that_lock_at_once_one_is_refused() -> None:
    locks = [FolderLock(f"{RUNS}/a") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        ended = [pool.submit(lock.acquire) for lock in locks]
    errors = [one.exception() for one in ended]
    try:
        assert sorted(type(error) is ResourceError for error in errors) == [False, True]
    finally:
        for lock in locks:
            lock.release()


def test_a_holder_survives_a_store_that_is_away_and_keeps_its_lock(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock_module, "HEARTBEAT_SECONDS", 0.2)
    with folder_lock(f"{RUNS}/a") as lock:
        server.tunnel.cut()
        time.sleep(2)  # several heartbeats
        server.tunnel.mend()
        before = storage.read_json(f"{RUNS}/a/lock.json")["heartbeat"]
        deadline = time.monotonic() + 60
        while storage.read_json(f"{RUNS}/a/lock.json")["heartbeat"] == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)  # half a heartbeat
        lock.check()
