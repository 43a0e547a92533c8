"""Plot of accuracies by domain."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from raykd.report.domain_accuracy import SystemRow
from raykd.report.plots import STUDENT_COLORS, TEACHER_COLOR, new_figure, plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def domain_figure(lines: Sequence[SystemRow]) -> "Figure":
    """A panel a domain and one for their average: one dot a seed, the mean as a tick."""
    domains = list(dict.fromkeys(domain for line in lines for domain in line.domains))
    names = [f"{line.teacher}, {line.method}" if line.role == "student" else line.teacher for line in lines]
    heights = range(len(lines), 0, -1)
    figure = new_figure(3.2 + 2.4 * (len(domains) + 1), 0.9 + 0.36 * len(lines))
    with plot_style():
        panels = figure.subplots(1, len(domains) + 1, squeeze=False)[0]
        for position, (axes, domain) in enumerate(zip(panels, [*domains, "average"], strict=True)):
            for number, (height, line) in enumerate(zip(heights, lines, strict=True)):
                accuracy = line.average if position == len(domains) else line.domains.get(domain)
                if accuracy is None:
                    continue
                color = TEACHER_COLOR if line.role == "teacher" else STUDENT_COLORS[number % len(STUDENT_COLORS)]
                values, mean = 100 * np.array(accuracy.values), 100 * accuracy.mean
                axes.plot(values, np.full(len(values), height), "o", color=color, markersize=4, markeredgewidth=0)
                axes.plot([mean, mean], [height - 0.32, height + 0.32], color=color, linewidth=2)
            axes.set_title(f"{domain}: accuracy %")
            axes.set_ylim(0.4, len(lines) + 0.6)
            axes.set_yticks(list(heights), names if position == 0 else [""] * len(names))
            axes.grid(axis="y", visible=False)
    return figure
