#!/usr/bin/env python3
"""sizes.py SOURCE: files, functions and lines are short enough to read.

CONTRIBUTING.md: about 500 lines a file, 70 lines a function, 88 columns a line.  A
file fails above 750.  include/daxpin.h may have 1400: it is the manual of the whole
library, and a program includes one file.  Tests may have longer files and functions.
A line may be longer if only a string of more than 40 characters, quotes included, such
as a message, does not fit.
"""
import pathlib
import re
import sys

from lint import Report, read

FILE_LINES = 750
LONGER = {'include/daxpin.h': 1400}
FUNCTION_LINES = 70
COLUMNS = 88                    # a tab counts as 8
STRING_LENGTH = 40
WHERE = ['lib/*/*.[ch]', 'include/*.h', 'examples/**/*.[ch]', 'tools/**/*.[ch]']
LINES_ONLY = ['tests/**/*.[ch]']
# A string, or several with macros such as PRIu64 between them.
STRING = re.compile(r'"(?:\\.|[^"\\])*"(?:\s*(?:PRI\w+|"(?:\\.|[^"\\])*"))*')


def columns(line):
    """The columns of a line without the long strings in it."""
    short = STRING.sub(lambda m: m[0] if len(m[0]) <= STRING_LENGTH else '', line)
    return len(short.expandtabs(8))


def functions(lines):
    """(first line, length) of each block that begins in column 0."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == '{':
            start = number
        elif line == '}' and start:
            # Count the lines between the braces: these must fit the screen.
            yield start, number - start - 1
            start = None


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    found = {pattern: sorted(source.glob(pattern))
             for pattern in WHERE + LINES_ONLY}
    for pattern in found:
        if not found[pattern]:
            report.fault(pattern, 0, 'matches no file')
    files = sorted(p for pattern in WHERE for p in found[pattern])
    longest = count = 0
    for path in files + found[LINES_ONLY[0]]:
        for number, line in enumerate(read(path).splitlines(), 1):
            if columns(line) > COLUMNS:
                report.fault(path, number, f'{columns(line)} columns, '
                             f'{COLUMNS} at most')
    for path in files:
        lines = read(path).splitlines()
        most = LONGER.get(str(path.relative_to(source)), FILE_LINES)
        if len(lines) > most:
            report.fault(path, 0, f'{len(lines)} lines, {most} at most')
        for line, length in functions(lines):
            longest = max(longest, length)
            count += 1
            if length > FUNCTION_LINES:
                report.fault(path, line, f'a function of {length} lines, '
                             f'{FUNCTION_LINES} at most')
    report.end(f'{len(files)} files, {count} functions; the longest has '
               f'{longest} lines', files=len(files), functions=count)


main()
