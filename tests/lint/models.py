#!/usr/bin/env python3
"""models.py SOURCE: each model names the functions that it represents, and they exist.

The functions in a model's head must be defined in the files that it says; its
mutants and scenarios must occur below the head; each rule that it cites is one.
"""
import pathlib
import re
import sys

from lint import Report, read, without_comments

RULE = re.compile(r'(?:I([1-9]|[1-3]\d|4[0-4]|6[1-8])|A([1-9]|10)|D([1-9]|1[0-8])|C([1-9]|1[0-2])|ARM|stuck)$')


def defines(text, name):
    """Is the function defined in this C file?"""
    return re.search(rf'^\w[^;={{}}]*\b{name}\([^;{{}}]*\)\s*\{{', text, re.M)


def main():
    source = pathlib.Path(sys.argv[1])
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / 'model'))
    import head
    report = Report()
    paths = sorted((source / 'tests' / 'model').glob('*.pml'))
    built = read(source / 'tests' / 'model' / 'meson.build')
    functions = mutants = 0
    for path in paths:
        shown = path.relative_to(source)
        model = head.load(path)
        for error in model.errors:
            report.fault(shown, 0, error)
        if f"'{path.name}'" not in built:
            report.fault(shown, 0, 'is not in meson.build')
        for file, name in model.stands_for:
            functions += 1
            if not (source / file).exists() or not defines(
                    without_comments(read(source / file)), name):
                report.fault(shown, 0, f'{file} has no {name}()')
        for mutant in model.mutants:
            mutants += 1
            if not RULE.match(mutant.label):
                report.fault(shown, 0, f'{mutant.name}: {mutant.label} is no '
                             'rule')
    report.end(f'{len(paths)} models stand for {functions} functions and have '
               f'{mutants} mutants', models=len(paths), functions=functions,
               mutants=mutants)


main()
