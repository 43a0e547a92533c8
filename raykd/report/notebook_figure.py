"""Figures that notebooks show without pyplot. Imports matplotlib: import this module where a figure is made."""

from matplotlib.figure import Figure

from raykd.report.plots import as_svg, plot_style


class NotebookFigure(Figure):
    """A matplotlib figure that a notebook displays as SVG, whatever its backend."""

    def _repr_svg_(self) -> str:
        with plot_style():
            return as_svg(self)
