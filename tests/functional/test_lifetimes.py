# SPDX-License-Identifier: Apache-2.0
"""How sandboxes end, and what of them remains: outcomes, records, the host's resources."""

import concurrent.futures
import json
import subprocess

from conftest import ISOLATION, until


def record(msb, name="box"):
    return json.loads(msb.out("inspect", name))


def ended(msb, name):
    """The record of a sandbox that has ended, as soon as it has."""
    return until(lambda: record(msb, name) if record(msb, name)["state"] == "ended" else None,
                 f"the end of {name}")


def test_an_attached_run_leaves_no_trace(msb, no_trace):
    assert msb.exe("echo", "hi").stdout == b"hi\n"


def test_many_runs_leave_no_trace(msb, no_trace):
    def one(number):
        return msb.exe("sh", "-c", f"exit {number}", expect=None, timeout=600).returncode

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, range(12))) == list(range(12))


def test_the_outcome_of_a_main_command_is_kept(msb):
    for command, kind, code in (("exit 3", "exited", 3), ("kill -9 $$", "signaled", 9)):
        name = f"job{code}"
        msb.detached("--", "sh", "-c", command, name=name)
        outcome = ended(msb, name)["outcome"]
        assert (outcome["kind"], outcome["code"]) == (kind, code)


def test_timeout_ends_a_detached_sandbox(msb):
    # The start counts too, and takes seconds in a busy lab.
    msb.run("exe", "-d", "--quiet", "--memory", "128M", "--timeout", "10s", "--name", "late", msb.image)
    assert ended(msb, "late")["outcome"]["kind"] == "timeout"


def test_a_guest_that_powers_off_is_reported_as_such(msb):
    msb.detached(name="off")
    # Without ACPI nothing can be switched off: the kernel halts, and the supervisor must see it.
    msb.run("exec", "off", "--", "poweroff", "-f", expect=None)
    outcome = ended(msb, "off")["outcome"]
    assert (outcome["kind"], outcome["detail"]) == ("machine_died", "the guest halted itself")


def test_stop_gives_the_guest_its_grace(msb):
    msb.detached("--", "sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done",
                 name="web")
    until(lambda: b"up" in msb.run("logs", "web").stdout, "its start")
    msb.run("stop", "--grace", "20s", "web")
    assert ended(msb, "web")["outcome"]["kind"] in ("stopped", "exited")


def test_the_breakdown_of_a_start_is_in_order(msb):
    msb.detached(name="web")
    steps = [(step["step"], step["at_us"]) for step in record(msb, "web")["start"]]
    names = [name for name, _ in steps]
    machine = () if ISOLATION == "process" else ("disk", "guest reset", "hello")
    for name in ("spec", "record", "cgroup", "machine started", "confined", "hello received", *machine):
        assert name in names, names
    host = [at for name, at in steps if name in ("spec", "record", "disk", "cgroup", "machine started")]
    assert host == sorted(host)


def test_sixty_four_execs_at_once_do_not_mix(shared):
    def one(number):
        script = f"for i in 1 2 3 4 5; do echo {number}; done"
        return shared.out("exec", "box", "--", "sh", "-c", script, timeout=600)

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        outputs = list(pool.map(one, range(64)))
    assert outputs == [f"{number}\n" * 5 for number in range(64)]


def test_an_exec_whose_reader_stops_does_not_stall_another(shared):
    stuck = shared.start("exec", "box", "--", "cat", "/dev/zero")
    try:
        assert stuck.stdout.read(1) == b"\0"
        assert shared.out("exec", "box", "--", "echo", "here") == "here\n"
    finally:
        stuck.kill()
        stuck.communicate()


def test_a_loop_around_exec_reads_every_line(shared):
    script = ("printf '1\\n2\\n3\\n' | while read x; do msb exec box -- true; echo $x; done")
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=shared.env, timeout=300)
    assert done.stdout == b"1\n2\n3\n", done.stderr
