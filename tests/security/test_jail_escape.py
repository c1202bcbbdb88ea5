# SPDX-License-Identifier: Apache-2.0
"""What a program that has taken QEMU over can do in the jail: jail_probe tries, jail_run tells.

Run as root, every test runs twice: as root (host-wide id slot) and as an ordinary user (user
namespace). Binaries come from $MSB_TESTCASES, else build/dev/testcases.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = pathlib.Path(os.environ.get("MSB_TESTCASES", ROOT / "build/dev/testcases"))
NOBODY = 65534
IDENTITIES = ["root", "user"] if os.geteuid() == 0 else ["user"]


@pytest.fixture(scope="module")
def testcases():
    """A copy that an ordinary user can reach, whatever the modes above the checkout are."""
    with tempfile.TemporaryDirectory(prefix="msb-jail-") as top:
        os.chmod(top, 0o755)
        for name in ("jail_run", "jail_probe"):
            shutil.copy(BUILT / name, top)
        yield pathlib.Path(top)


class Jail:
    def __init__(self, testcases, identity):
        self.testcases = testcases
        self.identity = identity

    def prefix(self):
        if os.geteuid() == 0 and self.identity == "user":
            return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return []

    def command(self, *attempts, flags=()):
        return [*self.prefix(), str(self.testcases / "jail_run"), *flags, "--",
                str(self.testcases / "jail_probe"), *attempts]

    def run(self, *attempts, flags=(), **options):
        """The probe's lines as a dict, and jail_run's own answer."""
        done = subprocess.run(self.command(*attempts, flags=flags), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60, **options)
        assert done.returncode == 0, done.stderr
        *lines, answer = done.stdout.splitlines()
        said = {}
        for line in lines:
            name, _, value = line.partition(": " if ": " in line else " ")
            said[name] = value
        return said, json.loads(answer)


@pytest.fixture(params=IDENTITIES)
def jail(request, testcases):
    return Jail(testcases, request.param)


def test_the_host_file_system_is_not_there(jail):
    said, _ = jail.run("paths")
    for path in ("/etc/passwd", "/etc/shadow", "/home", "/root", "/proc", "/proc/self/status",
                 "/sys", "/dev", "/dev/kvm", "/dev/mem", "/run", "/var", "/usr/bin/sudo",
                 "/bin/sh", "/../../../../etc/passwd"):
        assert said[f"open {path}"] == "ENOENT", path


def test_nothing_can_be_written(jail):
    said, _ = jail.run("paths", flags=["--bind", "/etc/hosts:/given"])
    assert said["create"] == "EROFS"
    assert said["write root"] == "EROFS"
    for name in ("write given", "truncate given"):
        assert said[name] in ("EACCES", "EROFS")
    for name in ("mkdir", "unlink", "chmod"):
        assert said[name] == "ENOSYS"


def test_only_its_own_descriptors_are_open(jail):
    with open("/etc/passwd", encoding="ascii") as leaked, \
            open("/etc/hosts", encoding="ascii") as second:
        said, _ = jail.run("descriptors", pass_fds=(leaked.fileno(), second.fileno()))
    assert said["descriptors"] == "0 1 2"


def test_a_passed_descriptor_has_its_number(jail):
    with tempfile.TemporaryFile() as file:
        said, _ = jail.run("descriptors", flags=["--fd", f"{file.fileno()}:7"],
                           pass_fds=(file.fileno(),))
    assert said["descriptors"] == "0 1 2 7"


def test_ids_are_nobody_elses(jail):
    said, answer = jail.run("identity")
    assert said["pid"] == "2" and said["host"] == "test" and said["env"] == "empty"
    assert said["core"] == "0" and said["files"] == "256" and said["groups"] in ("0", "1")
    assert int(said["uid"]) == answer["uid"] != 0
    if jail.identity == "root":
        assert 2_080_374_784 <= answer["uid"] < 2_080_374_784 + 65_536
        assert said["groups"] == "0"


def test_two_jails_of_root_have_two_ids(testcases):
    if os.geteuid() != 0:
        pytest.skip("an ordinary user has one id")
    jail = Jail(testcases, "root")
    holder = subprocess.Popen([str(testcases / "jail_run"), "--", "/bin/sleep", "5"],
                              stdout=subprocess.PIPE, text=True)
    wait_for(lambda: children(holder.pid))
    _, answer = jail.run("identity")
    held, _ = holder.communicate(timeout=20)
    assert json.loads(held)["uid"] != answer["uid"]


DEADLY = ["socket", "unix-socket", "netlink", "kill-all", "kill-init", "fork", "clone-userns",
          "unshare", "setns", "mount", "remount", "open_tree", "pivot_root", "chroot", "ptrace",
          "process_vm", "setuid", "exec-self", "execve", "bpf", "userfaultfd", "keyctl", "perf",
          "handle"]


@pytest.mark.parametrize("attempt", DEADLY)
def test_an_attack_is_death(jail, attempt):
    said, answer = jail.run(attempt)
    assert attempt not in said
    assert (answer["how"], answer["value"]) == ("signaled", signal.SIGSYS)


def test_what_is_refused_without_death(jail):
    said, answer = jail.run("clone3", "io_uring", "raise-limit", "raise-core", "tiocsti",
                            "tgkill-init", "exec-fd",
                            flags=["--bind", "/etc/hosts:/given"])
    assert said["clone3"] == said["io_uring"] == "ENOSYS"
    assert said["raise-limit"] == said["raise-core"] == said["tgkill-init"] == "EPERM"
    assert said["tiocsti"] == "ENOTTY"
    assert said["exec-fd"] == "EACCES"  # Past the filter, stopped by Landlock.
    assert answer["how"] == "exited"


def test_memory_files_cannot_be_made_and_executed(jail):
    said, _ = jail.run("exec-memfd")
    assert said["exec-memfd"] in ("EBADF", "EACCES", "ENOENT")
    said, _ = jail.run("memfd")
    assert said["memfd"] == "ENOSYS"


def test_threads_stop_at_the_pids_limit(jail):
    said, _ = jail.run("threads", flags=["--pids", "20"])
    assert 15 <= int(said["threads"]) <= 20


def test_memory_stops_at_the_address_space_limit(jail):
    said, answer = jail.run("memory", flags=["--memory", str(200 << 20)])
    assert 100 <= int(said["memory"]) <= 200
    assert "memory: RLIMIT_AS" in answer["limits"]


def test_a_crash_dumps_no_core(jail):
    with tempfile.TemporaryDirectory() as here:
        os.chmod(here, 0o777)
        _, answer = jail.run("crash", cwd=here)
        assert os.listdir(here) == []
    assert answer["how"] == "signaled"


def children(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []


def runs(pid):
    """Zombies have ended: when the host's PID 1 reaps them is its own affair."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


