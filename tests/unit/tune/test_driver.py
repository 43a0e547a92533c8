"""The parts of a search before Ray runs."""

import pytest
import ray

from raykd import cluster
from raykd.progress import Terminal
from raykd.tune.driver import Search
from raykd.tune.resource_request import cpus_to_start
from tests.unit.tune.small_search import search


@pytest.mark.parametrize(("given", "cpus"), [({}, 1), ({"compute.cpus_per_worker": 3}, 3), ({"compute.threads": 2}, 2)])
def test_all_parts_of_a_search_count_on_the_same_number_of_cpus(given, cpus, monkeypatch):
    """The shared teacher had half of the cores, more than the Ray that is started for the trials has."""
    for module in ("raykd.cluster", "raykd.tune.resource_request"):
        monkeypatch.setattr(f"{module}.local_cores", lambda: 16)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    config = search(space={"student.objective.temperature": {"kind": "choice", "values": [1.0, 2.0]}})
    base = config.base.model_copy(update={"compute": config.base.compute.model_copy(update=_section(given))})
    one = Search(config.model_copy(update={"base": base}), Terminal())
    assert one.config.base.compute.worker_cpus == cpus
    assert one.shared.pipeline.runner.compute.worker_cpus == cpus
    assert cluster.placement_of(one.shared.pipeline.runner.compute, 1).cpus == cpus
    assert cpus_to_start(one.config) >= cpus + cluster.DATA_CPUS


def _section(given):
    return {name.removeprefix("compute."): value for name, value in given.items()}
