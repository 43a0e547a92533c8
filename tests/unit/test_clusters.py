"""The configurations in clusters/: against Ray's own schema and autoscaler, KubeRay's CRD, bash, and against each other."""

import copy
import importlib
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import raykd
from raykd.config import load

ROOT = Path(__file__).parents[2]
CLUSTERS = ROOT / "clusters"
IMAGE = f"raykd:{raykd.__version__}"
RAY_UP = ["on-premises", "aws", "gcp"]
AUTOSCALED = ["aws", "gcp"]
KUBERAY = ["kuberay-cluster", "kuberay-job", "kuberay-service"]
SCRIPTS = ["local-node.sh", "slurm.sbatch"]


def read(name: str) -> dict[str, Any]:
    content = yaml.safe_load((CLUSTERS / f"{name}.yaml").read_text())
    assert isinstance(content, dict)
    return content


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """As `ray up` does it: defaults filled in, then validated against the schema that ships with Ray."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    ready: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(ready)
    return ready


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_accepts_the_configuration(name: str) -> None:
    config = prepared(read(name))
    assert config["docker"]["image"] == IMAGE
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    for role in ("head", "worker"):
        start = config[f"{role}_start_ray_commands"][-1]
        assert start.startswith("RAY_AUTH_MODE=token ray start")
        assert "--dashboard-host=127.0.0.1" in start or role == "worker"


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_refuses_a_misspelt_key(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout"):
        prepared({**read(name), "idle_timeout": 3})


def test_machines_of_ones_own_are_all_kept() -> None:
    config = prepared(read("on-premises"))
    [node_type] = config["available_node_types"].values()
    assert node_type["min_workers"] == node_type["max_workers"] == len(config["provider"]["worker_ips"])


@pytest.mark.parametrize("name", AUTOSCALED)
def test_the_head_takes_no_work_and_the_workers_have_gpus(name: str) -> None:
    types = prepared(read(name))["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["head"]["max_workers"] == 0
    assert types["gpu-spot"]["resources"] == types["gpu-on-demand"]["resources"] == {"CPU": 8, "GPU": 1}


@pytest.mark.parametrize(("name", "spot"), [("aws", "InstanceMarketOptions"), ("gcp", "scheduling")])
def test_spot_is_asked_for_where_it_says_so(name: str, spot: str) -> None:
    types = read(name)["available_node_types"]
    cheap, dear = (types[kind]["node_config"] for kind in ("gpu-spot", "gpu-on-demand"))
    assert "spot" in str(cheap[spot]).lower()
    assert "spot" not in str(dear).lower()
    assert {**cheap, spot: None} == {**dear, spot: None}


@pytest.mark.parametrize("name", AUTOSCALED)
@pytest.mark.parametrize(
    ("spot_availability", "expected"), [(1.0, {"gpu-spot": 6}), (0.0, {"gpu-on-demand": 4, "gpu-spot": 2})]
)
def test_rays_autoscaler_falls_back_to_on_demand(name: str, spot_availability: float, expected: dict[str, int]) -> None:
    """Ray's own scheduler, asked for six GPUs: spot by priority, on-demand after a spot launch failed, within the limits."""
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    config = read(name)
    config["available_node_types"]["gpu-spot"]["min_workers"] = 0
    scaling = AutoscalingConfig(config, skip_content_hash=True)
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=scaling.get_node_type_configs(),
        max_num_nodes=scaling.get_max_num_nodes(),
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make({"CPU": 1, "GPU": 1})] * 6),
        recoverable_resource_availabilities={"gpu-spot": spot_availability},
    )
    reply = ResourceDemandScheduler().schedule(request)
    assert {launch.instance_type: launch.count for launch in reply.to_launch} == expected
    assert not reply.infeasible_resource_requests


def ray_clusters() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "kuberay-cluster", read("kuberay-cluster")["spec"]
    yield "kuberay-job", read("kuberay-job")["spec"]["rayClusterSpec"]
    yield "kuberay-service", read("kuberay-service")["spec"]["rayClusterConfig"]


@pytest.mark.parametrize(("name", "kind"), list(zip(KUBERAY, ["RayCluster", "RayJob", "RayService"], strict=True)))
def test_kuberay_objects(name: str, kind: str) -> None:
    content = read(name)
    assert (content["apiVersion"], content["kind"]) == ("ray.io/v1", kind)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", content["metadata"]["name"])
    assert set(content) == {"apiVersion", "kind", "metadata", "spec"}


