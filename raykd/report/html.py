"""The comparison as one HTML file that needs nothing else: its style and its plots are in it."""

import base64
import logging
from collections.abc import Callable, Sequence
from html import escape

from raykd.report import plots
from raykd.report.cells import NONE, caption, legend, metric_header, table
from raykd.report.comparison import Comparison
from raykd.report.markdown import (
    CASCADE_NOTE,
    ONE_TEACHER,
    cascade_table,
    class_note,
    class_table,
    cost_table,
    export_table,
    has_cascades,
    has_classes,
    has_costs,
    metric_table,
    speed_table,
)
from raykd.report.variants import length_note, row_notes, variant_table
from raykd.report.verdict_table import verdict_lines, verdict_table
from raykd.task_kinds import task_kind

log = logging.getLogger(__name__)

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #1d232a;
  background: #fff; max-width: 66rem; margin: 2rem auto 4rem; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem; }
p { margin: .4rem 0; } .quiet { color: #59636e; font-size: .9rem; }
.verdict { border-left: 5px solid #7a838c; background: #f4f6f8; padding: .8rem 1rem; margin: 1rem 0; }
.verdict p:first-child { font-weight: 600; font-size: 1.08rem; }
.better { border-color: #2a9d5c; } .worse { border-color: #c8372d; } .not-separable { border-color: #d9a42b; }
.warning { border-left: 5px solid #d9a42b; background: #fdf8ea; padding: .5rem 1rem; margin: .5rem 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #e4e8ec; white-space: nowrap; }
th { border-bottom: 2px solid #9aa3ad; font-weight: 600; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
img { max-width: 100%; height: auto; display: block; margin: .5rem 0; }
"""


def html(comparison: Comparison) -> str:
    """The whole report as one HTML page."""
    body = [
        f"<h1>{escape(comparison.name)}</h1>",
        f'<p class="quiet">{escape(caption(comparison))}.</p>',
        _verdict(comparison),
        *(f'<div class="warning">{escape(_sentence(warning))}</div>' for warning in comparison.warnings),
        html_table(*table(comparison)),
        f'<p class="quiet">{escape(legend(comparison))}</p>',
        *_students(comparison),
        "<h2>Metrics over seeds</h2>",
        drawing(lambda: plots.metric_plot(comparison), "Metrics of each system with their spread over seeds"),
        '<p class="quiet">A dot is one seed, the tick their mean, the bar one standard deviation to both sides. Axes do not '
        "start at zero.</p>",
        *_differences(comparison),
        *_training(comparison),
        *_calibration(comparison),
        *_cascades(comparison),
        "<h2>All metrics</h2>",
        html_table(*metric_table(comparison)),
        *_classes(comparison),
        *_speed(comparison),
        *_teacher(comparison),
        *_environment(comparison.environment),
    ]
    return page(comparison.name, body)


def page(title: str, body: Sequence[str]) -> str:
    """A page in a report's style."""
    lines = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        *body,
        "</body>\n</html>\n",
    ]
    return "\n".join(lines)


def _verdict(comparison: Comparison) -> str:
    lines = verdict_lines(comparison)
    kinds = [(line.verdict or "").replace(" ", "-") for line in lines]
    boxes = [[line.text] for line in lines]
    boxes[-1] += comparison.notes
    return "".join(
        f'<div class="verdict {kind}">{"".join(f"<p>{escape(line)}</p>" for line in box)}</div>'
        for kind, box in zip(kinds, boxes, strict=True)
    )


def _students(comparison: Comparison) -> list[str]:
    header, body = variant_table(comparison)
    if not body:
        return []
    notes = [f'<p class="quiet">{escape(line)}</p>' for line in (length_note(comparison), *row_notes(comparison))]
    return ["<h2>Students</h2>", html_table(header, body), *notes]


def _classes(comparison: Comparison) -> list[str]:
    if not has_classes(comparison):
        return []
    note = class_note(comparison)
    table_of_classes = html_table(*class_table(comparison))
    return ["<h2>Per class</h2>", *([f'<p class="quiet">{escape(note)}</p>'] if note else []), table_of_classes]


def _differences(comparison: Comparison) -> list[str]:
    if not comparison.contrasts:
        return []
    note = (
        "Paired bootstrap over rows and seeds. An interval that contains zero is not separable: these rows and "
        f"seeds do not decide between the two. {ONE_TEACHER}"
    )
    return ["<h2>Differences</h2>", html_table(*verdict_table(comparison)), f'<p class="quiet">{note}</p>']


def _training(comparison: Comparison) -> list[str]:
    plot = drawing(lambda: plots.curve_plot(comparison), "Training curves of each system")
    if not plot:
        return []
    return [
        "<h2>Training</h2>",
        plot,
        '<p class="quiet">Thin lines are single seeds, the thick one their mean. Terms have their weights in them.</p>',
    ]


def _calibration(comparison: Comparison) -> list[str]:
    plot = drawing(lambda: plots.reliability_plot(comparison), "Reliability diagram of each system")
    if not plot:
        return []
    return [
        "<h2>Calibration</h2>",
        plot,
        '<p class="quiet">How often a model is right when it is so sure, over all its seeds; pale bars hold few rows. Below '
        "the dashed line it is surer than it should be.</p>",
    ]


def _cascades(comparison: Comparison) -> list[str]:
    if not has_cascades(comparison):
        return []
    plot = drawing(lambda: plots.cascade_plot(comparison), "The metric by the share of rows handed on to the teacher")
    return ["<h2>Cascade</h2>", plot, html_table(*cascade_table(comparison)), f'<p class="quiet">{CASCADE_NOTE}</p>']


def _speed(comparison: Comparison) -> list[str]:
    costs = ["<h2>Cost</h2>", html_table(*cost_table(comparison))] if has_costs(comparison) else []
    if all(one.latency is None for one in comparison.systems):
        return costs
    exports = [html_table(*export_table(comparison))] if comparison.exports else []
    return [
        "<h2>Speed</h2>",
        html_table(*speed_table(comparison)),
        '<p class="quiet">On CPU, tokenisation included. Calls: single rows and batches that were timed.</p>',
        *costs,
        *exports,
    ]


def _teacher(comparison: Comparison) -> list[str]:
    quality = comparison.teacher_quality
    if quality is None:
        return []
    kind = task_kind(comparison.task)
    loss = kind.metric("loss")
    body = [
        [
            name,
            f"{side.rows:,}",
            f"{100 * side.headline:.1f}" if kind.headline.percent else f"{side.headline:.3f}",
            f"{side.loss:.3f}",
            NONE if side.entropy is None else f"{100 * side.entropy:.1f}",
        ]
        for name, side in (("training rows", quality.train), ("validation rows", quality.validation))
    ]
    header = ["teacher on", "rows", metric_header(kind.headline), loss.short_title, "entropy, % of the possible"]
    return ["<h2>The teacher's certainty</h2>", html_table(header, body)]


def _environment(environment: dict[str, str]) -> list[str]:
    if not environment:
        return []
    lines = "<br>".join(f"{escape(key)}: {escape(value)}" for key, value in environment.items())
    return ["<h2>Made with</h2>", f'<p class="quiet">{lines}</p>']


def html_table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table of text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in body)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def drawing(draw: Callable[[], str | None], description: str) -> str:
    """The image that ``draw`` returns, a note instead when it fails, or an empty string when there is nothing to show."""
    try:
        svg = draw()
    except Exception as error:  # of matplotlib and its fonts; the page is worth more than one picture
        log.warning("%s cannot be drawn (%s: %s)", description, type(error).__name__, error)
        return f'<p class="quiet">{escape(description)}: cannot be drawn ({escape(str(error))}).</p>'
    return "" if svg is None else image(svg, description)


def image(svg: str, description: str) -> str:
    """An image of its own inside the page, so that names inside several SVGs cannot meet."""
    encoded = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(description)}" src="data:image/svg+xml;base64,{encoded}">'


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
