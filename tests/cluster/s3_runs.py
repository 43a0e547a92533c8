"""A command whose results lie on an object store."""

import re
from dataclasses import dataclass
from typing import Any

from tests.cluster.runs import Run
from tests.cluster.s3_server import BUCKET, Server


@dataclass
class S3Run(Run):
    """A run whose results lie on an object store."""

    server: Server | None = None

    def checkpoints(self, task: str) -> list[int]:
        assert self.server is not None
        keys = self.server.stored(f"runs/{self.name}/{task}/checkpoints/")
        return sorted(int(found[1]) for found in (re.search(r"step-(\d+)/manifest.json$", key) for key in keys) if found)

    def weights(self) -> dict[str, Any]:
        from safetensors.torch import load

        assert self.server is not None
        keys = [key for key in self.server.stored(f"runs/{self.name}/") if key.endswith("model/model.safetensors")]
        bodies = {key.split("/")[-3]: self.server.client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
        return {f"{task}/{name}": tensor for task, body in bodies.items() for name, tensor in load(body).items()}
