# SPDX-License-Identifier: BSD-3-Clause
"""What tests of the command share: a small pool, its owner, and runs of the command."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

# tests/unit/tap removes what is left there.
SHM = os.environ.get('DAXPIN_TEST_SHM', '/dev/shm')
DONE, FAILED = 0, 2
# Flags, fields and functions of the library, which a user of the command cannot give.
NAME = re.compile(r'DAXPIN_[A-Z]|\b(?:pool|segment|max|errmsg)_size\b|\bdeadline_ns\b|'
                  r'\boptions\.|later deadline|overwrite flag|\bprogress\(\)|'
                  r'progress function|\bdaxpin_\w+\(\)|leave out the flag|'
                  r'out of the options')


class Fault(Exception):
    pass


class Skip(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Fault(what)


def expect_no_names(text, words):
    """An error names what the command has. In its paths (words) is whatever its user chose."""
    own = text
    for path in (pathlib.Path(str(word)) for word in words if '/' in str(word)):
        for part in [path, *path.parents]:
            if len(part.parts) > 1:
                own = own.replace(str(part), '')
    found = NAME.search(own)
    expect(not found, f'{words} prints {found and found.group()}, which only the library '
           f'has: {text}')


class Machine:
    def __init__(self, daxpin, hello, owner):
        self.daxpin, self.hello, self.owner = daxpin, hello, owner
        self.top = pathlib.Path(tempfile.mkdtemp(prefix='daxpin-tool-', dir=SHM))
        self.pool = self.top / 'pool'

    def make(self):
        """Creates a small pool with one extent, and closes it."""
        if self.pool.exists():
            shutil.rmtree(self.pool)
        subprocess.run([self.hello, self.pool], check=True, capture_output=True)

    def run(self, *words, status=DONE, before=(), **options):
        done = subprocess.run([*before, self.daxpin, *map(str, words)], text=True,
                              **{'stdin': subprocess.DEVNULL, 'cwd': self.top,
                                 'stdout': subprocess.PIPE,
                                 'stderr': subprocess.PIPE, **options})
        expect(done.returncode == status, f'{words}: exit {done.returncode} '
               f'instead of {status}: {done.stdout}{done.stderr}')
        if status == FAILED:
            expect_no_names(f'{done.stdout or ""}{done.stderr or ""}', words)
        return done

    def json(self, *words, status=DONE, **options):
        done = self.run(*words, '--json', status=status, **options)
        expect(not done.stderr, f'{words}: {done.stderr}')
        return json.loads(done.stdout)

    def use(self):
        """Starts a process that has the pool open."""
        process = subprocess.Popen([self.owner, self.pool], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        expect(process.stdout.readline() == 'ready\n', 'no owner')
        return process


def end(process):
    process.stdin.close()
    expect(process.wait() == 0, 'the owner failed')
    process.stdout.close()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def run_tests(tests, machine):
    """Runs the functions, and prints the result of each as TAP. Returns the failures."""
    failed = 0
    try:
        for number, test in enumerate(tests, 1):
            name = test.__name__[5:]
            try:
                test(machine)
                print(f'ok {number} - {name}', flush=True)
            except Skip as why:
                print(f'ok {number} - {name} # SKIP {why}', flush=True)
            except Fault as fault:
                failed += 1
                print(f'not ok {number} - {name}\n# {fault}', flush=True)
    finally:
        shutil.rmtree(machine.top)
    print(f'1..{len(tests)}')
    return failed
