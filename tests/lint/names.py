#!/usr/bin/env python3
"""names.py SOURCE: no static function's name occurs in two files of lib/.

So a name in a backtrace or a profile identifies its file.
"""
import collections
import pathlib
import re
import sys

from lint import Report, line_of, read, without_comments

STATIC = re.compile(r'^static\s+(?:inline\s+)?(?!const struct \w+ \w+ =)'
                    r'[\w\s*]*?\b(\w+)\(', re.M)


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    where = collections.defaultdict(dict)
    for path in sorted((source / 'lib').rglob('*.[ch]')):
        text = without_comments(read(path))
        for m in STATIC.finditer(text):
            where[m[1]].setdefault(path.relative_to(source),
                                   line_of(text, m.start()))
    for name, places in sorted(where.items()):
        if len(places) > 1:
            for path, line in places.items():
                report.fault(path, line, f'{name}() is static in '
                             f'{len(places)} files')
    report.end(f'{len(where)} static functions: each has its own name',
               static_functions=len(where))


main()
