"""The server over HTTP: throughput and latency with 1, 8 and 64 clients, beside a plain server and bare ONNX Runtime.

The plain server is FastAPI around a transformers pipeline, one request a call. Bare ONNX Runtime runs the same texts in one
process, tokenisation included: in calls of as many texts as 64 clients have in one call of the server, and all texts at once,
sorted by length. All use as many threads. Run on an idle machine:

    python -m benchmarks.serving runs/demo/students/kd-seed1/model --texts texts.txt --format onnx
"""

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from raykd.serve.served_model import ServedModel
from raykd.serve.shared_calls import CALLS

CLIENTS = (1, 8, 64)
START_S = 180
PLAIN = """
import sys
import torch, uvicorn
from fastapi import FastAPI, Request
from transformers import pipeline

torch.set_num_threads(int(sys.argv[3]))
classify = pipeline("text-classification", model=sys.argv[1], top_k=None, truncation=True)
app = FastAPI()

@app.get("/healthz")
def healthz():
    return {}

@app.post("/predict")
def predict(body: dict):
    texts = body["inputs"]
    return classify(texts if isinstance(texts, list) else [texts])

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
"""


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a trained model; with --format onnx one that raykd export has written to")
    parser.add_argument("--texts", required=True, help="text file, one text a line")
    parser.add_argument("--format", default="onnx", choices=("onnx", "torch"))
    parser.add_argument("--seconds", type=float, default=20.0, help="of each number of clients")
    parser.add_argument("--texts-per-request", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    lines = [line for line in Path(arguments.texts).read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = random.Random(0).sample(lines, min(len(lines), 2000))
    threads = arguments.threads

    raykd = ["-m", "raykd.cli", "serve", arguments.model, "--format", arguments.format, "--threads", str(threads), "--port"]
    load = {"texts_per_request": arguments.texts_per_request, "seconds": arguments.seconds}
    found: dict[str, object] = {"texts": len(texts), **load, "threads": threads, "cpus": os.cpu_count()}
    same_calls = CLIENTS[-1] * arguments.texts_per_request // CALLS
    found["bare"] = bare = bare_throughputs(
        arguments.model, texts, form=arguments.format, threads=threads, calls={"same calls": same_calls, "sorted": len(texts)}
    )
    for name, command in (("raykd", raykd), ("plain", ["-c", PLAIN, arguments.model])):
        with server(command, threads=None if name == "raykd" else threads) as address:
            found[name] = {clients: drive(address, texts, clients=clients, **load) for clients in CLIENTS}
    served = found["raykd"]
    assert isinstance(served, dict)
    found["share_of_bare_at_64_clients"] = {
        name: round(served[CLIENTS[-1]]["texts_per_second"] / one, 3) for name, one in bare.items()
    }
    print(json.dumps(found, indent=1))


def bare_throughputs(
    model: str, texts: Sequence[str], *, form: str, threads: int, calls: Mapping[str, int]
) -> dict[str, float]:
    """Texts per second in this process for each number of texts in a call; the median of three passes, taken in turn."""
    served = ServedModel.load(model, form="onnx" if form == "onnx" else "torch", threads=threads)
    served.logits(served.encode(texts[:64]))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(3):
        for name, size in calls.items():
            start = time.perf_counter()
            for first in range(0, len(texts), size):
                served.logits(served.encode(texts[first : first + size]))
            seconds[name].append(time.perf_counter() - start)
    return {name: round(len(texts) / float(np.median(taken)), 1) for name, taken in seconds.items()}


@contextmanager
def server(command: Sequence[str], *, threads: int | None) -> Iterator[str]:
    """Start a server on a free port, yield its address when it answers, and end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    extra = [str(port), *([] if threads is None else [str(threads)])]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([sys.executable, *command, *extra], stdout=log, stderr=log)
        address = f"http://127.0.0.1:{port}"
        try:
            _wait(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{address}/healthz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)  # a start takes many seconds and is not measured
    raise SystemExit(f"the server at {address} did not answer within {START_S} s, or ended")


def drive(address: str, texts: Sequence[str], *, clients: int, texts_per_request: int, seconds: float) -> dict[str, float]:
    """Requests from so many clients, each waiting for its answer; a warm-up second is not counted."""
    port = int(address.rpartition(":")[2])
    times: list[float] = []
    refused = 0

    async def client(number: int, until: float, counted_from: float) -> None:
        nonlocal refused
        draw = random.Random(number)
        connection = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            start = time.perf_counter()
            chosen = draw.choices(texts, k=texts_per_request)
            status = await _post(*connection, {"inputs": chosen if texts_per_request > 1 else chosen[0]})
            if status != 200:
                refused += 1
            elif start >= counted_from:
                times.append(time.perf_counter() - start)
        connection[1].close()

    async def run() -> None:
        now = time.perf_counter()
        await asyncio.gather(*(client(number, now + 1 + seconds, now + 1) for number in range(clients)))

    asyncio.run(run())
    p50, p99 = np.percentile(times, [50, 99]) * 1000
    return {
        "texts_per_second": round(len(times) * texts_per_request / seconds, 1),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "refused": refused,
    }


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, content: object) -> int:
    """Send a request on an open connection and read the reply, whose status is returned.

    A client library takes 1 to 2 ms of the processor for a request, which the servers here would lack.
    """
    body = json.dumps(content).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    reply = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    await reader.readexactly(int(reply.partition("content-length:")[2].split(maxsplit=1)[0]))
    return int(reply.split(maxsplit=2)[1])


if __name__ == "__main__":
    main()
