"""Tests of what the cache does if memory of the pool becomes bad while it is used.

The kernel marks pages of shmem as bad by MADV_HWPOISON and does not use them again
before the next boot, so these tests need DAXPIN_TEST_POISON and root: tests/lab/lab has
both.
Bad blocks of pmem are written to the list of its block device, under a DAX filesystem,
which is DAXPIN_TEST_FSDAX.
"""
import ctypes
import fcntl
import mmap
import os
import pathlib
import signal
import struct
import subprocess
import time

import nbd
import openmetrics
from control import command
from server import (BLOCK, MIB, Machine, Skip, expect, is_device, needs, new_pool,
                    remove_pool)

HWPOISON = 100			# of madvise()
FIEMAP = 0xc020660b		# FS_IOC_FIEMAP
FIEMAP_SYNC = 1
DRIVER = '/sys/bus/nd/drivers/nd_pmem/'
HEADER = b'dbdcache'		# of open.c: struct header begins with it
libc = ctypes.CDLL(None, use_errno=True)


def needs_permission():
    if 'DAXPIN_TEST_POISON' not in os.environ:
        raise Skip('DAXPIN_TEST_POISON is not set, so no page may be marked as bad')
    if os.geteuid():
        raise Skip('only root may mark pages as bad')


def needs_poison(m):
    needs_permission()
    if is_device(m.pool):
        raise Skip('MADV_HWPOISON is for pages of shmem')


def begins_with(file, at, data):
    try:
        return os.pread(file, len(data), at) == data
    except OSError:		# of a page that is bad already
        return False


def find(m, data):
    """Returns the file of the pool with a page that begins with these bytes, and where
    it has it."""
    for name in sorted(os.listdir(m.pool)):
        file = os.open(f'{m.pool}/{name}', os.O_RDONLY)
        for at in range(0, os.fstat(file).st_size, mmap.PAGESIZE):
            if begins_with(file, at, data):
                os.close(file)
                return f'{m.pool}/{name}', at
        os.close(file)
    raise AssertionError('the pool does not have these bytes')


def mark_bad(path, at):
    """The kernel also sends SIGBUS to this process, which has the page mapped."""
    with open(path, 'r+b') as file:
        memory = mmap.mmap(file.fileno(), mmap.PAGESIZE, offset=at)
    page = ctypes.c_char.from_buffer(memory)
    memory[0:1] = memory[0:1]	# maps it
    signal.signal(signal.SIGBUS, lambda *_: None)
    failed = libc.madvise(ctypes.c_void_p(ctypes.addressof(page)), mmap.PAGESIZE,
                          HWPOISON)
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
    if failed:
        raise Skip(f'MADV_HWPOISON: {os.strerror(ctypes.get_errno())}')


def poison(m, data):
    mark_bad(*find(m, data))


def lost(m):
    return openmetrics.parse(command(m, 'stats'))['nbd_cache_lost_blocks']


def is_lost(m, client, block):
    """Reads of the block fail, and writes of a part of it."""
    return all(error == nbd.EIO for error, _ in (
        client.call(nbd.READ, block * BLOCK, BLOCK),
        client.call(nbd.WRITE, block * BLOCK, data=b'a part')))


def test_bad_memory(m):
    """A clean block is read from the disk again; a dirty one is an error until it is
    written as a whole. No store goes to bad memory, which would be SIGBUS."""
    needs_poison(m)
    options = (f'control={m.top}/control', 'low=0', 'high=100')
    data = os.urandom(48 * MIB)	# more than the pool has
    pathlib.Path(m.disk).write_bytes(data)
    client = m.start(*options)
    client.read(3 * BLOCK, BLOCK)
    poison(m, data[3 * BLOCK:3 * BLOCK + 64])
    expect(client.read(3 * BLOCK, BLOCK) == data[3 * BLOCK:4 * BLOCK], 'a clean block')
    dirty = os.urandom(BLOCK)
    for block in (4, 5):
        client.write(block * BLOCK, dirty)
        poison(m, dirty[:64])
        expect(is_lost(m, client, block), f'block {block} is not an error')
        expect(f"bytes at {block * BLOCK} are not on the disk, and the pool's memory "
               'of them is bad' in m.log(), m.log())
    for block in range(6, 768):	# needs space, so write-back begins with 4 and 5
        client.write(block * BLOCK, dirty)
    expect(lost(m) == 2, f'{lost(m)} blocks are lost')
    expect(is_lost(m, client, 5), 'the disk has older contents')
    client.write(4 * BLOCK, dirty)
    expect(client.read(4 * BLOCK, BLOCK) == dirty, 'a new write')
    m.kill()
    client = m.start(*options)
    expect(lost(m) == 1, f'{lost(m)} blocks are lost after the restart')
    expect(is_lost(m, client, 5), 'the disk has older contents after the restart')
    for block in range(768):
        if block != 5:
            wanted = data[block * BLOCK:(block + 1) * BLOCK] if block < 4 else dirty
            expect(client.read(block * BLOCK, BLOCK) == wanted, f'block {block}')
    m.stop()


def test_bad_memory_of_the_index(m):
    """A server does not start, and reports why."""
    needs_poison(m)
    m.make_disk(8 * MIB)
    client = m.start()
    client.write(0, os.urandom(BLOCK))
    poison(m, HEADER)
    m.stop()
    words = m.refused()
    expect('memory of the index' in words and 'is bad' in words, words)


