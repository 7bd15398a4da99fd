"""Bar charts as SVG, in the colours and the font of the page that they are in."""

import io
import re
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

# Matplotlib knows no CSS: these are replaced by variables of the page, which has two schemes.
_BAR_COLOUR = "#0000b1"
_INK_COLOUR = "#0000b2"
_RULE_COLOUR = "#0000b3"
_CSS_COLOURS = {
    _BAR_COLOUR: "var(--bar)",
    _INK_COLOUR: "var(--soft)",
    _RULE_COLOUR: "var(--rule)",
}


def draw_histogram(edges: Sequence[float], counts: Sequence[int]) -> str:
    """Draws a bar for each count, over the values between its edges, as SVG."""
    figure = Figure(figsize=(4.6, 2.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    widths = np.diff(edges)
    axes.bar(edges[:-1], counts, widths * 0.92, align="edge", color=_BAR_COLOUR)
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.tick_params(length=0, pad=6, colors=_INK_COLOUR, labelsize=12)
    axes.grid(axis="y", color=_RULE_COLOUR, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=_RULE_COLOUR)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Text stays text, in the font of the page; the salt makes the same chart the same bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    # Every chart has groups of the same names, and an id may occur only once in a page.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for colour, css in _CSS_COLOURS.items():
        svg = svg.replace(colour, css)
    return svg
