# SPDX-License-Identifier: Apache-2.0
"""Kernels that abuse every device (tests/guests), on KVM: the machine keeps its name at the end, does not
grow, says nothing of it, and every device but the abused one goes on working."""

import os
import pathlib
import re
import select
import socket
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
CHANNEL = {"started", "channel open", "channel closed", RESET}
# On the agent port: the guest wants its console read.
SYNC = b"sync;"


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
    """One run of a family. `host`: what does the guest's asks."""

    def __init__(self, start, files, tmp_path, family, cpus=1, host=None):
        word = tmp_path / "family"
        word.write_text(family)
        self.machine = start(cpus=cpus, memory=MEMORY_MIB, initramfs=word, **files)
        self.family = family
        self.host = host
        self.asked = 0  # How far the console has been looked through for asks.
        self.deadline = time.monotonic() + TIMEOUT

    def go(self):
        self.machine.console.sendall(b"g")

    def wait(self):
        if not self.machine.wait_for_anything(self.deadline):
            raise AssertionError(f"the machine ended: {self.machine.story()}")

    def drain(self):
        """Reads until nothing has come for a while."""
        ends = [end for end in (self.machine.console, self.machine.agent) if end not in self.machine.unread]
        while select.select(ends, [], [], 0.2)[0]:
            self.wait()

    def answer(self):
        """Does what the guest has asked for since."""
        if self.machine.inbox.endswith(SYNC):
            self.machine.unread = set()
            self.drain()
            self.machine.inbox = b""
            self.go()
        for ask in re.finditer(rb"^ask (.*)\n", self.machine.console_text[self.asked:], re.MULTILINE):
            self.host(self, *ask[1].decode().split())
        self.asked = self.machine.console_text.rfind(b"\n") + 1

    def until(self, pattern):
        seen = 0
        while True:
            found = re.search(pattern, self.machine.console_text[seen:], re.MULTILINE)
            if found:
                return found
            seen = self.machine.console_text.rfind(b"\n") + 1
            self.answer()
            self.wait()

    def run(self, before=None):
        """{case: detail} of those that went wrong, the number of cases, growth in KiB."""
        self.until(f"^begin {self.family}$".encode())
        first = own_kib(self.machine.process)
        self.go()
        if before:
            before(self.machine)
        count = int(self.until(rb"^done (\d+)$")[1])
        last = own_kib(self.machine.process)
        self.go()
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
    assert set(lines) <= CHANNEL


def test_configuration_at_the_wrong_time(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "configuration").check(least=167)


def test_requests_that_no_disk_can_do(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "disks").check(least=128)


def test_random_numbers_in_odd_portions(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "random").check(least=7)


def test_balloon_of_pages_that_are_not_there(start, guest_files, tmp_path):
    Guest(start, guest_files, tmp_path, "balloon").check(least=35)


def test_console_without_end_or_reader(start, guest_files, tmp_path):
    def host(guest, what, count=0):
        if what == "leave-console-unread":
            guest.machine.unread = {guest.machine.console}  # Until the agent port says SYNC.
        else:
            assert what == "type"
            guest.machine.console.sendall(b"x" * int(count))
        guest.go()
    assert set(Guest(start, guest_files, tmp_path, "console", host=host).check(least=12)) <= CHANNEL


def numbers(count):
    """So many bytes of the pattern that the guest sends: a mebibyte of numbers, again and again."""
    mebibyte = struct.pack(f"<{1 << 18}I", *range(1 << 18))
    return (mebibyte * (count // len(mebibyte) + 1))[:count]


def test_channel_of_bytes_that_are_no_frames_to_a_host_that_does_not_read(start, guest_files, tmp_path):
    def host(guest, what, count=0):
        machine, count = guest.machine, int(count)
        if what == "leave-agent-unread":
            machine.unread = {machine.agent}
        elif what == "compare":
            machine.unread = set()
            while len(machine.inbox) < count:
                guest.wait()
            guest.drain()
            assert len(machine.inbox) == count and machine.inbox == numbers(count)
            machine.inbox = b""
        elif what == "forget":
            machine.unread = set()
            guest.drain()
            machine.inbox = b""
        elif what == "send":
            machine.agent.sendall(numbers(count))
        else:
            assert what == "hang-up"
            machine.unread = {machine.agent}
            machine.agent.shutdown(socket.SHUT_RDWR)
        guest.go()
    lines = Guest(start, guest_files, tmp_path, "channel", host=host).check(least=19)
    assert set(lines) <= CHANNEL


def test_races_of_two_processors(start, guest_files, tmp_path):
    lines = Guest(start, guest_files, tmp_path, "races", cpus=2).check(least=46)
    assert set(lines) <= CHANNEL
