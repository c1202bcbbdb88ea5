# SPDX-License-Identifier: Apache-2.0
"""What the tests of the KVM lab share: one lab that they all run commands in, and tools/lab itself."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from waiting import TIMEOUT, until  # noqa: E402,F401

LAB = ROOT / "tools/lab"
NAME = f"tests-{os.getpid()}"
KERNEL = os.environ.get("MSB_LAB_KERNEL", "6.12")


def tools_lab(*arguments, **how):
    how = {"capture_output": True, "timeout": TIMEOUT, "stdin": subprocess.DEVNULL, **how}
    if "input" in how:
        del how["stdin"]
    return subprocess.run([LAB, *map(str, arguments)], **how)


def descendants_of(pid):
    """pid -> command line of what lives below a process, QEMU and virtiofsd of its lab among it."""
    parents = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat[stat.rindex(")") + 2:].split()[1])
        except OSError:
            continue
    below, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return below - {pid}


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="session")
def lab():
    """Runs a command in the lab that all tests share."""
    started = tools_lab("start", "--name", NAME, "--kernel", KERNEL)
    assert started.returncode == 0, started.stderr.decode()

    def run(*arguments, **how):
        return tools_lab("run", "--name", NAME, *arguments, **how)

    yield run
    assert tools_lab("stop", "--name", NAME).returncode == 0


@pytest.fixture
def lab_command(lab):
    """The words that run a command in the shared lab, for tests that need the process itself."""
    return [str(LAB), "run", "--name", NAME]
