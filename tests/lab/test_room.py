# SPDX-License-Identifier: Apache-2.0
"""The clean room: what a newcomer has, and the first thing that a newcomer's command does in it. The
whole of tools/quickstart there is a part of tools/soak, for it takes an hour under the translator."""

import subprocess

import pytest

from conftest import NAME, ROOT, tools_lab


@pytest.fixture(scope="module")
def room():
    name = f"{NAME}-room"
    started = tools_lab("start", "--name", name, "--room", timeout=600)
    assert started.returncode == 0, started.stderr.decode()
    yield lambda *command: tools_lab("run", "-n", "--name", name, *command)
    assert tools_lab("stop", "--name", name).returncode == 0


def test_it_is_a_bare_debian_with_a_clone(room):
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    assert room("git", "rev-parse", "HEAD").stdout.decode() == head
    assert room("sh", "-c", "pwd; . /etc/os-release; echo $VERSION_ID; which gcc python3 qemu-system-x86_64 cmake").stdout \
        == b"/root/microsandbox\n12\n"


def test_it_names_the_packages_that_are_missing_there(room):
    missing = room("tools/install-packages", "--print", "run", "build").stdout.decode().split()
    assert {"qemu-system-x86", "g++", "cmake", "ninja-build"} <= set(missing)


def test_its_layer_is_a_disk_and_its_network_is_up(room):
    assert room("stat", "-fc", "%T", "/lab/ext4").stdout == b"ext2/ext3\n"
    done = room("sh", "-c", "dd if=/dev/zero of=/large bs=1M count=16 2> /dev/null; stat -c %s /lab/ext4/upper/large")
    assert done.stdout == b"16777216\n"
    assert room("sh", "-c", "cat /sys/class/net/eth0/operstate; cat /etc/resolv.conf").stdout == b"up\nnameserver 10.0.2.3\n"
