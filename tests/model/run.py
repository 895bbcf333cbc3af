# SPDX-License-Identifier: BSD-3-Clause
"""run.py SPIN CC MODEL...: every model holds, and every mutant is rejected.
run.py --trail SPIN CC MODEL MUTANT: prints the trail to a mutant's failure.

A model that holds must also reach each of its statements in some process, except those
with the comment `unreached`: a model proves nothing about a statement that it does not
reach. A mutant must be rejected by the assertion that the model's head names, see
head.py. The output is TAP."""

import concurrent.futures
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import head

SECONDS = 2400	# limit of one search, to end one that hangs
LAST = 8	# steps of a trail that are shown

# The unchanged model: without statement merging, which would hide unreached statements.
PROPER = ['-o3'], ['-O1', '-DCOLLAPSE'], ['-m100000', '-w22']
# A mutant: depth first soon finds a wrong state if there are many; breadth first finds
# the nearest one, with a short trail; the last method has no limit of memory. These
# searches are short, so most of their time is the compiler's: tcc is used if it is
# installed, which takes a twentieth of gcc -O0's.
SOON = [], ['-DCOLLAPSE', '-DMEMLIM=50'], ['-m10000', '-w20']
SHORT = [], ['-DBFS', '-DCOLLAPSE', '-DMEMLIM=200'], ['-w20']
LONG = [], ['-DCOLLAPSE'], ['-m100000', '-w20']


class Fault(Exception):
    """A failure; the text has a line for each fact."""


def call(command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True,
                          errors='replace', timeout=SECONDS)
    return done.returncode, done.stdout + done.stderr


class Search:
    """One model with one set of flags, in its own directory."""

    def __init__(self, tools, model, flags, how):
        self.tools, self.model = tools, model
        self.flags = [f'-D{f}' for f in flags if f]
        self.how = how
        self.scratch = tempfile.TemporaryDirectory(prefix='daxpin-model.')
        self.dir = self.scratch.name
        for path in self.model.path.parent.iterdir():
            if path.suffix in ('.pml', '.h'):
                shutil.copy(path, self.dir)

    def close(self):
        self.scratch.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def must(self, command):
        status, output = call(command, self.dir)
        if status:
            raise Fault(f'{command[0]} fails:\n{output}')
        return output

    def run(self):
        spin, cc = self.tools
        if self.how is not PROPER:
            cc = shutil.which('tcc') or cc
        self.must([spin] + self.how[0] + self.flags +
                  ['-a', self.model.path.name])
        self.must([cc, '-w', '-DSAFETY', '-o', 'pan', 'pan.c'] + self.how[1])
        begun = time.monotonic()
        try:
            _, output = call(['./pan'] + self.how[2], self.dir)
        except subprocess.TimeoutExpired:
            raise Fault(f'not done in {SECONDS} s') from None
        self.seconds = time.monotonic() - begun
        self.output = output

    def complete(self):
        return 'max search depth too small' not in self.output and \
            'Search not completed' not in self.output

    def number(self, pattern):
        found = re.search(pattern, self.output)
        return found[1] if found else '?'

    def errors(self):
        return self.number(r'errors: (\d+)') != '0'

    def numbers(self):
        return '%s states, depth %s, %s MB, %.1f s' % (
            self.number(r'(\S+) states, stored'),
            self.number(r'depth reached (\d+)'),
            self.number(r'(\S+)\s+total actual memory'), self.seconds)

    def trail(self):
        """Returns (line of the failure or None, [(process, line)...], the whole output)."""
        if not os.path.exists(os.path.join(self.dir,
                                           self.model.path.name + '.trail')):
            raise Fault('no trail:\n' + self.output)
        _, output = call([self.tools[0]] + self.flags +
                       ['-t', '-p', '-g', '-l', self.model.path.name],
                       self.dir)
        failed = re.search(r'^spin: \S+:(\d+), Error: assertion', output, re.M)
        name = re.escape(self.model.path.name)
        output = output[:output.find('spin: trail ends')]
        steps = re.findall(r'^\s*\d+:\tproc\s+\d+ \((\w+):\d+\) ' + name +
                           r':(\d+)', output, re.M)
        steps = [(process, int(line)) for process, line in steps]
        return int(failed[1]) if failed else None, steps, output


def statements(search):
    """Returns (all statements, those that some process reached)."""
    missed, process = set(), ''
    for line in search.output.split('\n'):
        begin = re.match(r'unreached in (?:proctype )?(\S+)', line)
        state = re.match(r'\t\S+:\d+, state (\d+), ', line)
        if begin:
            process = begin[1]
        elif state:
            missed.add((process, state[1]))
    every, reached = set(), set()
    _, table = call(['./pan', '-d'], search.dir)
    for line in table.split('\n'):
        begin = re.match(r'(?:proctype )?(\w+)$', line)
        state = re.match(r'\tstate\s+(\d+) .*:(\d+) => (.*)', line)
        if begin:
            process = begin[1]
        elif state and state[3] != '-end-':
            statement = int(state[2]), state[3]
            every.add(statement)
            if (process, state[1]) not in missed:
                reached.add(statement)
    return every, reached


