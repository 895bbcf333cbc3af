# SPDX-License-Identifier: BSD-3-Clause
"""daxpin: memory that hardware writes into, from Python.

    import daxpin

    with daxpin.open('/dev/shm/pool', create=True, size=64 << 20) as pool:
        extent = pool.reserve(4096, zero=True)
        extent.view()[:5] = b'hello'
        pool.publish(daxpin.keep(extent), daxpin.name('greeting', extent))
        print(bytes(pool.root('greeting').view(0, 5)))

A pool belongs to one process; daxpin(7) has the concepts and the rules. The functions
here are those of <daxpin.h>, and any thread may call them. What is different:

- A failed call raises daxpin.Error, an OSError whose text is the library's sentence.
- A view holds its extent until the last memoryview, slice or NumPy array of it is
  gone. So the memory of a view is never used for anything else, even if the extent is
  retired, and a pool that has views cannot be closed (EBUSY).
- An interrupt (Control-C) ends open(), create() and Pool.wait_idle().
"""
import contextlib
import ctypes as c
import errno
import os
import threading
import time
import types
import uuid as uuids
import weakref

__all__ = ['Error', 'Extent', 'Pool', 'check', 'create', 'keep', 'name', 'open',
           'retire', 'set_word', 'unname', 'version']

BLOCK_SIZE = 4096
_NO_DEADLINE = 2**64 - 1
_HOLD_READ, _HOLD_WRITE, _HOLD_EXCLUSIVE = 1, 2, 4
_POOL_FLAGS = {'readonly': 0x1, 'overwrite': 0x2, 'any_node': 0x4, 'degraded': 0x8,
               'adopt': 0x10, 'need_flushed': 0x20, 'create': 0x40,
               'no_status': 0x80, 'despite_rdma': 0x100, 'any_owner': 0x200,
               'any_filesystem': 0x400}
_GRANULARITIES = ['auto', 'byte', 'cache line', 'page']
_SOURCES = [None, 'devdax', 'fsdax', 'shmem', 'disk']
_TRISTATE = [None, False, True]
_STATES = ['free', 'reserved', 'live', 'retired']
_STRUCTURES = [None, 'file', 'superblock', 'owner', 'table', 'lane', 'root', 'data',
               'slab']
_SEVERITIES = [None, 'note', 'damage']
_CURES = ['none', 'open', 'derived', 'lossy']

# ------------------------------------------------------------- structs of daxpin.h


class _Extent(c.Structure):
    _fields_ = [('addr', c.c_uint64), ('gen', c.c_uint64)]


class _Wait(c.Structure):
    _fields_ = [('size', c.c_size_t), ('owner', c.c_int), ('pid', c.c_int),
                ('waited_ns', c.c_uint64), ('done_bytes', c.c_uint64),
                ('total_bytes', c.c_uint64)]


_Progress = c.CFUNCTYPE(c.c_int, c.POINTER(_Wait), c.c_void_p)
_Log = c.CFUNCTYPE(None, c.c_char_p, c.c_void_p)


class _PoolOptions(c.Structure):
    _fields_ = [('size', c.c_size_t), ('flags', c.c_uint32),
                ('granularity', c.c_uint32), ('pool_size', c.c_uint64),
                ('segment_size', c.c_uint64), ('deadline_ns', c.c_uint64),
                ('progress', _Progress), ('progress_arg', c.c_void_p),
                ('errmsg', c.c_char_p), ('errmsg_size', c.c_size_t),
                ('mode', c.c_uint32), ('uuid', c.c_ubyte * 16), ('log', _Log),
                ('log_arg', c.c_void_p), ('max_size', c.c_uint64)]


