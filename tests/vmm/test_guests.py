# SPDX-License-Identifier: Apache-2.0
"""Kernels that abuse every device (tests/guests), on KVM: the machine keeps its name at the end, does not
grow, says nothing of it, and every device but the abused one goes on working."""

import os
import pathlib
import re
import struct
import time

import pytest

from conftest import BIN

GUEST = pathlib.Path(os.environ.get("MSB_TESTCASES", BIN.parent / "testcases")) / "test_guest"
SECTOR, DISK_SECTORS, MARK = 512, 32768, 0x746F6F72
MEMORY_MIB = 128
# What may stay of a family's worst moment: pages of the heap, of stacks, of code first used.
GROWTH_KIB = 1024
TIMEOUT = 300
RESET = "end guest-reset triple fault on CPU 0"


@pytest.fixture(scope="session")
def guest_files(tmp_path_factory):
    """The kernel, a root disk whose sectors begin with their numbers, an empty writable disk."""
    place = tmp_path_factory.mktemp("guests")
    root, upper = place / "root", place / "upper"
    with open(root, "wb") as disk:
        for number in range(DISK_SECTORS):
            disk.write(struct.pack("<II", number, MARK).ljust(SECTOR, b"."))
    upper.touch()
    os.truncate(upper, DISK_SECTORS * SECTOR)
    return {"kernel": GUEST, "root": root, "upper": upper}


def own_kib(process):
    """What the process has in memory beside the guest's, which is its one large mapping."""
    total = guest = 0
    size = rss = 0
    for line in pathlib.Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
        if line.startswith("Size:"):
            size = int(line.split()[1])
        elif line.startswith("Rss:"):
            rss = int(line.split()[1])
            total += rss
            if size >= MEMORY_MIB << 10:
                guest += rss
    return total - guest


class Guest:
    """One run of a family."""

    def __init__(self, start, files, tmp_path, family, cpus=1):
        word = tmp_path / "family"
        word.write_text(family)
        self.machine = start(cpus=cpus, memory=MEMORY_MIB, initramfs=word, **files)
        self.family = family
        self.deadline = time.monotonic() + TIMEOUT

    def until(self, pattern):
        while True:
            found = re.search(pattern, self.machine.console_text, re.MULTILINE)
            if found:
                return found
            if not self.machine.wait_for_anything(self.deadline):
                raise AssertionError(f"the machine ended before {pattern}: {self.machine.story()}")

    def run(self, before=None):
        """{case: detail} of those that went wrong, the number of cases, growth in KiB."""
        self.until(f"^begin {self.family}$".encode())
        first = own_kib(self.machine.process)
        self.machine.console.sendall(b"g")
        if before:
            before(self.machine)
        count = int(self.until(rb"^done (\d+)$")[1])
        last = own_kib(self.machine.process)
        self.machine.console.sendall(b"g")
        cases = re.findall(r"^case (\S+) (ok|bad) ?(.*)$", self.machine.console_text.decode(errors="replace"), re.MULTILINE)
        assert len(cases) == count, "lines of the report are missing"
        assert len({name for name, _, _ in cases}) == count, "two cases have one name"
        return {name: detail for name, result, detail in cases if result != "ok"}, count, last - first

    def check(self, least, before=None):
        wrong, count, growth = self.run(before)
        code, lines = self.machine.wait_end()
        print(f"{self.family}: {count} cases, grew by {growth} KiB")
        assert not wrong, wrong
        assert count >= least
        assert growth <= GROWTH_KIB
        assert (code, lines[0], lines[-1]) == (0, "started", RESET)
        assert self.machine.stderr == b"msb-vmm: guest-reset: triple fault on CPU 0\n"
        return lines


def test_registers_of_every_offset_and_width(start, guest_files, tmp_path):
    assert Guest(start, guest_files, tmp_path, "registers").check(least=15) == ["started", RESET]


def test_rings_of_every_queue(start, guest_files, tmp_path):
    def fill(machine):
        # Something to receive, for the queues that take it.
        machine.console.sendall(b"c" * 40000)
        machine.agent.sendall(b"a" * 40000)
    lines = Guest(start, guest_files, tmp_path, "rings").check(least=684, before=fill)
    # It opens the agent port to be sent something there.
    assert set(lines) <= {"started", "channel open", "channel closed", RESET}


def test_configuration_at_the_wrong_time(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "configuration").check(least=167)


def test_requests_that_no_disk_can_do(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "disks").check(least=128)


def test_random_numbers_in_odd_portions(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "random").check(least=7)


def test_balloon_of_pages_that_are_not_there(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "balloon").check(least=35)
