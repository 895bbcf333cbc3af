#!/usr/bin/env python3
"""errnos.py SOURCE: each errno means one thing, said once, in daxpin(7).

Whatever errno a public header, a page of section 3 or a public function names
stands in the table of daxpin(7) exactly once, and the table has no other.
"""
import pathlib
import re
import sys

from lint import Report, line_of, read, without_comments

PAGE = 'docs/man7/daxpin.7'
PUBLIC_CODE = ['lib/daxpin.c', 'lib/publish.c', 'lib/lease.c', 'lib/pool.c',
               'lib/source.c', 'lib/super.c', 'lib/table.c', 'lib/uring.c',
               'lib/uring_prep.c', 'lib/uring_slot.c',
               'lib/rdma.c', 'lib/rdma_descriptor.c',
               'lib/rdma_key.c', 'lib/rdma_grant.c',
               'lib/rdma_revoke.c', 'lib/rdma_probe.c', 'lib/rdma_backing.c',
               'lib/rdma_flush.c', 'lib/rdma_publish.c',
               'lib/image.c', 'lib/check.c',
               'lib/audit.c', 'lib/patch.c', 'lib/repair.c']
# Between modules only.
INTERNAL = {'ENXIO', 'EWOULDBLOCK', 'EMSGSIZE', 'EINTR'}


def table(text):
    body = re.search(r'^\.Sh ERROR NUMBERS\n(.*?)(?=^\.Sh )', text, re.M | re.S)
    if not body:
        return []
    return [(m[1], line_of(text, body.start(1) + m.start()))
            for m in re.finditer(r'^\.It Er (E\w+)$', body[1], re.M)]


def mentioned(source):
    """(file, line, errno) wherever one can reach a caller."""
    for path in sorted((source / 'include').glob('*.h')):
        text = read(path)
        for m in re.finditer(r'-(E[A-Z0-9]{2,})\b', text):
            yield path, line_of(text, m.start()), m[1]
    for path in sorted((source / 'docs' / 'man3').glob('*.3')):
        text = read(path)
        for m in re.finditer(r'^\.It Er (E[A-Z0-9]+)', text, re.M):
            yield path, line_of(text, m.start()), m[1]
    for name in PUBLIC_CODE:
        text = without_comments(read(source / name))
        for m in re.finditer(r'(?<!== )-(E[A-Z0-9]{2,})\b', text):
            if m[1] not in INTERNAL:
                yield source / name, line_of(text, m.start()), m[1]


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
    for path, line, errno in mentioned(source):
        seen.add(errno)
        if errno not in rows:
            report.fault(path, line, f'{errno} is not in {PAGE}')
    for errno in sorted(set(rows) - seen):
        report.fault(PAGE, rows[errno], f'{errno} is returned nowhere')
    report.end(f'{len(rows)} errnos')


main()