class _PoolInfo(c.Structure):
    _fields_ = [('size', c.c_size_t), ('source', c.c_uint32),
                ('granularity', c.c_uint32), ('segments', c.c_uint32),
                ('flags', c.c_uint32), ('segment_size', c.c_uint64),
                ('epoch', c.c_uint64), ('media_bytes', c.c_uint64),
                ('usable_bytes', c.c_uint64), ('free_bytes', c.c_uint64),
                ('largest_extent', c.c_uint64), ('hole_bytes', c.c_uint64),
                ('unaligned_chunks', c.c_uint64), ('ignored_files', c.c_uint64),
                ('registrations', c.c_uint64), ('uuid', c.c_ubyte * 16),
                ('unclean', c.c_int), ('quarantined_bytes', c.c_uint64),
                ('bad_bytes', c.c_uint64), ('bad_unknown', c.c_int),
                ('shared_bytes', c.c_uint64), ('sparse_bytes', c.c_uint64),
                ('movable', c.c_uint32), ('dirty_shutdown', c.c_uint32),
                ('retired_bytes', c.c_uint64), ('deferred_frees', c.c_uint64),
                ('publishes', c.c_uint64), ('no_space', c.c_uint64),
                ('max_bytes', c.c_uint64), ('slab_bytes', c.c_uint64),
                ('objects', c.c_uint64), ('status_error', c.c_int),
                ('object_bytes', c.c_uint64),
                ('partial_slab_bytes', c.c_uint64)]


class _Op(c.Structure):
    _fields_ = [('type', c.c_uint32), ('flags', c.c_uint32), ('extent', _Extent),
                ('offset', c.c_uint64), ('length', c.c_uint64),
                ('value', c.c_uint64), ('name', c.c_char_p),
                ('reserved', c.c_uint64 * 2)]


class _PublishOptions(c.Structure):
    _fields_ = [('size', c.c_size_t), ('flags', c.c_uint32), ('errmsg', c.c_char_p),
                ('errmsg_size', c.c_size_t)]


class _Finding(c.Structure):
    _fields_ = [('size', c.c_size_t), ('structure', c.c_uint32),
                ('severity', c.c_uint32), ('cure', c.c_uint32),
                ('segment', c.c_uint32), ('offset', c.c_uint64),
                ('length', c.c_uint64), ('what', c.c_char_p), ('remedy', c.c_char_p)]


class _CheckSummary(c.Structure):
    _fields_ = [('size', c.c_size_t), ('damages', c.c_uint32),
                ('repaired', c.c_uint32), ('source', c.c_uint32),
                ('segments', c.c_uint32), ('segment_size', c.c_uint64),
                ('media_bytes', c.c_uint64), ('epoch', c.c_uint64),
                ('uuid', c.c_ubyte * 16), ('unclean', c.c_int),
                ('ignored_files', c.c_uint32), ('extents', c.c_uint64),
                ('extent_bytes', c.c_uint64), ('free_bytes', c.c_uint64),
                ('hole_bytes', c.c_uint64), ('quarantined_bytes', c.c_uint64),
                ('bad_bytes', c.c_uint64), ('used_words', c.c_uint64),
                ('lanes_torn', c.c_uint32), ('lanes_open', c.c_uint32),
                ('roots', c.c_uint32), ('roots_stale', c.c_uint32),
                ('slabs', c.c_uint64), ('objects', c.c_uint64)]


_FoundExtent = c.CFUNCTYPE(c.c_int, c.c_void_p, _Extent, c.c_uint64, c.c_void_p)
_FoundRoot = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_char_p, _Extent, c.c_void_p)
_Found = c.CFUNCTYPE(c.c_int, c.POINTER(_Finding), c.c_void_p)

# By the name that daxpin.h has, for the test that compares them with the header.
STRUCTS = {'daxpin_extent': _Extent, 'daxpin_wait': _Wait,
           'daxpin_pool_options': _PoolOptions, 'daxpin_pool_info': _PoolInfo,
           'daxpin_op': _Op, 'daxpin_publish_options': _PublishOptions,
           'daxpin_finding': _Finding, 'daxpin_check_summary': _CheckSummary}

# ------------------------------------------------------------------------ functions

_lib = c.CDLL('libdaxpin.so.0')


