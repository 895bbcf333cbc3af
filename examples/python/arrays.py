#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""arrays.py POOL: NumPy arrays that survive a kill -9.

Each array is an extent in NumPy's own file format, with a name. Storing one is a single
publish: the new extent is kept, the name moves to it, and the old extent is retired. An
array that load() returned is the memory of the pool, not a copy, and holds its extent:
if the name gets another array, the old bytes remain until the last reference is gone.

The demonstration starts a child that stores arrays without end, kills it with SIGKILL,
and checks that each array is whole: all its elements belong to one store.
"""
import io
import os
import signal
import subprocess
import sys

import numpy
import daxpin

NAMES = ['small', 'large', 'matrix']
SHAPES = {'small': (10,), 'large': (200_000,), 'matrix': (300, 400)}


def store(pool, name, array):
    """Store an array under a name, durably, in place of the array before it."""
    header = io.BytesIO()
    numpy.lib.format.write_array_header_1_0(
        header, numpy.lib.format.header_data_from_array_1_0(array))
    header = header.getvalue()
    extent = pool.reserve(len(header) + array.nbytes)
    view = extent.view()
    view[:len(header)] = header
    numpy.frombuffer(view, array.dtype, array.size, len(header)
                     ).reshape(array.shape)[...] = array
    old = pool.roots().get(name)
    pool.publish(daxpin.keep(extent, 0, len(header) + array.nbytes),
                 daxpin.name(name, extent), *([daxpin.retire(old)] if old else []))


def load(pool, name):
    """The array with that name, without a copy."""
    view = pool.root(name).view()
    stream = io.BytesIO(view[:daxpin.BLOCK_SIZE])
    numpy.lib.format.read_magic(stream)
    shape, _, dtype = numpy.lib.format.read_array_header_1_0(stream)
    count = int(numpy.prod(shape))
    return numpy.frombuffer(view, dtype, count, stream.tell()).reshape(shape)


def child(path):
    with daxpin.open(path, wait=10) as pool:
        for number in range(1, 1 << 53):
            for name in NAMES:
                store(pool, name, numpy.full(SHAPES[name], number, 'f8'))
            print(number, flush=True)


def demonstrate(path):
    daxpin.create(path, size=64 << 20).close()
    answered = 0
    for kill in range(5):
        writer = subprocess.Popen([sys.executable, __file__, path, '--child'],
                                  stdout=subprocess.PIPE, text=True)
        for _ in range(10 * kill + 1):
            answered = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        # What it printed before it died was stored as well.
        for line in writer.stdout.read().splitlines():
            answered = int(line)
        writer.wait()
        with daxpin.open(path, wait=10) as pool:
            numbers = {name: check(load(pool, name), answered) for name in NAMES}
            extents = len(pool.extents())
        print(f'kill {kill + 1}: round {answered} was answered, found {numbers}; '
              f'{extents} extents live')
        if extents != len(NAMES):
            sys.exit('an extent was leaked')


def check(array, answered):
    """The number that all elements have: of the last round that was answered, or of the
    next one."""
    number = int(array.flat[0])
    if not (array == number).all() or number not in (answered, answered + 1):
        sys.exit(f'wrong elements: {array}, answered {answered}')
    return number


if __name__ == '__main__':
    if len(sys.argv) == 3 and sys.argv[2] == '--child':
        child(sys.argv[1])
    elif len(sys.argv) == 2:
        demonstrate(sys.argv[1])
    else:
        sys.exit(__doc__.splitlines()[0])
