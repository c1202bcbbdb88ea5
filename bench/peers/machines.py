# SPDX-License-Identifier: Apache-2.0
"""Machines without supervisor or jail: ours, and QEMU's microvm on the same KVM with the same kernel,
initramfs, disks and agent."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

from place import MEMORY_MIB, PATIENCE, Failed, medians, run, turns

STDOUT_BYTES = 64 << 20
TRACING = pathlib.Path("/sys/kernel/tracing/instances/peers")
# In one fio, one after the other on one file: its start costs seconds here, and is not measured.
FIO = ["/usr/bin/fio", "--direct=1", "--ioengine=psync", "--thread", "--size=64M", "--filename=/bench.dat", "--runtime=6",
       "--output-format=json"]
JOBS = {"sequential write": ["--rw=write", "--bs=1M"], "sequential read": ["--rw=read", "--bs=1M"],
        "random write": ["--rw=randwrite", "--bs=4k", "--io_size=4M"],
        "random read": ["--rw=randread", "--bs=4k", "--io_size=4M"]}


class Machines:
    def __init__(self, place):
        self.place = place
        self.peer_died = []

    def start(self, kind, *command):
        """One machine from its start to its end: what msb-bench-machine says of it. A machine of the peer that
        dies is started again, once, and told; one of ours that dies is a failure."""
        place = self.place
        program = place.bin / "msb-vmm" if kind == "vmm" else place.qemu
        env = {**os.environ, "LD_LIBRARY_PATH": str(place.qemu.parent)}
        for last in (kind == "vmm", True):
            upper = place.memory / "upper-of-one.img"
            run("cp", "--sparse=always", place.memory / "upper.img", upper)
            try:
                return json.loads(run(place.bin / "msb-bench-machine", kind, program, place.parts / "vmlinux",
                                      place.parts / "initramfs.cpio", place.root, upper, MEMORY_MIB, *command, env=env))
            except Failed as failed:
                if last:
                    raise
                self.peer_died.append(str(failed)[-1500:])
                print(f"a machine of {kind} died and is started again: {failed}", file=sys.stderr)
            finally:
                upper.unlink()

    def both(self, measure, rounds=None):
        return turns(self.place, lambda: measure("vmm"), lambda: measure("qemu"), rounds)

    def machine(self):
        """Start of the program to hello, and first instruction of the guest to hello. Of other starts, as tracing
        costs the guest time at each exit, but each of one start: what differs from start to start does so by more."""
        def to_hello(kind):
            one = self.start(kind)
            return (one["hello_ns"] - one["spawned_ns"]) / 1e6

        def in_guest(kind):
            with first_entry() as entry:
                one = self.start(kind)
                return (one["hello_ns"] - entry()) / 1e6
        return {"spawn to hello, ms / QEMU": medians(self.both(to_hello)),
                "first guest instruction to hello, ms / QEMU": medians(self.both(in_guest))}

    def stdout(self):
        def rate(kind):
            one = self.start(kind, "/usr/bin/head", "-c", STDOUT_BYTES, "/dev/zero")
            if one["stdout_bytes"] != STDOUT_BYTES:
                raise Failed(f"{kind}: {one['stdout_bytes']} bytes of {STDOUT_BYTES} came")
            return one["stdout_bytes"] / one["stdout_ns"] * 1e3
        return {"stdout, MB/s / QEMU": medians(self.both(rate))}

    def disk(self):
        """fio on a file of the sandbox's root, past the guest's page cache."""
        words = [*FIO, *(word for name, job in JOBS.items() for word in (f"--name={name}", *job, "--stonewall"))]

        def rates(kind):
            text = self.start(kind, *words).get("stdout", "")
            if "{" not in text:
                raise Failed(f"{kind}: fio said {text[-500:]!r}; has the root disk no fio?")
            jobs = json.loads(text[text.index("{"):])["jobs"]
            return {job["jobname"]: (job["read"]["bw"] or job["write"]["bw"]) / 1000 for job in jobs}
        # fio's own loops are the rounds here.
        ours, peer = self.both(rates, min(self.place.rounds, 3))
        return {f"disk {name}, MB/s / QEMU": medians(([one[name] for one in ours], [one[name] for one in peer]))
                for name in JOBS}

    def firecracker(self, program):
        """Start of the program to the first guest instruction. Both are killed there."""
        place = self.place
        config = place.memory / "firecracker.json"
        config.write_text(json.dumps({
            "boot-source": {"kernel_image_path": str(place.parts / "vmlinux"),
                            "initrd_path": str(place.parts / "initramfs.cpio"),
                            "boot_args": "reboot=t panic=-1 tsc=reliable noreplace-smp quiet"},
            "drives": [{"drive_id": "root", "path_on_host": str(place.root), "is_root_device": False,
                        "is_read_only": True}],
            "machine-config": {"vcpu_count": 1, "mem_size_mib": MEMORY_MIB}}))
        peer = place.memory / "firecracker"
        run("cp", "--dereference", program, peer)

        def theirs():
            with first_entry() as entry:
                began = time.monotonic_ns()
                child = subprocess.Popen([peer, "--no-api", "--config-file", config], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    return (entry(wait=30) - began) / 1e6
                finally:
                    child.kill()
                    child.wait()

        def ours():
            with first_entry() as entry:
                one = self.start("vmm")
                return (entry() - one["spawned_ns"]) / 1e6
        return {"spawn to first guest instruction, ms / Firecracker": medians(turns(place, ours, theirs))}


@contextlib.contextmanager
def first_entry():
    """A trace of KVM's entries that stops at the first one; gives a function for its time, in nanoseconds of
    CLOCK_MONOTONIC. With one CPU the first line is the first entry."""
    TRACING.mkdir(exist_ok=True)
    event = TRACING / "events/kvm/kvm_entry"
    try:
        (TRACING / "trace_clock").write_text("mono")
        (event / "trigger").write_text("traceoff:1")
        (event / "enable").write_text("1")

        def when(wait=0):
            deadline = time.monotonic() + min(wait, PATIENCE)
            while True:
                for line in (TRACING / "trace").read_text().splitlines():
                    if "kvm_entry:" in line:
                        return round(float(line.partition(": kvm_entry:")[0].split()[-1]) * 1e9)
                if time.monotonic() >= deadline:
                    raise Failed("no machine entered its guest")
                time.sleep(0.05)
        yield when
    finally:
        (event / "enable").write_text("0")
        TRACING.rmdir()