def test_bad_memory_of_the_index_in_use(m):
    """It ends the server, because the words are loaded without a system call."""
    needs_poison(m)
    m.make_disk(8 * MIB)
    client = m.start()
    client.write(0, os.urandom(BLOCK))
    path, at = find(m, HEADER)
    with open(path, 'rb') as file:	# the pool has one segment, which begins at 0
        words, = struct.unpack_from('<Q', file.read(at + 304), at + 296)
    mark_bad(path, words)
    try:
        error, _ = client.call(nbd.READ, 0, BLOCK)
        raise AssertionError(f'the read ends with {error}')
    except nbd.Closed:
        pass
    status = m.server.wait()
    expect(status == -signal.SIGBUS, f'the server ended with {status}')
    m.disconnect()
    words = m.refused()
    expect('memory of the index' in words and 'is bad' in words, words)


def test_the_file_of_the_pool_is_cut(m):
    """Loads past the new end are SIGBUS: an error of those who read there, not the end
    of the server."""
    if is_device(m.pool):
        raise Skip('a device cannot be cut')
    m.make_disk(8 * MIB)
    client = m.start('low=100', 'high=100')
    contents = [os.urandom(BLOCK) for _ in range(8)]
    for block, data in enumerate(contents):
        client.write(block * BLOCK, data)
    # The server has several threads, which do not take memory in the order of the blocks.
    places = [find(m, data[:64]) for data in contents]
    end = sorted(at for _, at in places)[5]
    os.truncate(places[0][0], end)
    for block, (_, at) in enumerate(places):
        error, data = client.call(nbd.READ, block * BLOCK, BLOCK)
        expect(error == (0 if at < end else nbd.EIO), f'block {block}: {error}')
        expect(error or data == contents[block], f'block {block} is another')
    error, _ = client.call(nbd.READ, 0, 8 * BLOCK)
    expect(error == nbd.EIO, f'a read of all: {error}')
    m.kill()


# ------------------------------------------------------------- a DAX filesystem on pmem

def repeat(*words):
    """A filesystem and a driver are busy for a while after their last user."""
    while subprocess.run(words, capture_output=True).returncode:
        time.sleep(0.02)


def on_disk(path, at):
    """Where the block device has that byte of the file."""
    request = bytearray(struct.pack('<QQIIII56x', at, 1, FIEMAP_SYNC, 0, 1, 0))
    with open(path, 'rb') as file:
        fcntl.ioctl(file, FIEMAP, request)
    begin, place = struct.unpack_from('<QQ', request, 32)
    expect(place, f'{path} has no block at {at}')
    return place + at - begin


class Pmem:
    """A pool on a DAX filesystem, whose block device can get bad blocks."""

    def __init__(self, m):
        needs_permission()
        needs('mount', 'umount')
        self.directory = os.environ.get('DAXPIN_TEST_FSDAX')
        mounts = [line.split() for line in open('/proc/self/mounts')]
        at = [(mount[0], mount[2]) for mount in mounts if mount[1] == self.directory
              and mount[0].startswith('/dev/pmem')]
        if not at:
            raise Skip('DAXPIN_TEST_FSDAX is not a filesystem on /dev/pmemN')
        (self.device, self.type), = at
        self.disk = pathlib.Path('/sys/block', os.path.basename(self.device))
        self.pool = new_pool(self.directory)
        self.machine = Machine(m.plugin, m.daxpin, self.pool, disk=m.disk)

    def __enter__(self):
        return self

    def mount(self):
        repeat('mount', '-t', self.type, '-o', 'dax=always', self.device,
               self.directory)

    def mark_bad(self, offsets):
        repeat('umount', self.directory)
        for offset in offsets:
            (self.disk / 'badblocks').write_text(f'{offset // 512} 1\n')
        self.mount()

    def __exit__(self, *error):
        """The driver is bound again, and reads the region's list, which is empty."""
        self.machine.remove()
        repeat('umount', self.directory)
        namespace = os.path.basename(os.readlink(self.disk / 'device'))
        for file in ('unbind', 'bind'):
            pathlib.Path(DRIVER + file).write_text(namespace)
        self.mount()
        remove_pool(self.pool)


def read_beside(client, bad, other, contents):
    """Reads the bad block for one client while another one reads all others."""
    for block in contents:
        client.submit(nbd.READ, bad * BLOCK, BLOCK)
        error, data = other.call(nbd.READ, block * BLOCK, BLOCK)
        expect(not error and data == contents[block], f'block {block}: error {error}')
        request, error, _ = client.wait()
        expect(error == nbd.EIO, f'the bad block: error {error}')


def test_bad_blocks_of_pmem(m):
    """The kernel lists a clean block as bad, which is read from the disk again, and a
    dirty one, which is an error of those who read it, until it is written."""
    options = ('low=0', 'high=100')
    data = os.urandom(4 * MIB)
    with Pmem(m) as pmem:
        pathlib.Path(m.disk).write_bytes(data)
        contents = {block: data[block * BLOCK:(block + 1) * BLOCK]
                    for block in range(64)}
        client = pmem.machine.start(*options)
        client.read(3 * BLOCK, BLOCK)
        for block in range(4, 12):
            contents[block] = os.urandom(BLOCK)
            client.write(block * BLOCK, contents[block])
        bad = [on_disk(*find(pmem.machine, contents[block][:64])) for block in (3, 5)]
        pmem.machine.kill()
        pmem.mark_bad(bad)
        client, other = pmem.machine.start(*options), pmem.machine.client()
        del contents[5]
        read_beside(client, 5, other, contents)
        expect(is_lost(pmem.machine, client, 5), 'a write of a part of it')
        contents[5] = os.urandom(BLOCK)
        client.write(5 * BLOCK, contents[5])
        pmem.machine.stop()
        expect(pathlib.Path(m.disk).read_bytes() ==
               b''.join(contents[block] for block in range(64)), 'the disk')
