#!/usr/bin/env python3
"""life.py SOURCE: the table of daxpin(7) is the one that extent_state.c tests.

In the page a comment before each list names the rows of the test that its
columns are:  .\\" life: ended reserved ...
"""
import pathlib
import re
import sys

from lint import Report, must_match, read, without_comments

PAGE = 'docs/man7/daxpin.7'
TEST = 'tests/unit/extent_state.c'

# Row of the page -> call of the test.
CALLS = {
    'hold': 'call_hold',
    'hold, gate closed': 'call_hold_gated',
    'hold_many, twice': 'call_hold_many',
    'hold_clone': 'call_clone',
    'drop': 'call_drop',
    'drop_many': 'call_drop_many',
    'cancel': 'call_cancel',
    'publish KEEP': 'call_keep',
    'publish RETIRE': 'call_retire',
    'size, state, read': 'call_size',
    'ptr': 'call_ptr',
    'idle': 'call_idle',
    'wait_idle': 'call_wait',
    'extent_at': 'call_extent_at',
    'pool_close': 'call_close',
    'hold EXCLUSIVE': 'call_hold_exclusive',
    'publish SET': 'call_set',
}


def tested(report, text):
    """{(row, call): cell} of the test, cells written as the page does."""
    text = without_comments(text)
    calls = must_match(TEST, r'calls\[\][^=]*=\s*\{(.*?)\};', text, re.S)[1]
    calls = re.findall(r'call_\w+', calls)
    rows = must_match(TEST, r'static const struct row rows\[\] = \{(.*?)\n\};',
                      text, re.S)[1]
    cells = {}
    for row in re.finditer(r'\{\s*(\w+),\s*(\w+),\s*(\d+),\s*\{(.*?)\}\s*\},'
                           r'(?=\s*\{|\s*\Z)', rows, re.S):
        name, state, count = row[1], row[2], int(row[3])
        found = re.findall(r'E\((\w+)\)|\b(OK|YES)\b|'
                           r'\{\s*0,\s*(\w+),\s*(\d+)\s*\}', row[4])
        if len(found) != len(calls):
            report.fault(TEST, 0, f'{name}: {len(found)} cells for '
                         f'{len(calls)} calls, or not understood')
        for call, (errno, word, after, holds) in zip(calls, found):
            cell = written(errno, word, after, holds, state, count)
            if call == 'call_ptr':
                cell = 'address' if cell == '0' else 'NULL'
            cells[name, call] = cell
    return cells


def written(errno, word, after, holds, state, count):
    if errno:
        return errno
    if word:
        return {'OK': '0', 'YES': '1'}[word]
    text = '0'
    if after != 'SAME' and after != state:
        text += ' FREE' if after == 'GONE' else f' {after}'
        # How many hold it then follows from the new state.
        return text
    change = int(holds) - count
    return f'{text} {change:+d}' if change else text


def documented(report, text):
    cells = {}
    for m in re.finditer(r'^\.\\" life: ([^\n]*)\n\.Bl -column(.*?)^\.El', text,
                         re.M | re.S):
        names = m[1].split()
        for line in re.findall(r'^\.It (.*)$', m[2], re.M):
            first, *rest = [cell.strip() for cell in line.split(' Ta ')]
            if first.startswith('Em '):
                continue
            if first not in CALLS:
                report.fault(PAGE, 0, f'{first}: no such call in {TEST}')
                continue
            if len(rest) != len(names):
                report.fault(PAGE, 0, f'{first}: {len(rest)} cells, '
                             f'{len(names)} columns')
            for name, cell in zip(names, rest):
                cells[name, CALLS[first]] = cell.replace('\\-', '-')
    return cells


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    test = tested(report, read(source / TEST))
    page = documented(report, read(source / PAGE))
    for key in sorted(set(test) | set(page)):
        if page.get(key) != test.get(key):
            report.fault(PAGE, 0, f'{key[0]}, {key[1]}: the page says '
                         f'{page.get(key)}, the test {test.get(key)}')
    report.end(f'{len(test)} cells', cells_of_the_test=len(test),
               cells_of_the_page=len(page))


main()
