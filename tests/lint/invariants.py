#!/usr/bin/env python3
"""invariants.py SOURCE: docs/invariants.md has every rule, and what it names exists.

Each rule has one row of four cells: its number, the rule, `FILE`: `FUNCTION`, ...
that keep it, and the tests that fail without it: `PROGRAM`: `TEST` under `MUTANT`,
... A mutant is in a table of tests/mutants with that program as its command, or in
the head of the model that PROGRAM names. A file after `Not yet:` must not exist, so
that the row is completed when the file is added.
"""
import pathlib
import re
import runpy
import sys

from lint import Report, line_of, read, without_comments

PAGE = 'docs/invariants.md'
RULES = [f'I{i}' for i in (*range(1, 45), *range(61, 69))] + [f'A{i}' for i in range(1, 11)] + \
        [f'D{i}' for i in range(1, 26)] + [f'W{i}' for i in range(1, 19)]
# Rules that need no row before the library keeps them.
LATER = [f'C{i}' for i in range(1, 13)]
KEPT = re.compile(r'`(lib/[\w/]+\.[ch])`: (`\w+`(?:, `\w+`)*)')
SHOWN = re.compile(r'`([\w .]+)`(?:: `(\w[\w-]*)`)?'
                   r'(?: under (`[\w-]+`(?:, `[\w-]+`)*))?')


def quoted(text):
    return re.findall(r'`([^`]*)`', text or '')


def defines(text, name):
    return re.search(rf'^\w[^;={{}}\n]*(?:\n[^;={{}}\n]*)?\b{name}\([^;{{}}]*\)'
                     r'\s*\{', text, re.M)


def program_of(command):
    """The program of a mutant's row, as rows of the page name it."""
    words = [pathlib.Path(w).name for w in command]
    return f'lab {words[words.index("--") + 1]}' if '--' in words else words[0]


class Tree:
    """The functions, tests and mutants that rows may name."""

    def __init__(self, source):
        self.source = source
        sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / 'model'))
        import head
        self.models = {p.name: {m.name for m in head.load(p).mutants}
                       for p in sorted((source / 'tests/model').glob('*.pml'))}
        self.mutants = {}       # name -> (program, the test that must fail)
        self.own = set()        # mutants that a row must name
        for table in sorted((source / 'tests/mutants').glob('*.py')):
            for m in runpy.run_path(str(table)).get('MUTANTS', []):
                self.mutants[m[0]] = (program_of(m[1]),
                                      m[6] if len(m) > 6 else None)
                if table.stem == 'invariants':
                    self.own.add(m[0])

    def has_function(self, file, name):
        path = self.source / file
        return path.exists() and defines(without_comments(read(path)), name)

    def has_case(self, file, test):
        path = self.source / file
        return path.exists() and re.search(
            rf'(?:TEST|CASE|ON_[A-Z]+|cmocka_unit_test\w*)\(\s*{test}\b', read(path))

    def has_kind(self, kind):
        return any(f'{{ "{kind}",' in read(p)
                   for p in (self.source / 'tests/sim').glob('kinds*.c'))

    def has_test(self, program, test):
        first, _, what = program.partition(' ')
        if program == 'sim':
            return self.has_kind(test)
        if program == 'fuzz':
            return (self.source / 'tests/fuzz' /
                    test.replace('replay', 'fuzz', 1)).with_suffix(
                        '.c').exists()
        if program == 'lint':
            return (self.source / 'tests/lint' / f'{test}.py').exists()
        if first.startswith('stress'):
            return self.has_case(f"tests/stress/{first.split('_')[-1]}.c", test)
        if first == 'lab':
            return self.has_case(f'tests/lab/{what}.c', test)
        return self.has_case(f'tests/unit/{first}.c', test)


def check_kept(report, tree, rule, where, cell):
    now, _, later = cell.partition('Not yet:')
    found = KEPT.findall(now)
    if now.startswith('does not apply: '):
        if found or later or len(now) < 40:
            report.fault(PAGE, where, f'{rule}: does not apply, and why?')
        return False
    if re.sub(KEPT, '', now).strip('; .') or not found:
        report.fault(PAGE, where, f'{rule}: not understood: {now}')
    for file, names in found:
        for name in quoted(names):
            if not tree.has_function(file, name):
                report.fault(PAGE, where, f'{rule}: {file} has no {name}()')
    for file in quoted(later):
        if (tree.source / file).exists():
            report.fault(PAGE, where, f'{rule}: {file} is there: what keeps it, '
                         'and which test fails?')
    return True


def check_mutant(report, tree, rule, where, program, test, mutant):
    if program in tree.models:
        if mutant not in tree.models[program]:
            report.fault(PAGE, where, f'{rule}: {program} has no mutant '
                         f'{mutant}')
        return
    runs, must_fail = tree.mutants.get(mutant, (None, None))
    named = test if program == 'fuzz' else program
    if runs is None:
        report.fault(PAGE, where, f'{rule}: no table has a mutant {mutant}')
    elif runs != named or (must_fail and must_fail != test):
        report.fault(PAGE, where, f'{rule}: {mutant} is for {runs}, '
                     f'{must_fail}')


def check_shown(report, tree, rule, where, cell):
    """Checks the cell. Returns the mutants that it names."""
    used, shown = set(), False
    for item in cell.split('; '):
        m = SHOWN.fullmatch(item.strip())
        if not m:
            report.fault(PAGE, where, f'{rule}: not understood: {item}')
            continue
        program, test, mutants = m[1], m[2], quoted(m[3])
        if program in tree.models:
            if test or not mutants:
                report.fault(PAGE, where, f'{rule}: {program}: which mutant?')
        elif not test or not tree.has_test(program, test):
            report.fault(PAGE, where, f'{rule}: there is no {program}: {test}')
        for mutant in mutants:
            check_mutant(report, tree, rule, where, program, test, mutant)
        shown |= bool(mutants) or program.startswith('lab ')
        used |= set(mutants)
    if not shown:
        report.fault(PAGE, where, f'{rule}: under which mutant?')
    return used


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    tree = Tree(source)
    text = read(source / PAGE)
    seen, used = [], set()
    for m in re.finditer(r'^\| ([IADWC]\d+) \|(.*)\|$', text, re.M):
        rule, where = m[1], line_of(text, m.start())
        cells = [c.strip() for c in m[2].split('|')]
        seen.append(rule)
        if len(cells) != 3 or not cells[0]:
            report.fault(PAGE, where, f'{rule}: {len(cells) + 1} cells, not 4')
        elif check_kept(report, tree, rule, where, cells[1]):
            used |= check_shown(report, tree, rule, where, cells[2])
        elif cells[2]:
            report.fault(PAGE, where, f'{rule}: does not apply, and is tested')
    for rule in RULES:
        if seen.count(rule) != 1:
            report.fault(PAGE, 0, f'{rule} has {seen.count(rule)} rows')
    for rule in LATER:
        if seen.count(rule) > 1:
            report.fault(PAGE, 0, f'{rule} has {seen.count(rule)} rows')
    for rule in sorted(set(seen) - set(RULES) - set(LATER)):
        report.fault(PAGE, 0, f'{rule} is no rule')
    for mutant in sorted(tree.own - used):
        report.fault(PAGE, 0, f'no row names {mutant}')
    report.end(f'{len(seen)} rules, {len(used)} mutants', rules=len(seen),
               mutants=len(used), models=len(tree.models),
               tables_of_mutants=len(tree.mutants))


main()
