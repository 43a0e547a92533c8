"""Programs that tests run as Ray drivers on a host, and the environment they run in."""

import json
import secrets
from pathlib import Path

from tests.cluster.heads import ROOT, client_environment

ON_EACH_HOST = """
import json, ray, psutil, socket
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

@ray.remote
def addresses():
    return [a.address for some in psutil.net_if_addrs().values() for a in some if a.family == socket.AF_INET]

ray.init(log_to_driver=False, logging_level="ERROR")
seen = {}
for node in [node for node in ray.nodes() if node["Alive"]]:
    here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    seen[node["NodeManagerAddress"]] = ray.get(addresses.options(scheduling_strategy=here).remote(), timeout=120)
print("SEEN " + json.dumps(seen))
"""


def seen_by(output: str) -> dict[str, list[str]]:
    [line] = [line for line in output.splitlines() if line.startswith("SEEN ")]
    seen: dict[str, list[str]] = json.loads(line.removeprefix("SEEN "))
    return seen


def cluster_environment(home: Path) -> dict[str, str]:
    """Token authentication on, a token of the test's own, and the repository's code for drivers and workers."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {**client_environment(home), **token, "PYTHONPATH": str(ROOT)}
