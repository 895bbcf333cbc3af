#!/usr/bin/env python3
"""citations.py SOURCE: a comment cites only documents of this tree.

Facts about the kernel are numbered headings, K1 to Kn, of docs/kernel.md, those
about RDMA R1 to Rn of docs/rdma.md, and rules are rows of docs/invariants.md: I, A,
C, D and W.  Each number that the code names must exist, public headers name none,
and nothing cites a paper that is not in the tree.  A fact names a test or a command that
shows it, which must exist.
"""
import functools
import pathlib
import re
import sys

from lint import Report, files_of_the_tree, line_of, read

FACTS = {'K': 'docs/kernel.md', 'R': 'docs/rdma.md'}
RULES = 'docs/invariants.md'
FOLDERS = ('lib', 'include', 'tests', 'tools', 'examples')
INPUTS = ('tests/fuzz/seeds/', 'tests/fuzz/regressions/')
NUMBER = re.compile(r'\b(?:[KRIADW][1-9]\d?|C(?:[1-9]|1[0-2]))\b')
HEADING = re.compile(r'^### ([KR])(\d+)\. ', re.M)
# Names of papers that earlier comments cited by section.
PAPERS = 'KERNEL|RDMA|LOCK|DESIGN|PEERS|STYLE|INVARIANTS|LAB'
OUTSIDE = re.compile(rf'\b(?:{PAPERS})(?:\.md\b|:? \d|, "|,? ?\n[ *#]*\d+\.\d)|\bSTYLE:')
SHOWN = re.compile(r'`([\w ]+)`[^`:.;]*:\s+(`\w+`(?:,\s+`\w+`)*)')
COMMAND = re.compile(r'\btests/(?:lab|unit)/[\w-]+')
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*', re.S)


@functools.lru_cache
def programs(source):
    """Returns {name: text} of each test program that a fact may name."""
    return {path.stem: read(path) for folder in ('lab', 'unit')
            for path in sorted((source / 'tests' / folder).glob('*.c'))}


def check_shown(report, source, path, line, fact):
    tests = programs(source)
    count = 0
    shown = fact.partition('\nShown ')[2]
    if not shown:
        report.fault(path, line, 'names no test or command that shows it')
    for command in COMMAND.findall(shown):
        if not any((source / (command + end)).exists() for end in ('', '.c')):
            report.fault(path, line, f'there is no {command}')
    for m in SHOWN.finditer(shown):
        program = m[1].split()[0]
        if program not in tests:
            report.fault(path, line, f'there is no test program {program}')
            continue
        for test in re.findall(r'\w+', m[2]):
            count += 1
            if f'static void {test}(void **' not in tests[program]:
                report.fault(path, line, f'{program} has no test {test}')
    return count


def facts(report, source, letter):
    """Returns the numbers of a document's facts, and how many tests it names."""
    path = FACTS[letter]
    text = read(source / path)
    headings = list(HEADING.finditer(text))
    named = 0
    for i, m in enumerate(headings):
        line = line_of(text, m.start())
        if m[1] != letter or int(m[2]) != i + 1:
            report.fault(path, line, f'{m[1]}{m[2]} where {letter}{i + 1} was '
                         'expected')
        end = headings[i + 1].start() if i + 1 < len(headings) else len(text)
        named += check_shown(report, source, path, line, text[m.start():end])
    return {m[1] + m[2] for m in headings}, named


def comments(path, text):
    """Returns (offset, text) of each comment, or of the whole file if it is no C."""
    if path.suffix in ('.c', '.h'):
        return [(m.start(), m[0]) for m in COMMENT.finditer(text)]
    return [(0, text)]


def check_file(report, path, text, known):
    """Checks a file. Returns how many numbers it cites."""
    count = 0
    for offset, words in comments(path, text):
        for m in OUTSIDE.finditer(words):
            report.fault(path, line_of(text, offset + m.start()),
                         f'{m[0]!r} cites a paper that is not in the tree')
        if path.suffix not in ('.c', '.h'):
            continue
        for m in NUMBER.finditer(words):
            count += 1
            line = line_of(text, offset + m.start())
            if m[0] not in known:
                report.fault(path, line, f'there is no {m[0]} in docs/')
            elif path.parts[0] == 'include':
                report.fault(path, line, f'{m[0]}: a public header explains '
                             'itself, and cites nothing')
    return count


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    known = set(re.findall(r'^\| ([ACDIW]\d+) \|', read(source / RULES), re.M))
    rules = len(known)
    tests = 0
    for letter in FACTS:
        numbers, named = facts(report, source, letter)
        known |= numbers
        tests += named
    cited = 0
    for path in files_of_the_tree(source):
        if path.parts[0] not in FOLDERS or path.as_posix().startswith(INPUTS):
            continue
        cited += check_file(report, path, read(source / path), known)
    report.end(f'{len(known) - rules} facts and {rules} rules, cited {cited} '
               f'times; {tests} tests shown', facts=len(known) - rules,
               rules=rules, citations=cited, tests=tests)


main()
