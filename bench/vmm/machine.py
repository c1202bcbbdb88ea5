# SPDX-License-Identifier: Apache-2.0
"""A machine started by hand, without supervisor and jail: msb-vmm, or QEMU with the same guest, on KVM or
under its translator. For figures and for looking at one boot; what users get goes through msb."""

import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time

HEADER = struct.Struct("<HBBIQ")
HELLO, SHUTDOWN, GOODBYE, EXEC_OPEN, EXEC_STARTED, EXEC_FAILED, EXEC_EXIT = 1, 5, 6, 16, 17, 18, 19
CLOSE, DATA, EOF, CREDIT = 24, 32, 33, 34
WINDOW = 256 * 1024
TIMEOUT = 120


class Died(Exception):
    pass


def text(value):
    return struct.pack("<I", len(value)) + value


def short(value):
    return struct.pack("<H", len(value)) + value


class Machine:
    """`command(fds)` gives the arguments; `fds` maps names to descriptor numbers."""

    def __init__(self, command, files, verbose=False, prefix=()):
        self.files = files
        self.upper = tempfile.TemporaryFile()
        with open(files["upper"], "rb") as template:
            size = os.fstat(template.fileno()).st_size
            os.truncate(self.upper.fileno(), size)
            # The template is sparse; so is its copy.
            offset = 0
            while True:
                try:
                    start = os.lseek(template.fileno(), offset, os.SEEK_DATA)
                except OSError:
                    break
                offset = os.lseek(template.fileno(), start, os.SEEK_HOLE)
                os.pwrite(self.upper.fileno(), os.pread(template.fileno(), offset - start, start), start)
        pairs = {name: socket.socketpair(socket.AF_UNIX, kind) for name, kind in (
            ("agent", socket.SOCK_STREAM), ("console", socket.SOCK_STREAM), ("control", socket.SOCK_SEQPACKET))}
        self.agent, self.console, self.control = (pairs[name][0] for name in ("agent", "console", "control"))
        fds = {name: pair[1].fileno() for name, pair in pairs.items()}
        opened = {name: os.open(files[name], os.O_RDONLY) for name in ("kernel", "initramfs", "root")}
        if files.get("kvm", True):
            opened["kvm"] = os.open(files.get("kvm", "/dev/kvm"), os.O_RDWR)
        fds.update(opened)
        fds["upper"] = self.upper.fileno()
        self.console_text = b""
        self.lines = []
        self.inbox = b""
        self.unread = set()  # Of agent and console, those that the guest has asked us to leave unread.
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(list(prefix) + command(fds), pass_fds=list(fds.values()),
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.stderr = b""
        for pair in pairs.values():
            pair[1].close()
        for fd in opened.values():
            os.close(fd)
        self.verbose = verbose
        self.sent_hello = False

    def wait_for_anything(self, deadline):
        """From any of its descriptors, which is kept; false when the machine is gone."""
        ends = [end for end in (self.agent, self.console, self.control, self.process.stderr) if end not in self.unread]
        ready, _, _ = select.select(ends, [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise Died(f"nothing for too long; {self.story()}")
        gone = False
        for end in ready:
            if end is self.process.stderr:
                data = os.read(end.fileno(), 65536)
                self.stderr += data
                gone = gone or not data
                continue
            try:
                data = end.recv(1 << 20)
            except ConnectionResetError:  # It has gone, and not read all that was sent to it.
                data = b""
            if end is self.console:
                self.console_text += data
                if self.verbose and data:
                    print(data.decode(errors="replace"), end="", flush=True)
            elif end is self.control and data:
                self.lines.append((time.monotonic() - self.started_at, data.decode(errors="replace")))
            elif end is self.agent:
                self.inbox += data
        return not gone

    def frame(self, deadline=None):
        deadline = deadline or time.monotonic() + TIMEOUT
        while True:
            if len(self.inbox) >= HEADER.size:
                length, kind, fd, number, offset = HEADER.unpack_from(self.inbox)
                if len(self.inbox) >= HEADER.size + length:
                    body = self.inbox[HEADER.size:HEADER.size + length]
                    self.inbox = self.inbox[HEADER.size + length:]
                    return kind, fd, number, offset, body
            if not self.wait_for_anything(deadline):
                raise Died(self.story())

    def story(self):
        return (f"exit {self.process.poll()}; stderr: {self.stderr.decode(errors='replace')}; control: {self.lines};"
                f" console: {self.console_text.decode(errors='replace')[-3000:]}")

    def send(self, kind, body=b"", fd=0, number=0, offset=0):
        self.agent.sendall(HEADER.pack(len(body), kind, fd, number, offset) + body)

    def hello(self):
        """Seconds to the agent's hello, and its stages: {name: nanoseconds of the guest's counter}."""
        kind, _, _, _, body = self.frame()
        if kind != HELLO:
            raise Died(f"first frame is {kind}; {self.story()}")
        took = time.monotonic() - self.started_at
        (size,) = struct.unpack_from("<I", body, 14)
        at, stages = 18 + size, {}
        count, at = body[at], at + 1
        for _ in range(count):
            (size,) = struct.unpack_from("<I", body, at)
            name = body[at + 4:at + 4 + size].decode()
            (stages[name],) = struct.unpack_from("<Q", body, at + 4 + size)
            at += 4 + size + 8
        return took, stages

    def greet(self):
        if not self.sent_hello:
            self.send(HELLO, b"MSB1" + struct.pack("<HQ", 1, 1) + text(b"bench") + b"\0")
            self.sent_hello = True

    def shutdown(self):
        """Asks the agent for the end: (exit code, lines of the control socket)."""
        self.greet()
        self.send(SHUTDOWN)
        return self.wait_end()

    def run(self, argv, sink=None, number=1):
        """Runs a program inside; its stdout goes to `sink`, else is returned. (exit code, bytes)."""
        self.send_exec(argv, number)
        return self.finish_exec(sink, number)

    def shell(self, script):
        """What a script that must succeed writes to stdout and stderr."""
        code, output = self.run(["sh", "-c", script])
        if code != 0:
            raise Died(f"{script}: exit {code}: {output.decode(errors='replace')}")
        return output.decode()

    def send_exec(self, argv, number=1):
        self.greet()
        words = [word.encode() for word in argv]
        body = struct.pack("<H", len(words)) + b"".join(short(word) for word in words)
        body += struct.pack("<H", 1) + short(b"PATH=/bin:/sbin:/usr/bin:/usr/sbin") + short(b"/") + short(b"")
        body += struct.pack("<BHH", 0, 0, 0)
        self.send(EXEC_OPEN, body, number=number)
        for fd in (1, 2):
            self.send(CREDIT, struct.pack("<Q", WINDOW), fd=fd, number=number)

    def finish_exec(self, sink=None, number=1):
        kept, taken, credit = [], {1: 0, 2: 0}, {1: WINDOW, 2: WINDOW}
        while True:
            kind, fd, _, offset, body = self.frame()
            if kind == DATA:
                taken[fd] = offset + len(body)
                if sink is None:
                    kept.append(body)
                else:
                    sink(body)
                if credit[fd] - taken[fd] <= WINDOW // 2:
                    credit[fd] = taken[fd] + WINDOW
                    self.send(CREDIT, struct.pack("<Q", credit[fd]), fd=fd, number=number, offset=taken[fd])
            elif kind == EXEC_FAILED:
                raise Died(f"exec failed: {body!r}")
            elif kind == EXEC_EXIT:
                self.send(CLOSE, number=number)
                return struct.unpack_from("<Bi", body)[1], b"".join(kept)

    def wait_end(self):
        """Until the machine is gone: (exit code, lines of the control socket)."""
        deadline = time.monotonic() + TIMEOUT
        while self.wait_for_anything(deadline):
            pass
        code = self.process.wait(timeout=10)
        while True:
            self.control.setblocking(False)
            try:
                data = self.control.recv(65536)
            except BlockingIOError:
                break
            if not data:
                break
            self.lines.append((time.monotonic() - self.started_at, data.decode(errors="replace")))
        return code, [line for _, line in self.lines]

    def kill(self):
        self.process.kill()
        self.process.wait()
        for end in (self.agent, self.console, self.control, self.process.stderr, self.upper):
            end.close()


def vmm(program, files, cpus=1, memory=256 << 20, verbose=False, prefix=()):
    def command(fds):
        words = [program, "--cpus", str(cpus), "--memory", str(memory)]
        for name in ("kvm", "kernel", "initramfs", "root", "upper", "agent", "console", "control"):
            words += [f"--{name}", str(fds[name])]
        return words + (["--verbose-console"] if verbose else [])
    return Machine(command, files, verbose, prefix)


KVM = ["-accel", "kvm", "-cpu", "host,-pku"]
TRANSLATOR = ["-accel", "tcg,thread=single,tb-size=256", "-cpu", "max,-erms"]


def qemu(files, cpus=1, memory=256 << 20, verbose=False, prefix=(), accelerator=KVM):
    """QEMU's microvm with the same kernel, initramfs, disks and channel."""
    program = shutil.which("qemu-system-x86_64")
    line = "console=hvc0 reboot=t panic=-1 noreplace-smp tsc=reliable " + ("printk.time=1" if verbose else "quiet")
    if accelerator != KVM:
        files = {**files, "kvm": None}
        line += " mitigations=off tsc_early_khz=1000000 lapic_timer_khz=1000000"

    def command(fds):
        return [program, "-M", "microvm,acpi=off,pic=off,pit=off,rtc=on,isa-serial=off,x-option-roms=off,"
                "auto-kernel-cmdline=on", *accelerator, "-m", f"{memory >> 20}M", "-smp", str(cpus),
                "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                "-global", "virtio-mmio.force-legacy=false",
                "-kernel", files["kernel"], "-initrd", files["initramfs"], "-append", line,
                "-device", "virtio-serial-device,max_ports=2",
                "-chardev", f"socket,id=console,fd={fds['console']}", "-device", "virtconsole,chardev=console,nr=0",
                "-chardev", f"socket,id=agent,fd={fds['agent']}",
                "-device", "virtserialport,chardev=agent,nr=1,name=org.microsandbox.agent",
                "-add-fd", f"fd={fds['root']},set=1",
                "-blockdev", "driver=file,node-name=root,filename=/dev/fdset/1,read-only=on,locking=off",
                "-device", "virtio-blk-device,drive=root",
                "-add-fd", f"fd={fds['upper']},set=2",
                "-blockdev", "driver=file,node-name=upper,filename=/dev/fdset/2,locking=off,discard=unmap,cache.no-flush=on",
                "-device", "virtio-blk-device,drive=upper",
                "-object", "rng-builtin,id=rng", "-device", "virtio-rng-device,rng=rng",
                "-device", "virtio-balloon-device,free-page-reporting=on"]
    return Machine(command, files, verbose, prefix)