def descendants(pid):
    found = []
    for child in children(pid):
        found += [int(child), *descendants(int(child))]
    return found


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_supervisors_death_ends_everything_within_a_second(jail, how):
    holder = subprocess.Popen([*jail.prefix(), str(jail.testcases / "jail_run"), "--hold", "--",
                               "/bin/sleep", "1000"], stdout=subprocess.DEVNULL)
    inside = wait_for(lambda: len(descendants(holder.pid)) == 2 and descendants(holder.pid))
    began = time.monotonic()
    holder.send_signal(how)
    holder.wait()
    wait_for(lambda: not any(runs(pid) for pid in inside), 5)
    assert time.monotonic() - began < 1


def test_killing_the_init_ends_the_program(jail):
    holder = subprocess.Popen([*jail.prefix(), str(jail.testcases / "jail_run"), "--",
                               "/bin/sleep", "1000"], stdout=subprocess.PIPE, text=True)
    init, program = wait_for(lambda: len(descendants(holder.pid)) == 2 and descendants(holder.pid))
    os.kill(init, signal.SIGKILL)
    said, _ = holder.communicate(timeout=10)
    assert json.loads(said)["how"] == "killed"
    assert not runs(program)


def test_the_program_holds_nothing_seen_from_outside(jail):
    """The kernel's own account of the process."""
    holder = subprocess.Popen([*jail.prefix(), str(jail.testcases / "jail_run"), "--",
                               "/bin/sleep", "3"], stdout=subprocess.DEVNULL)
    init, program = wait_for(lambda: len(descendants(holder.pid)) == 2 and descendants(holder.pid))
    wait_for(lambda: pathlib.Path(f"/proc/{program}/comm").read_text() == "sleep\n")
    for pid in (init, program):
        status = dict(line.split(":\t", 1) for line in
                      pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[capabilities], 16) == 0, (pid, capabilities)
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == "2"
    assert status["Groups"].strip() in ("", str(NOBODY))
    if os.geteuid() == 0:
        for namespace in ("mnt", "pid", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{program}/ns/{namespace}") != os.readlink(
                f"/proc/self/ns/{namespace}")
        mounts = pathlib.Path(f"/proc/{program}/mountinfo").read_text().splitlines()
        for mount in mounts:
            options = mount.split()[5].split(",")
            assert {"ro", "nosuid", "nodev"} <= set(options), mount
    holder.wait(timeout=20)


