# SPDX-License-Identifier: Apache-2.0
"""Where a sandbox's processes are accounted, what limits them there, and what is said where the host does not let
us set a limit."""

import json
import os
import pathlib
import signal
import subprocess
import uuid

import pytest

from conftest import ISOLATION, Msb, cgroups, until
from test_bad_input import elsewhere, refused
from test_crash import MACHINES, kill, named, nothing_runs


def hierarchies():
    """Where cgroup file systems with memory, cpu or pids are mounted: several of version 1, or version 2."""
    found = []
    for line in open("/proc/self/mountinfo"):
        before, after = line.split(" - ")
        kind, _, options = after.split()
        mount = pathlib.Path(before.split()[4])
        if kind == "cgroup" and {"memory", "cpu", "cpuacct", "pids"} & set(options.split(",")):
            found.append(mount)
        if kind == "cgroup2" and "memory" in (mount / "cgroup.controllers").read_text().split():
            found.append(mount)
    return found


def remove(cgroup):
    """Depth first, as cgroups go."""
    if cgroup.is_dir():
        for below in [path for path in cgroup.iterdir() if path.is_dir()]:
            remove(below)
        cgroup.rmdir()


def members(cgroup):
    return [int(pid) for pid in (pathlib.Path(cgroup) / "cgroup.procs").read_text().split()]


def make():
    """A cgroup as an administrator makes one for somebody: its directories."""
    name = f"msb-test-{uuid.uuid4().hex[:8]}"
    made = []
    for mount in hierarchies():
        control = mount / "cgroup.subtree_control"
        if control.exists():
            control.write_text("+memory +cpu +pids")
        (mount / name).mkdir()
        made.append(mount / name)
    return made


@pytest.fixture
def given():
    if os.path.isdir("/run/systemd/system"):
        pytest.skip("systemd owns the cgroup tree: the lab has one without")
    made = make()
    yield made
    for cgroup in made:
        until(lambda: not (cgroup / "microsandbox").is_dir() or
              not any(members(path) for path in (cgroup / "microsandbox").iterdir() if path.is_dir()),
              f"the end of what is in {cgroup}", 10)
        remove(cgroup)


def below(given):
    """Sandboxes' cgroups that are there; the supervisors' stays."""
    return [path for cgroup in given if (cgroup / "microsandbox").is_dir()
            for path in (cgroup / "microsandbox").iterdir() if path.is_dir() and path.name != "supervisors"]


def place(pid):
    return pathlib.Path(f"/proc/{pid}/cgroup").read_text()


@pytest.mark.root
def test_a_sandbox_lives_in_the_cgroup_that_it_was_given(msb, no_trace, given):
    msb.run("exe", "-d", "--quiet", "--require-limits", "--cgroup", given[0], "--memory", "128M", "--name", "box",
            msb.image)
    (record,) = msb.ps()
    assert record["spec"]["cgroup"] == str(given[0]) and record["missing_limits"] == []
    assert sorted(pathlib.Path(path).parent.parent for path in record["cgroups"]) == sorted(given)
    assert below(given)
    name = given[0].name
    machine = members(record["cgroups"][0])
    running = named(*MACHINES)
    assert running and set(running) <= set(machine) and record["supervisor_pid"] not in machine
    supervisor = place(record["supervisor_pid"])
    assert supervisor.count(f"/{name}/microsandbox/supervisors\n") == len(given)
    msb.run("kill", "box")
    msb.run("rm", "box")
    assert not below(given)


