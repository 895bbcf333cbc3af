"""Tests of the cache's control socket: its metrics, and the limit of its memory."""
import array
import fcntl
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import termios
import threading

import nbd
import openmetrics
from server import BLOCK, MIB, POOL, Skip, expect, is_device
from shadow import Shadow


def connect(m):
    client = socket.socket(socket.AF_UNIX)
    client.connect(f'{m.top}/control')
    return client


def receive(client):
    answer = b''
    while part := client.recv(65536):
        answer += part
    client.close()
    return answer.decode()


def command(m, line):
    client = connect(m)
    client.sendall(line.encode() + b'\n')
    return receive(client)


def test_metrics(m):
    m.make_disk(8 * MIB)
    client = m.start(f'control={m.top}/control', 'low=0')
    client.write(0, bytes(3 * BLOCK))
    client.read(0, 4 * BLOCK)
    client.call(nbd.ZERO, 5 * BLOCK, BLOCK)
    client.read(0, BLOCK)
    values = openmetrics.parse(command(m, 'stats'))
    for name, value in (('hits_total', 4), ('misses_total', 1),
                        ('dirty_blocks', 4), ('clean_blocks', 1),
                        ('disk_in_flight', 0), ('lost_blocks', 0)):
        expect(values['nbd_cache_' + name] == value,
               f"{name} {values['nbd_cache_' + name]}")
    for operation, number in (('read_hit', 1), ('read_miss', 1), ('write', 1),
                              ('zero', 1), ('write_back', 0)):
        name = f'nbd_cache_latency_seconds_count{{operation="{operation}"}}'
        expect(values[name] == number, f'{name} {values[name]}')
    for line in ('', 'stat', 'limit', 'limit 0', 'limit 101%', 'limit 4x',
                 'limit 18446744073709551617'):
        expect(command(m, line).startswith('error: '), line)
    m.kill()	# leaves its socket
    m.start(f'control={m.top}/control', 'low=0')
    expect(command(m, 'stats').endswith('# EOF\n'), 'a new server')
    m.stop()
    expect(not os.path.exists(f'{m.top}/control'), 'the socket remains')


def read_by_peer(client):
    """Waits until the other side has read what was sent."""
    unread = array.array('i', [1])
    while unread[0]:
        fcntl.ioctl(client, termios.TIOCOUTQ, unread)


def test_control_goes_on_after_interruptions(m):
    """A stop interrupts a socket call that has a timeout, as completions of io_uring
    do: without a signal handler."""
    m.make_disk(8 * MIB)
    m.start(f'control={m.top}/control')
    for _ in range(20):
        client = connect(m)
        for part in b'sta', b't', b's\n':
            client.sendall(part)
            if part != b's\n':
                read_by_peer(client)
                m.server.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, m.server.pid, os.WSTOPPED)
                m.server.send_signal(signal.SIGCONT)
        expect(receive(client).endswith('# EOF\n'), 'no answer')


def test_control_is_at_an_unused_path(m):
    """Only the socket that a dead server left is replaced."""
    m.make_disk(8 * MIB)
    path = m.top / 'control'
    path.write_bytes(b'not a socket')
    words = m.refused(f'control={path}')
    expect(f'control={path}: another server uses it, or it is a file' in words, words)
    expect(path.read_bytes() == b'not a socket', 'the file has changed')
    path.unlink()
    served = socket.socket(socket.AF_UNIX)
    served.bind(str(path))
    served.listen()
    words = m.refused(f'control={path}')
    expect('another server uses it' in words, words)
    served.close()
    for given, reason in ((f'{m.top}/nowhere/control', 'does not exist'),
                          (f'{m.top}/' + 'x' * 107, 'at most 107 bytes')):
        words = m.refused(f'control={given}')
        expect(f'control={given}: ' in words and reason in words, words)


# ------------------------------------------------------------------- the pool's size

def memory(m):
    """Bytes that the pool's segments have on tmpfs."""
    return sum(file.stat().st_blocks * 512
               for file in pathlib.Path(m.pool).glob('segment.*'))


class Shifted:
    """A client whose volume begins at an offset."""

    def __init__(self, client, base):
        self.client, self.base, self.requests = client, base, client.requests
        self.wait = client.wait

    def submit(self, kind, offset, *rest, **options):
        self.client.submit(kind, self.base + offset, *rest, **options)

    def read(self, offset, length):
        return self.client.read(self.base + offset, length)


class Busy(threading.Thread):
    """Writes and reads a part of the volume until the end."""

    def __init__(self, m, blocks, base=0):
        super().__init__()
        self.client, self.base = Shifted(m.client(), base), base
        self.shadow = Shadow(blocks, seed=base + 1)
        self.shadow.next = base << 20	# no two parts have the same contents
        self.ends, self.fault = False, None
        self.start()

    def run(self):
        try:
            while not self.ends:
                self.shadow.load(self.client, 100)
                while self.client.requests:
                    request, error, _ = self.client.wait()
                    expect(not error, f'{request}: error {error}')
                    self.shadow.answered(request.tag[1])
                self.verify(random.choices(range(len(self.shadow.states)), k=40))
        except Exception as fault:
            self.fault = fault

    def verify(self, blocks=None):
        self.shadow.verify(lambda block: self.client.read(block * BLOCK, BLOCK),
                           blocks)

    def end(self):
        self.ends = True
        self.join()
        if self.fault:
            raise self.fault


def change_limit(m, percent, full):
    """The server gives up after 30 s, which is short if many processes are busy. So the
    command is repeated once, as its answer says."""
    for _ in range(2):
        answer = command(m, f'limit {percent}%')
        if 'repeat the command' not in answer:
            break
    expect(answer.startswith('ok: '), f'limit {percent}: {answer}')
    given = 0 if percent == 100 else POOL * (100 - percent) // 100 - 4 * MIB
    expect(full - memory(m) >= given,
           f'{percent} %: {memory(m)} of {full} bytes remain')
    expect(percent < 100 or memory(m) == full, f'{memory(m)}, not {full}')


def test_the_limit_gives_memory_back_under_load(m):
    if is_device(m.pool):
        raise Skip('a device has no holes')
    data = os.urandom(24 * MIB)
    pathlib.Path(m.disk).write_bytes(bytes(20 * MIB) + data)
    client = m.start(f'control={m.top}/control', 'low=0', 'high=30')
    busy = Busy(m, 320)
    full = memory(m)
    for percent in (40, 100, 15, 60):
        client.read(20 * MIB, 24 * MIB)		# the pool is full of clean blocks
        change_limit(m, percent, full)
        expect(client.read(20 * MIB, 24 * MIB) == data, f'at {percent} %')
        values = openmetrics.parse(command(m, 'stats'))
        used = values['nbd_cache_clean_blocks'] * BLOCK
        expect(used <= values['nbd_cache_limit_bytes'], f'{used} bytes are used')
    busy.end()
    busy.verify()
    m.stop()
    expect('write-back' not in m.log(), m.log())
    m.start(f'control={m.top}/control', 'limit=50')
    expect(memory(m) < full * 6 // 10, 'limit= of a new server')
    m.stop()


def test_soak(m):
    if is_device(m.pool):
        raise Skip('a device has no holes')
    program = pathlib.Path(__file__).parent / 'soak'
    done = subprocess.run(
        [sys.executable, program, m.plugin, m.daxpin, '--minutes', '0.05',
         '--seed', '1', '--pool', os.path.dirname(m.pool)],
        capture_output=True, text=True)
    expect('MiB are right after' in done.stdout and not done.returncode,
           done.stdout + done.stderr)
