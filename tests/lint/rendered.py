#!/usr/bin/env python3
"""rendered.py SOURCE [GROFF]: the manual is readable in man(1) on 80 columns.

Each page is formatted as man(1) does it, by groff for a terminal of 80 columns:
without a warning, and with no line that is longer.  Its footer has the version.
"""
import pathlib
import re
import subprocess
import sys

from lint import Report, line_of, must_match, read, skip

COLUMNS = 80
# The options that man(1) passes to groff if MANWIDTH is 80; it leaves a margin.
LAYOUT = ['-mandoc', '-Tutf8', '-wmac', '-rLL=78n', '-rLT=78n', '-P-cbou']


def check_version(report, path, text, version):
    os = re.search(r'^\.Os ?(.*)$', text, re.M)
    if not os or os[1] != f'daxpin {version}':
        report.fault(path, line_of(text, os.start()) if os else 0,
                     f'the footer is .Os daxpin {version}')


def check_page(report, path, groff):
    done = subprocess.run([groff, *LAYOUT, path], capture_output=True,
                          encoding='utf-8')
    for line in done.stderr.splitlines():
        report.fault(path, 0, line)
    for line in done.stdout.splitlines():
        if len(line) > COLUMNS:
            report.fault(path, 0, f'{len(line)} columns: {line.strip()}')
    return len(done.stdout.splitlines())


def main():
    if len(sys.argv) < 3:
        skip('no groff here: install it (groff-base in Debian)')
    source, groff = pathlib.Path(sys.argv[1]), sys.argv[2]
    report = Report()
    version = must_match('meson.build', r"version: '([\d.]+)'",
                         read(source / 'meson.build'))[1]
    pages = sorted([*(source / 'docs').glob('man?/*.?'),
                    *(source / 'examples').glob('*/*.1')])
    lines = 0
    for path in pages:
        check_version(report, path, read(path), version)
        lines += check_page(report, path, groff)
    report.end(f'{len(pages)} pages, {lines} lines of at most {COLUMNS} columns',
               pages=len(pages), lines=lines)


main()
