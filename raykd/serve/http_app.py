"""The HTTP endpoints, as a FastAPI application over a prediction service; it holds no model and does not know Ray."""

import logging
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import fastapi
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

import raykd
from raykd.serve.page import PAGE
from raykd.serve.predict_request import MAX_BODY_BYTES, RequestError, parse_request, too_large
from raykd.serve.prediction_service import OverloadedError, PredictionService
from raykd.serve.served_model import ModelDescription
from raykd.serve.serving_metrics import ServingMetrics

log = logging.getLogger(__name__)

MAX_WAITING = 256
"""Requests that are answered or wait at a time; more are refused with 503."""
RETRY_AFTER_S = 1
BODY_SCHEMA = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "inputs": {
            "description": "A text, or a list of texts or of pairs of texts.",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
                },
            ],
        },
        "parameters": {
            "type": "object",
            "properties": {"top_k": {"type": "integer", "minimum": 1}, "return_logits": {"type": "boolean"}},
        },
    },
    "example": {"inputs": ["a lovely film", "a dull one"], "parameters": {"top_k": 1}},
}


class PredictEndpoint:
    """``POST /predict``: reads, answers and counts requests, and refuses those it cannot answer."""

    def __init__(self, service: PredictionService, *, max_waiting: int) -> None:
        self.metrics = ServingMetrics()
        self._service = service
        self._max_waiting = max_waiting
        self._waiting = 0

    async def respond(self, request: Request) -> Response:
        """Answer a request, or refuse it with a sentence."""
        if self._waiting >= self._max_waiting:
            return self._refuse(503, f"{self._max_waiting} requests wait already; send this one again later")
        self._waiting += 1
        try:
            return await self._answer(request)
        except RequestError as error:
            return self._refuse(error.status, str(error))
        except OverloadedError as error:
            return self._refuse(503, str(error))
        except Exception as error:
            log.error("a request failed with %s", type(error).__name__)  # its message may hold the texts
            return self._refuse(500, "the server failed on this request; its log has the kind of error")
        finally:
            self._waiting -= 1

    async def _answer(self, request: Request) -> Response:
        start = time.perf_counter()
        made = await self._service.predict(parse_request(await _body(request)))
        seconds = time.perf_counter() - start
        self.metrics.answered(seconds=seconds, texts=len(made.answers), escalated=made.escalated, batch_rows=made.batch_rows)
        return JSONResponse(made.answers)

    def _refuse(self, status: int, message: str) -> Response:
        self.metrics.refused(status)
        headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else None
        return JSONResponse({"error": message}, status_code=status, headers=headers)


def build_app(service: PredictionService, info: dict[str, Any], *, max_waiting: int = MAX_WAITING) -> FastAPI:
    """The application: ``/``, ``/predict``, ``/info``, ``/healthz``, ``/metrics``, ``/docs``."""
    app = FastAPI(title="raykd", version=raykd.__version__, redoc_url=None)
    endpoint = PredictEndpoint(service, max_waiting=max_waiting)
    extra = {"requestBody": {"required": True, "content": {"application/json": {"schema": BODY_SCHEMA}}}}

    @app.post("/predict", openapi_extra=extra, response_model=None)
    async def predict(request: Request) -> Response:
        """Label texts: one list of labels and scores for each, best first."""
        return await endpoint.respond(request)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer when the server is up."""
        return {"status": "ok"}

    @app.get("/info")
    async def information() -> dict[str, Any]:
        """Describe the model: labels, settings, digest of its weights, versions."""
        return info

    @app.get("/metrics", response_class=Response)
    async def counters() -> Response:
        """Counters in Prometheus' text format."""
        return Response(endpoint.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index() -> HTMLResponse:
        return HTMLResponse(PAGE)

    return app


async def _body(request: Request) -> bytes:
    """The body, read no further than the limit. Raises RequestError."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > MAX_BODY_BYTES:
        raise too_large()
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise too_large()
        parts.append(part)
    return b"".join(parts)


def server_info(
    student: ModelDescription, teacher: ModelDescription | None, *, form: str, threshold: float | None
) -> dict[str, Any]:
    """The content of ``/info``."""
    info: dict[str, Any] = {"model": _model_info(student), "format": form, "versions": _versions()}
    if teacher is not None:
        info |= {"teacher": _model_info(teacher), "escalation_threshold": threshold}
    return info


def _model_info(description: ModelDescription) -> dict[str, Any]:
    """Description of a model without its place on the server."""
    from raykd.data import storage

    card = storage.join(description.folder, "README.md")
    return {
        "task": description.task,
        "labels": list(description.labels),
        "sequence_length": description.sequence_length,
        "temperature": description.settings.temperature,
        "weights_digest": description.digest,
        "card": storage.read_bytes(card).decode(errors="replace") if storage.exists(card) else None,
    }


def _versions() -> dict[str, str]:
    found = {"raykd": raykd.__version__, "python": platform.python_version(), "fastapi": fastapi.__version__}
    for name in ("ray", "torch", "transformers", "onnxruntime", "openvino"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
