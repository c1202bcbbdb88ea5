# SPDX-License-Identifier: Apache-2.0
"""System calls that microbox refuses, where they are to be seen: --log-denied, --learn, --profile."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest
from conftest import BIN, processes, until

# The host's Python in an empty root: programs that make the calls they are told to.
PYTHON = [BIN / "microbox", "--mount-ro", "/usr:/usr", "--mount-ro", "/bin:/bin", "--mount-ro", "/lib:/lib"]
# Nothing is said of them before the start, where they cannot be enforced.
NO_LIMITS = ["--memory", "0", "--cpus", "0", "--pids", "0"]
CALLS = """
import ctypes, socket, sys
call = ctypes.CDLL(None, use_errno=True).syscall
def attempt(make):
    try:
        return make() and None
    except OSError as error:
        return error.errno
def raw(*words):
    if call(*map(ctypes.c_long, words)) == -1:
        raise OSError(ctypes.get_errno(), "")
"""


def run(*flags, code, expect=0, **how):
    how.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run([str(word) for word in (*PYTHON, *flags, "--", "/usr/bin/python3", "-Bc", CALLS + code)],
                          capture_output=True, text=True, timeout=60, **how)
    assert done.returncode == expect, (flags, done.returncode, done.stdout, done.stderr)
    return done


def record(*flags, **how):
    with tempfile.TemporaryFile() as file:
        done = run("--status-fd", file.fileno(), *flags, pass_fds=[file.fileno()], **how)
        file.seek(0)
        return done, json.loads(file.read())


REFUSED = """
for _ in range(3):
    print(attempt(lambda: raw(135, 0x8)))
print(attempt(lambda: socket.socket(38, 5)), attempt(lambda: socket.socket(16, 3, 9)))
print(attempt(lambda: raw(56, 0x10000011, 0, 0, 0, 0)), attempt(lambda: raw(1000)), attempt(lambda: raw(435, 0, 0)))
"""
ANSWERS = "1\n1\n1\n97 97\n1 38 38\n"


def test_refused_calls_are_shown_with_what_decided(tmp_path):
    done, said = record("--log-denied", code=REFUSED)
    assert done.stdout == ANSWERS == run(code=REFUSED).stdout
    assert "microbox: refused: socket family=AF_ALG: EAFNOSUPPORT, by python3\n" in done.stderr
    summary = done.stderr.split("microbox: refused system calls:\n")[1].splitlines()
    assert [line.split(None, 2) for line in summary] == [
        ["3", "x", "personality persona=PER_LINUX32: EPERM"], ["1", "x", "socket family=AF_ALG: EAFNOSUPPORT"],
        ["1", "x", "socket family=AF_NETLINK protocol=NETLINK_AUDIT: EAFNOSUPPORT"],
        ["1", "x", "clone flags=CLONE_NEWUSER: EPERM"], ["1", "x", "call 1000: ENOSYS"]]
    assert said["refused"][0] == {"call": "personality", "arguments": "persona=PER_LINUX32", "error": "EPERM", "count": 3,
                                   "learnt": False}
    assert len(said["refused"]) == 5 and said["refused_others"] == 0 and "seccomp" in said["walls"]
    assert record(code="")[1]["refused"] is None
    done, said = record("--log-denied", code="")
    assert "no system call was refused" in done.stderr and said["refused"] == []


def test_refused_calls_as_records():
    done = run(*NO_LIMITS, "--log-denied", "--log-format", "json", code=REFUSED)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    first = next(line for line in lines if line["message"] == "system call refused")
    assert (first["call"], first["arguments"], first["error"], first["by"]) == ("personality", "persona=PER_LINUX32", "EPERM", "python3")
    assert [line["count"] for line in lines if line["message"] == "system calls refused"] == [3, 1, 1, 1, 1]


def test_calls_that_the_user_denies_are_shown_too():
    done = run("--log-denied", "--deny-syscall", "getppid", "--allow-syscall", "personality",
               code="import os; os.getppid(); raw(135, 8)")
    assert "getppid: EPERM" in done.stderr and "personality" not in done.stderr
    refused = run("--log-denied", "--deny-syscall", "sendmsg", code="", expect=125)
    assert "sendmsg is denied, and the start needs it" in refused.stderr
    both = run("--allow-syscall", "bpf", "--deny-syscall", "bpf", code="", expect=125)
    assert "both allowed (--allow-syscall) and denied (--deny-syscall)" in both.stderr
    assert "did you mean ptrace?" in run("--allow-syscall", "ptrce", code="", expect=125).stderr


FLOOD = """
import itertools, threading, time
def flood():
    while True:
        call(ctypes.c_long(135), ctypes.c_long(next(numbers)))
