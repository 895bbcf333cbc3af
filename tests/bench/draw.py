# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of the table of rows, as SVG: bars of ratios, latency by fill.

Both have a logarithmic axis, since the figures span three decades.
"""
import math
from xml.sax.saxutils import escape

COLOURS = {'reached': '#2b8a6e', 'undecided': '#8a8a8a', 'no goal': '#6d8fb3',
           'FALLS SHORT': '#c8553d'}
LINES = {'p50': '#2b8a6e', 'p99': '#6d8fb3', 'p999': '#b8860b', 'max': '#c8553d'}
STYLE = 'font-family="sans-serif" font-size="12"'
# The name of SVG's namespace, which nothing fetches.
NAMESPACE = 'http:' '//www.w3.org/2000/svg'


class Picture:
    def __init__(self, width, height):
        self.size = width, height
        self.parts = [f'<rect width="{width}" height="{height}" fill="white"/>']

    def text(self, x, y, what, anchor='start', fill='black'):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" '
                          f'text-anchor="{anchor}">{escape(what)}</text>')

    def line(self, x1, y1, x2, y2, colour, width=1):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" '
                          f'y2="{y2:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def bar(self, x, y, width, height, colour):
        self.parts.append(f'<rect class="bar" x="{x:.1f}" y="{y:.1f}" '
                          f'width="{max(width, 0.5):.1f}" '
                          f'height="{height:.1f}" fill="{colour}"/>')

    def path(self, points, colour):
        where = ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
        self.parts.append(f'<polyline points="{where}" fill="none" '
                          f'stroke="{colour}" stroke-width="2"/>')

    def __str__(self):
        width, height = self.size
        return (f'<svg xmlns="{NAMESPACE}" width="{width}" height="{height}" '
                f'{STYLE}>\n' + '\n'.join(self.parts) + '\n</svg>\n')


class Axis:
    """Logarithmic, over whole decades, from pixel `begin` to pixel `end`."""

    def __init__(self, values, begin, end):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)
        self.begin, self.end = begin, end

    def at(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def decades(self):
        return [10.0 ** power for power in range(self.low, self.high + 1)]


def bars(results):
    """Draws the ratio of each row that has one, with its goal."""
    shown = [result for result in results
             if result.figure and 'ratio' in result.figure]
    if not shown:
        return None
    ratios = [float(result.figure['ratio']) for result in shown]
    goals = [result.row.goal for result in shown
             if result.row.goal and not result.row.unit]
    picture = Picture(900, 60 + 20 * len(shown))
    ends = [float(result.figure[name]) for result in shown
            for name in ('low', 'high')]
    axis = Axis(ratios + ends + goals + [1], 260, 860)
    bottom = 40 + 20 * len(shown)
    picture.text(10, 20, 'time of daxpin / time of its peer, less is better; the '
                 'black mark is the goal, the thin line the confidence interval')
    for decade in axis.decades():
        picture.line(axis.at(decade), 30, axis.at(decade), bottom, '#dddddd')
        picture.text(axis.at(decade), bottom + 14, f'{decade:g}', 'middle')
    for i, (result, ratio) in enumerate(zip(shown, ratios)):
        y = 34 + 20 * i
        picture.text(250, y + 12, f'{result.row.name} / {result.row.peer}', 'end')
        picture.bar(axis.begin, y, axis.at(ratio) - axis.begin, 16,
                    COLOURS[result.mark])
        low, high = (float(result.figure[name]) for name in ('low', 'high'))
        picture.line(axis.at(low), y + 8, axis.at(high), y + 8, '#333333')
        picture.text(axis.at(max(ratio, high)) + 6, y + 12, f'{ratio:.2f}')
        if result.row.goal and not result.row.unit:
            picture.line(axis.at(result.row.goal), y - 1,
                         axis.at(result.row.goal), y + 17, 'black', 3)
    picture.line(axis.at(1), 30, axis.at(1), bottom, '#888888')
    return str(picture)


def time_text(ns):
    for unit, size in (('s', 1e9), ('ms', 1e6), ('us', 1e3)):
        if ns >= size:
            return f'{ns / size:g} {unit}'
    return f'{ns:g} ns'


def latency(results):
    """Draws the first row with latencies: percentiles of a reserve's time, by fill."""
    found = [result for result in results
             if any('fill' in point for point in result.points)]
    if not found:
        return None
    row = found[0].row
    points = [point for point in found[0].points if 'fill' in point]
    values = [float(point[name]) for point in points for name in LINES]
    picture = Picture(700, 420)
    axis = Axis(values + ([row.goal] if row.goal else []), 370, 60)
    picture.text(10, 20, f'{row.name}: the time of a reserve, by per cent of the '
                 'pool that is full; the black line is the goal')
    for decade in axis.decades():
        picture.line(70, axis.at(decade), 640, axis.at(decade), '#dddddd')
        picture.text(64, axis.at(decade) + 4, time_text(decade), 'end')
    for point in points:
        picture.text(70 + 5.5 * float(point['fill']), 390, point['fill'], 'middle')
    for i, (name, colour) in enumerate(LINES.items()):
        picture.path([(70 + 5.5 * float(point['fill']),
                       axis.at(float(point[name]))) for point in points], colour)
        picture.text(70 + 60 * i, 42, name.replace('999', '99.9'), fill=colour)
    if row.goal:
        picture.line(70, axis.at(row.goal), 640, axis.at(row.goal), 'black')
    return str(picture)