def check_proper(tools, model):
    """Searches the model in all its scenarios. Returns lines about the searches."""
    if model.errors:
        raise Fault('\n'.join(model.errors))
    told, every, reached = [], set(), set()
    for scenario in list(model.scenarios) or ['']:
        with Search(tools, model, [scenario], PROPER) as search:
            search.run()
            told.append((scenario + ': ' if scenario else '') +
                        search.numbers())
            if search.errors():
                raise Fault('\n'.join(told + explain(search)))
            if not search.complete():
                raise Fault('the search is not complete:\n' + search.output)
            for have, more in zip((every, reached), statements(search)):
                have |= more
    missed = [f'{model.path.name}:{line} is not reached: {text}'
              for line, text in sorted(every - reached)
              if 'unreached' not in model.labels(line)]
    if missed:
        raise Fault('\n'.join(told + missed))
    return told + [f'{len(reached)} of {len(every)} statements reached']


def explain(search):
    """Returns a short form of a trail: its length, its end, and its processes."""
    failed, steps, _ = search.trail()
    switches = sum(a[0] != b[0] for a, b in zip(steps, steps[1:]))
    told = [f'{len(steps)} steps, {switches} switches between threads; '
            'it ends with']
    shown = []
    for process, line in steps:
        entry = (process, ' '.join(search.model.lines[line - 1].split()))
        if not shown or shown[-1] != entry:
            shown.append(entry)
    told += [f'  {process}: {text}' for process, text in shown[-LAST:]]
    told.append('a process waits forever' if failed is None else
                f'violated: {search.model.lines[failed - 1].strip()}')
    return told


def is_rejected(search, mutant):
    """Is the mutant rejected by the assertion that must reject it?"""
    if not search.errors():
        return False
    failed, _, _ = search.trail()
    labels = search.model.labels(failed).split() if failed else ['stuck']
    return mutant.label in labels


def search_mutant(tools, model, mutant, ways):
    """The result of a search: of the first method that rejects it or ends."""
    flags = [mutant.scenario, 'MUTANT_' + mutant.name]
    for how in ways:
        search = Search(tools, model, flags, how)
        search.run()
        if how is LONG or is_rejected(search, mutant) or \
                how is SHORT and (search.errors() or search.complete()):
            return search
        search.close()


def check_mutant(tools, model, mutant):
    with search_mutant(tools, model, mutant, (SOON, SHORT, LONG)) as search:
        if not search.errors():
            raise Fault('not rejected: ' + search.numbers() +
                        ('' if search.complete() else ', cut short'))
        told = [search.numbers()] + explain(search)
        if not is_rejected(search, mutant):
            raise Fault('\n'.join(
                [f'rejected, but not by {mutant.label}'] + told))
        return told


def attempt(job):
    name, function, arguments = job
    try:
        return name, True, function(*arguments)
    except Fault as fault:
        return name, False, str(fault).split('\n')


def main(spin, cc, paths):
    if not shutil.which(spin):
        print('1..0 # SKIP spin is not installed: ./dev setup')
        return 0
    models = [head.load(path) for path in paths]
    begun = time.monotonic()
    jobs = []
    for model in models:
        jobs.append((f'{model.name} holds', check_proper, ((spin, cc), model)))
        for m in model.mutants:
            jobs.append((f'{model.name} rejects {m.name}: {m.label}: {m.words}',
                         check_mutant, ((spin, cc), model, m)))
    print(f'1..{len(jobs)}', flush=True)
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for i, (name, good, told) in enumerate(pool.map(attempt, jobs), 1):
            bad += not good
            print(f'{"ok" if good else "not ok"} {i} - {name}')
            print('\n'.join('#   ' + line for line in told), flush=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'# {len(jobs)} searches, {time.monotonic() - begun:.0f} s, {usage.ru_utime + usage.ru_stime:.0f} s '
          f'of CPU, {usage.ru_maxrss // 1024} MB at most')
    return 1 if bad else 0


def show(spin, cc, path, name):
    model = head.load(path)
    [mutant] = [m for m in model.mutants if m.name == name]
    with search_mutant((spin, cc), model, mutant, (SHORT, LONG)) as search:
        print(search.trail()[2])


if __name__ == '__main__':
    if sys.argv[1] == '--trail':
        show(*sys.argv[2:6])
    else:
        sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
