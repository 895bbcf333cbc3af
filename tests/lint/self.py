#!/usr/bin/env python3
"""self.py SOURCE PYTHON LINT ARGUMENTS...: each lint fails when it has nothing to
look at.

Each is run on a tree without files, and on a copy of this tree in which every
file is empty.  It must exit 1 and say why, in a sentence rather than a traceback.
"""
import pathlib
import subprocess
import sys
import tempfile

from lint import Report, files_of_the_tree


def empty_copy(source, top):
    for path in files_of_the_tree(source):
        copy = top / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()


def lints(arguments):
    """[script, arguments...] of each."""
    found = [[]]
    for word in arguments:
        if word.endswith('.py') and word not in found[-1]:
            found.append([])
        found[-1].append(word)
    return found[1:]


def check(report, python, lint, tree, what):
    script, *arguments = lint
    done = subprocess.run([python, script, tree, *arguments],
                          capture_output=True, text=True)
    name = pathlib.Path(script).name
    said = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        report.fault(name, 0, f'is content with {what}: {said}')
    elif done.returncode != 1 or 'Traceback' in said or not said:
        report.fault(name, 0, f'exits {done.returncode} on {what}: '
                     f'{said[-400:]}')


def main():
    source = pathlib.Path(sys.argv[1])
    report = Report()
    checked = lints(sys.argv[3:])
    with tempfile.TemporaryDirectory() as directory:
        nothing = pathlib.Path(directory) / 'nothing'
        emptied = pathlib.Path(directory) / 'emptied'
        nothing.mkdir()
        empty_copy(source, emptied)
        for lint in checked:
            check(report, sys.argv[2], lint, nothing, 'a tree without files')
            check(report, sys.argv[2], lint, emptied, 'empty files')
    report.end(f'{len(checked)} lints fail on nothing', lints=len(checked))


main()
