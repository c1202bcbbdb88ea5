# SPDX-License-Identifier: Apache-2.0
"""The frames between the lab's server, its keeper and the clients: server/wire.h says what they mean."""

import os
import struct

OPEN, INPUT, SIGNAL, RESIZE, HANG_UP, MOUNT, POWER_OFF, WAKE = range(1, 9)
CREDIT = 16
HELLO, OUTPUT, EXIT, FAILED, MOUNTED = range(32, 37)
# Between a client and the keeper only.
STOP, STATUS, NOTICE = range(64, 67)

HEADER = struct.Struct("<BBHI")
WINDOW = 256 * 1024
LARGEST_BODY = 32 * 1024
LARGEST_ERRNO = 4095


class Nonsense(Exception):
    """A frame that the lab's server does not send. The text ends a sentence that says who sent it."""


def frame(kind, channel=0, body=b"", extra=0):
    return HEADER.pack(kind, extra, len(body), channel) + body


def number(value):
    return struct.pack("<I", value)


def read_number(body):
    return struct.unpack_from("<I", body)[0]


def receive(end):
    """What came on a socket that does not block. None: nothing yet; b"": nothing will."""
    try:
        return end.recv(1 << 18)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def check(kind, extra, body):
    """Of a frame from the lab, whose server may have fallen to what runs there: Nonsense where a client or the
    keeper could not read it."""
    if kind == OUTPUT:
        good = extra in (1, 2) and len(body) <= LARGEST_BODY
    elif kind in (HELLO, CREDIT, EXIT, MOUNTED):
        good = len(body) == 4
    elif kind == FAILED:
        good = 4 <= len(body) <= LARGEST_BODY
    else:
        raise Nonsense(f"a frame of type {kind}")
    if good and kind in (FAILED, MOUNTED):
        good = read_number(body) <= LARGEST_ERRNO
    elif good and kind == CREDIT:
        good = read_number(body) <= WINDOW
    elif good and kind == EXIT:
        status = read_number(body)
        good = status <= 0xffff and (os.WIFEXITED(status) or os.WIFSIGNALED(status))
    if not good:
        raise Nonsense(f"a frame of type {kind} that cannot be read")


def open_frames(terminal, size, folder, arguments, environment):
    """The frames that start a run. `size` is (rows, columns)."""
    strings = [folder, *arguments, *(f"{name}={value}" for name, value in environment.items())]
    body = struct.pack("<BHHI", terminal, *size, len(arguments))
    body += b"".join(text.encode(errors="surrogateescape") + b"\0" for text in strings)
    parts = [body[at:at + LARGEST_BODY] for at in range(0, len(body), LARGEST_BODY)]
    return b"".join(frame(OPEN, body=part, extra=int(part is not parts[-1])) for part in parts)


class Reader:
    """Bytes in any pieces in, whole frames out."""

    def __init__(self):
        self._bytes = bytearray()

    def feed(self, piece):
        """Yields (kind, extra, channel, body)."""
        self._bytes += piece
        at = 0
        while len(self._bytes) - at >= HEADER.size:
            kind, extra, length, channel = HEADER.unpack_from(self._bytes, at)
            end = at + HEADER.size + length
            if len(self._bytes) < end:
                break
            yield kind, extra, channel, bytes(self._bytes[at + HEADER.size:end])
            at = end
        del self._bytes[:at]