def test_every_refused_step_leaves_nothing(jail):
    def trace():
        """Our own children, and mounts that a jail makes: tmpfs over "/", binds of its files."""
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
        return children(os.getpid()), [line for line in mounts if str(jail.testcases) in line
                                       or line.split()[4] == "/"]

    before = trace()
    refused = 0
    for step in range(40):
        done = subprocess.run(jail.command("identity", flags=["--fail", str(step)]),
                              capture_output=True, text=True, timeout=20)
        if done.returncode == 125:
            refused += 1
            assert "jail test: " in done.stderr
            assert "Operation not permitted" in done.stderr
    assert refused >= 25
    assert trace() == before


def cgroup_directories():
    return sorted(str(path) for top in pathlib.Path("/sys/fs/cgroup").glob("*/microsandbox")
                  for path in top.iterdir() if path.is_dir())


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no cgroup of its own here")
def test_a_cgroup_limits_memory_and_goes_away(testcases):
    if os.path.exists("/run/systemd/system"):
        pytest.skip("systemd owns the cgroup tree of this host")
    jail = Jail(testcases, "root")
    before = cgroup_directories()
    said, answer = jail.run("memory", flags=["--cgroup", "test-memory.jail", "--memory",
                                             str(64 << 20), "--pids", "20"])
    assert "memory" not in said  # Killed on the way.
    assert answer["how"] == "signaled" and answer["value"] == signal.SIGKILL
    assert "memory: cgroup" in answer["limits"]
    said, _ = jail.run("threads", flags=["--cgroup", "test-pids.jail", "--memory",
                                         str(256 << 20), "--pids", "12"])
    assert int(said["threads"]) <= 11
    assert cgroup_directories() == before


def test_an_ordinary_user_is_told_why_there_is_no_cgroup(testcases):
    done = subprocess.run(Jail(testcases, "user").command(
        "identity", flags=["--cgroup", "x", "--memory", "100000000"]),
        capture_output=True, text=True, timeout=20)
    assert done.returncode == 125
    assert "cgroup" in done.stderr and "remedy: " in done.stderr


def test_qemu_starts_in_the_jail_and_ends_by_itself(jail):
    qemu = shutil.which("qemu-system-x86_64")
    assert qemu, "the package qemu-system-x86 is missing"
    done = subprocess.run(
        [*jail.prefix(), str(jail.testcases / "jail_run"), "--memory", str(2 << 30), "--bind", "/usr/share/qemu", "--bind", "/usr/share/seabios", "--", qemu,
         "-L", "/usr/share/qemu", "-M", "microvm,acpi=off", "-accel", "tcg", "-m", "64",
         "-nodefaults", "-no-user-config", "-display", "none", "-serial", "none", "-monitor",
         "stdio", "-sandbox",
         "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
         "-chardev", "socket,id=q,fd=3", "-mon", "chardev=q,mode=readline"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    # No descriptor 3 was passed: QEMU must get as far as finding that out, not die before.
    assert json.loads(done.stdout.splitlines()[-1])["how"] == "exited"
    assert "fd=3" in done.stderr or "file descriptor" in done.stderr, done.stderr
