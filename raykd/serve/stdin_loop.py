"""``raykd serve --stdin``: a request a line, an answer a line."""

import asyncio
import json
from collections.abc import Iterable
from typing import TextIO

from raykd.serve.predict_request import RequestError, parse_request
from raykd.serve.prediction_service import PredictionService


def answer_lines(service: PredictionService, lines: Iterable[str], output: TextIO) -> int:
    """Answer each line, which is the body of a ``POST /predict``, as the server does; errors are ``{"error": sentence}``.

    Returns the number of lines that had an error. Empty lines are passed over.
    """
    failed = 0
    for line in lines:
        if not line.strip():
            continue
        content: object
        try:
            content = asyncio.run(service.predict(parse_request(line.encode("utf-8", "surrogatepass")))).answers
        except RequestError as error:
            content = {"error": str(error)}
            failed += 1
        output.write(json.dumps(content, ensure_ascii=False) + "\n")
        output.flush()
    return failed