def _function(name, result, *arguments):
    function = getattr(_lib, 'daxpin_' + name)
    function.restype, function.argtypes = result, arguments
    return function


_pool_create = _function('pool_create', c.c_int, c.c_char_p,
                         c.POINTER(_PoolOptions), c.POINTER(c.c_void_p))
_pool_open = _function('pool_open', c.c_int, c.c_char_p,
                       c.POINTER(_PoolOptions), c.POINTER(c.c_void_p))
_pool_close = _function('pool_close', c.c_int, c.c_void_p)
_pool_grow = _function('pool_grow', c.c_int, c.c_void_p, c.c_uint64,
                       c.POINTER(_PoolOptions))
_pool_info = _function('pool_info', c.c_int, c.c_void_p, c.POINTER(_PoolInfo))
_reserve = _function('reserve', c.c_int, c.c_void_p, c.c_uint64, c.c_uint32,
                     c.POINTER(_Extent))
_cancel = _function('cancel', c.c_int, c.c_void_p, _Extent)
_publish = _function('publish', c.c_int, c.c_void_p, c.POINTER(_Op), c.c_size_t,
                     c.POINTER(_PublishOptions), c.POINTER(c.c_size_t))
_root = _function('root', c.c_int, c.c_void_p, c.c_char_p, c.POINTER(_Extent))
_roots = _function('roots', c.c_int, c.c_void_p, _FoundRoot, c.c_void_p)
_foreach = _function('foreach', c.c_int, c.c_void_p, _FoundExtent, c.c_void_p)
_ptr = _function('ptr', c.c_void_p, c.c_void_p, _Extent, c.c_uint64)
_read = _function('read', c.c_int, c.c_void_p, _Extent, c.c_uint64, c.c_uint64,
                  c.c_void_p)
_extent_at = _function('extent_at', c.c_int, c.c_void_p, c.c_uint64,
                       c.POINTER(_Extent))
_size = _function('size', c.c_int, c.c_void_p, _Extent, c.POINTER(c.c_uint64))
_state = _function('state', c.c_int, c.c_void_p, _Extent, c.POINTER(c.c_int))
_persist = _function('persist', c.c_int, c.c_void_p, _Extent, c.c_uint64, c.c_uint64)
_hold = _function('hold', c.c_int, c.c_void_p, _Extent, c.c_uint32)
_drop = _function('drop', c.c_int, c.c_void_p, _Extent)
_idle = _function('idle', c.c_int, c.c_void_p, _Extent)
_wait_idle = _function('wait_idle', c.c_int, c.c_void_p, _Extent, c.c_uint64)
_check = _function('check', c.c_int, c.c_char_p, c.POINTER(_PoolOptions), _Found,
                   c.c_void_p, c.POINTER(_CheckSummary))
_deadline_ms = _function('deadline_ms', c.c_uint64, c.c_uint64)
_strerror = _function('strerror', c.c_char_p, c.c_int)
_version = _function('version', c.c_char_p)


class Error(OSError):
    """A call that failed: errno, strerror (the library's sentence)."""


def _test(ret, sentence=b''):
    if ret < 0:
        raise Error(-ret, (sentence or _strerror(ret)).decode())
    return ret


def version():
    """The version of libdaxpin, such as '0.1.0'."""
    return _version().decode()


def _deadline(seconds):
    """None: no limit."""
    return (_NO_DEADLINE if seconds is None else
            _deadline_ms(round(seconds * 1000)) if seconds else 0)


