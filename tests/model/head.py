# SPDX-License-Identifier: BSD-3-Clause
"""The head comment of a model: the functions that it represents, and its mutants.

	Stands for:
		lib/extent/state.c: name name ...
	Scenarios:
		NAME: in words
	Mutants:
		NAME: LABEL: in words
		NAME (SCENARIO): LABEL: in words

A section ends with an empty line; a line that is indented further continues one. A
scenario is compiled with -DNAME, a mutant with -DMUTANT_NAME. LABEL is in the
comment on the line of the assertion that the mutant must violate, or is
`stuck`: a process waits for ever. A statement that the model does not reach has
a comment with the word unreached, and why, on its line."""

import pathlib
import re
from dataclasses import dataclass, field


@dataclass
class Mutant:
    name: str
    scenario: str
    label: str
    words: str


@dataclass
class Model:
    path: pathlib.Path
    name: str
    lines: list
    stands_for: list = field(default_factory=list)	# (file, function)
    scenarios: dict = field(default_factory=dict)	# name -> words
    mutants: list = field(default_factory=list)
    errors: list = field(default_factory=list)

    def labels(self, line):
        """Returns the text of the comments on a line."""
        return ' '.join(re.findall(r'/\*(.*?)\*/', self.lines[line - 1]))

    def used(self):
        """The names of mutants that occur in the text."""
        return set(re.findall(r'\bMUTANT_(\w+)', '\n'.join(self.lines)))


def sections(text):
    """{title: [items]} of the head comment."""
    head = re.search(r'/\*\n(.*?)\n \*/', text.partition('*/')[2], re.S)
    found, items = {}, None
    for line in (head[1] if head else '').split('\n'):
        line = line.removeprefix(' *')
        title = re.fullmatch(r' (Stands for|Scenarios|Mutants):', line)
        if title:
            items = found[title[1]] = []
        elif not line.strip():
            items = None
        elif items is not None and line.startswith('\t\t'):
            items[-1] += ' ' + line.strip()
        elif items is not None:
            items.append(line.strip())
    return found


def load(path):
    path = pathlib.Path(path)
    text = path.read_text(encoding='utf-8')
    model = Model(path, path.stem, text.split('\n'))
    found = sections(text)
    for item in found.get('Stands for', []):
        file, _, names = item.partition(': ')
        model.stands_for += [(file, name) for name in names.split()]
    if not model.stands_for:
        model.errors.append('has no head that lists what it stands for')
    for item in found.get('Scenarios', []):
        name, _, words = item.partition(': ')
        model.scenarios[name] = words
    for item in found.get('Mutants', []):
        m = re.fullmatch(r'(\w+)(?: \((\w+)\))?: (\w+): (.*)', item)
        if m:
            model.mutants.append(Mutant(m[1], m[2] or '', m[3], m[4]))
        else:
            model.errors.append(f'not understood: {item}')
    check(model)
    return model


def check(model):
    """The head and the model must name the same mutants and scenarios."""
    names = [m.name for m in model.mutants]
    for name in sorted(set(names) ^ model.used()):
        model.errors.append(f'mutant {name} is not both in the head and below')
    for m in model.mutants:
        if bool(m.scenario) != bool(model.scenarios) or \
           m.scenario and m.scenario not in model.scenarios:
            model.errors.append(f'mutant {m.name}: which scenario?')
    for name in model.scenarios:
        if not any(re.search(rf'#.*\b{name}\b', line) for line in model.lines):
            model.errors.append(f'scenario {name} makes no difference')
    if not model.stands_for or not model.mutants:
        model.errors.append('does not list what it stands for, or has no mutants')
