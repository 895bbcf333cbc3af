#!/usr/bin/env python3
"""headers.py SOURCE HEADER:DIR... -- CC... -- [CXX...]: a public header
compiles alone, and twice over, as C99 -pedantic and as C++.

DIR has the header of the library that it builds on.  liburing's own
header needs _GNU_SOURCE.
"""
import pathlib
import subprocess
import sys
import tempfile

from lint import Report, prototypes

WARN = ['-Wall', '-Wextra', '-pedantic', '-Werror', '-fsyntax-only']


def compile_alone(report, command, source, header, flags, suffix):
    with tempfile.NamedTemporaryFile('w', suffix=suffix) as file:
        # Included twice to test its guard. ISO C requires a declaration in each file.
        file.write(f'#include <{header}>\n#include <{header}>\n'
                   'extern int something;\n')
        file.flush()
        done = subprocess.run(command + WARN + flags +
                              ['-I', str(source / 'include'), file.name],
                              capture_output=True, text=True)
    if done.returncode:
        report.fault(f'include/{header}', 0,
                     f'does not compile with {" ".join(command)}:\n'
                     + done.stderr)


def main():
    source = pathlib.Path(sys.argv[1])
    rest = sys.argv[2:]
    first = rest.index('--')
    second = rest.index('--', first + 1)
    headers, cc, cxx = rest[:first], rest[first + 1:second], rest[second + 1:]
    report = Report()
    for entry in headers:
        header, _, directory = entry.partition(':')
        if not prototypes(source / 'include' / header):
            report.fault(f'include/{header}', 0, 'declares no function')
        # Warnings about another library's header are not reported.
        flags = []
        if directory not in ('', '/usr/include'):
            flags = ['-isystem', directory]
        c99 = ['-std=c99']
        if header == 'daxpin-uring.h':
            c99.append('-D_GNU_SOURCE')
        compile_alone(report, cc + c99, source, header, flags, '.c')
        if cxx:
            compile_alone(report, cxx + ['-std=c++11'], source, header, flags,
                          '.cc')
    report.end(f'{len(headers)} headers as C99'
               + (' and C++11' if cxx else '; no C++ compiler here'),
               headers=len(headers))


main()
