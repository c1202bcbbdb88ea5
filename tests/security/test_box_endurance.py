# SPDX-License-Identifier: Apache-2.0
"""Many runs, several at once: each ends by itself, and nothing is left. tools/soak boxes runs the full counts."""

import collections
import concurrent.futures
import os
import pathlib
import subprocess
import time

import pytest
from boxes import Box

RUNS = int(os.environ.get("MSB_BOX_RUNS", "60"))
AT_ONCE = int(os.environ.get("MSB_BOX_AT_ONCE", "6"))
# A run takes milliseconds; on a machine that does much else, a second or two.
HANGS_AFTER = 20


def text_of(path):
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return f"({error.strerror})"


def tree_of(top):
    """`top` and all below it."""
    children = collections.defaultdict(list)
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        fields = text_of(stat).rpartition(")")[2].split()
        if len(fields) > 1:
            children[int(fields[1])].append(int(stat.parent.name))
    found = [top]
    for pid in found:
        found += children[pid]
    return found


def why_it_hangs(top):
    """Where each process of a run is: its state, what it waits in, its signals and its descriptors."""
    told = []
    for pid in tree_of(top):
        folder = pathlib.Path("/proc") / str(pid)
        told.append(f"--- {pid} {text_of(folder / 'cmdline')[:200]!r}")
        told += [line for line in text_of(folder / "status").splitlines()
                 if line.startswith(("Name", "State", "PPid", "NSpid", "TracerPid", "Threads", "Sig", "Shd", "Seccomp:", "voluntary"))]
        told += [f"{name}: {text_of(folder / name)}" for name in ("wchan", "syscall", "stack", "cgroup")]
        try:
            told += [f"fd {fd.name} -> {os.readlink(fd)}" for fd in (folder / "fd").iterdir()]
        except OSError as error:
            told.append(f"fd: {error.strerror}")
    return "\n".join(told)


def one_run(command):
    """(seconds, what went wrong or None)."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=HANGS_AFTER)
    except subprocess.TimeoutExpired:
        told = why_it_hangs(process.pid)
        process.kill()
        process.communicate()
        return time.monotonic() - began, f"hangs:\n{told}"
    said = [line for line in err.decode().splitlines() if not line.startswith("microbox: not enforced: ")]
    wrong = None if (process.returncode, out, said) == (0, b"", []) else f"exit {process.returncode}: {out!r} {err!r}"
    return time.monotonic() - began, wrong


def what_is_left(program):
    """What no run may leave: processes of the program, mounts, links, cgroups."""
    processes = {exe.parent.name for exe in pathlib.Path("/proc").glob("[0-9]*/exe") if os.path.realpath(exe) == str(program)}
    mounts = [line.split(" ", 2)[2] for line in text_of(pathlib.Path("/proc/self/mountinfo")).splitlines()]
    cgroups = {str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob("box-*") if path.is_dir()}
    return {"processes": processes, "mounts": mounts, "links": sorted(os.listdir("/sys/class/net")), "cgroups": cgroups}


def test_many_runs_end_by_themselves_and_leave_nothing(box):
    one_run(box.command("--", "true"))  # Takes away what killed ones of other tests have left.
    before = what_is_left(box.program)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda _: one_run(box.command("--", "true")), range(RUNS)))
    times = sorted(seconds for seconds, _ in results)
    wrong = [why for _, why in results if why]
    print(f"\n{box.identity}: {RUNS} runs of true, {AT_ONCE} at once: {len(wrong)} failed, median {times[RUNS // 2]:.3f} s, "
          f"p99 {times[RUNS * 99 // 100]:.3f} s, max {times[-1]:.3f} s")
    assert not wrong, (len(wrong), *wrong[:3])
    after = what_is_left(box.program)
    # What others on this machine run meanwhile has cgroups of its own.
    after["cgroups"] = {name for name in after["cgroups"] - before["cgroups"] if is_ours(name)}
    before["cgroups"] = set()
    assert after == before


def is_ours(cgroup):
    """Named for a process that is gone: whoever runs has the right to one."""
    return not pathlib.Path("/proc", cgroup.rpartition("/")[2].split("-")[1]).exists()
