"""Tests of what the cache does if its disk is another one, locked, or a block device."""
import os
import shutil
import subprocess

import nbd
from server import (BLOCK, MIB, NOBODY, Machine, Skip, expect, is_device, new_pool,
                    remove_pool)


class Second:
    """A server on another pool, for the same disk."""

    def __init__(self, m, disk):
        if is_device(m.pool):
            raise Skip('a second pool is needed')
        self.pool = new_pool(os.path.dirname(os.path.dirname(m.pool)))
        self.machine = Machine(m.plugin, m.daxpin, self.pool, disk=disk)

    def __enter__(self):
        return self.machine

    def __exit__(self, *error):
        self.machine.remove()
        remove_pool(self.pool)


class Loop:
    """A loop device."""

    def __init__(self, file, *options):
        done = subprocess.run(['losetup', '-f', '--show', *options, file],
                              capture_output=True, text=True)
        if done.returncode:
            raise Skip(f'losetup: {done.stderr.strip()}')
        self.device = done.stdout.strip()

    def __enter__(self):
        return self.device

    def __exit__(self, *error):
        subprocess.run(['losetup', '-d', self.device], check=True)


def check_another_disk(m):
    """m.disk has the same size as before, and another identity."""
    words = m.refused()
    expect('is of another disk: it was made for' in words, words)
    expect('accept-disk=1' in words, words)
    client = m.start('accept-disk=1', 'low=0')
    expect(client.read(BLOCK, 4) == b'mark', 'a dirty block')
    m.stop()
    m.start('low=0')	# it is recorded
    m.stop()
    with open(m.disk, 'rb') as file:
        file.seek(BLOCK)
        expect(file.read(4) == b'mark', 'write-back to the other disk')


def test_another_disk_is_accepted_if_asked_for(m):
    m.make_disk(8 * MIB)
    client = m.start()
    client.write(BLOCK, b'mark')
    m.stop()
    old = os.stat(m.disk)
    shutil.copy(m.disk, m.disk + '.copy')
    os.replace(m.disk + '.copy', m.disk)
    expect(os.stat(m.disk).st_ino != old.st_ino, 'the inode')
    check_another_disk(m)


def test_another_size_is_never_accepted(m):
    m.make_disk(8 * MIB)
    m.start()
    m.stop()
    for size in (4 * MIB, 16 * MIB):
        os.truncate(m.disk, size)
        for more in ((), ('accept-disk=1',)):
            words = m.refused(*more)
            expect(f'{8 * MIB}' in words and f'{size}' in words and
                   'restore that size' in words, words)
    os.truncate(m.disk, 8 * MIB)
    m.start()
    m.stop()


def may_read(user, path):
    return not subprocess.run(['test', '-r', path], user=user, group=user,
                              extra_groups=[]).returncode


def test_a_disk_that_may_not_be_written(m):
    m.make_disk(8 * MIB)
    os.chmod(m.disk, 0o444)
    user = None
    if not os.geteuid():	# root may write files of any mode
        user = NOBODY
        os.chown(m.top, user, user)
        if not may_read(user, m.plugin):
            raise Skip(f'the user {user} cannot read {m.plugin}')
    words = m.refused(user=user)
    expect(f'the disk {m.disk} cannot be opened: Permission denied; it must be' in
           words, words)


def test_a_pool_on_an_ordinary_disk(m):
    """No cache is made there, so nothing is in the way of a volume without a disk."""
    m.pool = str(m.top / 'pool')
    kind = subprocess.run(['stat', '-f', '-c', '%T', m.top], check=True,
                          capture_output=True, text=True).stdout.strip()
    if kind == 'tmpfs':
        raise Skip(f'{m.top} is on tmpfs')
    m.make_disk(8 * MIB)
    words = m.refused()
    expect('use a DAX filesystem, device-dax or tmpfs' in words, words)
    client = m.start(f'size={MIB}', disk=False)
    expect(not any(client.read(0, BLOCK)), 'the volume')
    m.stop()


def test_a_disk_is_of_one_cache_at_a_time(m):
    m.make_disk(8 * MIB)
    m.start()
    with Second(m, m.disk) as second:
        words = second.refused('wait=0')
        expect('another cache serves it' in words, words)
        m.kill()
        second.start('wait=60')
        second.stop()


def test_loop_devices(m):
    """Another device with another file is another disk; a device has one server."""
    m.make_disk(8 * MIB)
    file, other = m.disk, m.disk + '.other'
    m.make_disk(8 * MIB, other)
    with Loop(file) as device:
        m.disk = device
        subprocess.run(['blockdev', '--setro', device], check=True)
        words = m.refused()
        expect(f'the disk {device} is read-only' in words, words)
        subprocess.run(['blockdev', '--setrw', device], check=True)
        client = m.start()
        client.write(BLOCK, b'mark')
        with Second(m, device) as second:
            words = second.refused('wait=0')
            expect('another cache serves it' in words, words)
        m.stop()
        with Loop(other) as other_device:
            expect(other_device != device, 'the same device')
            words = m.refused('wait=0', f'disk={other_device}')
            expect(f'"{file}"' in words and f'"{other}"' in words, words)
    with Loop(other) as m.disk:
        check_another_disk(m)


