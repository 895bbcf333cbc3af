#!/usr/bin/env python3
"""readme.py SOURCE: examples, commands and links of README.md are right.

Its first C block is literally in examples/hello.c, each ./dev command exists,
and each file that it or another document links to is there.
"""
import pathlib
import re
import sys

from lint import Report, line_of, read

DOCUMENTS = ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md',
             'docs/format.md', 'docs/kernel.md', 'docs/rdma.md']
ARCHITECTURE_LINES = 200


def check_example(report, source, text):
    found = re.search(r'^```c\n(.*?)^```', text, re.M | re.S)
    if not found:
        report.fault('README.md', 0, 'shows no C')
    elif found[1] not in read(source / 'examples' / 'hello.c'):
        report.fault('README.md', line_of(text, found.start()),
                     'the example is not literally in examples/hello.c')


def check_commands(report, source, name, text):
    commands = set(re.findall(r'^([a-z|]+)[a-z|-]*\)\s', read(source / 'dev'),
                              re.M))
    commands = {word for words in commands for word in words.split('|')}
    found = list(re.finditer(r'\./dev (\w+)', text))
    for m in found:
        if m[1] not in commands:
            report.fault(name, line_of(text, m.start()),
                         f'./dev has no command {m[1]}')
    return len(found)


def check_links(report, source, name, text):
    here = (source / name).parent
    found = list(re.finditer(r'\]\(([^)#\s]+)[^)]*\)', text))
    for m in found:
        if not (here / m[1]).exists():
            report.fault(name, line_of(text, m.start()), f'{m[1]} is not there')
    return len(found)


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    commands = links = 0
    for name in DOCUMENTS:
        text = read(source / name)
        commands += check_commands(report, source, name, text)
        links += check_links(report, source, name, text)
    text = read(source / 'README.md')
    check_example(report, source, text)
    lines = len(read(source / 'ARCHITECTURE.md').splitlines())
    if lines > ARCHITECTURE_LINES:
        report.fault('ARCHITECTURE.md', 0, f'{lines} lines, '
                     f'{ARCHITECTURE_LINES} at most')
    report.end(f'{len(DOCUMENTS)} documents; ARCHITECTURE.md has {lines} lines',
               commands=commands, links=links)


main()
