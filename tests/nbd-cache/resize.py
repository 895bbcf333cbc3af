"""Kills of the server under fio, also while the pool grows and shrinks.

In each round fio and a client with a shadow write to the volume. The limit of the cache
falls and rises again, so that memory is given back and taken. The server is killed in
the middle of that, or after it. Then `daxpin grow` adds a segment to the pool that the
dead server has left, and `daxpin shrink` removes it, or the next server uses it.
DAXPIN_TEST_RESIZES is the number of rounds.
"""
import contextlib
import os
import pathlib
import random
import shutil
import subprocess
import threading
import time

import nbd
from control import Shifted, change_limit, command, memory
from server import BLOCK, MIB, POOL, Skip, expect, is_device, needs
from shadow import Shadow

SEGMENT = 256 * MIB		# of which the first one of the pool is a part
FIO = 24 * MIB			# fio has the first part of the volume
BLOCKS = 384			# the client has the rest


class Load(threading.Thread):
    """Operations at a depth of 16 until the server is gone."""

    def __init__(self, m, shadow):
        super().__init__()
        self.client, self.shadow, self.fault = Shifted(m.client(), FIO), shadow, None
        self.start()

    def run(self):
        try:
            while True:
                self.shadow.load(self.client, 100)
        except (nbd.Closed, OSError):	# its answers until then are in the shadow
            pass
        except Exception as fault:
            self.fault = fault


class Fio(threading.Thread):
    """Runs fio, with other seeds each time, until the server is gone: fio ends with
    another error then than after a wrong checksum. (With --time_based it finds wrong
    ones on a plain disk as well.)"""

    def __init__(self, m, number):
        super().__init__()
        self.words, self.status, self.seed, self.m = '', 0, number * 1000, m
        self.passes = 0		# each compares what it wrote
        self.start()

    def run(self):
        while not self.status:
            self.seed += 1
            done = subprocess.run(
                ['fio', '--name=mix', '--ioengine=nbd', '--uri=' + self.m.uri(),
                 f'--size={FIO}', '--iodepth=16', '--rw=randrw', '--bsrange=4k-256k',
                 '--verify=crc32c', '--serialize_overlap=1',
                 f'--randseed={self.seed}', '--output-format=terse'],
                cwd=self.m.top, capture_output=True, text=True)
            self.status, self.words = done.returncode, done.stderr
            self.passes += not self.status

    def end(self):
        self.join()
        if 'engine nbd not loadable' in self.words:
            raise Skip('this fio has no nbd engine')
        expect('verify:' not in self.words and 'bad magic' not in self.words,
               self.words[:1000])


def resize(m, what, size):
    return subprocess.run([m.daxpin, what, m.pool, str(size), '--wait', '600'],
                          capture_output=True, text=True)


def grow_and_shrink(m):
    """By the tool, on a pool whose owner was killed. Nothing is in the new segment."""
    before = memory(m)
    for what, count, size in ('grow', 2, POOL + SEGMENT), ('shrink', 1, POOL):
        done = resize(m, what, size)
        expect(not done.returncode, f'{what}: {done.stderr}')
        expect(memory(m) == before + size - POOL, f'{what}: {memory(m)} bytes')
        files = sorted(path.name for path in pathlib.Path(m.pool).glob('segment.*'))
        expect(len(files) == count, f'{what}: {files}')
    m.extents()


def change_until_killed(m, draw):
    """A kill in the middle of a change of the limit: its client gets no answer."""
    def change():
        try:
            command(m, f'limit {draw.choice((10, 25, 60))}%')
        except OSError:
            pass
    thread = threading.Thread(target=change)
    thread.start()
    time.sleep(draw.uniform(0, 0.05))
    m.kill()
    thread.join()


@contextlib.contextmanager
def loads(m, shadow, number):
    """Both loads, until the end of the block, which kills the server. It begins when
    fio has compared its first checksums."""
    fio, load = Fio(m, number), Load(m, shadow)
    while load.is_alive() and shadow.next < 100 * (number + 1):
        time.sleep(0.005)
    while fio.is_alive() and not fio.passes:
        time.sleep(0.005)
    yield
    load.join()
    fio.end()
    if load.fault:
        raise load.fault


def change_and_kill(m, number, draw, full):
    for percent in draw.choice((20, 40, 60)), 100:
        change_limit(m, percent, full)
    if number % 2 == 0:
        change_until_killed(m, draw)
    else:
        m.kill()


def use_two_segments(m, shadow, options):
    """A server uses the larger pool; what is then live in the second segment is in the
    way of a shrink, which changes nothing. The disk has everything after the end."""
    done = resize(m, 'grow', POOL + SEGMENT)
    expect(not done.returncode, done.stderr)
    client = m.start(*options)
    for offset in range(0, FIO + BLOCKS * BLOCK, MIB):
        client.read(offset, MIB)	# more than the first segment has
    shadow.load(Shifted(client, FIO), 200)
    m.kill()
    before = memory(m)
    done = resize(m, 'shrink', POOL)
    expect(done.returncode and 'segment 1 has live extents' in done.stderr, f'{done}')
    expect(memory(m) == before, f'{memory(m)} bytes, and {before} before')
    check(m, shadow, options)
    m.stop()
    shutil.rmtree(m.pool)


def check(m, shadow, options):
    """Returns the client of a new server, which has every answered operation."""
    client = Shifted(m.start(*options), FIO)
    shadow.verify(lambda block: client.read(block * BLOCK, BLOCK))
    return client


def end(m, shadow, rounds):
    m.stop()
    with open(m.disk, 'rb') as disk:
        disk.seek(FIO)
        shadow.verify(lambda block: disk.read(BLOCK))
    print(f'# {rounds} rounds, {shadow.next} operations, {shadow.compared} blocks '
          'compared', flush=True)


def test_resizes_under_fio_with_kills(m):
    if is_device(m.pool):
        raise Skip('a device has no holes')
    needs('fio')
    rounds = int(os.environ.get('DAXPIN_TEST_RESIZES', 1))
    options = (f'control={m.top}/control', 'low=0', 'high=30')
    shadow, draw = Shadow(BLOCKS, seed=17), random.Random(17)
    m.make_disk(FIO + BLOCKS * BLOCK)
    m.start(*options)
    full = memory(m)
    for number in range(rounds):
        with loads(m, shadow, number):
            change_and_kill(m, number, draw, full)
        grow_and_shrink(m)
        if number % 10 == 0:
            check(m, shadow, options)
            m.kill()
            use_two_segments(m, shadow, options)
        check(m, shadow, options)
    end(m, shadow, rounds)


def test_kills_under_fio(m):
    """In each place for a pool, a device as well."""
    needs('fio')
    rounds = m.kills or 2
    options = ('low=0', 'high=1' if is_device(m.pool) else 'high=30')
    shadow = Shadow(BLOCKS, seed=18)
    m.make_disk(FIO + BLOCKS * BLOCK)
    m.start(*options)
    for number in range(rounds):
        with loads(m, shadow, number):
            m.kill()
        check(m, shadow, options)
    end(m, shadow, rounds)
