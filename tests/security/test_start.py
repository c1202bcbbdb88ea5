# SPDX-License-Identifier: Apache-2.0
"""The start of our static programs (src/startup), which is not the C library's, and that of a sandbox's command."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CASES = pathlib.Path(os.environ.get("MSB_TESTCASES", ROOT / "build/dev/testcases"))
BIN = pathlib.Path(os.environ.get("MSB_BIN", ROOT / "build/dev/bin"))


def started():
    done = subprocess.run([CASES / "start_probe", "one", "two"], env={"PROBE": "here"}, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 3, done
    lines = done.stdout.splitlines()
    said = dict(line.rsplit(" ", 1) for line in lines if " " in line)
    assert lines[-2:] == ["at exit", "destructed"]
    return said


def test_the_start_leaves_nothing_out():
    first, second = started(), started()
    for guard in ("canary", "pointer key"):
        assert first[guard] != second[guard] and int(first[guard], 16) != 0
    assert first["canary"].endswith("00")
    assert {name: first[name] for name in ("constructed", "threads", "errno", "own", "arguments 3", "environment", "secure")} == {
        "constructed": "1", "threads": "1", "errno": "0", "own": "7", "arguments 3": "two", "environment": "here", "secure": "0"}


@pytest.mark.parametrize("program", ["msb", "msb-supervisor", "msb-agent", "msb-vmm", "microbox"])
def test_programs_do_not_ask_the_processor(program):
    """By the C library's: it has that of Intel's caches among its strings' neighbours, in symbols only."""
    path = BIN / program
    text = subprocess.run(["readelf", "-sW", path], capture_output=True, text=True, timeout=60, check=True).stdout
    if ".symtab" not in text:
        pytest.fail(f"{path} has no symbols: this test reads the build's programs")
    assert "__libc_start_main" in text and not re.search("init_cpu_features|intel_check_word", text)


def sandboxed(*words, flags=()):
    read, write = os.pipe()
    with os.fdopen(read) as record:
        done = subprocess.run([BIN / "microbox", "--status-fd", str(write), "--mount-ro", f"{CASES}:/cases", *flags, "--", *words],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, pass_fds=[write])
        os.close(write)
        return done, json.load(record)


@pytest.mark.root
def test_a_command_cannot_make_its_start_look_as_if_it_had_failed():
    for _ in range(20):
        done, record = sandboxed("/cases/init_attack")
        assert (done.returncode, done.stdout) == (0, "EPERM\n"), (done, record)
    # Where it is allowed to, it ends its own sandbox, which has run.
    for _ in range(20):
        done, record = sandboxed("/cases/init_attack", flags=["--allow-syscall", "prlimit64"])
        assert done.stdout in ("done\n", "") and done.returncode in (0, 137), (done, record)
        assert record["exit"]["kind"] in ("exited", "killed"), record


@pytest.mark.root
def test_the_callers_words_are_not_to_be_read_inside():
    busybox = shutil.which("busybox")
    assert busybox, "install busybox-static: tools/install-packages test"
    done, _ = sandboxed("/busybox", "cat", "/proc/1/cmdline", flags=["--env", "TOKEN=hunter2", "--mount-ro", f"{busybox}:/busybox"])
    assert done.returncode == 0 and done.stdout.strip("\0") == "", done