class _Call:
    """The options of a call on a path, and what its callbacks raised."""

    def __init__(self, flags, wait=0, size=0, segment_size=0, granularity='auto',
                 uuid=None, mode=0, progress=None, log=None, max_size=0):
        self.raised = None
        self.progress, self.log = progress, log
        self.sentence = c.create_string_buffer(1024)
        self.options = _PoolOptions(
            size=c.sizeof(_PoolOptions), pool_size=size, segment_size=segment_size,
            granularity=_GRANULARITIES.index(granularity), mode=mode,
            max_size=max_size,
            deadline_ns=_deadline(wait), progress=_Progress(self.on_progress),
            errmsg=c.addressof(self.sentence), errmsg_size=len(self.sentence))
        for flag in flags:
            self.options.flags |= _POOL_FLAGS[flag]
        if uuid is not None:
            self.options.uuid[:] = uuids.UUID(str(uuid)).bytes
        if log:
            self.options.log = _Log(self.on_log)

    def on_progress(self, wait, _):
        try:
            if self.progress and not self.raised:
                done = wait.contents
                self.progress(types.SimpleNamespace(
                    pid=done.pid or None, waited=done.waited_ns / 1e9,
                    done=done.done_bytes, total=done.total_bytes))
        except BaseException as error:
            self.raised = error
        return 1 if self.raised else 0

    def on_log(self, message, _):
        self.log(message.decode())

    def run(self, function):
        """Calls function() in a thread. Python handles a signal only when the main
        thread runs Python code, which it would not do while it waits in the library."""
        results = []
        done = threading.Event()

        def work():
            results.append(function())
            done.set()

        try:
            threading.Thread(target=work).start()
            done.wait()
        except BaseException as error:      # an interrupt: see on_progress()
            self.raised = error
            done.wait()
        return results[0]

    def test(self, ret):
        if ret == -errno.ECANCELED and self.raised:
            raise self.raised
        return _test(ret, self.sentence.value)


def _flags(**flags):
    return [flag for flag, wanted in flags.items() if wanted]


def open(path, *, create=False, readonly=False, degraded=False, adopt=False,
         need_flushed=False, any_owner=False, any_filesystem=False, any_node=False,
         no_status=False, despite_rdma=False, **options):
    """Open the pool at a path, a device-dax node or a directory.

    wait: seconds to wait for another owner and for the DMA of a dead one; None: without
    limit. size: the least size; of a new pool in a directory the size, which it needs
    on tmpfs. Further:
    segment_size, max_size (for grow()), granularity ('auto', 'byte', 'cache line',
    'page'), uuid, mode, progress (called with pid, waited, done, total, in another
    thread), log (called with a sentence).
    """
    call = _Call(_flags(create=create, readonly=readonly, degraded=degraded,
                        adopt=adopt, need_flushed=need_flushed, any_owner=any_owner,
                        any_filesystem=any_filesystem, any_node=any_node,
                        no_status=no_status, despite_rdma=despite_rdma), **options)
    return Pool(_pool_open, path, call)


def create(path, *, overwrite=False, any_owner=False, any_filesystem=False,
           any_node=False, no_status=False, despite_rdma=False, **options):
    """Create a pool, and open it. The options are those of open()."""
    call = _Call(_flags(overwrite=overwrite, any_owner=any_owner,
                        any_filesystem=any_filesystem, any_node=any_node,
                        no_status=no_status, despite_rdma=despite_rdma), **options)
    return Pool(_pool_create, path, call)


def check(path, *, any_node=False):
    """Check a pool that is not open. Returns (summary, findings): the fields of struct
    daxpin_check_summary, and for each finding those of struct daxpin_finding."""
    call = _Call(_flags(any_node=any_node))
    summary = _CheckSummary(size=c.sizeof(_CheckSummary))
    findings = []

    def found(finding, _):
        result = _namespace(finding.contents)
        result.structure = _STRUCTURES[result.structure]
        result.severity = _SEVERITIES[result.severity]
        result.cure = _CURES[result.cure]
        findings.append(result)
        return 0

    call.test(_check(os.fsencode(path), c.byref(call.options), _Found(found), None,
                     c.byref(summary)))
    return _namespace(summary), findings


def _namespace(struct):
    """A struct as a namespace: bytes as text, a uuid as such."""
    fields = {}
    for field, *_ in struct._fields_[1:]:
        value = getattr(struct, field)
        if field == 'uuid':
            value = uuids.UUID(bytes=bytes(value))
        elif isinstance(value, bytes):
            value = value.decode()
        fields[field] = value
    return types.SimpleNamespace(**fields)


