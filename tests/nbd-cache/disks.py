"""Tests of what the cache does if its disk is another one, locked, or a block device."""
import os
import shutil
import subprocess

from server import BLOCK, MIB, Machine, Skip, expect, is_device, new_pool, remove_pool


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

    def __init__(self, file):
        done = subprocess.run(['losetup', '-f', '--show', file],
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
