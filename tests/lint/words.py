#!/usr/bin/env python3
"""words.py SOURCE: the tree names no machine and no network.

No addresses of hosts or package mirrors, no paths of one developer's machine, no
white space at the end of a line.
"""
import pathlib
import re
import sys

from lint import Report, files_of_the_tree, line_of

FORBIDDEN = [
    # A namespace of XML is a name.
    (re.compile(r'(?<!xmlns=")\b(?:https?|ftp|git|ssh):' + r'//[^\s\'")>]*'),
     'an address: cite by name and version'),
    (re.compile(r'\b(?:deb|ftp|archive|security|snapshot|mirrors?)'
                r'\.[a-z0-9.-]+\.(?:org|com|net|de)\b'),
     'a mirror: take it from the system at run time'),
    (re.compile(r'(?<![\w.])/(?:home|Users)/\w'), 'a path of one machine'),
    (re.compile(r'[ \t]+$', re.M), 'white space at the end of the line'),
    (re.compile(r'^(?:<<<<<<<|>>>>>>>) ', re.M), 'a conflict left over'),
]
INPUTS = ('tests/fuzz/seeds/', 'tests/fuzz/regressions/')


def main():
    source = pathlib.Path(sys.argv[1]).resolve()
    report = Report()
    # The path of the source directory, which is known only at run time.
    here = (re.compile(re.escape(str(source)) + r'\b'), 'a path of one machine')
    count = lines = 0
    for path in files_of_the_tree(source):
        # Inputs of the fuzzers are bytes, even if some look like text.
        if path.as_posix().startswith(INPUTS):
            continue
        try:
            text = (source / path).read_text(encoding='utf-8')
        except UnicodeDecodeError:
            report.fault(path, 0, 'is not text')
            continue
        count += 1
        lines += text.count('\n')
        for pattern, what in FORBIDDEN + [here]:
            for m in pattern.finditer(text):
                report.fault(path, line_of(text, m.start()),
                             f'{m[0].strip()!r}: {what}')
        if text.strip() and not text.endswith('\n'):
            report.fault(path, line_of(text, len(text)), 'no newline at the end')
    report.end(f'{count} files, {lines} lines', files=count, lines=lines)


main()
