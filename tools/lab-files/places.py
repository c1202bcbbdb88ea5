# SPDX-License-Identifier: Apache-2.0
"""Where running labs are found: one folder a lab, alive exactly as long as its keeper holds the lock."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import socket
import struct

import parts

# struct flock of x86_64 Linux: type, whence, start, length, pid.
FLOCK = struct.Struct("hhqqi4x")


def base():
    return pathlib.Path(os.environ.get("XDG_RUNTIME_DIR") or "/run") / "microsandbox-lab"


def folder_of(name):
    """Labs of another clone are other labs, whatever their names."""
    clone = hashlib.sha256(str(parts.ROOT).encode()).hexdigest()[:8]
    return base() / f"{clone}-{name}"


def _held(descriptor):
    asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    return FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK


def is_alive(folder):
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _held(descriptor)
    finally:
        os.close(descriptor)


def claim(folder):
    """The lock's descriptor, the folder ours. None when another holds it."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except FileNotFoundError:
            continue
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        # Somebody may have removed the folder of a dead lab between our open and our lock.
        try:
            if os.path.samestat(os.fstat(descriptor), os.stat(folder / "lock")):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def release(folder):
    """By the holder of the lock."""
    shutil.rmtree(folder, ignore_errors=True)


def sweep():
    """Removes what labs left whose keeper was killed. Their processes are gone already."""
    for folder in base().glob("*"):
        if not is_alive(folder):
            descriptor = claim(folder)
            if descriptor is not None:
                release(folder)
                os.close(descriptor)


def _socket_at(folder, call, name="control"):
    """Through the folder's descriptor: paths of sockets are at most 108 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        end = socket.socket(socket.AF_UNIX)
        getattr(end, call)(f"/proc/self/fd/{descriptor}/{name}")
        return end
    finally:
        os.close(descriptor)


def listen(folder):
    listener = _socket_at(folder, "bind")
    listener.listen(64)
    return listener


def rendezvous(folder):
    """A listener in whose queue one connection waits, and that connection's other end. Nobody else comes:
    no other user may enter the folder, and the name is gone before anyone accepts."""
    listener = _socket_at(folder, "bind", "rendezvous")
    listener.listen(1)
    end = _socket_at(folder, "connect", "rendezvous")
    os.unlink(folder / "rendezvous")
    return listener, end


def connect(folder):
    """A connection to a lab's keeper, or None when none runs there."""
    if not is_alive(folder):
        return None
    try:
        return _socket_at(folder, "connect")
    except OSError:
        return None
