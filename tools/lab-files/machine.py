# SPDX-License-Identifier: Apache-2.0
"""The processes of a lab: QEMU and a virtiofsd for each folder shared with it. They die with the
process that started them, however that ends."""

import ctypes
import os
import signal
import struct
import subprocess

import parts
import places

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
# linux/mount.h, sched.h, asm/unistd.h
MS_REC, MS_PRIVATE, CLONE_NEWNS = 0x4000, 1 << 18, 0x20000
SYS_mount_setattr, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
# A microvm has 8 places for devices; the port, the disk, the network and the root take 4.
SHARES = 4


def make_all_read_only():
    """Every file system that this process sees, and for it alone. The lab runs programs that try to
    break out, as root: that its root is mounted read-only inside would not stop them."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    if (LIBC.unshare(CLONE_NEWNS) or LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) or
            LIBC.syscall(SYS_mount_setattr, AT_FDCWD, b"/", AT_RECURSIVE, attributes, len(attributes))):
        number = ctypes.get_errno()
        os.write(2, f"making this host's files read-only for the lab: {os.strerror(number)}\n".encode())
        os._exit(1)


def spawn(command, descriptors, log, read_only=False):
    """A child that does not outlive us."""
    parent = os.getpid()

    def tie():
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if read_only:
            make_all_read_only()

    # In a session of its own: a Ctrl-C at the caller's terminal is not for it.
    return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                            pass_fds=descriptors, preexec_fn=tie, start_new_session=True, cwd="/")


class Share:
    """A folder of this machine, served to QEMU over a connected socket, which is made in `place`: whoever
    came first would be served this host's files by a process of root's."""

    def __init__(self, tag, folder, writable, log, place):
        self.tag = tag
        self.folder = folder
        listener, self.socket = places.rendezvous(place)
        cache = "none" if writable else "auto"
        self.process = spawn([parts.VIRTIOFSD, f"--fd={listener.fileno()}", "-o",
                              f"source={folder},cache={cache},sandbox=chroot"],
                             [listener.fileno()], log, read_only=not writable)
        listener.close()


def qemu(options, port, shares, disk, console, kernel, server, rate):
    """The command line. `port`, `disk`, `console`: descriptors; to the last goes what the console says."""
    # No firmware tables and no PCI: nothing to probe makes it boot a second sooner than a q35 does.
    # With the timers' rates given (command_line) our kernels need no PIT either; others do.
    machine = "microvm,acpi=off,pic=off,rtc=on,isa-serial=on,memory-backend=memory"
    if "/" not in options["kernel"]:
        machine += ",pit=off"
    command = [
        "qemu-system-x86_64", "-name", "lab", "-nodefaults", "-no-user-config", "-display", "none",
        "-no-reboot", "-M", machine, "-global", "virtio-mmio.force-legacy=false",
        "-accel", "tcg,thread=multi", "-cpu", f"{options['cpu']},+svm,+npt",
        "-smp", options["cpus"], "-m", f"{options['memory']}M",
        "-object", f"memory-backend-memfd,id=memory,size={options['memory']}M,share=on",
        "-kernel", kernel, "-initrd", server / "initramfs.cpio", "-append", command_line(options, rate),
        # Appending, because a pipe cannot be truncated.
        "-add-fd", f"fd={console},set=2", "-chardev", "file,id=console,path=/dev/fdset/2,append=on",
        "-serial", "chardev:console",
        "-device", "virtio-serial-device,max_ports=2", "-chardev", f"socket,id=port,fd={port}",
        "-device", "virtserialport,nr=1,chardev=port,name=lab",
        "-add-fd", f"fd={disk},set=1", "-blockdev",
        "driver=raw,node-name=disk,discard=unmap,file.driver=file,file.filename=/dev/fdset/1",
        "-device", "virtio-blk-device,drive=disk",
    ]
    if options["network"]:
        command += ["-netdev", "user,id=net", "-device", "virtio-net-device,netdev=net"]
    for share in shares:
        command += ["-chardev", f"socket,id={share.tag},fd={share.socket.fileno()}",
                    "-device", f"vhost-user-fs-device,chardev={share.tag},tag={share.tag}"]
    return command


def command_line(options, rate):
    """Of the kernel. Every oops is the end: a lab that goes on after one would lie."""
    words = ["console=ttyS0", "8250.nr_uarts=1", "loglevel=5", "acpi=off", "panic=-1", "reboot=t",
             "oops=panic", "mitigations=off", "nowatchdog", "tsc=reliable", f"tsc_early_khz={rate}",
             # Of our patches; elsewhere unknown words go unheard.
             "lapic_timer_khz=1000000", "keep_initmem",
             f"lab.init={options['init']}", f"lab.layer={options['layer']}"]
    return " ".join(words)
