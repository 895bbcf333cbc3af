"""A pool, a disk and a server on them, for tests of examples/nbd-cache."""
import json
import mmap
import os
import pathlib
import resource
import shutil
import signal
import stat
import subprocess
import tempfile
import time

import nbd

# tests/unit/tap removes what is left there.
SHM = os.environ.get('DAXPIN_TEST_SHM', '/dev/shm')
BLOCK = int(os.environ.get('DAXPIN_TEST_BLOCK', 64 << 10))	# tests with kills: any
SECTOR = 4096
MIB = 1 << 20
NOBODY = 65534
POOL = 32 * MIB			# the smallest: 480 blocks, less the index


class Fault(Exception):
    pass


class Skip(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Fault(what)


def is_device(pool):
    return os.path.exists(pool) and stat.S_ISCHR(os.stat(pool).st_mode)


def new_pool(place):
    """Returns a path for a pool: a device-dax node, which is wiped, or a path in a new
    directory there."""
    if not is_device(place):
        return tempfile.mkdtemp(prefix='daxpin-nbd-', dir=place) + '/pool'
    number = os.stat(place).st_rdev
    sysfs = f'/sys/dev/char/{os.major(number)}:{os.minor(number)}/size'
    size = int(pathlib.Path(sysfs).read_text())
    file = os.open(place, os.O_RDWR)
    memory = mmap.mmap(file, size)
    for offset in range(0, size, 2 * MIB):
        memory[offset:offset + 2 * MIB] = bytes(2 * MIB)
    memory.close()
    os.close(file)
    return place


def remove_pool(pool):
    if not is_device(pool):
        shutil.rmtree(os.path.dirname(pool))


class Machine:
    """A pool, a disk, and at most one server."""

    def __init__(self, plugin, daxpin, pool, disk=None):
        self.plugin, self.daxpin, self.pool = plugin, daxpin, pool
        self.top = pathlib.Path(tempfile.mkdtemp(prefix='daxpin-nbd-'))
        self.socket = str(self.top / 'socket')
        self.disk = disk or str(self.top / 'disk')
        self.block = BLOCK	# None: as the server chooses
        self.pool_size = POOL	# None: the pool exists
        self.server = None
        self.clients = []

    def remove(self):
        if self.server:
            self.kill()
        shutil.rmtree(self.top)

    def uri(self):
        return f'nbd+unix:///?socket={self.socket}'

    def make_disk(self, size, name=None):
        with open(name or self.disk, 'wb') as file:
            file.truncate(size)

    def spawn(self, *parameters, disk=True, limit=None, user=None):
        pathlib.Path(self.socket).unlink(missing_ok=True)
        log = open(self.top / 'log', 'ab')
        before = None
        if limit:
            before = lambda: limit_files(limit)  # noqa: E731
        server = subprocess.Popen(
            ['nbdkit', '-f', '-U', self.socket, self.plugin,
             'pool=' + self.pool,
             *([f'pool-size={self.pool_size}'] if self.pool_size else []),
             *(['disk=' + self.disk] if disk else []),
             *([f'block={self.block}'] if self.block else []),
             # A whole device is searched for the remains of a pool.
             *(['wait=600'] if is_device(self.pool) else []), *parameters],
            stdin=subprocess.DEVNULL, stderr=log, preexec_fn=before,
            restore_signals=False, user=user, group=user,
            extra_groups=None if user is None else [])
        log.close()
        return server

    def start(self, *parameters, **options):
        """Returns a client of the server, when it serves."""
        self.server = self.spawn(*parameters, **options)
        while not os.path.exists(self.socket):
            if self.server.poll() is not None:
                raise Fault(f'nbdkit ended: {self.log()}')
            time.sleep(0.005)
        return self.client()

    def client(self):
        while True:
            try:
                self.clients.append(nbd.Client(self.socket))
                return self.clients[-1]
            except ConnectionRefusedError:	# bound, but not listening yet
                time.sleep(0.005)

    def refused(self, *parameters, **options):
        """Starts a server that must not start. Returns what it reports."""
        (self.top / 'log').write_bytes(b'')
        self.server = self.spawn(*parameters, **options)
        try:
            status = self.server.wait(timeout=120)
        except subprocess.TimeoutExpired:
            raise Fault('the server was not refused') from None
        self.server = None
        expect(status == 1, f'exit {status}: {self.log()}')
        return self.log()

    def stop(self):
        self.disconnect()	# nbdkit waits for its clients
        self.server.terminate()
        status = self.server.wait()
        self.server = None
        expect(status == 0, f'nbdkit ended with {status}: {self.log()}')

    def kill(self):
        self.server.kill()
        self.server.wait()
        self.server = None
        self.disconnect()

    def disconnect(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def state(self):
        status = self.server.poll() if self.server else 'none'
        return f'server: {"runs" if status is None else status}'

    def log(self):
        log = self.top / 'log'
        return log.read_text() if log.exists() else ''

    def extents(self):
        """The number of published extents. The pool must be sound."""
        done = subprocess.run([self.daxpin, 'check', '--json', self.pool],
                              capture_output=True, text=True)
        expect(done.returncode == 0, done.stdout + done.stderr)
        return json.loads(done.stdout)['pool']['extents']


def limit_files(size):
    """Writes past this offset of a file fail, as those of a disk that is broken there."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f'{program} is not installed')
