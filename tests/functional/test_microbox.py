# SPDX-License-Identifier: Apache-2.0
"""microbox as its page and the page about root trees show it: options, exit codes, records."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import tty

import pexpect
import pytest
from conftest import BIN, HOMES, ROOT, processes, until

PAGE = ROOT / "docs/create-root-fs.md"


@pytest.fixture(scope="module")
def tree():
    """The page's first tree, by the page's own commands."""
    blocks = re.findall(r"(?:^    .*\n)+", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [line[4:] for line in blocks[0].splitlines()]
    assert lines[0].startswith("apt-get install") and lines[-1].startswith("microbox ")
    if shutil.which("busybox") is None:
        pytest.fail("busybox is missing: tools/install-packages test", pytrace=False)
    with tempfile.TemporaryDirectory(prefix="msb-box-", dir=HOMES) as folder:
        env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-ec", "\n".join(lines[1:])], cwd=folder, capture_output=True, text=True, env=env, check=True)
        assert done.stdout == "Hello Sandbox!\n"
        yield pathlib.Path(folder) / "busybox"


@pytest.fixture
def box(tree):
    def run(*words, expect=0, fs=tree, **how):
        how.setdefault("stdin", subprocess.DEVNULL)
        flags = [] if fs is None else ["--fs", fs]
        done = subprocess.run([str(word) for word in (BIN / "microbox", *flags, *words)], capture_output=True, text=True,
                              timeout=60, **how)
        assert done.returncode == expect, (words, done.returncode, done.stdout, done.stderr)
        return done
    return run


def record(box, *words, **how):
    """What --status-fd says."""
    with tempfile.TemporaryFile() as file:
        done = box("--status-fd", file.fileno(), *words, pass_fds=[file.fileno()], **how)
        file.seek(0)
        return done, json.loads(file.read())


def cgroups():
    return {str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob("box-*") if path.is_dir()}


def own_cgroups():
    """The directories of a sandbox's cgroup, in each hierarchy."""
    before = cgroups()
    process = subprocess.Popen([BIN / "microbox", "--mount-ro", "/usr:/usr", "--mount-ro", "/bin:/bin", "--mount-ro", "/lib:/lib",
                                "--", "sleep", "1000"], stdin=subprocess.DEVNULL)
    try:
        return until(lambda: [path for path in cgroups() - before if f"box-{process.pid}-" in path], "its cgroup")
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("ending, code", [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137)])
def test_exit_codes(box, ending, code):
    box("--", "sh", "-c", ending, expect=code)


def test_what_cannot_be_run(box, tree):
    assert "command not found" in box("--", "nosuch", expect=127).stderr
    assert "cannot be executed" in box("--", "/bin", expect=126).stderr
    empty = box("--", "/bin/bash", fs=None, expect=127).stderr
    assert "the sandbox's root is empty" in empty and "--fs DIR, or --mount-ro" in empty
    assert "no command" in box(expect=125).stderr


def test_the_seeds_examples(box):
    box("--mount-ro", "/bin:/bin", "--mount-ro", "/lib:/lib", "--", "/bin/ls", fs=None)
    assert box("--hostname", "my-sandbox", "--", "/bin/sh", "-c", "hostname").stdout == "my-sandbox\n"
    assert box("--env", "MY_VAR=hello", "--", "/bin/sh", "-c", "echo $MY_VAR").stdout == "hello\n"
    assert box("--dns", "1.1.1.1", "--dns", "8.8.8.8", "--", "cat", "/etc/resolv.conf").stdout == (
        "nameserver 1.1.1.1\nnameserver 8.8.8.8\n")
    assert "Read-only" in box("--readonly", "--", "touch", "/x", expect=1).stderr
    box("--allow-syscall", "unshare", "--allow-syscall", "setns", "--cap-drop", "CAP_SETPCAP", "--log-level", "info",
        "--log-format", "json", "--cpus", "1", "--storage", "2GB", "--net", "none", "--", "true")


@pytest.fixture
def mappable():
    """A folder of a file system that can map ids, which that of pytest's own need not."""
    with tempfile.TemporaryDirectory(prefix="msb-box-", dir=HOMES) as folder:
        yield pathlib.Path(folder)


