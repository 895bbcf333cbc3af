#!/usr/bin/env python3
"""extract.py PAGE OUT...: writes each example of a manual page to a file.

The literal blocks of the section EXAMPLE or EXAMPLES, in order, become the files
OUT.  A line `...` in one of them is where the program does something else: it
becomes MEANWHILE, a macro of the test that includes the file.
"""
import pathlib
import re
import sys


def examples(page):
    section = re.search(r'^\.Sh EXAMPLES?\n(.*?)(?=^\.Sh |\Z)', page,
                        re.M | re.S)
    blocks = re.findall(r'^\.Bd -literal.*?\n(.*?)^\.Ed', section[1],
                        re.M | re.S) if section else []
    return [re.sub(r'^\s*\.\.\.$', 'MEANWHILE', block.replace('\\&', '')
                   .replace('\\-', '-').replace('\\e', '\\'), flags=re.M)
            for block in blocks]


def main():
    page, *names = sys.argv[1:]
    found = examples(pathlib.Path(page).read_text(encoding='utf-8'))
    if len(found) != len(names):
        sys.exit(f'{page} has {len(found)} examples, and tests/pages includes '
                 f'{len(names)}: change their number in its meson.build')
    for name, text in zip(names, found):
        pathlib.Path(name).write_text(text, encoding='utf-8')


main()
