"""The model card of a student: ``README.md`` in its model folder, with the comparison's table."""

from raykd.report.cells import LONG_ROLES, caption, legend
from raykd.report.comparison import Comparison
from raykd.report.markdown import markdown_table
from raykd.report.system import Role

FRONT_MATTER = """---
library_name: transformers
pipeline_tag: text-classification
tags:
- knowledge-distillation
- raykd
---
"""

OPEN = 'from transformers import pipeline\n\npipeline("text-classification", model="path/of/this/folder"'
USE = {"accuracy": f"{OPEN})", "exact_match": f"{OPEN}, top_k=None)"}
"""How to open it, by the headline metric of its comparison."""


def model_card(comparison: Comparison, *, role: Role, seed: int | None, objective: str, base: str) -> str:
    """The card of one student of ``comparison``; ``objective`` is what it minimised, ``base`` the weights it began from."""
    kind = "Any number of these labels a row" if comparison.headline == "exact_match" else "One of these labels a row"
    sections = [
        f"# {comparison.name}: {LONG_ROLES[role]}" + ("" if seed is None else f", seed {seed}"),
        f"{kind}: {', '.join(f'`{label}`' for label in comparison.labels)}.",
        f"```python\n{USE[comparison.headline]}\n```",
        f"Started from `{base}`; minimised {objective}.",
        "## How good it is",
        comparison.verdict(),
        f"{caption(comparison)}. Figures of several seeds are means.",
        markdown_table(comparison),
        legend(comparison),
        *(f"> Warning: {warning}" for warning in comparison.warnings),
        "\n".join(f"- {key}: {value}" for key, value in comparison.environment.items()),
    ]
    return FRONT_MATTER + "\n" + "\n\n".join(section for section in sections if section) + "\n"
