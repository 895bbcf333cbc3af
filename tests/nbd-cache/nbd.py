"""A client of the NBD protocol (fixed newstyle, simple replies), for tests."""
import collections
import socket
import struct

READ, WRITE, DISCONNECT, FLUSH, TRIM, ZERO = 0, 1, 2, 3, 4, 6
EIO, ENOSPC = 5, 28

Request = collections.namedtuple('Request', 'kind offset length tag')


class Closed(Exception):
    """The server has closed the connection."""


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.requests = {}
        self.next = 0
        self.handshake()

    def close(self):
        self.socket.close()

    def receive(self, count):
        data = bytearray(count)
        rest = memoryview(data)
        while rest:
            try:
                length = self.socket.recv_into(rest)
            except ConnectionError:
                length = 0
            if not length:
                raise Closed
            rest = rest[length:]
        return bytes(data)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionError):
            raise Closed from None

    def handshake(self):
        """NBD_OPT_GO: the size of the export and its flags."""
        self.receive(18)
        self.send(struct.pack('>I', 3))
        self.send(b'IHAVEOPT' + struct.pack('>IIIH', 7, 6, 0, 0))
        kind = 0
        while kind != 1:
            _, _, kind, length = struct.unpack('>QIII', self.receive(20))
            data = self.receive(length)
            if kind & 1 << 31:
                raise Closed
            if kind == 3 and data[:2] == b'\0\0':
                self.size, self.flags = struct.unpack('>QH', data[2:12])

    def submit(self, kind, offset=0, length=0, data=b'', tag=None):
        self.next += 1
        self.requests[self.next] = Request(kind, offset, length or len(data),
                                           tag)
        self.send(struct.pack('>IHHQQI', 0x25609513, 0, kind, self.next,
                              offset, length or len(data)) + data)

    def wait(self):
        """Returns (request, error, data) of the next answer."""
        _, error, handle = struct.unpack('>IIQ', self.receive(16))
        request = self.requests.pop(handle)
        data = b''
        if request.kind == READ and not error:
            data = self.receive(request.length)
        return request, error, data

    def call(self, kind, offset=0, length=0, data=b''):
        """One request. Returns (error, data)."""
        self.submit(kind, offset, length, data)
        return self.wait()[1:]

    def read(self, offset, length):
        error, data = self.call(READ, offset, length)
        assert not error, f'read at {offset}: error {error}'
        return data

    def write(self, offset, data):
        error, _ = self.call(WRITE, offset, data=data)
        assert not error, f'write at {offset}: error {error}'
