# SPDX-License-Identifier: BSD-3-Clause
"""run.py SOURCE TABLE...: tests that each deliberate bug is caught.

A table is a Python file with MUTANTS: (name, [command...], file, what is wrong,
text as it is, text with the bug), and perhaps the one test of that program that
must be among those that fail. For each, a copy of the source is changed,
built, and the command run: it must fail. Before that it must pass on the source
as it is, otherwise a failure would show nothing. The output is TAP, with the failures
that caught each mutant. A text that does not occur exactly once is an error: the table
does not fit the source."""

import concurrent.futures
import os
import queue
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SECONDS = 1800	# limit of a run of the source as it is


def not_source(directory, names):
    return [n for n in names if n in ('.git', '__pycache__') or
            os.path.exists(os.path.join(directory, n, 'build.ninja'))]


def copy_source(source, to):
    shutil.copytree(source, to, symlinks=True, ignore=not_source)


class Tree:
    """A copy of the source with a build of its own."""

    def __init__(self, source, top):
        self.source = os.path.join(top, 'source')
        self.build = os.path.join(top, 'build')
        copy_source(source, self.source)
        subprocess.run(['meson', 'setup', self.build, self.source,
                        '-Dman=disabled'], check=True,
                       stdout=subprocess.DEVNULL)

    def compile(self, targets):
        done = subprocess.run(['ninja', '-C', self.build] + targets,
                              capture_output=True, text=True)
        return None if done.returncode == 0 else done.stdout

    def run(self, command, seconds):
        """Runs it. Returns None if it passed, otherwise its output."""
        pools = tempfile.mkdtemp(prefix='daxpin-run-', dir='/dev/shm')
        os.chmod(pools, 0o1777)	# some tests become another user
        try:
            return self.run_in(pools, command, seconds)
        finally:
            # A program that died has not removed its pools.
            shutil.rmtree(pools, ignore_errors=True)

    def run_in(self, pools, command, seconds):
        child = subprocess.Popen(
            [os.path.join(self.build, command[0])] + command[1:],
            cwd=self.build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors='replace', start_new_session=True,
            env=dict(os.environ, DAXPIN_TEST_SHM=pools))
        try:
            output = child.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            # Kills its children too.
            os.killpg(child.pid, signal.SIGKILL)
            output = f'{child.communicate()[0]}\n# not done in {seconds} s'
        return None if child.returncode == 0 else output

    def try_mutant(self, mutant, seconds):
        """Returns (caught, the lines that show it)."""
        _, command, name, _, old, new, *test = mutant
        path = os.path.join(self.source, name)
        with open(path) as file:
            text = file.read()
        if text.count(old) != 1:
            return False, [f'{name} has its text {text.count(old)} times: '
                           'the table is stale']
        try:
            with open(path, 'w') as file:
                file.write(text.replace(old, new))
            error = self.compile([target(command)])
            if error:
                return False, ['it does not compile'] + error.split('\n')[-15:]
            output = self.run(command, seconds)
        finally:
            with open(path, 'w') as file:
                file.write(text)
        if output is None:
            return False, ['nothing noticed it']
        failed = failed_tests(output)
        if test and test[0] not in failed:
            return False, [f'{test[0]} did not fail: ' + ', '.join(failed)] + \
                evidence(output)
        return True, evidence(output)


def failed_tests(output):
    """Returns the tests of a cmocka program that failed, and the one in which it died."""
    failed = re.findall(r'^\[ {2}(?:FAILED|ERROR ) {2}\] (\w+)$', output, re.M)
    begun = re.findall(r'^\[ RUN      \] (\w+)$', output, re.M)
    if begun and f'OK ] {begun[-1]}\n' not in output:
        failed.append(begun[-1])
    return failed


def evidence(output):
    """Returns the first failure and its messages."""
    lines = output.split('\n')
    told = [l for l in lines if re.match(r'# stress|\[  ERROR|\[   LINE', l) or
            'Assertion' in l]
    if told:
        return told[:4]
    for i, line in enumerate(lines):
        if line.startswith('not ok'):
            rest = lines[i + 1:i + 12]
            told = [l for l in rest if l.startswith('#')]
            return [line] + told[:8]
    return [l for l in lines if l][-3:]


def target(command):
    """Returns the program to build. For a lab test that is the word after `--`."""
    return command[command.index('--') + 1 if '--' in command else 0]


def main():
    source = os.path.realpath(sys.argv[1])
    mutants = []
    for table in sys.argv[2:]:
        mutants += runpy.run_path(table)['MUTANTS']
    commands = sorted({tuple(m[1]) for m in mutants})
    jobs = len(os.sched_getaffinity(0))	# fewer under taskset(1)
    print(f'1..{len(mutants) + len(commands)}', flush=True)
    with tempfile.TemporaryDirectory(prefix='daxpin-mutants.') as top:
        trees = queue.Queue()
        for i in range(jobs):
            trees.put(Tree(source, os.path.join(top, str(i))))
        bad = run_all(mutants, commands, trees, jobs)
    return 1 if bad else 0


def run_all(mutants, commands, trees, jobs):
    bad = number = 0
    limit = {}
    tree = trees.get()
    error = tree.compile(sorted({target(c) for c in commands}))
    for command in commands:
        number += 1
        began = time.monotonic()
        output = error or tree.run(list(command), SECONDS)
        # A mutant that takes this long hangs, which the test notices after minutes.
        limit[command] = 60 + 3 * round(time.monotonic() - began)
        print(('ok' if output is None else 'not ok') +
              f' {number} - the source as it is: {command[0]}', flush=True)
        if output is not None:
            print('\n'.join('# ' + l for l in evidence(output)))
            bad += 1
    trees.put(tree)
    if bad:
        print('Bail out! without a mutant it must pass')
        return bad

    def attempt(mutant):
        mine = trees.get()
        try:
            return mine.try_mutant(mutant, limit[tuple(mutant[1])])
        finally:
            trees.put(mine)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for mutant, (caught, told) in zip(mutants, pool.map(attempt, mutants)):
            number += 1
            bad += not caught
            print(('ok' if caught else 'not ok') +
                  f' {number} - {mutant[0]}: {mutant[3]}')
            print('\n'.join('#   ' + l.lstrip('# ') for l in told), flush=True)
    return bad


if __name__ == '__main__':
    sys.exit(main())