numbers = itertools.count(1000)
print("up", flush=True)
for _ in range(8):
    threading.Thread(target=flood, daemon=True).start()
time.sleep(1000)
"""


def test_a_flood_of_refused_calls_delays_no_signal_and_takes_no_memory():
    began = time.monotonic()
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen([str(word) for word in (*PYTHON, "--log-denied", "--status-fd", file.fileno(), "--", "/usr/bin/python3", "-Bc",
                                                           CALLS + FLOOD)], pass_fds=[file.fileno()], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == b"up\n"
        time.sleep(2)
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        ticks = pathlib.Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        busy = (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK")
        elapsed = time.monotonic() - began
        # Our signals come by the same loop as deadlines and answers do.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        file.seek(0)
        said = json.loads(file.read())
    assert process.returncode == 143
    assert len(said["refused"]) <= 256 and said["refused_others"] > 0
    assert rss < 8 << 10 and busy < 0.8 * elapsed, (rss, busy, elapsed)


def test_a_reader_of_stderr_that_has_stopped_delays_nothing():
    ours, theirs = os.pipe()
    # Full but for less than a page, which is what a pipe takes at once.
    os.set_blocking(theirs, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(theirs, b"x" * 4096)
    os.set_blocking(theirs, True)
    process = subprocess.Popen([str(word) for word in (*PYTHON, *NO_LIMITS, "--log-denied", "--", "/usr/bin/python3", "-Bc",
                                                       CALLS + "attempt(lambda: raw(135, 8)); print('on', flush=True)")],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    try:
        assert process.stdout.readline() == b"on\n"
    finally:
        while os.read(ours, 65536):
            pass
        assert process.wait(30) == 0
        os.close(ours)


FILLS = """
import os, threading
def fill():
    while True:
        os.write(2, b"y" * 4096)
for _ in range(4):
    threading.Thread(target=fill, daemon=True).start()
print("up", flush=True)
for persona in range(1000, 3000):
    call(ctypes.c_long(135), ctypes.c_long(persona))
import time
time.sleep(1000)
"""


def test_whoever_fills_stderr_meanwhile_gains_no_time():
    ours, theirs = os.pipe()
    process = subprocess.Popen([str(word) for word in (*PYTHON, *NO_LIMITS, "--log-denied", "--timeout", "2s", "--kill-after", "1s", "--",
                                                       "/usr/bin/python3", "-Bc", CALLS + FILLS)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    try:
        # A little is read now and then, so that there is room for a moment.
        began = time.monotonic()
        while time.monotonic() - began < 2:
            os.read(ours, 4096)
            time.sleep(0.001)
        # Nobody reads any more: microbox may wait with what it says at the end, not with the end of the sandbox.
        until(lambda: process.pid not in {parent for parent, _, _ in processes().values()}, "the end of the sandbox", 10)
    finally:
        while os.read(ours, 65536):
            pass
        assert process.wait(30) == 124
        os.close(ours)


def test_nothing_waits_for_an_answer_when_microbox_is_killed():
    code = "print('up', flush=True)\nwhile True: call(ctypes.c_long(135), ctypes.c_long(8))"
    process = subprocess.Popen([str(word) for word in (*PYTHON, "--log-denied", "--", "/usr/bin/python3", "-Bc", CALLS + code)],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    # End of file: whoever could write to it has ended.
    assert process.stdout.read() == b""


NEEDS = """
print(attempt(lambda: raw(135, 0x8)), attempt(lambda: raw(135, 0x20000)), attempt(lambda: socket.socket(16, 3, 15).close()))
"""
MORE = """
print(attempt(lambda: raw(135, 0x10)), attempt(lambda: socket.socket(40, 1)), attempt(lambda: raw(101, 0, 0, 0, 0)))
"""


def test_what_is_learnt_is_what_the_same_workload_needs(tmp_path):
    profile = tmp_path / "profile"
    assert run(code=NEEDS).stdout == "1 1 97\n"
    done, said = record("--learn", profile, code=NEEDS)
    assert done.stdout == "None None None\n"
    assert "seccomp is no wall in this run" in done.stderr and "3 kinds of calls learnt, 0 refused" in done.stderr
    assert said["seccomp"] == "learning" and "seccomp" not in said["walls"] and {"user namespace", "pid namespace"} <= set(said["walls"])
    assert [one["learnt"] for one in said["refused"]] == [True, True, True]
    rules = [line.split("#")[0].strip() for line in profile.read_text(encoding="ascii").splitlines()]
    assert [rule for rule in rules if rule] == ["allow personality persona=PER_LINUX32", "allow personality persona=UNAME26",
                                                "allow socket family=AF_NETLINK protocol=NETLINK_KOBJECT_UEVENT"]
    umask = os.umask(0)
    os.umask(umask)
    assert profile.stat().st_mode & 0o777 == 0o644 & ~umask and os.listdir(tmp_path) == ["profile"]
    # The same workload is refused nothing; all else is refused as before.
    done, said = record("--profile", profile, "--log-denied", code=NEEDS)
    assert done.stdout == "None None None\n" and said["refused"] == [] and said["seccomp"] == "enforced"
    assert run("--profile", profile, code=MORE).stdout == run(code=MORE).stdout == "1 97 1\n"


def test_what_other_walls_do_not_hold_is_refused_while_learning_too(tmp_path):
    code = """
