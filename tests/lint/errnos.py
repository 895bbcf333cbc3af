#!/usr/bin/env python3
"""errnos.py SOURCE: each errno has one meaning, in the table of daxpin(7).

Each errno that a public header, a page of section 3 or a file of lib/ names is in
that table exactly once, and the table has no other.
daxpin_strerror() knows the errnos of that table, and no other.
"""
import pathlib
import re
import sys

from lint import Report, line_of, read, without_comments

PAGE = 'docs/man7/daxpin.7'
STRINGS = 'lib/api/errors.c'     # daxpin_strerror()
# These are used only between modules; no caller of the library gets one.
INTERNAL = {
    'EISDIR',           # pool/source.c: no regular file, in the end -EMEDIUMTYPE
    'ELOOP',            # as EISDIR
    'ENXIO',            # as EISDIR
    'EADDRNOTAVAIL',    # rdma/loopback.c: the trial of a device does not pass
    'EMSGSIZE',         # os.c: more than the buffer has room for
    'ENETDOWN',         # as EADDRNOTAVAIL
    'EWOULDBLOCK',      # owner/lock.c: taken; waited for, in the end -EBUSY
}


def table(text):
    body = re.search(r'^\.Sh ERROR NUMBERS\n(.*?)(?=^\.Sh )', text, re.M | re.S)
    if not body:
        return []
    return [(m[1], line_of(text, body.start(1) + m.start()))
            for m in re.finditer(r'^\.It Er (E\w+)$', body[1], re.M)]


def mentioned(source):
    """Yields (file, line, errno) for each errno that can reach a caller."""
    for path in sorted((source / 'include').glob('*.h')):
        text = read(path)
        for m in re.finditer(r'-(E[A-Z0-9]{2,})\b', text):
            yield path, line_of(text, m.start()), m[1]
    for path in sorted((source / 'docs' / 'man3').glob('*.3')):
        text = read(path)
        for m in re.finditer(r'^\.It Er (E[A-Z0-9]+)', text, re.M):
            yield path, line_of(text, m.start()), m[1]
    for path in sorted((source / 'lib').rglob('*.[ch]')):
        text = without_comments(read(path))
        for m in re.finditer(r'(?<![=!]= )-(E[A-Z0-9]{2,})\b', text):
            if m[1] not in INTERNAL:
                yield path, line_of(text, m.start()), m[1]


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    rows = {}
    for errno, line in table(read(source / PAGE)):
        if errno in rows:
            report.fault(PAGE, line, f'{errno} is in line {rows[errno]} too')
        rows[errno] = line
    if list(rows) != sorted(rows):
        report.fault(PAGE, 0, 'the table is not in alphabetical order')
    seen = set()
    mentions = {'include': 0, 'docs': 0, 'lib': 0}
    for path, line, errno in mentioned(source):
        seen.add(errno)
        mentions[path.relative_to(source).parts[0]] += 1
        if errno not in rows:
            report.fault(path, line, f'{errno} is not in {PAGE}')
    told = {m[1] for m in re.finditer(r'\{ (E[A-Z0-9]+), "',
                                      read(source / STRINGS))}
    for errno in sorted(set(rows) ^ told):
        report.fault(STRINGS, 0, f'{errno} is not both here and in {PAGE}')
    for errno in sorted(set(rows) - seen):
        report.fault(PAGE, rows[errno], f'{errno} is returned nowhere')
    report.end(f'{len(rows)} errnos, named {sum(mentions.values())} times',
               rows_of_the_table=len(rows),
               **{f'errnos_in_{folder}': count
                  for folder, count in mentions.items()})


main()
