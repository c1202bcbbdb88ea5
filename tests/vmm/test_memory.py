# SPDX-License-Identifier: Apache-2.0
"""The guest's memory: every size boots, also across the gap below 4 GiB, and what the guest frees goes
back to the host."""

import pathlib
import re
import time

import pytest

MIB = 1 << 20
# Linux tells of free blocks two seconds after they came about.
REPORTED_WITHIN = 20


def resident(one):
    """Bytes of the host's memory that the VMM has."""
    rollup = pathlib.Path(f"/proc/{one.process.pid}/smaps_rollup").read_text()
    return int(re.search(r"^Rss:\s+(\d+) kB", rollup, re.M)[1]) * 1024


@pytest.mark.parametrize("memory", [64, 96, 256, 1024, 3072, 4096])
def test_boots_with_that_much_memory(start, memory):
    one = start(memory=memory)
    one.hello()
    total = int(one.shell("grep MemTotal /proc/meminfo").split()[1])
    assert memory * 1024 * 0.65 < total < memory * 1024
    assert one.shutdown()[0] == 0


@pytest.mark.parametrize("memory, last", [(3072, "bfffffff"), (3074, "1001fffff"), (4096, "13fffffff")])
def test_memory_ends_below_the_gap_or_goes_on_behind_it(start, memory, last):
    one = start(memory=memory)
    one.hello()
    ends = re.findall(r"-([0-9a-f]+) : System RAM", one.shell("cat /proc/iomem"))
    assert ends[-1] == last
    assert "c0000000" not in " ".join(ends)
    one.shutdown()


def test_memory_behind_the_gap_keeps_what_is_written(start):
    one = start(memory=4096)
    one.hello()
    free = "awk '/zone +Normal/ {n = 1} n && /nr_free_pages/ {print $2; exit}' /proc/zoneinfo"
    before = int(one.shell(free))
    # Linux takes what is not for old devices from the zone behind 4 GiB first.
    one.shell("mkdir -p /m; mount -t tmpfs -o size=512M none /m; dd if=/dev/urandom of=/m/x bs=1M count=64 2>/dev/null;"
              " cp /m/x /m/y; cmp /m/x /m/y")
    assert before - int(one.shell(free)) > 128 * MIB // 4096 * 0.9
    one.shutdown()


def test_what_the_guest_frees_goes_back_to_the_host(start):
    one = start(memory=512)
    one.hello()
    one.shell("mkdir -p /m; mount -t tmpfs -o size=300M none /m")
    idle = resident(one)
    for _ in range(2):
        one.shell("dd if=/dev/zero of=/m/x bs=1M count=150 2>/dev/null")
        full = resident(one)
        assert full - idle > 145 * MIB
        one.shell("rm /m/x")
        deadline = time.monotonic() + REPORTED_WITHIN
        while resident(one) > full - 0.8 * 150 * MIB:
            assert time.monotonic() < deadline, (idle, full, resident(one))
            time.sleep(0.1)
    assert one.shutdown()[0] == 0