def test_binds(box, mappable):
    (mappable / "file").write_text("given", encoding="ascii")
    assert box("--mount-ro", f"{mappable}:/a/b", "--", "cat", "/a/b/file").stdout == "given"
    box("--mount-ro", f"{mappable}:/a", "--", "sh", "-c", "echo x > /a/file", expect=1)
    box("--mount-rw", f"{mappable}:/a", "--", "sh", "-c", "echo new > /a/made")
    made = mappable / "made"
    assert made.read_text(encoding="ascii") == "new\n" and made.stat().st_uid == os.geteuid()
    assert box("--mount-ro", f"{mappable}/file:/etc/one", "--", "cat", "/etc/one").stdout == "given"
    relative = box("--mount-ro", "file:/one", "--", "cat", "/one", cwd=mappable)
    assert relative.stdout == "given"


def test_what_is_written_is_thrown_away(box, tree):
    before = sorted(str(path) for path in tree.rglob("*"))
    box("--", "sh", "-c", "touch /x /bin/y /etc/z /tmp/w; rm /bin/ls; mkdir -p /a/b")
    assert sorted(str(path) for path in tree.rglob("*")) == before


def test_directories_in_memory_and_limits_of_resources(box):
    done = box("--tmpfs", "/data:1M", "--rlimit", "nofile=64", "--", "sh", "-c",
               "ulimit -n; ulimit -c; dd if=/dev/zero of=/data/x bs=1M count=3 2>&1", expect=1)
    assert done.stdout.startswith("64\n0\n") and "No space left" in done.stdout


def test_who_the_command_is(box):
    if os.geteuid() == 0:
        assert box("--user", "1000:1001", "--", "sh", "-c", "id -u; id -g; id -G").stdout == "1000\n1001\n1001\n"
    else:
        assert box("--user", "1000", "--", "sh", "-c", "id -u").stdout == "1000\n"
    assert box("--workdir", "/tmp", "--", "pwd").stdout == "/tmp\n"


def test_kept_descriptors(box):
    with tempfile.TemporaryFile() as file:
        box("--keep-fd", file.fileno(), "--", "sh", "-c", f"echo kept >&{file.fileno()}", pass_fds=[file.fileno()])
        file.seek(0)
        assert file.read() == b"kept\n"


def test_stdin_and_streams(box):
    done = subprocess.run([BIN / "microbox", "--mount-ro", "/usr:/usr", "--mount-ro", "/bin:/bin", "--mount-ro", "/lib:/lib",
                           "--", "/bin/sh", "-c", "cat; echo error >&2"], input=b"x" * 300_000, capture_output=True, check=True)
    assert done.stdout == b"x" * 300_000 and done.stderr.endswith(b"error\n")


def terminal(tree, *words):
    return pexpect.spawn(str(BIN / "microbox"), ["--fs", str(tree), *words], timeout=30, dimensions=(30, 100))


def test_a_terminal_of_its_own(tree):
    shell = terminal(tree, "--env", "PS1=> ", "--", "sh", "-i")
    shell.expect_exact("> ")
    shell.sendline("tty; stty size")
    shell.expect_exact("/dev/pts/0\r\n30 100\r\n")
    shell.setwinsize(41, 123)
    until(lambda: (shell.sendline("stty size"), shell.expect(r"size\r\n(\d+ \d+)"))[1] == 0 and shell.match[1] == b"41 123", "the size")
    # In the background nothing is interrupted: so again until it is in front.
    def sent(key, answer):
        shell.send(key)
        return shell.expect_exact([answer, pexpect.TIMEOUT], timeout=1) == 0
    shell.sendline("sleep 1000")
    until(lambda: sent("\x03", "> "), "the interrupt")
    # Job control, which needs a terminal that the shell controls.
    shell.sendline("sleep 1000 & jobs; fg")
    shell.expect_exact("Running")
    until(lambda: sent("\x1a", "Stopped"), "the stop")
    shell.sendline("bg; exit 5")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 5


