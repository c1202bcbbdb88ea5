# SPDX-License-Identifier: Apache-2.0
"""A host that stays as it was: races, exhaustion, kills at any moment, files with powers of their own."""

import ctypes
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time

import pytest
from boxes import NOBODY, Box

KILLS = int(os.environ.get("MSB_CRASH_ROUNDS", "30"))
# On a machine that does nothing else, a second; tests share theirs.
GONE_WITHIN = float(os.environ.get("MSB_GONE_WITHIN", "5"))
RACES = int(os.environ.get("MSB_RACE_ROUNDS", "60"))
XATTR_CAPS = "security.capability"


def until(condition, what, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def processes_of(word):
    """Processes of the host whose command line has `word`."""
    found = set()
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.add(int(folder.name))
    return found


def sysctls():
    """Values that set-up of namespaces, networks and limits could have changed."""
    names = ["kernel/hostname", "kernel/core_pattern", "vm/swappiness", "net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding",
             "net/ipv6/conf/all/forwarding", "user/max_user_namespaces", "kernel/pid_max", "fs/file-max"]
    values = {}
    for name in names:
        path = pathlib.Path("/proc/sys") / name
        values[name] = path.read_text(encoding="ascii") if path.exists() else None
    return values


def host():
    """What no sandbox may change: mounts, links of the network, sysctls, cgroups of boxes."""
    mounts = [line.split(" ", 2)[2] for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    cgroups = sorted(str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob("box-*"))
    return {"mounts": mounts, "links": sorted(os.listdir("/sys/class/net")), "sysctls": sysctls(), "cgroups": cgroups}


@pytest.fixture(scope="module", autouse=True)
def unchanged(program, tree):
    Box(program, "root" if os.geteuid() == 0 else "user", tree).run("--", "true")
    before = host()
    yield
    # Cgroups of killed ones go with the next run.
    Box(program, "root" if os.geteuid() == 0 else "user", tree).run("--", "true")
    after = host()
    # What others on this machine run beside us has cgroups of its own.
    after["cgroups"] = [name for name in after["cgroups"] if name in before["cgroups"]]
    before["cgroups"] = after["cgroups"]
    assert before == after


def owned_by(box, *paths):
    if box.prefix:
        subprocess.run(["chown", "-Rh", f"{NOBODY}:{NOBODY}", *paths], check=True)


def test_places_swapped_while_they_are_mounted(place, box):
    """Another process makes a directory a link and back while sandboxes start: what is written into a bind below
    it never lands behind the link."""
    top = pathlib.Path(tempfile.mkdtemp(dir=place))
    os.chmod(top, 0o755)
    victim, folder, given = top / "victim", top / "tree", top / "given"
    for path in (victim / "b", folder / "one/b", folder / "usr", given):
        path.mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        os.symlink(f"usr/{name}", folder / name)
    os.symlink("one", folder / "a")
    owned_by(box, top)
    stop = threading.Event()

    def swap():
        targets = ["one", str(victim)]
        while not stop.is_set():
            targets.reverse()
            os.symlink(targets[0], folder / "new")
            os.rename(folder / "new", folder / "a")

    thread = threading.Thread(target=swap)
    thread.start()
    codes = set()
    try:
        for _ in range(RACES):
            codes.add(box.run("--mount-ro", "/usr:/usr", "--mount-rw", f"{given}:/a/b/new", "--", "/bin/sh", "-c",
                              "echo x > /a/b/new/made", fs=folder, expect=None).returncode)
    finally:
        stop.set()
        thread.join()
    assert 0 in codes and codes <= {0, 1, 2, 125}
    assert os.listdir(victim) == ["b"] and os.listdir(victim / "b") == []
    assert set(os.listdir(given)) <= {"made"}
    shutil.rmtree(top)


@pytest.mark.root
def test_capabilities_of_a_file_give_nothing(program, tree, place):
    folder = pathlib.Path(tempfile.mkdtemp(dir=place))
    os.chmod(folder, 0o755)
    copy = folder / "python"
    shutil.copy(next((tree / "usr/bin").glob("python3.[0-9]*")), copy)
    # VFS_CAP_REVISION_2 with the effective bit: all that there are.
    os.setxattr(copy, XATTR_CAPS, struct.pack("<5I", 0x02000001, 0xffffffff, 0, 0x1ff, 0))
    os.chmod(copy, 0o4755)
    words = ["--user", "1000:1000", "--mount-ro", f"{copy}:/python", "--", "/python", "-c",
             "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapPrm'))], "
             "__import__('os').geteuid())"]
    for users in ([], ["--userns", "host"]):
        done = Box(program, "root", tree).run(*users, *words)
        assert done.stdout == "['0000000000000000', '0000000000000000'] 1000\n"
    shutil.rmtree(folder)


def test_our_own_program_cannot_be_overwritten(box):
    digest = hashlib.sha256(box.program.read_bytes()).hexdigest()
    done = box.run("--", "python3", "-c", """
import os
for path in ("/proc/1/exe", "/proc/self/exe"):
    for flags in (os.O_WRONLY, os.O_RDWR | os.O_TRUNC):
        try:
            os.open(path, flags)
            print(path, "opened")
        except OSError as error:
            print(error.errno)
""")
    # Of PID 1 there is nothing to be seen; a program that runs, or is another's, is not written.
    answers = done.stdout.split()
    assert answers[:2] == ["13", "13"] and len(answers) == 4 and set(answers[2:]) <= {"13", "26", "30"}, done.stdout
    assert hashlib.sha256(box.program.read_bytes()).hexdigest() == digest


def test_files_have_an_end_where_bytes_have_none(box):
    done = box.run("--tmpfs", "/many:1M", "--", "python3", "-c", """
import errno, os
count = 0
try:
    while True:
        os.close(os.open(f"/many/{count}", os.O_CREAT))
        count += 1
except OSError as error:
    print(errno.errorcode[error.errno], count)
""")
    code, count = done.stdout.split()
    assert code == "ENOSPC" and int(count) <= 100_000


def test_a_flood_without_a_reader_ends_in_time(box):
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb") as sink:
        began = time.monotonic()
        done = subprocess.run(box.command("--timeout", "1s", "--kill-after", "1s", "--", "sh", "-c", "trap '' TERM; yes"),
                              stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.DEVNULL, timeout=60)
        assert done.returncode in (124, 137) and time.monotonic() - began < 30


def test_secrets_of_the_environment_are_not_logged(box):
    done = box.run("--log-level", "debug", "--env", "TOKEN=hunter2", "--", "sh", "-c", "test $TOKEN = hunter2")
    assert "hunter2" not in done.stderr + done.stdout
    refused = box.run("--env", "TOKEN", "--", "true", expect=125)
    refused_too = box.run("--log-level", "debug", "--env", "=hunter2", "--", "true", expect=125)
    assert "hunter2" not in refused.stderr + refused_too.stderr


def test_the_callers_keys_are_not_inside(box):
    """With keyctl allowed: another wall than seccomp."""
    libc = ctypes.CDLL(None, use_errno=True)
    join = libc.syscall(250, 1, None)
    assert join != -1, os.strerror(ctypes.get_errno())
    assert libc.syscall(248, b"user", b"msb-test-key", b"secret", 6, -3) != -1
    done = box.run("--allow-syscall", "keyctl", "--", "python3", "-c", """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(250, 10, -3, b"user", b"msb-test-key", 0), ctypes.get_errno())
""")
    # KEYCTL_SEARCH in the session's keyring: ENOKEY.
    assert done.stdout == "-1 126\n"


def test_where_it_is_in_the_hosts_trees_is_not_told(box):
    done = box.run("--", "sh", "-c", "cat /proc/self/cgroup; cat /etc/hosts; cat /proc/self/mountinfo")
    for line in done.stdout.splitlines():
        if line[:1].isdigit() and line.count(":") == 2:
            assert line.endswith(":/") or not line.split(":")[1], line
    assert "microsandbox" not in done.stdout and str(box.program.parent) not in done.stdout.replace(str(box.tree), "")


def test_killed_at_any_moment_nothing_stays(box):
    """Any process of a sandbox, at any moment: within a second all of it is gone."""
    choice = random.Random(4711)
    for number in range(KILLS):
        marker = f"7{os.getpid()}{number}"
        process = subprocess.Popen(box.command("--", "sh", "-c", f"sleep {marker} & sleep {marker}; true"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(choice.random() * 0.03)
        tasks = sorted(processes_of(marker) | {process.pid})
        victim = choice.choice(tasks)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if victim != process.pid:
            # It may have been one of two that the command waits for: the rest goes with the supervisor.
            process.kill()
        until(lambda: not processes_of(marker), f"the end of all after a kill in round {number}", GONE_WITHIN)  # noqa: B023
        process.wait(10)


def test_the_record_of_a_killed_command(box):
    with tempfile.TemporaryFile() as file:
        done = box.run("--status-fd", file.fileno(), "--", "sh", "-c", "kill -9 $$", expect=137, pass_fds=[file.fileno()])
        file.seek(0)
        said = json.loads(file.read())["exit"]
    assert (said["kind"], said["signal"]) == ("signaled", 9), done.stderr
