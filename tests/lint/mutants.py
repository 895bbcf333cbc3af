# SPDX-License-Identifier: BSD-3-Clause
"""mutants.py SOURCE: each deliberate bug of tests/mutants still fits the code:
the text that it changes occurs there exactly once, and its name is unique."""
import pathlib
import runpy
import sys

from lint import Report, read

root = pathlib.Path(sys.argv[1])
report = Report()
names = set()
for table in sorted((root / 'tests/mutants').glob('*.py')):
    mutants = runpy.run_path(str(table)).get('MUTANTS', [])
    for name, _, file, _, old, new, *_ in mutants:
        where = table.relative_to(root)
        count = read(root / file).count(old)
        if count != 1:
            report.fault(where, 0, f'{name}: its text occurs {count} times '
                         f'in {file}')
        if old == new or name in names:
            report.fault(where, 0, f'{name}: changes nothing, or twice there')
        names.add(name)
report.end(f'{len(names)} mutants fit the code', mutants=len(names))
