# SPDX-License-Identifier: Apache-2.0
"""Whole sandboxes by the commands of their users: what ours costs in memory, and ours beside the
family's present."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

from place import MEMORY_MIB, Failed, copy_build, medians, run, seconds, turns

STDOUT_BYTES = 32 << 20
IMAGE = "microsandbox/python"
SIZE = ["--memory", f"{MEMORY_MIB}M", "--cpus", "1"]


@contextlib.contextmanager
def sandbox(msb, name, env):
    run(msb, "exe", "-d", "--quiet", *SIZE, "--isolation", "vm", "--name", name, IMAGE, "--", "sleep", "3600", env=env)
    try:
        yield
    finally:
        run(msb, "rm", "-f", name, env=env)


def memory(place):
    """What an idle machine holds, supervisor and all: its cgroup's memory less the guest's and the page tables.
    Page cache that the kernel can have back at any time is given back first. So the home is on a disk, where it
    can be, and so are the programs, whose mapped code then counts: this sandbox is their first user."""
    env = place.home(place.disk)
    copy_build(place.disk)
    msb = place.disk / "build/bin/msb"
    drop_caches()
    with sandbox(msb, "idle", env):
        time.sleep(5)
        record = json.loads(run(msb, "inspect", "--json", "idle", env=env))
        if len(record["cgroups"]) != 1:
            raise Failed(f"cgroups of the sandbox: {record['cgroups']}")
        folder = pathlib.Path(record["cgroups"][0])
        cached = memory_stat(folder)["file"]
        drop_caches()
        stat = memory_stat(folder)
        total = int((folder / "memory.current").read_text())
        pids = [int(pid) for path in folder.rglob("cgroup.procs") for pid in path.read_text().split()]
        guest = max(guest_memory(pid) for pid in pids)
        tables = stat.get("pagetables", 0) + stat.get("sec_pagetables", 0)
        raw = {"cgroup": total, "guest": guest, "page tables": tables, "kernel": stat.get("kernel", 0),
               "file": stat["file"], "file before its cache was dropped": cached}
        return {"memory of the VMM, MiB": ((total - guest - tables) / 2**20, None)}, raw


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")


def memory_stat(folder):
    return {name: int(value) for name, value in
            (line.split() for line in (folder / "memory.stat").read_text().splitlines())}


def guest_memory(pid):
    """Resident bytes of a process's largest mapping: in a VMM, the guest's memory."""
    largest = resident = size = 0
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        if line.startswith("Size:"):
            size = int(line.split()[1])
        elif line.startswith("Rss:") and size > largest:
            largest, resident = size, int(line.split()[1]) * 1024
    return resident


def family(place, bundle):
    """`bundle`: the folder of the wheel with the peer's own programs. The script that the wheel installs would
    start Python first."""
    env = place.home(place.memory)
    env["HOME"] = str(place.memory)
    shutil.copytree(bundle, place.memory / "family", symlinks=True)
    ours, peer = place.bin / "msb", place.memory / "family/bin/msb"
    run(peer, "load", "-q", "-i", place.prepared / "docker.tar", "-t", "peer-python", env=env)
    plain = ["--no-tty", "--no-stdin"]

    def both(our_words, peer_words, **how):
        return medians(turns(place, lambda: seconds(ours, *our_words, env=env, **how),
                             lambda: seconds(peer, *peer_words, env=env, **how)))
    found = {"msb exe IMAGE -- true, s / 0.7.11 run":
             both(["exe", "--quiet", "--isolation", "vm", *SIZE, IMAGE, "--", "true"],
                  ["run", *plain, *SIZE, "peer-python", "--", "true"])}
    with sandbox(ours, "ours", env):
        run(peer, "create", "-q", "--name", "theirs", *SIZE, "peer-python", env=env)
        try:
            found["msb exec NAME -- true, s / 0.7.11 exec"] = both(["exec", "ours", "--", "true"],
                                                                   ["exec", *plain, "theirs", "--", "true"])
            flood = ["--", "head", "-c", STDOUT_BYTES, "/dev/zero"]
            with open(place.memory / "flood", "w") as out:
                def rate(words):
                    out.seek(0)
                    out.truncate()
                    took = seconds(*words, *flood, env=env, stdout=out)
                    if out.seek(0, os.SEEK_END) != STDOUT_BYTES:
                        raise Failed(f"{words[0]}: {out.tell()} bytes of {STDOUT_BYTES} came")
                    return STDOUT_BYTES / took / 1e6
                found["stdout of an exec, MB/s / 0.7.11"] = medians(turns(
                    place, lambda: rate([ours, "exec", "ours"]), lambda: rate([peer, "exec", *plain, "theirs"])))
        finally:
            subprocess.run([peer, "rm", "-f", "theirs"], env=env, capture_output=True)
    return found