# ---------------------------------------------------------------------- operations

def _op(kind, extent, **fields):
    return _Op(type=kind, extent=extent._handle if extent else _Extent(0, 0), **fields)


def keep(extent, offset=0, length=0, *, persisted=False, writers=False):
    """Reserved -> live. What [offset, offset + length) has becomes durable first;
    length 0: to the end; persisted: nothing, it is durable or needs not to be."""
    return _op(1, extent, offset=offset, length=length,
               flags=(1 if persisted else 0) | (2 if writers else 0))


def retire(extent):
    """Live -> free, at the last drop."""
    return _op(2, extent)


def set_word(extent, offset, value):
    """Store 8 bytes, a little-endian number, at an offset that 8 divides."""
    return _op(3, extent, offset=offset, value=value)


def name(text, extent):
    """Give an extent a name, by which Pool.root() finds it."""
    return _op(4, extent, name=text.encode())


def unname(text):
    """Remove a name."""
    return _op(4, None, name=text.encode())


# ------------------------------------------------------------------ pools and extents

class Pool:
    """An open pool. Made by open() and create(); a context manager that closes it."""

    def __init__(self, function, path, call):
        pool = c.c_void_p()
        self.path = path
        self._pool = None
        self._call = call               # the pool calls its log function
        call.test(call.run(lambda: function(
            os.fsencode(path), c.byref(call.options), c.byref(pool))))
        self._pool = pool
        if call.raised:                 # too late to cancel the call
            self.close()
            raise call.raised

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._pool:
            self.close()

    def __repr__(self):
        return f'<daxpin.Pool {self.path!r}{"" if self._pool else ", closed"}>'

    @property
    def _open(self):
        if not self._pool:
            raise ValueError(f'the pool {self.path!r} is closed')
        return self._pool

    def close(self):
        """Close the pool. EBUSY while there are holds, and thus while there are views;
        the pool is then still open."""
        _test(_pool_close(self._open))
        self._pool = None

    def grow(self, size, **options):
        """Add segments. Options: wait, progress, as of open()."""
        call = _Call([], **options)
        call.test(call.run(lambda: _pool_grow(self._open, size, c.byref(call.options))))

    def info(self):
        """The fields of struct daxpin_pool_info."""
        info = _PoolInfo(size=c.sizeof(_PoolInfo))
        _test(_pool_info(self._open, c.byref(info)))
        result = _namespace(info)
        result.source = _SOURCES[info.source]
        result.granularity = _GRANULARITIES[info.granularity]
        result.movable = _TRISTATE[info.movable]
        result.dirty_shutdown = _TRISTATE[info.dirty_shutdown]
        return result

    def reserve(self, size, *, zero=False):
        """Reserve an extent. A crash frees it unless keep() was published."""
        extent = _Extent()
        _test(_reserve(self._open, size, int(zero), c.byref(extent)))
        return Extent(self, extent)

    def publish(self, *ops):
        """Make operations durable: all, or none."""
        sentence = c.create_string_buffer(1024)
        options = _PublishOptions(size=c.sizeof(_PublishOptions),
                                  errmsg=c.addressof(sentence),
                                  errmsg_size=len(sentence))
        failed = c.c_size_t()
        _test(_publish(self._open, (_Op * len(ops))(*ops), len(ops),
                       c.byref(options), c.byref(failed)), sentence.value)

    def root(self, text):
        """The extent with that name. KeyError: there is none."""
        extent = _Extent()
        ret = _root(self._open, text.encode(), c.byref(extent))
        if ret == -errno.ENOENT:
            raise KeyError(text)
        _test(ret)
        return Extent(self, extent)

    def roots(self):
        """Every name, with its extent; None if a repair has removed that."""
        found = {}

        def fn(_, text, extent, __):
            found[text.decode()] = (Extent(self, extent) if extent.addr else None)
            return 0

        _test(_roots(self._open, _FoundRoot(fn), None))
        return found

    def extents(self):
        """The live extents, in the order of addresses."""
        found = []

        def fn(_, extent, __, ___):
            found.append(Extent(self, extent))
            return 0

        _test(_foreach(self._open, _FoundExtent(fn), None))
        return found

    def extent_at(self, addr):
        """The live extent that begins at a pool address."""
        extent = _Extent()
        _test(_extent_at(self._open, addr, c.byref(extent)))
        return Extent(self, extent)


