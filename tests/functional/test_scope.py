# SPDX-License-Identifier: Apache-2.0
"""Sandboxes where systemd runs: each in a transient scope of its own. Root tests both managers, the system's
and an ordinary user's. Collected only where there is systemd: tools/test has a lab with it."""

import contextlib
import json
import os
import pathlib
import pwd
import socket
import subprocess
import tempfile
import uuid

import pytest

from conftest import Msb, make_home, remove_home, until
from test_bad_input import elsewhere
from test_crash import kill, named
from test_limits import members, place

CGROUPS = pathlib.Path("/sys/fs/cgroup")
USER = "microsandbox-test"  # The runner's, made when it is not there.
NOBODY = 65534  # Has no manager.
MEMORY = 128 << 20


class AsUser(Msb):
    """msb as an ordinary user, as `su` leaves him: without the variables of a login."""

    def __init__(self, home, uid):
        super().__init__(home)
        self.uid = uid
        self.prefix = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups"] if uid else []
        self.manager = [*self.prefix, "env", f"XDG_RUNTIME_DIR=/run/user/{uid}"] if uid else []
        self.flag = ["--user"] if uid else []
        self.slice = f"/user.slice/user-{uid}.slice/user@{uid}.service/app.slice" if uid else "/system.slice"

    def argv(self, *words):
        return [*self.prefix, *super().argv(*words)]

    def systemctl(self, *words, **how):
        return subprocess.run([*self.manager, "systemctl", *self.flag, *words], capture_output=True, **how)

    def scope(self, sandbox):
        return CGROUPS / f"{self.slice}/msb-{sandbox['id']}.scope".lstrip("/")


@pytest.fixture(scope="module")
def user():
    """Somebody with a manager."""
    assert os.geteuid() == 0, "run as root"
    if subprocess.run(["id", USER], capture_output=True).returncode != 0:
        subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/bash", USER],
                       check=True)
    uid = pwd.getpwnam(USER).pw_uid
    subprocess.run(["systemctl", "start", f"user@{uid}"], check=True)
    yield uid
    subprocess.run(["systemctl", "stop", f"user@{uid}"], check=True)


@contextlib.contextmanager
def home_of(images, uid):
    home = make_home(images)
    subprocess.run(["chown", "-R", f"{uid}:{uid}", home], check=True)
    msb = AsUser(home, uid)
    yield msb
    remove_home(msb)


@pytest.fixture(params=["root", "user"])
def who(request, images):
    with home_of(images, 0 if request.param == "root" else request.getfixturevalue("user")) as msb:
        yield msb


@pytest.fixture
def no_scope_left(who):
    yield
    until(lambda: not list(CGROUPS.rglob("msb-*.scope")), "the end of every scope", 10)
    units = who.systemctl("list-units", "--all", "--no-legend", "--plain", "msb-*").stdout
    assert units == b""


def read(cgroup, name):
    return (cgroup / name).read_text().strip()


def test_limits_and_places(who, no_scope_left):
    who.run("exe", "-d", "--quiet", "--require-limits", "--cpus", "2", "--memory", "128M", "--name", "box", who.image)
    record = json.loads(who.out("inspect", "box"))
    scope, machine = who.scope(record), who.scope(record) / "machine"
    assert record["cgroups"] == [str(machine)] and record["missing_limits"] == []
    assert record["cgroup_way"] == f"scope of the {'user' if who.uid else 'system'}'s manager"
    assert record["limits"] == ["memory: cgroup", "pids: cgroup, RLIMIT_NPROC", "cpu: cgroup"]
    assert MEMORY < int(read(machine, "memory.max")) < 2 * MEMORY and read(machine, "memory.oom.group") == "1"
    assert read(machine, "pids.max") == "98" and read(machine, "cpu.max") == "250000 100000"
    # Nobody at the top, and nothing of it where it was started from.
    assert members(scope) == [] and members(scope / "supervisor") == [record["supervisor_pid"]]
    machines = named("msb-vmm", "qemu-system-x86")
    assert machines and set(machines) <= set(members(machine))
    caller = place(os.getpid()).strip()
    for pid in [record["supervisor_pid"], *members(machine)]:
        assert not place(pid).startswith(caller)
    who.run("kill", "box")
    who.run("rm", "box")


@pytest.mark.parametrize("who, end", [("root", "exe"), ("user", "stop"), ("user", "rm"), ("root", "kill"),
                                      ("user", "kill")], indirect=["who"])
