# SPDX-License-Identifier: Apache-2.0
"""Runs a command for which one request of ioctl(2) does not work: a host whose KVM is broken in one place.

    deny.py REQUEST HOW COMMAND...     HOW: the name of an errno, "dies" or "hangs"

By a seccomp filter, which everything that the command starts inherits. It is stacked under the filters that
those programs put on themselves, so it changes nothing but this one request.
"""

import ctypes
import errno
import os
import struct
import sys

SYS_SECCOMP, SYS_IOCTL = 317, 16
SET_MODE_FILTER, NEW_LISTENER = 1, 1 << 3
PR_SET_NO_NEW_PRIVS = 38
RET_KILL_PROCESS, RET_USER_NOTIF, RET_ERRNO, RET_ALLOW = 0x80000000, 0x7fc00000, 0x00050000, 0x7fff0000
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
NUMBER, SECOND_ARGUMENT = 0, 24  # Offsets in struct seccomp_data.


def install(request, action, flags):
    """The number that seccomp(2) gives: a descriptor with NEW_LISTENER."""
    code = b"".join(struct.pack("<HBBI", *line) for line in (
        (LOAD, 0, 0, NUMBER), (EQUAL, 0, 3, SYS_IOCTL), (LOAD, 0, 0, SECOND_ARGUMENT), (EQUAL, 0, 1, request),
        (RETURN, 0, 0, action), (RETURN, 0, 0, RET_ALLOW)))
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    made = libc.syscall(SYS_SECCOMP, SET_MODE_FILTER, flags, program)
    if made < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return made


def main():
    request, how, command = int(sys.argv[1], 0), sys.argv[2], sys.argv[3:]
    if how != "hangs":
        install(request, RET_KILL_PROCESS if how == "dies" else RET_ERRNO | getattr(errno, how), 0)
        os.execv(command[0], command)
    # The kernel waits for the answer of whoever holds this, and we give none.
    listener = install(request, RET_USER_NOTIF, NEW_LISTENER)
    child = os.fork()
    if child == 0:
        os.close(listener)
        os.execv(command[0], command)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