@pytest.mark.parametrize("words, typed", [(["sleep", "1000"], b"x" * 100_000), (["yes"], b"")], ids=["paste", "stopped reader"])
def test_a_terminal_that_is_full_delays_no_deadline(tree, words, typed):
    """More is typed than a command takes that reads nothing; nobody takes what a command writes."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)  # Else the line discipline drops what is more than a line.
    process = subprocess.Popen([BIN / "microbox", "--fs", tree, "--timeout", "3s", "--kill-after", "1s", "--", "sh", "-c",
                                "stty raw; exec " + " ".join(words)], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    os.set_blocking(ours, False)
    try:
        end = time.monotonic() + 50
        while process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                typed = typed[os.write(ours, typed):] if typed else typed
            time.sleep(0.01)
        assert process.poll() == 124
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_no_terminal_where_none_is_wanted(box, tree):
    shell = terminal(tree, "--no-tty", "--", "sh", "-c", "tty; echo x > /dev/tty")
    shell.expect_exact("can't create /dev/tty")
    shell.expect(pexpect.EOF)
    assert "no terminals" in box("--tty", "--", "true", expect=125).stderr


def test_the_callers_terminal_is_as_it_was(tree):
    shell = pexpect.spawn("sh", ["-c", f"stty -a; {BIN}/microbox --fs {tree} --timeout 1s --kill-after 1s -- sh -c 'stty raw; sleep 100'; stty -a"],
                          timeout=60)
    shell.expect(pexpect.EOF)
    modes = [line for line in shell.before.decode().splitlines() if line.startswith(("isig", "-isig", "opost", "-opost"))]
    assert len(modes) == 4 and modes[:2] == modes[2:]


def test_what_the_caller_does_at_signals_is_not_inherited(box):
    def ignore():
        for one in (signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR2, signal.SIGPIPE):
            signal.signal(one, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    done = box("--", "sh", "-c", "(exit 3); echo $?; grep -E '^Sig(Ign|Blk):' /proc/self/status", preexec_fn=ignore)
    # A shell ignores SIGQUIT of its own accord.
    assert re.fullmatch(r"3\nSigBlk:\t0+\nSigIgn:\t0+[04]\n", done.stdout), done.stdout


def test_time_is_limited(box):
    began = time.monotonic()
    done, said = record(box, "--timeout", "1s", "--", "sleep", "100", expect=124)
    assert "timeout after 1.0 s" in done.stderr and said["exit"] == {"kind": "timeout", "code": 124, "signal": None}
    record(box, "--timeout", "1s", "--kill-after", "1s", "--", "sh", "-c", "trap '' TERM; while :; do sleep 1; done", expect=124)
    assert time.monotonic() - began < 40


def test_a_signal_that_comes_as_the_sandbox_ends_is_not_our_end(tree):
    process = subprocess.Popen([BIN / "microbox", "--fs", tree, "--", "sh", "-c", "echo up; read x; exit 7"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGSTOP)
    process.stdin.close()
    until(lambda: all(state == "Z" for parent, _, state in processes().values() if parent == process.pid), "the end of the init")
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    assert process.wait(30) == 7


def test_a_reader_who_is_gone_ends_the_command_and_not_us(tree):
    before = cgroups()
    with tempfile.TemporaryFile() as file:
        process = subprocess.Popen([BIN / "microbox", "--fs", tree, "--output-limit", "1G", "--status-fd", str(file.fileno()), "--", "yes"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[file.fileno()])
        assert process.stdout.readline() == b"y\n"
        process.stdout.close()
        assert process.wait(30) == 128 + signal.SIGPIPE
        file.seek(0)
        assert json.loads(file.read())["exit"] == {"kind": "signaled", "code": 141, "signal": 13}
    assert not [name for name in cgroups() - before if f"box-{process.pid}-" in name]


def test_output_is_limited(box):
    done, said = record(box, "--output-limit", "10000B", "--", "sh", "-c", "yes", expect=137)
    assert len(done.stdout) <= 10_000 and said["exit"]["kind"] == "output-limit" and "more output than" in done.stderr
    done, said = record(box, "--output-limit", "10M", "--", "sh", "-c", "yes | head -c 1000000; echo e >&2")
    assert len(done.stdout) == 1_000_000 and done.stderr.endswith("e\n") and said["exit"]["kind"] == "exited"


def test_the_record(box):
    _, said = record(box, "--name", "box", "--", "sh", "-c", "exit 3", expect=3)
    assert said["version"] == 1 and said["name"] == "box" and said["isolation"] == "process"
    assert {"user namespace", "network namespace", "pid namespace", "seccomp", "no_new_privs"} <= set(said["walls"])
    assert said["exit"] == {"kind": "exited", "code": 3, "signal": None} and said["usage"]["duration_ms"] < 30_000
    _, said = record(box, "--", "sh", "-c", "kill -9 $$", expect=137)
    assert said["exit"] == {"kind": "signaled", "code": 137, "signal": 9}
    _, said = record(box, "--", "nosuch", expect=127)
    assert said["exit"]["kind"] == "not-started" and "not found" in said["error"]["message"]


@pytest.mark.parametrize("words", [["--cpus", "1"], ["--cpus", "0", "--memory", "0", "--pids", "0"]], ids=["limited", "no cgroup"])
def test_processor_time_is_told(box, words):
    """Of the whole sandbox, also of what the init had to kill."""
    busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    _, said = record(box, *words, "--timeout", "4s", "--", "sh", "-c", f"({busy}; sleep 1000)", expect=124)
    assert 20_000 < said["usage"]["cpu_us"] < 4_000_000
    _, said = record(box, *words, "--", "true")
    assert 0 < said["usage"]["cpu_us"] < 1_000_000


@pytest.mark.root
def test_memory_is_limited(box):
    done, said = record(box, "--memory", "32M", "--", "sh", "-c", "x=$(cat /dev/zero | tr '\\0' x | head -c 100000000)", expect=137)
    assert "out of memory" in done.stderr and said["exit"]["kind"] == "out-of-memory"
    assert said["usage"]["memory_peak_bytes"] <= 32 << 20
    # It goes on without what was killed, but where version 2 kills them all.
    expect = 137 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 0
    script = "sh -c 'x=$(cat /dev/zero | tr \"\\0\" x | head -c 100000000)'; echo went on"
    done, said = record(box, "--memory", "32M", "--", "sh", "-c", script, expect=expect)
    assert "out of memory" in done.stderr and said["usage"]["oom_kills"] > 0
    assert done.stdout == ("" if expect else "went on\n")


@pytest.mark.root
def test_storage_is_memory(box):
    assert "counts there" not in box("--memory", "256M", "--", "true").stderr
    fill = ["sh", "-c", "cat /dev/zero > /big"]
    done, said = record(box, "--memory", "32M", "--storage", "128M", "--", *fill, expect=137)
    assert "--storage 128 MiB is more than --memory 32 MiB" in done.stderr and said["exit"]["kind"] == "out-of-memory"


@pytest.mark.root
def test_what_a_killed_one_left_goes_and_nobody_waits(box):
    """A cgroup named for a process that is gone: with a member it stays, and so does the member; empty it goes."""
    with subprocess.Popen(["true"]) as gone:
        pass
    made = [pathlib.Path(path).parent / f"box-{gone.pid}-0badcafe" for path in own_cgroups()]
    member = subprocess.Popen(["sleep", "1000"])
    try:
        for folder in made:
            folder.mkdir()
            (folder / "cgroup.procs").write_text(str(member.pid), encoding="ascii")
        began = time.monotonic()
        box("--", "true")
        assert time.monotonic() - began < 4 and member.poll() is None and all(folder.exists() for folder in made)
    finally:
        member.kill()
        member.wait()
    until(lambda: (box("--", "true"), not any(folder.exists() for folder in made))[1], "the end of what was left")


@pytest.mark.root
def test_processes_are_limited(box):
    done = box("--pids", "16", "--", "sh", "-c", "for i in $(seq 30); do sleep 1 & done; wait", expect=2)
    assert "fork" in done.stderr


@pytest.mark.root
def test_what_a_disk_gives_is_limited(box, tree):
    """Three megabytes that are not in the page cache, one a second."""
    with tempfile.NamedTemporaryFile(dir=tree.parent) as file:
        file.write(os.urandom(3 << 20))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        done, said = record(box, "--io-bps", "1M", "--mount-ro", f"{file.name}:/file", "--", "sh", "-c", "cat /file >/dev/null")
    if "io: cgroup" not in said["limits"]:
        assert "not enforced:" in done.stderr
        pytest.skip(done.stderr.strip())
    assert said["usage"]["duration_ms"] >= 1500
    version_1 = "version 1 cgroups limit what is read" in done.stderr
    box("--io-bps", "1M", "--require-limits", "--", "true", expect=125 if version_1 else 0)
    assert "no disk of its own" in box("--io-bps", "1M", "--mount-ro", "/proc/bus:/m", "--", "true").stderr


@pytest.mark.root
def test_a_mount_below_what_is_given_is_no_way_around_the_limit(tree, mappable):
    """What lies on no disk that could be limited is named, wherever in a tree it is mounted."""
    script = 'mkdir "$1/below"; mount -t proc none "$1/below"; shift; exec "$@"'
    done = subprocess.run(["unshare", "--mount", "sh", "-ec", script, "sh", mappable, BIN / "microbox", "--fs", tree, "--io-bps", "1M",
                           "--mount-ro", f"{mappable}:/m", "--", "true"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and f"{mappable}/below lies on no disk of its own" in done.stderr, done.stderr


def test_limits_that_cannot_be_set_are_told(box):
    if os.geteuid() == 0:
        return  # It can set them: test_memory_is_limited.
    assert "not enforced: --memory" in box("--", "true").stderr
    assert "not enforced" in box("--require-limits", "--", "true", expect=125).stderr
    assert box("--memory", "0", "--cpus", "0", "--pids", "0", "--", "true").stderr == ""


@pytest.mark.root
def test_a_file_system_that_cannot_map_ids_is_named(box, tree, tmp_path):
    script = 'mount -t tmpfs none "$1"; cd "$1"; shift; mkdir u w m; mount -t overlay -o lowerdir="$1",upperdir=u,workdir=w none m; shift; "$@"'
    def within(*words):
        return subprocess.run(["unshare", "--mount", "sh", "-ec", script, "sh", tmp_path, tree, *map(str, words)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, check=False)
    root = within(BIN / "microbox", "--fs", "m", "--", "true")
    assert root.returncode == 125 and "cannot map ids" in root.stderr and "--userns host" in root.stderr
    writable = within(BIN / "microbox", "--fs", tree, "--mount-rw", "m:/m", "--", "true")
    assert writable.returncode == 125 and "bind" in writable.stderr and "cannot map ids" in writable.stderr
    readable = within(BIN / "microbox", "--fs", tree, "--mount-ro", "m:/m", "--status-fd", "1", "--", "sh", "-c", "stat -c %u /m >&2; touch /m/x")
    said = json.loads(readable.stdout)
    assert readable.stderr.startswith("65534\n") and "Read-only" in readable.stderr and len(said["unmapped"]) == 1
    host = within(BIN / "microbox", "--fs", "m", "--userns", "host", "--", "true")
    assert host.returncode == 0 and "root inside is root on this host" in host.stderr


def test_no_end_leaves_anything(box, tree):
    before = cgroups()
    for end in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
        process = subprocess.Popen([BIN / "microbox", "--fs", tree, "--", "sh", "-c", "sleep 7654 & sleep 7654 & echo up; wait"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout.readline() == b"up\n"
        process.send_signal(end)
        process.wait(30)
        # End of file: whoever could write to it has ended.
        assert process.stdout.read() == b""
    box("--", "true")  # The next run takes away the cgroup of the one that was killed.
    until(lambda: cgroups() <= before, "the end of the cgroups", 10)


@pytest.mark.root
def test_concurrent_runs_have_ids_of_their_own(tree):
    runs = [subprocess.Popen([BIN / "microbox", "--fs", tree, "--", "sh", "-c", "cat /proc/self/uid_map; read x"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    firsts = {run.stdout.readline().split()[1] for run in runs}
    for run in runs:
        run.communicate("\n", timeout=30)
        assert run.returncode == 0
    assert len(firsts) == 8
