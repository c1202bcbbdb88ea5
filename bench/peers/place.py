# SPDX-License-Identifier: Apache-2.0
"""What every part of bench/peers/inside stands on: the programs and files of both sides in the lab's
memory, and how a command is run.

The lab's own root comes through virtio-fs, which reads a program anew each time it is opened: QEMU
with its fifty libraries would pay a second for that at each start, which no host's page cache costs.
"""

import dataclasses
import mmap
import os
import pathlib
import shutil
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
QEMU = pathlib.Path("/usr/bin/qemu-system-x86_64")
MEMORY_MIB = 256
UPPER_BYTES = 512 << 20
PATIENCE = 300  # Seconds of any one command.


class Failed(Exception):
    """A command that did not do what the measurement needs."""


def run(*words, env=None, stdout=subprocess.PIPE):
    """What a command printed."""
    words = [str(word) for word in words]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, text=True,
                              env=env, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(words)}: not done after {PATIENCE} s") from None
    if done.returncode:
        raise Failed(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()[-1500:]}")
    return done.stdout


def libraries(program):
    """The shared libraries that a program loads, by their paths."""
    words = (line.split() for line in run("ldd", program).splitlines())
    return [path for line in words for path in line if path.startswith("/")]


@dataclasses.dataclass
class Place:
    """Folders of one boot of the lab. `memory` is a tmpfs, `disk` an ext4 on the lab's disk."""
    memory: pathlib.Path
    disk: pathlib.Path
    prepared: pathlib.Path  # What bench/peers/run made before the boot.
    rounds: int
    washed: bool = False  # Whether each command finds free memory that holds no translated code.

    @property
    def bin(self):
        return self.memory / "build/bin"

    @property
    def parts(self):
        return self.memory / "build/lib/microsandbox"

    @property
    def qemu(self):
        return self.memory / "qemu/bin" / QEMU.name

    @property
    def root(self):
        return self.memory / "root.erofs"

    def fill(self):
        run("mount", "-t", "tmpfs", "-o", "size=5g", "peers", self.memory)
        copy_build(self.memory)
        self.qemu.parent.mkdir(parents=True)
        for path in [QEMU, *libraries(QEMU)]:
            shutil.copy2(path, self.qemu.parent)
        # QEMU looks for its firmware beside itself.
        shutil.copytree("/usr/share/qemu", self.memory / "qemu/share/qemu", ignore=shutil.ignore_patterns("*.fd", "keymaps"))
        shutil.copy2(self.prepared / "root.erofs", self.root)
        with open(self.memory / "upper.img", "wb") as file:
            file.truncate(UPPER_BYTES)
        run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", self.memory / "upper.img")

    def empty(self):
        subprocess.run(["umount", "-l", self.memory])
        shutil.rmtree(self.disk, ignore_errors=True)

    def home(self, folder):
        """The environment of our programs with a store of its own, which has the image."""
        shutil.copytree(self.prepared / "home", folder / "home", symlinks=True)
        return {**os.environ, "MICROSANDBOX_HOME": str(folder / "home")}


def copy_build(folder):
    """Our programs and the guest's files as they are installed: folder/build/bin, folder/build/lib."""
    build = ROOT / "build/release"
    (folder / "build/bin").mkdir(parents=True)
    for name in ("msb", "msb-supervisor", "msb-vmm", "msb-bench-machine"):
        shutil.copy2(build / "bin" / name, folder / "build/bin")
    shutil.copytree(build / "lib", folder / "build/lib")


def turns(place, ours, peer, rounds=None):
    """One unmeasured call of each, then calls by turns: (values of ours, values of the peer)."""
    def call(measured):
        if place.washed:
            wash_free_memory()
        return measured()
    call(ours), call(peer)
    a, b = [], []
    for _ in range(rounds or place.rounds):
        a.append(call(ours))
        b.append(call(peer))
    return a, b


def wash_free_memory():
    """The lab's translator keeps what it translated of a page after the page was freed, and walks it at each store
    of whoever clears the page next: a millisecond for 4 KiB, which no processor takes. Here nobody waits for it."""
    for size, advice in ((512 << 20, mmap.MADV_HUGEPAGE), (64 << 20, mmap.MADV_NOHUGEPAGE)):
        with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(advice)
            for page in range(0, size, mmap.PAGESIZE):
                memory[page] = 1


def medians(pair):
    return tuple(statistics.median(values) for values in pair)


def seconds(*words, env, stdout=subprocess.DEVNULL):
    began = time.monotonic()
    run(*words, env=env, stdout=stdout)
    return time.monotonic() - began
