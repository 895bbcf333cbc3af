#!/usr/bin/env python3
"""mandoc.py SOURCE [MANDOC]: mandoc reports nothing about the manual pages."""
import pathlib
import subprocess
import sys

from lint import Report, skip


def main():
    if len(sys.argv) < 3:
        skip('no mandoc here: install it')
    source, mandoc = pathlib.Path(sys.argv[1]), sys.argv[2]
    report = Report()
    pages = sorted([*(source / 'docs').glob('man?/*.?'),
                    *(source / 'examples').glob('*/*.1')])
    for path in pages:
        done = subprocess.run([mandoc, '-T', 'lint', '-W', 'warning', path],
                              capture_output=True, text=True)
        for line in (done.stdout + done.stderr).splitlines():
            report.fault(path, 0, line)
        if done.returncode and not done.stdout:
            report.fault(path, 0, f'mandoc exits {done.returncode}')
    report.end(f'{len(pages)} pages', pages=len(pages))


main()