@pytest.mark.parametrize(("name", "spec"), list(ray_clusters()), ids=KUBERAY)
def test_kuberay_pods(name: str, spec: dict[str, Any]) -> None:
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == pinned("ray")
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        [container] = pod["containers"]
        assert container["image"] == IMAGE
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert limits.get("nvidia.com/gpu", 0) == (0 if name == "kuberay-service" else 1), "a small student needs no GPU"
    ports = {
        port["name"]: port["containerPort"] for port in spec["headGroupSpec"]["template"]["spec"]["containers"][0]["ports"]
    }
    serve = {"serve": 8000} if name == "kuberay-service" else {}
    assert ports == {"gcs-server": 6379, "dashboard": 8265, "client": 10001, **serve}


def test_the_ray_job_runs_a_valid_job_on_what_every_pod_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = read("kuberay-job")["spec"]
    command, verb, job, *rest = shlex.split(spec["entrypoint"])
    assert (command, verb) == ("raykd", "run")
    assert rest[::2] == ["--set"] * (len(rest) // 2)
    monkeypatch.chdir(ROOT)
    config = load(job, rest[1::2])
    assert config.teacher is not None
    places = [config.storage, *config.data.train, *config.data.test, config.teacher.model, config.student.model]
    assert [place for place in places if not place.startswith("s3://")] == []
    assert config.compute.num_workers == spec["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"]


def serve_configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "serve", read("serve")
    yield "kuberay-service", yaml.safe_load(read("kuberay-service")["spec"]["serveConfigV2"])


@pytest.mark.parametrize(("name", "content"), list(serve_configurations()), ids=["serve", "kuberay-service"])
def test_ray_serve_accepts_the_application(
    name: str, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("fastapi", reason="the extra raykd[serve] is not installed")
    from ray.serve.schema import ServeDeploySchema

    from raykd.serve import served_application

    [application] = ServeDeploySchema.model_validate(content).applications
    module, _, builder = application.import_path.partition(":")
    assert callable(getattr(importlib.import_module(module), builder))
    assert application.args["student"].startswith("s3://"), "every node sees it"
    monkeypatch.setattr(served_application, "served_folder", lambda path: path)
    settings = served_application.read_arguments(application.args)
    assert settings.replicas == (1, 4)
    assert content["http_options"]["port"] == 8000
    assert content["logging_config"] == {"enable_access_log": False}
    if name == "kuberay-service":
        assert application.args == read("serve")["applications"][0]["args"], "the same application"


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_against_the_crd(name: str) -> None:
    path = os.environ.get("RAYKD_KUBERAY_CRD")
    if not path:
        pytest.skip("RAYKD_KUBERAY_CRD is not set: KubeRay's CRDs are in no package; point it at a file or folder with them")
    content = read(name)
    check_against_crd(content, crd_schema(Path(path), content["kind"]))


def crd_schema(path: Path, kind: str) -> dict[str, Any]:
    """The ray.io/v1 schema of a kind, from a CRD file or a folder of them."""
    files = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
    for file in files:
        for crd in yaml.safe_load_all(file.read_text()):
            if crd and crd.get("kind") == "CustomResourceDefinition" and crd["spec"]["names"]["kind"] == kind:
                [version] = [version for version in crd["spec"]["versions"] if version["name"] == "v1"]
                schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
                return schema
    raise AssertionError(f"no CustomResourceDefinition of {kind} in {path}")


def check_against_crd(content: dict[str, Any], schema: dict[str, Any]) -> None:
    jsonschema.Draft7Validator(strict(schema)).validate({key: value for key, value in content.items() if key != "metadata"})


def strict(schema: Any) -> Any:
    """An API server drops fields that its schema does not know; here they are an error."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copied = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        copied["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields", False))
    return copied


def test_the_crd_check_finds_what_is_wrong(tmp_path: Path) -> None:
    spec = {"type": "object", "required": ["rayVersion"], "properties": {"rayVersion": {"type": "string"}}}
    schema = {
        "type": "object",
        "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "spec": spec},
    }
    version = {"name": "v1", "schema": {"openAPIV3Schema": schema}}
    crd = {"kind": "CustomResourceDefinition", "spec": {"names": {"kind": "RayCluster"}, "versions": [version]}}
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump_all([{"kind": "Namespace"}, crd]))
    found = crd_schema(tmp_path, "RayCluster")
    good = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "x"}, "spec": {"rayVersion": "2.60.0"}}
    check_against_crd(good, found)
    for bad in ({"rayVersion": 2.6}, {"rayVersion": "2.60.0", "rayVersoin": ""}, {}):
        with pytest.raises(jsonschema.ValidationError):
            check_against_crd({**good, "spec": bad}, found)
    with pytest.raises(AssertionError, match="no CustomResourceDefinition of RayJob"):
        crd_schema(tmp_path / "crd.yaml", "RayJob")


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_parse(name: str) -> None:
    done = subprocess.run(["bash", "-n", str(CLUSTERS / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "set -euo pipefail" in (CLUSTERS / name).read_text()


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    shellcheck = shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, str(CLUSTERS / name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_no_script_stops_other_peoples_rays() -> None:
    for name in SCRIPTS:
        code = [line.partition("#")[0] for line in (CLUSTERS / name).read_text().splitlines()]
        assert not [line for line in code if "ray stop" in line or "pkill" in line]


RAY = """#!/usr/bin/env bash
echo "$@" >"$RAYKD_TEST_ARGUMENTS"
echo "Next steps"
echo "  ray start --address=..."
if [ -n "${RAYKD_TEST_FAILS:-}" ]; then exit 1; fi
echo "Process exit logs will be saved to: /tmp/x"
echo "Some Ray subprocesses exited unexpectedly"
"""


def start_local_node(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """clusters/local-node.sh with a stand-in for Ray."""
    (folder / "ray").write_text(RAY)
    (folder / "ray").chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "RAYKD_"))}
    own = {"PATH": f"{folder}:{kept['PATH']}", "RAY_AUTH_TOKEN": "a", "RAYKD_TEST_ARGUMENTS": str(folder / "arguments")}
    command = [str(CLUSTERS / "local-node.sh")]
    return subprocess.run(command, env={**kept, **own, **variables}, capture_output=True, text=True, check=False)


def test_the_local_node_says_how_to_submit_and_how_to_stop(tmp_path: Path) -> None:
    done = start_local_node(tmp_path, RAYKD_DASHBOARD_PORT="8300")
    submit, stop, later = done.stdout.splitlines()
    assert submit == 'Ray is up: raykd submit JOB --address http://127.0.0.1:8300 --root "$PWD"'
    assert re.fullmatch(r"Ctrl-C ends it; so does: kill \d+", stop)
    assert later == "Some Ray subprocesses exited unexpectedly"
    assert "--min-worker-port=10002 --max-worker-port=19999" in (tmp_path / "arguments").read_text()
    failed = start_local_node(tmp_path, RAYKD_TEST_FAILS="1")
    assert (failed.returncode, failed.stdout) == (1, "Next steps\n  ray start --address=...\n")


@pytest.mark.parametrize("name", ["PORT", "DASHBOARD_PORT", "AGENT_PORT", "CLIENT_PORT"])
def test_ports_of_the_local_node_lie_outside_those_of_workers(name: str, tmp_path: Path) -> None:
    done = start_local_node(tmp_path, **{f"RAYKD_{name}": "12000"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"RAYKD_{name} = 12000 lies among the workers' ports, 10002 to 19999; give another port, or")
    assert not (tmp_path / "arguments").exists()
    moved = start_local_node(tmp_path, **{f"RAYKD_{name}": "12000", "RAYKD_MIN_WORKER_PORT": "13000"})
    assert moved.returncode == 0


def test_slurm_shares_machines_with_other_jobs() -> None:
    """Ports and the temp folder come from the job's number: two jobs on one machine do not meet."""
    text = (CLUSTERS / "slurm.sbatch").read_text()
    [formula] = re.findall(r"^base=\$\(\((.*)\)\)$", text, re.MULTILINE)
    ports = [eval(formula, {"SLURM_JOB_ID": number}) for number in range(1000, 2000)]
    used = {int(offset) for offset in re.findall(r"\$\(\(base \+ (\d+)\)\)", text)}
    assert used == set(range(1, 8))
    assert sorted(ports) == list(range(20000, 30000, 10))
    assert min(ports) > 1024
    assert max(ports) + max(used) < 32768
    assert "/tmp/ray-$SLURM_JOB_ID" in text


def pinned(package: str) -> str:
    [version] = re.findall(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    return str(version)


def dockerfile() -> list[tuple[str, str]]:
    """Instructions and their arguments, continuation lines joined, comments dropped."""
    lines = [line for line in (CLUSTERS / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def test_the_image_can_be_what_the_others_name() -> None:
    """Structure only: no Docker is at hand where these tests run, so the image is built by its users first."""
    steps = dockerfile()
    words = [word for word, _ in steps]
    assert set(words) <= {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11"
    assert steps[0] == ("FROM", "python:3.11-slim-bookworm")
    assert f"-t {IMAGE}" in (CLUSTERS / "Dockerfile").read_text()
    runs = [argument for word, argument in steps if word == "RUN"]
    assert all("--no-cache-dir" in run for run in runs if "pip install" in run)
    assert "--constraint /opt/raykd/constraints.txt" in " ".join(runs)
    assert all("rm -rf /var/lib/apt/lists" in run for run in runs if "apt-get" in run)
    assert {"wget", "rsync", "openssh-client"} <= set(" ".join(runs).split())
    user = words.index("USER")
    assert steps[user][1] == "1000:100"
    assert "RUN" not in words[user:]
    environment = " ".join(argument for word, argument in steps if word == "ENV")
    assert "HOME=/home/ray" in environment
    assert "RAY_AUTH_MODE=token" in environment
    assert not re.search(r"KEY|SECRET|PASSWORD|TOKEN=", environment)


def test_what_the_image_copies_is_there_and_enters_the_build() -> None:
    allowed = {line[1:] for line in (CLUSTERS / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {
        source
        for word, argument in dockerfile()
        if word == "COPY"
        for source in [part for part in argument.split() if not part.startswith("--")][:-1]
    }
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in allowed, source


def test_the_image_user_is_the_pods_user() -> None:
    for _, spec in ray_clusters():
        for group in [spec["headGroupSpec"], *spec["workerGroupSpecs"]]:
            context = group["template"]["spec"]["securityContext"]
            assert (context["runAsUser"], context["fsGroup"]) == (1000, 100)


def test_cloud_libraries_are_pinned() -> None:
    assert f"boto3=={pinned('boto3')}" in " ".join(read("aws")["head_setup_commands"])
    assert re.search(r"google-api-python-client==\d", " ".join(read("gcp")["head_setup_commands"]))


def test_every_configuration_names_one_image_and_files_that_exist() -> None:
    for path in sorted(CLUSTERS.iterdir()):
        text = path.read_text()
        assert set(re.findall(r"\braykd:\d[\w.]*", text)) <= {IMAGE}, path.name
        for named in re.findall(r"\b(?:clusters|jobs)/[\w-]+\.(?:yaml|sh|sbatch)\b", text):
            assert (ROOT / named).is_file(), f"{path.name} names {named}"


def test_every_configuration_is_documented_and_tested() -> None:
    names = {path.name for path in CLUSTERS.iterdir()}
    tested = {f"{name}.yaml" for name in [*RAY_UP, *KUBERAY, "serve"]} | set(SCRIPTS)
    assert names == tested | {"Dockerfile", "Dockerfile.dockerignore", "runtime-env.yaml"}
    guide = (ROOT / "docs" / "clusters.md").read_text()
    assert [name for name in names - {"Dockerfile.dockerignore"} if f"clusters/{name}" not in guide] == []


def test_no_secret_and_no_machine_is_named() -> None:
    for path in sorted(CLUSTERS.iterdir()):
        text = path.read_text()
        assert not re.search(r"AKIA[0-9A-Z]{16}|hf_\w{20}|BEGIN [A-Z ]*PRIVATE KEY", text), path.name
        addresses = set(re.findall(r"\b\d{1,3}(?:\.\d{1,3}){3}\b", text))
        assert {address for address in addresses if not address.startswith("192.0.2.")} <= {"127.0.0.1", "0.0.0.0"}, path.name