def test_no_end_leaves_a_scope(who, no_scope_left, end):
    if end == "exe":
        who.exe("true")
        return
    who.run("exe", "-d", "--quiet", "--memory", "128M", "--name", "box", who.image)
    scope = who.scope(who.ps()[0])
    assert scope.is_dir()
    if end == "kill":
        kill(who.ps()[0]["supervisor_pid"])
    else:
        who.run(*(["rm", "-f"] if end == "rm" else [end]), "box")
    until(lambda: not scope.exists(), f"the end of {scope}", 10)
    if end == "kill":
        assert who.ps("-a")[0]["outcome"]["kind"] == "supervisor_died"
        who.run("rm", "box")
    assert "cgroup" not in who.out("gc")


def test_a_detached_sandbox_outlives_the_unit_that_started_it(who, no_scope_left):
    unit = f"starter-{uuid.uuid4().hex[:8]}.service"
    argv = Msb.argv(who, "exe", "-d", "--quiet", "--memory", "128M", "--name", "box", who.image)
    subprocess.run([*who.manager, "systemd-run", *who.flag, "--quiet", f"--unit={unit}",
                    f"--setenv=MICROSANDBOX_HOME={who.home}", "sh", "-c", '"$@" && sleep 1000', "sh", *argv],
                   check=True, capture_output=True)
    until(lambda: [one for one in who.ps() if one["state"] == "running"], "the sandbox")
    assert who.systemctl("is-active", unit).stdout == b"active\n"
    assert who.systemctl("stop", unit).returncode == 0
    assert who.systemctl("is-active", unit).stdout != b"active\n"
    assert who.out("exec", "box", "--", "echo", "alive") == "alive\n"
    who.run("kill", "box")
    who.run("rm", "box")


def test_stopping_the_scope_stops_the_sandbox(who, no_scope_left):
    process = who.start("exe", "--memory", "128M", who.image, "--", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    assert who.systemctl("stop", who.scope(who.ps()[0]).name).returncode == 0
    process.communicate(timeout=60)
    assert process.returncode != 0 and who.ps("-a") == []


def test_doctor_makes_a_scope_and_leaves_none(who, no_scope_left):
    (check,) = [one for one in json.loads(who.out("doctor", "--json"))["checks"] if one["name"] == "cgroup"]
    manager = "user" if who.uid else "system"
    assert check["state"] == "ok" and check["result"] == f"made, version 2, in a scope of the {manager}'s manager"


def limits_note(done):
    (line,) = [line for line in done.stderr.decode().splitlines() if line.startswith("limits not set: ")]
    return line


def run(msb, *words, prefix=()):
    return subprocess.run([*prefix, *msb.argv(*words)], env=msb.env, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=120)


def test_who_has_no_manager_is_told_once_and_served(images):
    with home_of(images, NOBODY) as msb:
        done = run(msb, "exe", "--memory", "128M", msb.image, "--", "true")
        assert done.returncode == 0, done.stderr
        assert "limits not set: memory, cpu and pids, and the caller's cgroup not left: no manager of systemd " \
               f"answers: connect /run/user/{NOBODY}/bus: No such file" in limits_note(done)
        done = run(msb, "exe", "--require-limits", msb.image, "--", "true")
        assert done.returncode == 125 and f"loginctl enable-linger {NOBODY}".encode() in done.stderr
        assert msb.ps("-a") == []


def test_a_manager_without_a_bus_is_asked_itself(images):
    with home_of(images, 0) as msb:
        done = run(msb, "exe", "-d", "--quiet", "--memory", "128M", "--name", "box", msb.image,
                   prefix=elsewhere("mount -t tmpfs none /run/dbus"))
        assert done.returncode == 0, done.stderr
        assert json.loads(msb.out("inspect", "box"))["cgroup_way"] == "scope of the system's manager"


def test_a_manager_that_says_nothing_is_waited_for_ten_seconds(images):
    with home_of(images, 0) as msb, tempfile.TemporaryDirectory() as folder, \
            socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{folder}/system_bus_socket")
        silent.listen()
        done = run(msb, "exe", "-d", "--memory", "128M", "--name", "box", msb.image,
                   prefix=elsewhere(f"mount --bind {folder} /run/dbus"))
        assert done.returncode == 0, done.stderr
        assert "has not made msb-" in limits_note(done) and "in time" in limits_note(done)
        record = json.loads(msb.out("inspect", "box"))
        assert record["cgroup_way"] == "none" and record["cgroups"] == []
        steps = {step["step"]: step["at_us"] for step in record["start"]}
        assert 9_500_000 < steps["cgroup"] - steps["spec"] < 30_000_000