@pytest.mark.root
def test_ending_the_machines_cgroup_leaves_the_supervisor_to_tell(msb, no_trace, given):
    process = msb.start("exe", "--quiet", "--cgroup", given[0], "--memory", "128M", msb.image, "--", "sh", "-c",
                        "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    (record,) = msb.ps()
    for pid in members(record["cgroups"][0]):
        kill(pid)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 120 and b"killed" in err, err
    assert not below(given)


@pytest.mark.root
@pytest.mark.parametrize("words", [["gc"], ["ps", "-a"]])
def test_the_cgroup_of_a_dead_supervisor_is_found_by_its_record(msb, no_trace, given, words):
    process = msb.start("exe", "--cgroup", given[0], "--memory", "128M", msb.image, "--", "sh", "-c",
                        "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    kill(msb.ps()[0]["supervisor_pid"])
    process.communicate(timeout=60)
    until(nothing_runs, "the end of the machine", 10)
    assert below(given)
    msb.run(*words)
    assert not below(given)


@pytest.mark.root
def test_rm_removes_the_cgroup_of_a_dead_detached_sandbox(msb, no_trace, given):
    msb.run("exe", "-d", "--quiet", "--cgroup", given[0], "--memory", "128M", "--name", "box", msb.image)
    kill(msb.ps()[0]["supervisor_pid"])
    until(nothing_runs, "the end of the machine", 10)
    # A start and a listing leave it to its user.
    (record,) = msb.ps("-a")
    assert record["outcome"]["kind"] == "supervisor_died" and below(given)
    msb.run("rm", "box")
    assert not below(given)


@pytest.mark.root
def test_a_sandbox_does_not_stay_in_its_callers_cgroup(msb, no_trace, given):
    caller = given[0]
    script = f'echo $$ > {caller}/cgroup.procs; exec "$@"'
    done = subprocess.run(["sh", "-c", script, "sh", *msb.argv("exe", "-d", "--quiet", "--memory", "128M", "--name",
                                                               "box", msb.image)],
                          env=msb.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert members(caller) == []
    (record,) = msb.ps()
    assert cgroups(msb.home) == set(record["cgroups"])
    assert caller.name not in place(record["supervisor_pid"])
    for pid in named(*MACHINES):
        assert caller.name not in place(pid)
    msb.run("kill", "box")
    msb.run("rm", "box")


@pytest.mark.parametrize("cgroup, said", [("/tmp", "/tmp is not a cgroup"), ("mine", "not an absolute path"),
                                          ("/sys/fs/cgroup/there/is/none", "No such file or directory"),
                                          ("/etc/passwd", "Not a directory")])
def test_what_is_no_cgroup_is_refused(msb, no_trace, cgroup, said):
    message = refused(msb, "exe", "--cgroup", cgroup, msb.image, "--", "true")
    assert "--cgroup " + cgroup in message and said in message


@pytest.mark.root
def test_a_cgroup_that_cannot_be_written_is_refused(msb, no_trace, given):
    script = f"mount --bind {given[0]} {given[0]}; mount -o remount,bind,ro {given[0]}"
    message = refused(msb, "exe", "--cgroup", given[0], msb.image, "--", "true", prefix=elsewhere(script))
    assert "Read-only file system" in message
    assert not (given[0] / "microsandbox").exists()


def without_cgroups():
    """A prefix under which no cgroup can be made: nothing for ordinary users, who may make none anyway."""
    return elsewhere("mount -t tmpfs none /sys/fs/cgroup") if os.geteuid() == 0 else []


def test_limits_that_cannot_be_set_are_named_in_one_line_and_in_the_record(msb, no_trace):
    argv = msb.argv("exe", "-d", "--memory", "128M", "--name", "box", msb.image)
    done = subprocess.run([*without_cgroups(), *argv], env=msb.env, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("isolation ")]
    assert len(lines) == 1 and lines[0].startswith("limits not set: memory, cpu and pids"), lines
    record = json.loads(msb.out("inspect", "box"))
    assert lines[0] == f"limits not set: {'; '.join(record['missing_limits'])} (msb inspect box)"
    # Programs reserve more address space than they use: QEMU's is known, anybody's is not.
    instead = "memory: RLIMIT_DATA" if ISOLATION == "process" else "memory: RLIMIT_AS"
    assert instead in record["limits"] and "cpu: none" in record["limits"]
    msb.run("kill", "box")
    msb.run("rm", "box")


def test_an_attached_run_names_them_too_and_quiet_does_not(msb, no_trace):
    for words, count in ([], 1), (["--quiet"], 0):
        done = subprocess.run([*without_cgroups(), *msb.argv("exe", *words, "--memory", "128M", msb.image, "--",
                                                             "true")],
                              env=msb.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        assert done.returncode == 0 and done.stderr.count(b"limits not set: ") == count, done.stderr


def test_require_limits_refuses(msb, no_trace):
    message = refused(msb, "exe", "--require-limits", msb.image, "--", "true", prefix=without_cgroups())
    assert "--require-limits: memory, cpu and pids" in message


def test_a_dead_throw_away_is_gone_at_the_next_start(msb, no_trace):
    process = msb.start("exe", "--memory", "128M", "--name", "job", msb.image, "--", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    dead = msb.ps()[0]
    process.send_signal(signal.SIGSTOP)
    kill(dead["supervisor_pid"])
    until(lambda: not named(*MACHINES), "the end of the machine", 10)
    assert (msb.home / "sandboxes" / dead["id"]).is_dir()
    msb.run("exe", "--memory", "128M", msb.image, "--", "true")
    assert not (msb.home / "sandboxes" / dead["id"]).exists()
    process.kill()
    process.communicate()


# File systems for a home, as scripts for elsewhere().
IN_MEMORY = {
    "tmpfs": "mount -t tmpfs none {home}; cp -a {images}/. {home}",
    "an overlay above tmpfs": "mount -t tmpfs none {home}; mkdir {home}/upper {home}/work {home}/home; "
                              "mount -t overlay none {home}/home "
                              "-o lowerdir={images},upperdir={home}/upper,workdir={home}/work",
}


@pytest.mark.root
@pytest.mark.parametrize("kind", IN_MEMORY)
def test_a_disk_that_lies_in_memory_can_be_filled(images, tmp_path, kind):
    """What the machine writes there is charged to its cgroup, and cannot be given back before its end."""
    home = tmp_path / "home"
    home.mkdir()
    inside = home / "home" if kind.startswith("an overlay") else home
    msb = Msb(inside)
    prefix = elsewhere(IN_MEMORY[kind].format(home=home, images=images))
    done = subprocess.run([*prefix, *msb.argv("exe", "--quiet", "--memory", "64M", "--storage", "512M", msb.image, "--",
                                              "dd", "if=/dev/zero", "of=/fill", "bs=1M", "count=300")],
                          env=msb.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert done.returncode == 0 and b"300+0 records out" in done.stderr, done.stderr
