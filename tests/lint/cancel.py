#!/usr/bin/env python3
"""cancel.py SOURCE: a public function is a cancellation point at most at its beginning.

Each begins with DP_UNCANCELLED() or, if daxpin(7) lists it as a cancellation point,
with DP_CANCEL_POINT() (lib/util/cancel.h). The functions listed below have no guard,
because they reach no cancellation point: they call back nothing, and their only system
calls are those of the futex, of a sleep (dp_os_sleep_ns) and of io_uring, by syscall(),
or are guarded below. This script reads only the functions themselves, and not what they
call: tests/unit/api_cancel.c and uring_cancel.c cancel them in each system call. One of
them may still begin with DP_CANCEL_POINT_ONLY().
"""
import pathlib
import re
import sys

from lint import Report, line_of, read, without_comments

FREE = set('''
    anchor_fd cancel deadline_ms drop drop_labelled drop_many event_fd extent_at
    hold hold_at hold_clone hold_labelled hold_many idle lock_fd ptr
    object_cancel object_ptr object_reserve object_size
    publish registration_arg
    registration_wanted reserve root segment size state status_cells status_close
    status_info status_pool strerror unwatch version
    uring_abort uring_done uring_info uring_is_fixed uring_of uring_prep_cmd
    uring_prep_read uring_prep_readv uring_prep_send uring_prep_write
    uring_prep_writev
    ofi_export ofi_grant_key ofi_import ofi_report
    grant_export grant_import grant_info grant_key rdma_info rdma_report
    '''.split())
PAGE = 'docs/man7/daxpin.7'
BEGIN = re.compile(r'^DP_EXPORT [^;{]*?\bdaxpin_(\w+)\([^;{]*?\)\n\{\n', re.M)
# Calls that a function without a guard must not have in its body.
BLOCKS = re.compile(r'\b(?:fn|progress|done|close|poll|read|write|dp_os_(?!now_ns)\w+)'
                    r'\(')


def body_of(text, start):
    return text[start:text.index('\n}', start)]


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    guarded, free, points = set(), set(), set()
    for path in sorted((source / 'lib').glob('*/*.c')):
        text = without_comments(read(path))
        name_of_file = path.relative_to(source)
        for m in BEGIN.finditer(text):
            where = line_of(text, m.start())
            body = body_of(text, m.end())
            if 'DP_CANCEL_POINT();' in body:
                points.add(m[1])
                body = body.replace('DP_CANCEL_POINT', 'DP_UNCANCELLED')
            if 'DP_UNCANCELLED();' in body:
                if re.search(r'^\t(?:if|for|while|return|\w+\()',
                             body[:body.index('DP_UNCANCELLED')], re.M):
                    report.fault(name_of_file, where, f'daxpin_{m[1]}() does '
                                 'something before DP_UNCANCELLED()')
                guarded.add(m[1])
                continue
            free.add(m[1])
            if body.lstrip().startswith('DP_CANCEL_POINT_ONLY();'):
                points.add(m[1])
            if m[1] not in FREE:
                report.fault(name_of_file, where, f'daxpin_{m[1]}() does not '
                             'begin with DP_UNCANCELLED(): in a thread that is '
                             'cancelled there it would not return')
            elif BLOCKS.search(body):
                report.fault(name_of_file, where,
                             f'daxpin_{m[1]}() may block or call back: it must '
                             'begin with DP_UNCANCELLED()')
    page = read(source / PAGE)
    listed = page.split('.\\" cancellation points\n', 1)[-1]
    listed = set(re.findall(r'^\.Xr daxpin_(\w+) 3',
                            listed.split('\n.Pp\n', 1)[0], re.M))
    for name in sorted(listed ^ points):
        report.fault(PAGE, 0, f'daxpin_{name}() is a cancellation point here or '
                     'in lib/, but not in both')
    for name in sorted(guarded & FREE):
        report.fault('tests/lint/cancel.py', 0, f'{name} has a guard')
    for name in sorted(FREE - guarded - free):
        report.fault('tests/lint/cancel.py', 0, f'there is no {name}')
    report.end(f'{len(guarded)} functions with a guard, {len(free)} without',
               guarded=len(guarded), free=len(free))


if __name__ == '__main__':
    main()
