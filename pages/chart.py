"""Bar charts as SVG, in the colours and the font of the page that they are in."""

import itertools
from collections.abc import Iterator, Sequence

from matplotlib.ticker import EngFormatter, MaxNLocator

_WIDTH, _HEIGHT, _BASELINE = 331, 166, 145
# Of the labels, in a wide font.
_CHARACTER_WIDTH, _DIGIT_HEIGHT = 9, 9
_GAP = 6
_BAR_SHARE = 0.92


def draw_histogram(edges: Sequence[float], counts: Sequence[int]) -> str:
    """Draws a bar for each count, over the values between its edges, as SVG.

    Args:
        edges: of the bars, rising; there is one more than there are counts.
        counts: the heights of the bars.
    """
    return "".join(_elements(edges, counts))


def _elements(edges: Sequence[float], counts: Sequence[int]) -> Iterator[str]:
    low, high, top = edges[0], edges[-1], 1.05 * max(*counts, 1)
    numbers = MaxNLocator(5, steps=[1, 2, 5, 10], integer=True).tick_values(0, top)
    values = MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(low, high)
    number_labels = {number: EngFormatter(sep="")(number) for number in numbers if number <= top}
    value_labels = {value: _format(value) for value in values if low <= value <= high}
    left = 2 * _GAP + _CHARACTER_WIDTH * max(map(len, number_labels.values()))
    # Half of the label of the last value may be beyond the bars.
    right = _WIDTH - _CHARACTER_WIDTH * max(map(len, value_labels.values()), default=0) / 2

    def across(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    def up(number: float) -> float:
        return _BASELINE * number / top

    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}">'
    for number, label in number_labels.items():
        y = _BASELINE - up(number)
        yield f'<path d="M{left - _GAP} {y:.1f}H{_WIDTH}"/>'
        y += _DIGIT_HEIGHT / 2
        yield f'<text x="{left - 2 * _GAP}" y="{y:.1f}" text-anchor="end">{label}</text>'
    for (start, stop), count in zip(itertools.pairwise(edges), counts, strict=True):
        width = _BAR_SHARE * (across(stop) - across(start))
        yield (
            f'<rect x="{across(start):.1f}" y="{_BASELINE - up(count):.1f}" width="{width:.1f}"'
            f' height="{up(count):.1f}"/>'
        )
    for value, label in value_labels.items():
        y = _BASELINE + _GAP + _DIGIT_HEIGHT
        yield f'<text x="{across(value):.1f}" y="{y}" text-anchor="middle">{label}</text>'
    yield "</svg>"


def _format(value: float) -> str:
    # Adding 0 turns -0.0 into 0.0.
    return f"{value + 0.0:.6g}".replace("-", "\N{MINUS SIGN}")