def test_loop_devices_with_large_logical_blocks(m):
    """Linux 6.15 and later have them."""
    m.block = None
    m.make_disk(8 * MIB)
    with Loop(m.disk, '-b', '16384') as m.disk:
        words = m.refused('block=8K')
        expect(f'block 8192 is smaller than the logical blocks of {m.disk}, 16384 bytes'
               in words, words)
        client = m.start('block=16K', 'low=0')
        client.write(20000, b'mark')
        expect(client.read(20000, 4) == b'mark', 'a dirty block')
        client.call(nbd.ZERO, 0, MIB)
        client.write(40000, b'mark')
        m.stop()
        with open(m.disk, 'rb') as file:
            expect(file.read(MIB) == bytes(40000) + b'mark' + bytes(MIB - 40004),
                   'the disk')


class Mapped:
    """A device-mapper device before a loop device."""

    def __init__(self, device):
        self.device, self.name = device, f'daxpin-nbd-{os.getpid()}'
        self.sectors = int(self.run('blockdev', '--getsz', device))
        if not shutil.which('dmsetup'):
            raise Skip('dmsetup is not installed')
        try:
            self.run('dmsetup', 'create', self.name, '--table', self.linear())
        except subprocess.CalledProcessError as error:
            raise Skip('dmsetup: ' + ' '.join(error.stderr.split())) from None

    @staticmethod
    def run(*words):
        return subprocess.run(words, check=True, capture_output=True,
                              text=True).stdout

    def linear(self):
        return f'0 {self.sectors} linear {self.device} 0'

    def suspend(self):
        self.run('dmsetup', 'suspend', '--nolockfs', '--noflush', self.name)

    def resume(self):
        self.run('dmsetup', 'resume', self.name)

    def change(self, table):
        self.suspend()
        self.run('dmsetup', 'load', self.name, '--table', table)
        self.resume()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.resume()
        self.run('dmsetup', 'remove', '--retry', self.name)


def write_block(client, block, version):
    return client.call(nbd.WRITE, block * BLOCK, data=contents(block, version))[0]


def contents(block, version):
    return bytes((block & 255, version)) * (BLOCK // 2)


def hang_and_come_back(m, mapped):
    """While the device hangs, writes are answered as long as there is space."""
    client = m.start('low=0', 'high=10')
    mapped.suspend()
    for block in range(300):
        expect(not write_block(client, block, 1), f'block {block}')
    expect(client.read(0, BLOCK) == contents(0, 1), 'a read of a dirty block')
    for block in range(300, 600):	# more than the pool has
        client.submit(nbd.WRITE, block * BLOCK, data=contents(block, 1))
        if len(client.requests) == 15:
            break
    mapped.resume()
    while client.requests:
        request, error, _ = client.wait()
        expect(not error, f'{request}: error {error}')
    for block in range(315, 600):
        expect(not write_block(client, block, 1), f'block {block}')
    for block in range(600):
        expect(client.read(block * BLOCK, BLOCK) == contents(block, 1),
               f'block {block}')
    m.stop()


def fail_and_come_back(m, mapped):
    """Reads of what is not cached fail, and what is dirty is kept."""
    client = m.start('low=0', 'high=10')
    mapped.change(f'0 {mapped.sectors} error')
    error, _ = client.call(nbd.READ, 700 * BLOCK, BLOCK)
    expect(error == nbd.EIO, f'a read of the failed device: {error}')
    for block in range(200):
        expect(not write_block(client, block, 2), f'block {block}')
    while 'write-back to the disk failed' not in m.log():
        expect(client.read(0, BLOCK) == contents(0, 2), 'a dirty block')
    mapped.change(mapped.linear())
    expect(client.read(300 * BLOCK, BLOCK) == contents(300, 1), 'the device is back')
    m.stop()
    expect('succeeds again' in m.log(), m.log())


def test_a_device_hangs_and_fails_and_comes_back(m):
    m.make_disk(800 * BLOCK)
    with Loop(m.disk) as device, Mapped(device) as mapped:
        file, m.disk = m.disk, f'/dev/mapper/{mapped.name}'
        hang_and_come_back(m, mapped)
        fail_and_come_back(m, mapped)
    with open(file, 'rb') as disk:
        for block in range(600):
            expect(disk.read(BLOCK) == contents(block, 2 if block < 200 else 1),
                   f'block {block} on the disk')
