"""The models on Ray Serve, a deployment of replicas for each, and the HTTP application that asks them."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve
from ray.serve.exceptions import BackPressureError

from raykd.data.tokenizer import Text
from raykd.lost_processes import lost_process_errors
from raykd.serve.http_app import MAX_WAITING, build_app, server_info
from raykd.serve.prediction_service import OverloadedError, ScoredTexts, ScoreTexts
from raykd.serve.served_application import FILE, ServedApplication, check_served, read_arguments, service_of
from raykd.serve.served_model import TOKEN_BUDGET, Format, ServedModel, TokenRow
from raykd.serve.shared_calls import CALLS, SharedCalls
from raykd.serve.token_batches import padded_tokens, token_batches

SWITCH_S = 0.0005
"""Seconds after which the thread of the forward passes gets Python's lock from the one that tokenises, 0.005 by default."""
ONGOING, QUEUED = 64, 256
"""Calls that a replica works on, and that wait for one; more are refused."""
RETRY_S, RETRIES = 0.2, 300
"""A call whose replica died is sent again until another one is up: a minute at least."""


class ModelReplica:
    """One copy of a model; rows of concurrent calls share its forward passes."""

    def __init__(self, folder: str, form: Format, int8: bool, threads: int) -> None:
        self._model = ServedModel.load(folder, form=form, int8=int8, threads=threads)
        sys.setswitchinterval(SWITCH_S)
        self._budget = max(TOKEN_BUDGET, self._model.description.sequence_length)

    async def score(self, texts: Sequence[Text]) -> ScoredTexts:
        """Score the texts of one call."""
        rows = self._model.encode(texts)
        parts = token_batches([len(row.ids) for row in rows], self._budget)
        scored = await asyncio.gather(*(self._forward([rows[index] for index in part]) for part in parts))
        logits = np.empty((len(rows), len(self._model.description.labels)), np.float32)
        sizes = np.empty(len(rows), np.int64)
        for part, (found, size) in zip(parts, scored, strict=True):
            logits[part], sizes[part] = found, size
        return ScoredTexts(logits, tuple(row.truncated for row in rows), tuple(sizes.tolist()))

    @serve.batch(  # type: ignore[untyped-decorator]
        max_batch_size=TOKEN_BUDGET,
        batch_wait_timeout_s=0,  # calls are shared already
        batch_size_fn=lambda parts: padded_tokens([len(row.ids) for part in parts for row in part]),
    )
    async def _forward(self, parts: list[list[TokenRow]]) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """Score parts of several calls in one go, sorted by length; each gets its logits and their batches' rows back."""
        rows = [row for part in parts for row in part]
        logits, sizes = await asyncio.to_thread(self._model.score, rows, budget=self._budget)
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return list(zip(np.split(logits, ends), np.split(sizes, ends), strict=True))


def retried(handle: Any) -> ScoreTexts:
    """Score through a deployment; a call whose replica died is sent to another. Raises OverloadedError."""

    async def score(texts: Sequence[Text]) -> ScoredTexts:
        for _ in range(RETRIES):
            try:
                scored: ScoredTexts = await handle.score.remote(list(texts))
            except lost_process_errors():
                await asyncio.sleep(RETRY_S)
            except BackPressureError:
                raise OverloadedError("the model has more requests than it can answer; send this one again later") from None
            else:
                return scored
        raise OverloadedError("no replica of the model is up; send this request again later")

    return score


def http_app(settings: ServedApplication, student: Any, teacher: Any = None) -> FastAPI:
    """The HTTP application over the deployments of the models."""
    students = SharedCalls(retried(student), calls=CALLS * settings.replicas[1])
    teachers = None if teacher is None else SharedCalls(retried(teacher), calls=CALLS)
    service = service_of(settings, students.score, None if teachers is None else teachers.score)
    behind = service.teacher
    info = server_info(
        service.student,
        behind.description if behind else None,
        form=settings.form,
        threshold=behind.threshold if behind else None,
    )
    return build_app(service, info)


class Ingress:
    """Answers HTTP on a cluster; asks the models through their deployments."""

    def __init__(self, settings: ServedApplication, student: Any, teacher: Any = None) -> None:
        self._app = http_app(settings, student, teacher)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The application of this replica."""
        return self._app


def bind_models(settings: ServedApplication) -> list[Any]:
    """The bound deployments of the student and, where there is one, the teacher."""
    low, high = settings.replicas
    scaling: dict[str, Any] = {"num_replicas": low}
    if high > low:
        scaling = {"autoscaling_config": {"min_replicas": low, "max_replicas": high, "target_ongoing_requests": CALLS}}
    limits = {"max_ongoing_requests": ONGOING, "max_queued_requests": QUEUED, "health_check_period_s": 2}
    actor = {"num_cpus": settings.threads}
    student = serve.deployment(name="student", ray_actor_options=actor, **limits, **scaling)(ModelReplica)
    models = [student.bind(settings.student, settings.form, settings.int8, settings.threads)]
    if settings.teacher is not None:
        teacher = serve.deployment(name="teacher", ray_actor_options=actor, **limits)(ModelReplica)
        models.append(teacher.bind(settings.teacher, "torch", False, settings.threads))
    return models


def deploy_models(settings: ServedApplication) -> FastAPI:
    """Deploy the models alone; the HTTP application that asks them from this process.

    Ray Serve's own way to an ingress is a proxy process and a replica behind it; a request costs 5 ms of processor time there.
    """
    models = zip(("student", "teacher"), bind_models(settings), strict=False)  # a teacher is there in a cascade only
    return http_app(settings, *(serve.run(model, name=f"raykd-{name}", route_prefix=None) for name, model in models))


def application(settings: ServedApplication) -> Any:
    """The bound Ray Serve application, with an ingress."""
    ingress = serve.deployment(
        name="ingress", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=4 * MAX_WAITING,
        logging_config={"enable_access_log": False},
    )(serve.ingress()(Ingress))  # fmt: skip
    return ingress.bind(settings, *bind_models(settings))


def from_arguments(arguments: dict[str, Any]) -> Any:
    """The application of a Serve configuration file, whose ``args`` are the fields of :class:`ServedApplication`.

    Raises ConfigError, ModelError for wrong values, and for folders of models that do not fit.
    """
    settings = read_arguments(arguments)
    check_served(settings, FILE)
    return application(settings)
