"""Lines in, lines out."""

import io
import json

from raykd.serve.prediction_service import PredictionService, score_in_process
from raykd.serve.stdin_loop import answer_lines


def test_each_line_is_answered_in_its_place(served):
    service = PredictionService(served.description, score_in_process(served))
    output = io.StringIO()
    lines = ['{"inputs": "good film"}\n', "\n", "no json\n", '{"inputs": ["a", "b"], "parameters": {"top_k": 1}}\n']
    assert answer_lines(service, lines, output) == 1
    first, second, third = map(json.loads, output.getvalue().splitlines())
    assert len(first) == 1
    assert len(first[0]) == 2
    assert second["error"].startswith("the body is not JSON")
    assert [len(entries) for entries in third] == [1, 1]
