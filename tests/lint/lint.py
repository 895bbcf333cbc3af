"""What the lint tests share: the tree, C declarations, and how to report.

Each test is a script that takes the source directory and, if it needs them, more
arguments.  It prints a line `FILE:LINE: what is wrong` for each fault and exits 1,
or prints one line about what it has checked and exits 0; 77 is a skip.  A lint that
finds nothing to check fails: self.py runs each on an empty tree.
"""
import os
import pathlib
import re
import sys

PUBLIC = {                      # header -> what it is built into
    'daxpin.h': 'libdaxpin',
    'daxpin-status.h': 'libdaxpin',
    'daxpin-uring.h': 'libdaxpin-uring',
    'daxpin-rdma.h': 'libdaxpin-rdma',
    'daxpin-ofi.h': 'libdaxpin-ofi',
}


class Report:
    def __init__(self):
        self.faults = 0

    def fault(self, path, line, text):
        where = f'{path}:{line}: ' if line else f'{path}: '
        print(where + text)
        self.faults += 1

    def end(self, summary, **looked_at):
        """Fails if one of looked_at, such as `files=12`, is 0."""
        assert looked_at
        for what, count in looked_at.items():
            if not count:
                print(f'found no {what.replace("_", " ")} to look at: '
                      'an empty tree, or a pattern that no longer matches')
                self.faults += 1
        if self.faults:
            print(f'{self.faults} fault(s)')
            sys.exit(1)
        print(summary)
        sys.exit(0)


def skip(reason):
    print(reason)
    sys.exit(77)


def read(path):
    try:
        return pathlib.Path(path).read_text(encoding='utf-8')
    except FileNotFoundError:
        print(f'{path}: is not there')
        sys.exit(1)


def must_match(path, pattern, text, flags=0):
    """Returns the first match of the pattern. Fails if there is none."""
    found = re.search(pattern, text, flags)
    if not found:
        print(f'{path}: nothing in it matches {pattern}')
        sys.exit(1)
    return found


def line_of(text, offset):
    return text.count('\n', 0, offset) + 1


def without_comments(text):
    """Returns C without comments; line numbers do not change."""
    def blank(found):
        return ' ' + '\n' * found.group(0).count('\n')
    return re.sub(r'/\*.*?\*/', blank, text, flags=re.S)


def normal(text):
    """Returns a declaration with its white space normalized."""
    text = re.sub(r'\s+', ' ', text).strip()
    return re.sub(r' ?([(),*;]) ?', r'\1', text)


def prototypes(header):
    """{name: (normalised prototype, line)} of a public header's functions."""
    text = without_comments(read(header))
    text = re.sub(r'^#.*(\\\n.*)*$', '', text, flags=re.M)
    text = re.sub(r'\{[^{}]*\}', lambda m: '{}' + '\n' * m[0].count('\n'), text)
    found = {}
    pattern = re.compile(r'^(?!struct\s+\w+\s*[{;]|enum\b|extern\b)'
                         r'((?:const\s+|unsigned\s+|struct\s+)*\w+[\s*]+)'
                         r'(daxpin_\w+)\s*(\([^;{}]*\))\s*;', re.M)
    for m in pattern.finditer(text):
        found[m[2]] = (normal(m[1] + m[2] + m[3]), line_of(text, m.start()))
    return found


def all_prototypes(source):
    """{name: (prototype, header, line)} of all public headers."""
    found = {}
    for header in PUBLIC:
        for name, (text, line) in prototypes(
                source / 'include' / header).items():
            found[name] = (text, header, line)
    return found


def files_of_the_tree(source):
    """Every file that belongs to the project, relative to the source."""
    for top, dirs, names in os.walk(source):
        root = pathlib.Path(top) == pathlib.Path(source)
        dirs[:] = sorted(d for d in dirs
                         if d not in ('.git', '__pycache__') and not
                         (pathlib.Path(top) / d / 'meson-private').exists() and
                         not (root and d.startswith('build')))
        for name in sorted(names):
            if not name.endswith(('~', '.swp', '.pyc')):
                yield (pathlib.Path(top) / name).relative_to(source)
