"""A load on a cache, and what the cache may contain after each part of it."""
import json
import random
import struct

import nbd
from server import BLOCK, SECTOR, expect

SECTORS = BLOCK // SECTOR
DEPTH = 16


def op(seed, number, blocks):
    """Operation `number` of a load: (kind, first sector, count of sectors)."""
    draw = random.Random(f'{seed} {number}')
    kind = draw.choice((nbd.WRITE, nbd.WRITE, nbd.WRITE, nbd.ZERO, nbd.TRIM))
    block = draw.randrange(blocks)
    first = block * SECTORS
    if kind == nbd.TRIM:	# parts of blocks may keep their contents
        count = SECTORS
    else:
        count = draw.choice((1, 3, SECTORS, SECTORS, 2 * SECTORS, 40))
    if count < SECTORS or count == 40:
        first += draw.randrange(SECTORS)
    return kind, first, min(count, blocks * SECTORS - first)


def contents(first, stamps):
    """Sectors from `first` on: each has its number and that of the operation."""
    return b''.join((struct.pack('<QQ', sector, stamp) if stamp else bytes(16)) *
                    (SECTOR // 16) for sector, stamp in enumerate(stamps, first))


def name(data):
    return [struct.unpack('<QQ', data[at:at + 16])
            for at in range(0, len(data), SECTOR)]


class Shadow:
    """The states that each block may have, as stamps of its sectors, oldest first.

    The first one includes everything that was answered. Each operation in flight adds
    one: a block is changed whole or not at all. Operations on one block do not overlap.
    """

    def __init__(self, blocks, seed):
        self.seed = seed
        self.next = 0
        self.states = [[(0,) * SECTORS] for _ in range(blocks)]
        self.changed = set()	# blocks, since the last verify()
        self.compared = 0	# blocks, by all calls of verify()

    def begin(self, number):
        """Adds what the operation makes of its blocks. Returns these."""
        kind, first, count = op(self.seed, number, len(self.states))
        stamp = number + 1 if kind == nbd.WRITE else 0
        touched = range(first // SECTORS, (first + count - 1) // SECTORS + 1)
        for block in touched:
            stamps = list(self.states[block][-1])
            for sector in range(max(first, block * SECTORS),
                                min(first + count, (block + 1) * SECTORS)):
                stamps[sector % SECTORS] = stamp
            self.states[block].append(tuple(stamps))
            self.changed.add(block)
        return touched

    def busy(self, number):
        _, first, count = op(self.seed, number, len(self.states))
        return any(len(self.states[block]) > 1 for block in
                   range(first // SECTORS, (first + count - 1) // SECTORS + 1))

    def submit(self, client):
        number = self.next
        kind, first, count = op(self.seed, number, len(self.states))
        self.next += 1
        touched = self.begin(number)
        data = b''
        if kind == nbd.WRITE:
            data = contents(first, [number + 1] * count)
        client.submit(kind, first * SECTOR, count * SECTOR, data,
                      tag=(number, touched))

    def answered(self, touched):
        for block in touched:
            del self.states[block][0]

    def load(self, client, answers, report=lambda number: None):
        """Runs the load at a depth of 16 until so many operations were answered."""
        while answers:
            while len(client.requests) < DEPTH and not self.busy(self.next):
                self.submit(client)
            request, error, _ = client.wait()
            number, touched = request.tag
            expect(not error, f'operation {number}: error {error}')
            self.answered(touched)
            report(number)
            answers -= 1

    def verify(self, read, blocks=None):
        """Reads these blocks by read(block), or all, and those that have changed.
        Afterwards each block has one state."""
        wanted = range(len(self.states))
        if blocks is not None:
            wanted = sorted(self.changed.union(blocks))
        for block in wanted:
            states = self.states[block]
            data = read(block)
            found = [stamps for stamps in states
                     if data == contents(block * SECTORS, stamps)]
            expect(found, f'block {block} is neither what was answered nor what '
                          f'was in flight: {name(data)}, not one of {states}')
            self.states[block] = [found[-1]]
            self.compared += 1
        self.changed.clear()

    def save(self):
        return json.dumps({'seed': self.seed, 'next': self.next,
                           'states': [states[0] for states in self.states]})

    @classmethod
    def restore(cls, line, answered, count):
        """From save(), the numbers that are known to have been answered since, and how
        many operations can have been begun since."""
        saved = json.loads(line)
        shadow = cls(len(saved['states']), saved['seed'])
        shadow.states = [[tuple(stamps)] for stamps in saved['states']]
        shadow.next = saved['next'] + count
        for number in range(saved['next'], shadow.next):
            touched = shadow.begin(number)
            if number in answered:
                for block in touched:
                    del shadow.states[block][:-1]
        return shadow
