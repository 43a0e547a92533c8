"""The server on Ray Serve over real HTTP: concurrent clients, a killed replica, overload."""

import asyncio
import socket
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from tests.served_answers import TEXTS, ask_all, local_answers, same
from tests.unit.serve.conftest import save_model

pytest.importorskip("fastapi", reason="the extra raykd[serve] is not installed")


def median_confidence(student):
    """The threshold that sends half of the texts to the teacher."""
    from raykd.serve.served_model import ServedModel

    model = ServedModel.load(student)
    return float(np.median(model.description.confidence(model.logits(model.encode(TEXTS)))))


@pytest.fixture(scope="module")
def server(ray_session, small_world, tmp_path_factory):
    """A student of two replicas with a teacher behind it; the address and the two model folders."""
    from ray import serve

    from raykd.models.model_settings import ModelSettings, write_settings
    from raykd.serve.deployment import from_arguments

    folder = tmp_path_factory.mktemp("serve")
    student = save_model(folder / "student", small_world["student"], settings=ModelSettings(32, 1.3))
    write_settings(student, ModelSettings(32, 1.3, median_confidence(student)))
    teacher = save_model(folder / "teacher", small_world["student"], seed=5, layers=2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    application = from_arguments({"student": student, "teacher": teacher, "replicas": 2})
    serve.run(application, name="raykd", route_prefix="/")
    yield f"http://127.0.0.1:{port}", student, teacher
    serve.shutdown()


@pytest.mark.ray
def test_concurrent_clients_have_the_answers_of_the_models_alone(server):
    address, student, teacher = server
    expected = local_answers(student, teacher, TEXTS)
    assert {one[0]["answered_by"] for one in expected} == {"student", "teacher"}
    replies = asyncio.run(ask_all(address, [*({"inputs": text} for text in TEXTS), {"inputs": TEXTS}]))
    assert {reply.status_code for reply in replies} == {200}
    for reply, one in zip(replies[:-1], expected, strict=True):
        same(reply.json()[0], one)
    for answer, one in zip(replies[-1].json(), expected, strict=True):
        same(answer, one)
    metrics = httpx.get(f"{address}/metrics").text
    assert "raykd_escalations_total" in metrics
    assert 0 < httpx.get(f"{address}/info").json()["escalation_threshold"] < 1


@pytest.mark.ray
def test_a_killed_replica_loses_no_accepted_request(server):
    address, student, teacher = server
    expected = local_answers(student, teacher, TEXTS)
    killed = []

    async def kill():
        """End the process of one replica of the student while requests are on their way."""
        import ray

        await asyncio.sleep(0.2)
        actors = [actor for actor in ray.util.list_named_actors(all_namespaces=True) if "#student#" in actor["name"]]
        ray.kill(ray.get_actor(actors[0]["name"], namespace=actors[0]["namespace"]), no_restart=True)
        killed.append(actors[0]["name"])

    bodies = [{"inputs": text} for text in TEXTS * 5]
    replies = asyncio.run(ask_all(address, bodies, meanwhile=kill))
    assert killed
    assert [reply.status_code for reply in replies] == [200] * len(bodies)
    for reply, one in zip(replies, expected * 5, strict=True):
        same(reply.json()[0], one)


@pytest.mark.ray
def test_the_configuration_file_deploys_beside_other_applications(server):
    """`clusters/serve.yaml` with another folder: what `serve deploy` posts to the controller."""
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    address, student, _ = server
    content = yaml.safe_load((Path(__file__).parents[2] / "clusters/serve.yaml").read_text())
    (application,) = content["applications"]
    application |= {"name": "from-file", "route_prefix": "/from-file"}
    application["args"] |= {"student": student, "replicas": [1, 1]}
    del content["http_options"], content["proxy_location"]  # of the proxy that is up
    _get_global_client().deploy_apps(ServeDeploySchema(**content), _blocking=True)
    reply = httpx.post(f"{address}/from-file/predict", json={"inputs": TEXTS[:3]}, timeout=60)
    assert reply.status_code == 200
    for answer, expected in zip(reply.json(), local_answers(student, None, TEXTS[:3]), strict=True):
        same(answer, expected)
    assert httpx.post(f"{address}/predict", json={"inputs": TEXTS[0]}, timeout=60).status_code == 200