print(attempt(lambda: raw(56, 0x10000011, 0, 0, 0, 0)), attempt(lambda: raw(272, 0x10000000)), attempt(lambda: raw(165, 0, 0, 0, 0, 0)),
      attempt(lambda: raw(425, 8, 0)), attempt(lambda: socket.socket(40, 1)), attempt(lambda: raw(250, 0, 0)),
      attempt(lambda: raw(1000)), attempt(lambda: os.getppid()), attempt(lambda: raw(135, 8)))
"""
    profile = tmp_path / "profile"
    done, said = record("--learn", profile, "--deny-syscall", "getppid", code="import os" + code)
    assert done.stdout == "1 1 1 1 97 1 38 None None\n"
    text = profile.read_text(encoding="ascii")
    assert [line for line in text.splitlines() if not line.startswith("#") and line] == ["allow personality persona=PER_LINUX32  # 1 time"]
    for kept in ("clone flags=CLONE_NEWUSER", "unshare", "mount", "io_uring_setup", "socket family=AF_VSOCK", "keyctl", "call 1000", "getppid"):
        assert f"\n# {kept}: 1 time; " in text, text


def test_a_profile_extends_what_it_is_learnt_with(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("allow personality persona=8\ndeny mlock\n", encoding="ascii")
    run("--profile", first, "--learn", second, code=NEEDS)
    rules = [line.split("#")[0].strip() for line in second.read_text(encoding="ascii").splitlines() if not line.startswith("#")]
    assert rules == ["allow personality persona=PER_LINUX32", "deny mlock", "allow personality persona=UNAME26", "allow socket family=AF_NETLINK protocol=NETLINK_KOBJECT_UEVENT"]
    assert run("--profile", second, code=NEEDS + "print(attempt(lambda: raw(149, 0, 0)))").stdout == "None None None\n1\n"


def test_bad_profiles_and_files_are_refused_before_anything_starts(tmp_path):
    profile = tmp_path / "profile"
    for text, said in (("allow personality\nallow ptrce\n", "line 2: unknown system call ptrce"), ("allow socket famly=1", "no argument famly"),
                       ("allow bpf\ndeny bpf", "line 1) and denied"), ("x" * 70000, str(profile))):
        profile.write_text(text, encoding="ascii")
        done, said_of = record("--profile", profile, code="print('ran')", expect=125)
        assert said in done.stderr and "fix:" in done.stderr and str(profile) in done.stderr and done.stdout == ""
        assert said_of["exit"]["kind"] == "not-started"
    profile.write_text("allow socket family=AF_ALG\n", encoding="ascii")
    done = run("--profile", profile, "--deny-syscall", "socket", code="", expect=125)
    assert f"both allowed ({profile} line 1) and denied (--deny-syscall)" in done.stderr
    (tmp_path / "link").symlink_to("nothing")
    for name in ("nosuch/profile", ".", "", "link", "profile/x"):
        done = run("--learn", f"{tmp_path}/{name}" if name else "", code="print('ran')", expect=125)
        assert "--learn" in done.stderr and "fix:" in done.stderr and done.stdout == ""
    assert "--profile" in run("--profile", tmp_path / "nosuch", code="", expect=125).stderr
    assert sorted(os.listdir(tmp_path)) == ["link", "profile"]


def test_a_directory_that_cannot_be_written_to_is_refused():
    done = run("--learn", "/proc/profile", code="print('ran')", expect=125)
    assert "--learn /proc/profile" in done.stderr and done.stdout == ""


def test_a_run_that_is_killed_leaves_no_profile(tmp_path):
    process = subprocess.Popen([str(word) for word in (*PYTHON, "--learn", tmp_path / "profile", "--", "/usr/bin/python3", "-Bc",
                                                       "print('up', flush=True); import time; time.sleep(1000)")],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.communicate(timeout=30)
    assert os.listdir(tmp_path) == []
