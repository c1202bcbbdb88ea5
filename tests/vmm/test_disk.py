# SPDX-License-Identifier: Apache-2.0
"""The writable disk's file on the host: what the guest writes it takes, what the guest deletes it gives back."""

import os
import subprocess
import time

import pytest

MIB = 1 << 20


def taken(one):
    """Bytes that the writable disk takes of the host, by the descriptor that the VMM writes to."""
    for entry in os.scandir(f"/proc/{one.process.pid}/fd"):
        info = os.stat(entry.path)
        if os.path.samestat(info, os.fstat(one.upper.fileno())):
            return info.st_blocks * 512
    raise AssertionError("the VMM has no writable disk")


def falls_below(one, most):
    deadline = time.monotonic() + 20
    while taken(one) > most:
        assert time.monotonic() < deadline, (taken(one), most)
        time.sleep(0.1)


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "upper.img"
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", path, "64M"], check=True)
    return path


def test_a_full_disk_is_shrunk_by_discard_and_filled_again(start, small_disk):
    one = start(upper=small_disk)
    one.hello()
    empty = taken(one)
    # The disk is mounted to discard what is deleted. The root is an overlay, which cannot be trimmed;
    # this folder is the disk's own.
    for trim in ("true", "fstrim /var/lib/docker"):
        said = one.shell("dd if=/dev/zero of=/fill bs=1M 2>&1; sync; wc -c < /fill")
        assert "No space left on device" in said
        assert int(said.split()[-1]) > 50 * MIB
        assert taken(one) - empty > 50 * MIB
        one.shell(f"rm /fill; sync; {trim}")
        falls_below(one, empty + 4 * MIB)
    assert one.shell("echo alive > /note; sync; cat /note") == "alive\n"
    assert one.shutdown()[0] == 0
