"""The model card of a student: ``README.md`` in its model folder, with the comparison's table."""

from raykd.report.cells import caption, legend, system_title
from raykd.report.comparison import Comparison
from raykd.report.markdown import markdown_table, pipe_table, students_section
from raykd.report.verdict_table import has_many_verdicts, judged_table, verdict_lines
from raykd.task_kinds import TaskKind, task_kind

MAX_LABELS = 50
"""Labels that a card lists."""
FRONT_MATTER = """---
library_name: transformers
pipeline_tag: text-classification
tags:
- knowledge-distillation
- raykd
---
"""


def model_card(comparison: Comparison, *, variant: str, seed: int | None, objective: str, base: str) -> str:
    """The card of one student of ``comparison``; ``objective`` is what it minimised, ``base`` the weights it began from."""
    kind = task_kind(comparison.task)
    sections = [
        f"# {comparison.name}: {system_title('student', variant)}" + ("" if seed is None else f", seed {seed}"),
        _labels(comparison),
        usage(kind),
        f"Started from `{base}`; minimised {objective}.",
        "## Evaluation",
        "\n\n".join(line.text for line in verdict_lines(comparison)),
        pipe_table(*judged_table(comparison)) if has_many_verdicts(comparison) else "",
        f"{caption(comparison)}. Metrics of several seeds are means.",
        markdown_table(comparison),
        legend(comparison),
        students_section(comparison),
        *(f"> Warning: {warning}" for warning in comparison.warnings),
        "\n".join(f"- {key}: {value}" for key, value in comparison.environment.items()),
    ]
    return FRONT_MATTER + "\n" + "\n\n".join(section for section in sections if section) + "\n"


def usage(kind: TaskKind) -> str:
    """The call that loads the model of a card, as Markdown."""
    return (
        f'```python\nfrom transformers import pipeline\n\npipeline("text-classification", model="path/of/this/folder"'
        f"{kind.pipeline_arguments})\n```"
    )


def _labels(comparison: Comparison) -> str:
    """The labels of a row; of many, the first."""
    shown = comparison.labels[:MAX_LABELS]
    hidden = len(comparison.labels) - len(shown)
    more = f" {hidden:,} more labels are in config.json (id2label)." if hidden else ""
    return task_kind(comparison.task).describe_labels(shown) + more
