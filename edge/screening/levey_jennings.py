"""A Levey-Jennings chart as SVG: readings of a control slide in standard deviations s.

S. Levey, E. R. Jennings, Am. J. Clin. Pathol. 20 (1950) 1059–1066.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from edge.screening.westgard import failed

READINGS_SHOWN = 60
"""The newest; more cannot be told apart on a page."""

_STEP, _SCALE, _LEFT, _TOP, _S_MAX = 16, 34, 70, 64, 4.5
"""Pixels between readings and for one s, of the margins, and the s at which a reading is drawn on the rim."""

_GOOD, _WARNED, _FAILED = "#0072b2", "#e69f00", "#d55e00"
"""Told apart by colour-blind people too: Okabe and Ito, Color Universal Design (2008)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One reading.

    Attributes:
        when: as it stands below the chart.
        note: what a person sees on pointing at it.
        s: standard deviations from what is expected.
        rules: names of the violated rules.
    """

    when: str
    note: str
    s: float
    rules: tuple[str, ...]


def levey_jennings(title: str, subtitle: str, points: Sequence[Point]) -> str:
    """Return the chart of the newest READINGS_SHOWN points, oldest first, every text escaped."""
    shown = points[-READINGS_SHOWN:]
    right = _LEFT + _STEP * (max(len(shown), 30) + 1)
    width, bottom = right + 60, _y(-_S_MAX)
    height = round(bottom) + 124
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            'font-family="sans-serif" font-size="12" fill="#222">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            f'<text x="12" y="24" font-size="17" font-weight="bold">{escape(title)}</text>',
            f'<text x="12" y="44">{escape(subtitle)}</text>',
            *_grid(right),
            *_readings(shown),
            *_key(height - 14),
            "</svg>\n",
        ]
    )


def _x(index: int) -> int:
    return _LEFT + _STEP * (index + 1)


def _y(s: float) -> float:
    return _TOP + _SCALE * (_S_MAX - max(-_S_MAX, min(_S_MAX, s)))


def _grid(right: int) -> Iterator[str]:
    for s in range(-4, 5):
        colour, dash = {0: ("#222", ""), 2: (_WARNED, "6 3"), 3: (_FAILED, "6 3")}.get(abs(s), ("#ddd", ""))
        y = _y(s)
        yield f'<path d="M{_LEFT} {y:.0f}H{right}" stroke="{colour}" stroke-dasharray="{dash}"/>'
        name = f"{s:+d} s".replace("-", "\N{MINUS SIGN}") if s else "expected"
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{name}</text>'


def _readings(points: Sequence[Point]) -> Iterator[str]:
    path = " ".join(f"{_x(i)},{_y(point.s):.1f}" for i, point in enumerate(points))
    yield f'<polyline points="{path}" fill="none" stroke="#999"/>'
    for i, point in enumerate(points):
        x, y, under = _x(i), _y(point.s), _y(-_S_MAX) + 8
        tip = f"<title>{escape(f'{point.when}: {point.note}')}</title>"
        if failed(point.rules):
            cross = f"M{x - 5} {y - 5:.1f}l10 10m0 -10l-10 10"
            yield f'<path d="{cross}" stroke="{_FAILED}" stroke-width="3">{tip}</path>'
        else:
            yield f'<circle cx="{x}" cy="{y:.1f}" r="4" fill="{_WARNED if point.rules else _GOOD}">{tip}</circle>'
        turned = f'transform="rotate(60 {x - 3} {under:.0f})"'
        yield f'<text x="{x - 3}" y="{under:.0f}" font-size="9" {turned}>{escape(point.when)}</text>'


def _key(y: int) -> Iterator[str]:
    for x, colour, text in ((_LEFT, _GOOD, "in order"), (_LEFT + 90, _WARNED, "warning (1_2s)")):
        yield f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/><text x="{x + 9}" y="{y + 4}">{text}</text>'
    x = _LEFT + 220
    yield f'<path d="M{x - 5} {y - 5}l10 10m0 -10l-10 10" stroke="{_FAILED}" stroke-width="3"/>'
    yield f'<text x="{x + 10}" y="{y + 4}">failed: a rule of Westgard was broken</text>'
