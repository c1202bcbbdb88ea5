# SPDX-License-Identifier: Apache-2.0
"""What hostile code tries in a process sandbox, one attempt a word; prints {attempt: answer} as JSON.

An answer is the name of an errno, "done", or what was found. For x86-64.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import pathlib
import socket
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, SIGCHLD = 0x10000000, 17
SYSCALLS = {"ptrace": 101, "mount": 165, "umount2": 166, "pivot_root": 155, "reboot": 169, "init_module": 175,
            "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "setns": 308,
            "perf_event_open": 298, "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321,
            "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "open_tree": 428, "move_mount": 429,
            "fsopen": 430, "fsmount": 432, "clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442,
            "open_by_handle_at": 304, "name_to_handle_at": 303, "quotactl": 179, "acct": 163, "swapon": 167,
            "syslog": 103, "lookup_dcookie": 212, "settimeofday": 164, "clock_settime": 227, "iopl": 172,
            "nobody_knows": 1000}


def answer(attempt):
    """Its answer as a word."""
    try:
        found = attempt()
        return "done" if found is None else found
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))


def syscall(number, *arguments):
    rc = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(one) for one in arguments))
    if rc == -1:
        raise OSError(ctypes.get_errno(), "syscall")
    return rc


def calls():
    return {name: answer(lambda number=number: syscall(number, 0, 0, 0, 0, 0, 0) and None)
            for name, number in SYSCALLS.items()}


def in_child(code):
    """How a child that runs `code` ends: "exit N" or "signal N"."""
    pid = os.fork()
    if pid == 0:
        code()
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"


def machine_code(code):
    """Runs it: System V calling convention, no arguments."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


def foreign():
    """32-bit getpid by int 0x80, and x32's."""
    return {"int80": in_child(lambda: machine_code(b"\xb8\x14\0\0\0\xcd\x80\xc3")),
            "x32": in_child(lambda: syscall(0x40000000 | 39))}


def clone_user():
    return answer(lambda: syscall(56, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) and None)


def sockets():
    families = {"unix": (1, 1, 0), "inet": (2, 1, 0), "inet6": (10, 1, 0), "route": (16, 3, 0), "netfilter": (16, 3, 12),
                "audit": (16, 3, 9), "packet": (17, 3, 0), "alg": (38, 5, 0), "vsock": (40, 1, 0), "xdp": (44, 3, 0),
                "bluetooth": (31, 3, 0), "can": (29, 3, 1), "key": (15, 3, 2)}
    return {name: answer(lambda how=how: socket.socket(*how).close()) for name, how in families.items()}


def terminal():
    """TIOCSTI, also with bits above the request's 32, and TIOCLINUX, on stdin."""
    byte = ctypes.create_string_buffer(b"x")
    return {name: answer(lambda request=request: syscall(16, 0, request, ctypes.addressof(byte)) and None)
            for name, request in (("sti", 0x5412), ("sti high", 0xffffffff00005412), ("linux", 0x541C))}


def paths():
    """What can be opened how; `r` reads, `w` writes, `l` follows a link of /proc."""
    def attempt(how, path):
        if how == "l":
            return os.readlink(path)
        with open(path, "rb" if how == "r" else "r+b", buffering=0) as file:
            return None if how == "w" else "done" if file.read(1) else "empty"
    tries = {f"{how} {path}": answer(lambda: attempt(how, path)) for how, path in (  # noqa: B023
        ("w", "/proc/sys/kernel/core_pattern"), ("w", "/proc/sys/vm/swappiness"), ("w", "/proc/sysrq-trigger"),
        ("r", "/proc/kcore"), ("r", "/proc/keys"), ("r", "/proc/kallsyms"), ("r", "/proc/timer_list"),
        ("w", "/proc/irq/default_smp_affinity"), ("r", "/proc/1/environ"), ("w", "/proc/1/mem"), ("l", "/proc/1/exe"),
        ("l", "/proc/1/root"), ("l", "/proc/1/cwd"), ("w", "/sys/kernel/mm/ksm/run"), ("w", "/sys/power/state"))}
    tries["fds of 1"] = answer(lambda: ",".join(os.listdir("/proc/1/fd")))
    tries["firmware"] = answer(lambda: ",".join(os.listdir("/sys/firmware")))
    return tries


def devices():
    def node(kind, number):
        os.mknod("/tmp/node", 0o666 | kind, number)
        os.unlink("/tmp/node")
    return {"char": answer(lambda: node(0o020000, os.makedev(1, 3))), "block": answer(lambda: node(0o060000, os.makedev(8, 0))),
            "fifo": answer(lambda: node(0o010000, 0)),
            "dev": ",".join(sorted(os.listdir("/dev")))}


def root():
    """Inode and device of / and of what ".." reaches from there, and every mount that is to be seen."""
    def identity(path):
        info = os.stat(path)
        return f"{info.st_dev}:{info.st_ino}"
    table = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return {"same": len({identity(path) for path in ("/", "/..", "/../..", "/proc/../..")}) == 1,
            "mounts": [line.split()[4] for line in table], "listing": sorted(os.listdir("/..")),
            "options": {line.split()[4]: line.split()[5] for line in table}}


def process():
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return {"status": {key: fields[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
                                                    "Seccomp", "Uid", "Gid", "Groups")},
            "pid": os.getpid(), "session": os.getsid(0), "fds": sorted(map(int, os.listdir("/proc/self/fd")))[:-1],
            "maps": {name: pathlib.Path(f"/proc/self/{name}_map").read_text(encoding="utf-8").split() for name in ("uid", "gid")},
            "namespaces": {entry.name: os.readlink(entry) for entry in pathlib.Path("/proc/self/ns").iterdir()},
            "pids": sorted(int(one) for one in os.listdir("/proc") if one.isdigit()), "environment": dict(os.environ),
            "uptime": float(pathlib.Path("/proc/uptime").read_text(encoding="utf-8").split()[0])}


def network():
    """Interfaces, and whether the loopback carries."""
    import struct
    names = [name for _, name in socket.if_nameindex()]
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.create_connection(server.getsockname(), timeout=5):
            pass
        flags = struct.unpack_from("16xH", fcntl.ioctl(server, 0x8913, struct.pack("16sH14x", b"lo", 0)))[0]
    return {"names": names, "lo up": bool(flags & 1),
            "out": answer(lambda: socket.create_connection(("192.0.2.1", 80), timeout=5).close())}


ATTEMPTS = {one.__name__: one for one in
            (calls, foreign, clone_user, sockets, terminal, paths, devices, root, process, network)}
print(json.dumps({name: ATTEMPTS[name]() for name in sys.argv[1:]}))
