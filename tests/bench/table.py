#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""table.py [OPTIONS] [ROW...]: compares daxpin with its peers, a line for each row.

Rows and goals are in `rows`, beside this script; ROW may have * in it. Each row is
a run of bench_PROGRAM, which prints NAME=VALUE words. A row falls short if the whole
interval of its figure is above the goal, and is undecided if the goal is in the
interval. A row whose peer is missing is not measured, and the reason is printed.
"""
import argparse
import collections
import fnmatch
import pathlib
import subprocess
import sys

import draw

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77
REACHED, UNDECIDED, SHORT = 'reached', 'undecided', 'FALLS SHORT'
NO_GOAL, MISSING, FAILED = 'no goal', 'not measured', 'failed'
MARKS = (REACHED, UNDECIDED, SHORT, NO_GOAL, MISSING, FAILED)
HEAD = ('row', 'peer', 'daxpin', 'ratio', 'goal', '')
LINE = '{:<18} {:>22} {:>12} {:>24} {:>10}  {}'

Row = collections.namedtuple('Row', 'name command peer goal unit')
# `points` is what a program printed besides its figure, for the pictures.
Result = collections.namedtuple('Result', 'row mark why figure points')


def parse_rows(text):
    """Returns the rows of the file, in its order."""
    rows = []
    for line in text.splitlines():
        if not line.strip() or line.startswith('#'):
            continue
        name, command, peer, goal = (part.strip() for part in line.split('|'))
        number, _, unit = goal.partition(' ')
        rows.append(Row(name, command.split(), peer,
                        None if number == '-' else float(number), unit))
    names = [row.name for row in rows]
    assert len(set(names)) == len(names), 'two rows have the same name'
    return rows


def choose(rows, patterns):
    if not patterns:
        return [row for row in rows if not row.name.startswith('long-')]
    for pattern in patterns:
        if not any(fnmatch.fnmatch(row.name, pattern) for row in rows):
            sys.exit(f'no row {pattern}: --list shows all')
    return [row for row in rows if any(fnmatch.fnmatch(row.name, pattern)
                                       for pattern in patterns)]


def words(line):
    return dict(word.split('=', 1) for word in line.split() if '=' in word)


def command_of(row, options):
    program, *arguments = row.command
    command = [pathlib.Path(options.programs) / f'bench_{program}',
               '--seconds', str(options.seconds),
               '--directory', options.directory]
    if options.once:
        command.append('--once')
    return command + arguments + [row.peer]


def judge(row, figure):
    """Compares the goal with the interval: of the figure, or without a unit, the ratio."""
    if row.goal is None:
        return NO_GOAL
    if row.unit:
        assert figure['unit'] == row.unit, f'{row.name} is not in {row.unit}'
        at = float(figure['daxpin_is'])
        low = float(figure.get('daxpin_low', at))
        high = float(figure.get('daxpin_high', at))
    else:
        low, high = float(figure['low']), float(figure['high'])
    if low > row.goal:
        return SHORT
    return UNDECIDED if high > row.goal else REACHED


def run_once(row, options):
    done = subprocess.run(command_of(row, options), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)
    why = (done.stderr.strip().splitlines() or ['no reason given'])[-1]
    why = why.removeprefix(f'bench_{row.command[0]}: ')
    if done.returncode == SKIPPED:
        return Result(row, MISSING, why, None, [])
    found = [words(line) for line in done.stdout.splitlines()]
    figures = [figure for figure in found if 'daxpin_is' in figure]
    if done.returncode or len(figures) != 1:
        return Result(row, FAILED, f'exit status {done.returncode}: {why}',
                      None, [])
    points = [point for point in found if 'daxpin_is' not in point]
    return Result(row, judge(row, figures[0]), '', figures[0], points)


def middle_of(row, results):
    """Returns the run with the median figure, with the interval of all runs' figures.

    The kernel places a process's pages once, for all of its rounds, so the figures of
    several runs differ more than the interval of one run shows.
    """
    key = 'ratio' if 'ratio' in results[0].figure else 'daxpin_is'
    ends = ('low', 'high') if key == 'ratio' else ('daxpin_low', 'daxpin_high')
    results = sorted(results, key=lambda result: float(result.figure[key]))
    middle = results[len(results) // 2]
    figure = dict(middle.figure)
    for name, result in zip(ends, (results[0], results[-1])):
        figure[name] = result.figure[key]
    return middle._replace(mark=judge(row, figure), figure=figure)


def measure(row, options):
    results = []
    for _ in range(options.runs):
        results.append(run_once(row, options))
        if not results[-1].figure:
            return results[-1]
    return middle_of(row, results) if options.runs > 1 else results[0]


def number(text, unit=''):
    value = float(text)
    digits = 0 if value >= 1000 else 1 if value >= 10 else 3
    return f'{value:.{digits}f} {unit}'.strip()


def ratio_text(figure):
    if 'ratio' not in figure:
        return ''
    return (f'{number(figure["ratio"])} ({number(figure["low"])} to '
            f'{number(figure["high"])})')


def line_of(result):
    row, figure = result.row, result.figure
    goal = '' if row.goal is None else f'{row.goal:g} {row.unit}'.strip()
    if not figure:
        return LINE.format(row.name, row.peer, '', '', goal,
                           f'{result.mark}: {result.why}')
    peer = row.peer
    if 'peer_is' in figure:
        peer += ' ' + number(figure['peer_is'], figure['unit'])
    return LINE.format(row.name, peer,
                       number(figure['daxpin_is'], figure['unit']),
                       ratio_text(figure), goal, result.mark).rstrip()


def summary(results):
    counts = collections.Counter(result.mark for result in results)
    parts = [f'{counts[mark]} {mark}' for mark in MARKS if counts[mark]]
    return f'{len(results)} rows: ' + ', '.join(parts)


def write_pictures(results, directory):
    directory.mkdir(parents=True, exist_ok=True)
    pictures = {'ratios.svg': draw.bars(results),
                'latency.svg': draw.latency(results)}
    for name, picture in pictures.items():
        if picture:
            (directory / name).write_text(picture, encoding='utf-8')
            print(f'drawn: {directory / name}')


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--seconds', type=float, default=2,
                        help='how long to measure each row (2)')
    parser.add_argument('--runs', type=int, default=1,
                        help='how often to run each row; the median is shown (1)')
    parser.add_argument('--directory', default='/dev/shm',
                        help='where to create pools, such as a tmpfs')
    parser.add_argument('--programs', required=True,
                        help='the directory of the programs bench_*')
    parser.add_argument('--rows', type=pathlib.Path, default=HERE / 'rows',
                        help='another table')
    parser.add_argument('--pictures', type=pathlib.Path,
                        help='write pictures to this directory')
    parser.add_argument('--once', action='store_true',
                        help='tiny counts, which test only that it works')
    parser.add_argument('--list', action='store_true',
                        help='show the rows and measure nothing')
    parser.add_argument('row', nargs='*')
    return parser.parse_args()


def main():
    options = parse_options()
    rows = choose(parse_rows(options.rows.read_text(encoding='utf-8')),
                  ['*'] if options.list and not options.row else options.row)
    if options.list:
        for row in rows:
            print(f'{row.name:<18} {" ".join(row.command)} {row.peer}')
        return
    print(LINE.format(*HEAD).rstrip(), flush=True)
    results = []
    for row in rows:
        results.append(measure(row, options))
        print(line_of(results[-1]), flush=True)
    print(summary(results))
    if options.pictures:
        write_pictures(results, options.pictures)
    if any(result.mark == FAILED for result in results):
        sys.exit(1)


if __name__ == '__main__':
    main()
