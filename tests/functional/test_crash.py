# SPDX-License-Identifier: Apache-2.0
"""kill -9 of each process of a sandbox at different moments: what is left ends or tells within a second,
ps says the truth, gc finds the rest."""

import contextlib
import os
import pathlib
import random
import signal
import socket
import time

import pytest

from conftest import cgroups, descendants, files, mounts, until

# How long the rest may take to end; generous for a loaded host, where the design gives one second.
SOON = 10
ROUNDS = int(os.environ.get("MSB_CRASH_ROUNDS", "10"))


# The program that is the machine, on each isolation.
MACHINES = ("qemu-system", "msb-vmm", "msb-agent")


def named(*prefixes):
    """Living descendants by the beginning of their names (15 characters are kept by the kernel)."""
    return [pid for pid, name in descendants().items() if name.startswith(prefixes)]


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def nothing_runs():
    """Reaps what fell to us as subreaper, then looks."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    return not named("msb-supervisor") and not named(*MACHINES)


@pytest.fixture
def clean(msb):
    msb.run("doctor", expect=None)
    before = (mounts(), cgroups(msb.home), files(msb.home))
    yield
    until(nothing_runs, f"the end of {descendants()}", SOON)
    for sandbox in msb.ps("-a"):
        msb.run("rm", "-f", sandbox["id"], expect=None)
    msb.run("gc")
    assert mounts() == before[0]
    assert cgroups(msb.home) <= before[1]
    assert files(msb.home) == before[2]
    assert msb.out("gc") == ""


def start(msb):
    return msb.start("exe", "--memory", "128M", msb.image, "--", "sh", "-c", "echo up; sleep 1000")


def running(msb):
    process = start(msb)
    assert process.stdout.readline() == b"up\n"
    return process


def test_killing_msb_ends_its_sandbox(msb, clean):
    process = running(msb)
    process.kill()
    process.wait()
    until(nothing_runs, "the end of the sandbox", SOON)
    assert msb.ps("-a") == []


def test_killing_the_machine_is_reported_with_its_signal(msb, clean):
    process = running(msb)
    kill(named(*MACHINES)[0])
    _, err = process.communicate(timeout=60)
    assert process.returncode == 120, err
    assert b"signal 9" in err, err


def test_killing_the_supervisor_ends_machine_and_msb(msb, clean):
    process = running(msb)
    # By the record: the jail's init, a child of the supervisor, has its name too.
    kill(msb.ps()[0]["supervisor_pid"])
    _, err = process.communicate(timeout=60)
    assert process.returncode == 120, err
    assert b"supervisor" in err, err
    until(nothing_runs, "the end of the machine", SOON)


def test_a_killed_detached_supervisor_is_told_and_its_name_kept(msb, clean):
    msb.detached(name="web")
    kill(msb.ps()[0]["supervisor_pid"])
    until(nothing_runs, "the end of the machine", SOON)
    (dead,) = msb.ps("-a")
    assert dead["state"] == "ended" and dead["outcome"]["kind"] == "supervisor_died"
    msb.run("gc")
    assert [sandbox["name"] for sandbox in msb.ps("-a")] == ["web"]
    msb.run("rm", "web")


def test_a_supervisor_that_hangs_is_killed(msb, clean):
    msb.detached(name="web")
    os.kill(msb.ps()[0]["supervisor_pid"], signal.SIGSTOP)
    assert b"killed; msb gc" in msb.run("kill", "web").stderr
    until(nothing_runs, "the end of the machine", SOON)
    assert msb.ps("-a")[0]["outcome"]["kind"] == "supervisor_died"


def test_without_room_for_us_nothing_is_said_to_have_ended(msb, clean):
    """As many connections as it takes, which others hold."""
    msb.detached(name="web")
    folder = os.open(msb.home / "sandboxes" / msb.ps()[0]["id"], os.O_PATH)
    with contextlib.ExitStack() as others:
        others.callback(os.close, folder)
        for _ in range(130):
            one = others.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(f"/proc/self/fd/{folder}/control.sock")
        for words in (["exec", "web", "--", "true"], ["stop", "web"]):
            done = msb.run(*words, expect=None)
            assert done.returncode in (1, 125) and b"connections, as many as it takes" in done.stderr, words
        assert msb.ps()[0]["state"] == "running"
        assert b"killed; msb gc" in msb.run("kill", "web").stderr
    until(nothing_runs, "the end of the machine", SOON)


@pytest.mark.parametrize("victim", ["msb", "msb-supervisor", "machine"])
def test_kill_at_any_moment_of_a_start(msb, clean, victim):
    """The moment is drawn from the whole of a start and a bit of the life after it."""
    dice = random.Random(victim)
    for _ in range(ROUNDS):
        process = start(msb)
        time.sleep(dice.choice([0.005, 0.02, 0.05, 0.1, 0.3]) + dice.random() * 1.5)
        pids = [process.pid] if victim == "msb" else named(*(MACHINES if victim == "machine" else [victim]))
        for pid in pids:
            kill(pid)
        if not pids:  # Too early: it was not there yet.
            process.kill()
        process.communicate(timeout=60)
        until(nothing_runs, f"the end after the death of {victim}", SOON)
        assert all(sandbox["state"] == "ended" for sandbox in msb.ps("-a"))


def test_other_sandboxes_live_on(msb, clean):
    msb.detached(name="bystander")
    process = running(msb)
    assert len(named(*MACHINES)) == 2
    (attached,) = [box for box in msb.ps() if box["name"] != "bystander"]
    kill(attached["supervisor_pid"])
    process.communicate(timeout=60)
    assert msb.out("exec", "bystander", "--", "echo", "alive") == "alive\n"
    msb.run("kill", "bystander")


@pytest.mark.parametrize("moment", [0, 0.02, 0.1, 0.3])
def test_killed_makers_of_a_disk_template_leave_nothing(msb, clean, moment):
    """`moment`: in seconds after the supervisor began, of which making the template is among the first things."""
    cache = pathlib.Path(msb.home) / "cache"
    for image in cache.glob("ext4-*.img"):
        image.unlink()
    process = start(msb)
    # Killing nobody, because nobody is there yet, would leave a sandbox that sleeps for long.
    makers = until(lambda: named("msb-supervisor"), "the supervisor")
    time.sleep(moment)
    for pid in {*makers, *named("msb-supervisor")}:
        kill(pid)
    process.communicate(timeout=60)
    # The earliest are killed before there is a cache.
    left = [path.name for path in cache.glob("*") if path.name not in (".gate", "tsc-khz")]
    assert all(name.startswith(("ext4-", "kvm", "probe")) for name in left), left
    assert msb.exe("echo", "again").stdout == b"again\n"
