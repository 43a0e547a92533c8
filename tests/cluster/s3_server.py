"""An S3-compatible server, a process of its own on loopback, behind a tunnel that a test can cut."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.heads import client_environment
from tests.cluster.processes import free_ports, running, wait_until
from tests.cluster.tunnel import Tunnel

BUCKET = "raykd-test"


@dataclass(frozen=True)
class Server:
    process: Any
    client: Any
    """boto3's, straight to the server: a second opinion on what lies there."""
    tunnel: Tunnel
    """Tunnel through which raykd reaches the server."""
    log: Path
    """The server's: a line for each request."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that a client needs."""
        return {
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.tunnel.port}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def stored(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """The server with one empty bucket."""
    import boto3

    [port] = free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = folder / "server.log"
    with running(command, log=log, env=client_environment(folder)) as process, Tunnel(port) as tunnel:
        wait_until(lambda: listens(port), "the S3 server", poll_s=0.1)
        keys = {"aws_access_key_id": "test-key", "aws_secret_access_key": "test-secret"}
        client = boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{port}", **keys)
        client.create_bucket(Bucket=BUCKET)
        yield Server(process, client, tunnel, log)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
