#!/usr/bin/env python3
"""walls.py SOURCE: private fields are accessed only by their own module.

A struct whose definition in a header of lib/ follows a line `/* private to
NAME.c */` belongs to NAME.c.  Those of its fields whose names no other struct of
lib/ or include/ has must not follow `->` or `.` in another file.  NAME.h and the
header that defines the struct may have them, for their inline functions.
"""
import collections
import pathlib
import re
import sys

from lint import Report, line_of, read, without_comments

STRUCT = re.compile(r'struct\s+(\w+)\s*\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}')
PRIVATE = re.compile(r'/\* private to (\w+\.c) \*/\s*struct\s+(\w+)\s*\{')
FIELD = re.compile(r'\(\*(\w+)\)|(\w+)\s*(?:\[[^\]]*\]\s*)*(?=[;,:])')


def fields_of(body):
    body = re.sub(r'\([^()*]*\)', '', without_comments(body))
    return {a or b for a, b in FIELD.findall(body)}


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    files = sorted((source / 'lib').rglob('*.[ch]'))
    texts = {path: read(path) for path in files}
    bare = {path: without_comments(text) for path, text in texts.items()}
    used = collections.Counter()
    bodies = {}
    public = [without_comments(read(path))
              for path in sorted((source / 'include').glob('*.h'))]
    for text in [*bare.values(), *public]:
        for m in STRUCT.finditer(text):
            bodies[m[1]] = fields_of(m[2])
            used.update(bodies[m[1]])
    walls = fields = 0
    for header in files:
        for m in PRIVATE.finditer(texts[header]):
            own = header.parent / m[1]
            walls += 1
            if own not in texts:
                report.fault(header, line_of(texts[header], m.start()),
                             f'{m[1]} is not beside it')
            for field in sorted(f for f in bodies[m[2]] if used[f] == 1):
                fields += 1
                use = re.compile(rf'(?:->|\.)\s*{field}\b(?!\s*\()')
                for path in files:
                    if path in (own, own.with_suffix('.h'), header):
                        continue
                    for hit in use.finditer(bare[path]):
                        report.fault(path.relative_to(source),
                                     line_of(bare[path], hit.start()),
                                     f'{field} is private to {m[1]}')
    report.end(f'{walls} private structs, {fields} fields: each in its own '
               'module', private_structs=walls, private_fields=fields)


main()
