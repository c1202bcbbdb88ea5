# SPDX-License-Identifier: Apache-2.0
"""What is in the hands of whoever takes a running msb-vmm over: descriptors and seccomp filters."""

import os
import pathlib


def held(one):
    """What its descriptors are, sorted: "anon_inode:kvm-vm", "socket", ..."""
    names = []
    for entry in os.scandir(f"/proc/{one.process.pid}/fd"):
        name = os.readlink(entry.path)
        names.append("socket" if name.startswith("socket:") else name)
    return sorted(names)


def test_it_holds_its_machine_disks_and_sockets_and_nothing_else(start, files):
    one = start(cpus=2)
    one.hello()
    names = held(one)
    # KVM itself makes machines and tells of the host: needed until the processors are there.
    assert "/dev/kvm" not in names
    assert files["kernel"] not in names and files["initramfs"] not in names
    for kept, count in (("anon_inode:kvm-vm", 1), ("anon_inode:kvm-vcpu:0", 1), ("anon_inode:kvm-vcpu:1", 1),
                        (files["root"], 1), ("socket", 3)):
        assert names.count(kept) == count, (kept, names)
    kinds = {name for name in names if name.startswith("anon_inode:")}
    assert kinds == {"anon_inode:kvm-vm", "anon_inode:kvm-vcpu:0", "anon_inode:kvm-vcpu:1", "anon_inode:[eventfd]",
                     "anon_inode:[eventpoll]"}
    one.shutdown()


def test_every_thread_runs_under_a_filter_of_its_own(start):
    one = start(cpus=2)
    one.hello()
    tasks = pathlib.Path(f"/proc/{one.process.pid}/task")
    filters = {}
    for task in tasks.iterdir():
        status = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines())
        filters[task.name] = int(status["Seccomp_filters"])
    # The start's and, on top of it, the thread's: devices, the disks' worker, two processors.
    # The kernel may add a worker of its own, which inherits them.
    assert len(filters) >= 4 and set(filters.values()) == {2}, filters
    one.shutdown()


def test_the_name_of_a_thread_tells_its_class(start):
    """`msb inspect` names the seccomp table of a thread by it."""
    one = start(cpus=2)
    one.hello()
    names = [(task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{one.process.pid}/task").iterdir()]
    assert sorted(name for name in names if not name.startswith("kvm-")) == ["blk", "msb-vmm", "vcpu0", "vcpu1"]
    one.shutdown()