class Extent:
    """A handle: it names one generation of an extent, in one open of the pool."""

    def __init__(self, pool, handle):
        self.pool = pool
        # A callback's struct is only valid until the callback returns.
        self._handle = _Extent(handle.addr, handle.gen)

    def __repr__(self):
        return f'<daxpin.Extent 0x{self.addr:x}>'

    def __eq__(self, other):
        return (isinstance(other, Extent) and self.pool is other.pool and
                (self.addr, self.gen) == (other.addr, other.gen))

    def __hash__(self):
        return hash((self.addr, self.gen))

    @property
    def addr(self):
        """The pool address: the same at every open."""
        return self._handle.addr

    @property
    def gen(self):
        return self._handle.gen

    @property
    def size(self):
        """The requested size, rounded up to blocks."""
        size = c.c_uint64()
        _test(_size(self.pool._open, self._handle, c.byref(size)))
        return size.value

    @property
    def state(self):
        """'reserved', 'live' or 'retired'."""
        state = c.c_int()
        _test(_state(self.pool._open, self._handle, c.byref(state)))
        return _STATES[state.value]

    def view(self, offset=0, length=None):
        """The extent's memory as a writable memoryview, which holds the extent.

        Stores are durable after keep() or persist(). At bad memory a load is SIGBUS;
        read() is not.
        """
        size = self.size
        if length is None:
            length = size - offset
        if not 0 <= offset <= size or not 0 <= length <= size - offset:
            raise ValueError(f'a view of {length} bytes at {offset} is not in the '
                             f'{size} bytes of the extent')
        pool = self.pool._open
        _test(_hold(pool, self._handle, _HOLD_READ))
        memory = (c.c_ubyte * length).from_address(_ptr(pool, self._handle, 0) + offset)
        # The memoryview and everything made from it have a reference to `memory`.
        weakref.finalize(memory, _drop, pool, self._handle)
        return memoryview(memory).cast('B')

    def read(self, offset=0, length=None):
        """A copy of the bytes. At bad memory this is EIO, not SIGBUS."""
        length = self.size - offset if length is None else length
        to = c.create_string_buffer(length)
        _test(_read(self.pool._open, self._handle, offset, length, to))
        return to.raw

    def persist(self, offset=0, length=0):
        """Make a range durable; length 0: to the end."""
        _test(_persist(self.pool._open, self._handle, offset, length))

    def cancel(self):
        """Free a reserved extent, now or at the last drop."""
        _test(_cancel(self.pool._open, self._handle))

    @contextlib.contextmanager
    def hold(self, *, write=False, exclusive=False):
        """Hold the extent while hardware may read it, or write it."""
        access = (_HOLD_WRITE if write else _HOLD_READ) | \
                 (_HOLD_EXCLUSIVE if exclusive else 0)
        pool = self.pool._open
        _test(_hold(pool, self._handle, access))
        try:
            yield self
        finally:
            _test(_drop(pool, self._handle))

    @property
    def idle(self):
        """Has the extent no hold, or has its generation ended?"""
        return bool(_test(_idle(self.pool._open, self._handle)))

    def wait_idle(self, seconds=None):
        """Wait until it is idle. ETIMEDOUT: it is held after that many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            # In steps, because a signal is handled only between calls.
            left = 0.1 if end is None else min(0.1, end - time.monotonic())
            ret = _wait_idle(self.pool._open, self._handle, _deadline(max(left, 0)))
            if ret != -errno.ETIMEDOUT or left <= 0:
                _test(ret)
                return
