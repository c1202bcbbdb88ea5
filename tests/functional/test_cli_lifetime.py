# SPDX-License-Identifier: Apache-2.0
"""Sandboxes that outlive their starter: ps, inspect, logs, stop, kill, rm, and deaths told truthfully."""

import json
import os
import signal
import subprocess

from conftest import until


def names(msb, *words):
    return [sandbox["name"] for sandbox in msb.ps(*words)]


def test_a_detached_sandbox_is_listed_used_stopped_and_removed(msb, no_trace):
    assert msb.out("exe", "-d", "--memory", "128M", "--name", "web", msb.image) == "web\n"
    row = msb.out("ps").splitlines()[1].split()
    assert row[1] == "web" and row[2] == msb.image and "running" in row
    assert msb.out("ps", "-q") == "web\n"
    assert msb.out("exec", "web", "--", "hostname") == "web\n"
    msb.run("exec", "web", "--", "sh", "-c", "echo kept > /tmp/file")
    assert msb.out("exec", "web", "--", "cat", "/tmp/file") == "kept\n"
    assert msb.out("stop", "web") == "web\n"
    assert names(msb) == [] and names(msb, "-a") == ["web"]
    assert msb.run("exec", "web", "--", "true", expect=125).stderr.startswith(b"msb: ")
    assert msb.out("rm", "web") == "web\n"
    assert names(msb, "-a") == []


def test_a_name_is_taken_once(msb):
    msb.detached(name="web")
    done = msb.run("exe", "-d", "--name", "web", msb.image, expect=125)
    assert b"web" in done.stderr and b"fix:" in done.stderr
    done = msb.run("exec", "wep", "--", "true", expect=125)
    assert b"web" in done.stderr  # A suggestion.


def test_a_running_sandbox_is_removed_only_by_force(msb):
    msb.detached(name="web")
    done = msb.run("rm", "web", expect=1)
    assert b"msb rm -f web" in done.stderr
    assert msb.out("rm", "-f", "web") == "web\n" and names(msb, "-a") == []


def test_the_record_tells_walls_and_the_start(msb):
    msb.detached(name="web")
    record = json.loads(msb.out("inspect", "web"))
    assert record["name"] == "web" and record["isolation"] in ("vm", "vm-emulated", "process")
    assert record["walls"] and "hello received" in [step["step"] for step in record["start"]]
    assert json.loads(msb.out("inspect", record["id"][:6]))["id"] == record["id"]
    assert json.loads(msb.out("exe", "-d", "--json", "--quiet", msb.image))["id"]


def test_kill_ends_it_at_once(msb):
    msb.detached(name="web")
    assert msb.out("kill", "web") == "web\n"
    assert names(msb) == []


def test_the_end_of_the_main_command_is_the_end_of_the_sandbox(msb):
    msb.detached("--", "sh", "-c", "echo out; echo err >&2; exit 3", name="job")
    until(lambda: names(msb) == [], "the job's end")
    (job,) = msb.ps("-a")
    assert job["outcome"]["kind"] == "exited" and job["outcome"]["code"] == 3
    assert "exited (3)" in msb.out("ps", "-a")
    logs = msb.run("logs", "job")
    assert logs.stdout == b"out\n" and logs.stderr == b"err\n"


def test_logs_follow_until_the_end(msb):
    msb.detached("--", "sh", "-c", "mkfifo /tmp/go; seq 1 10; echo ready; read x < /tmp/go; echo last",
                 name="job")
    until(lambda: b"ready" in msb.run("logs", "job").stdout, "the first lines")
    assert msb.out("logs", "--tail", "2", "job") == "10\nready\n"
    follower = msb.start("logs", "-f", "--tail", "1", "job")
    assert follower.stdout.readline() == b"ready\n"
    msb.run("exec", "job", "--", "sh", "-c", "echo > /tmp/go", expect=None)
    assert follower.communicate(timeout=60)[0] == b"last\n" and follower.returncode == 0


def test_a_detached_start_lets_go_of_its_callers_descriptors(msb):
    script = f"out=$(msb exe -d --name web {msb.image} 2>&1 < /dev/null); echo \"$out\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=msb.env, timeout=60)
    assert done.stdout.decode().splitlines()[-1] == "web"


def test_a_dead_supervisor_is_reported_and_collected(msb):
    msb.detached(name="web")
    (sandbox,) = msb.ps()
    os.kill(sandbox["supervisor_pid"], signal.SIGKILL)
    until(lambda: names(msb) == [], "the truth", 5)
    (dead,) = msb.ps("-a")
    assert dead["outcome"]["kind"] == "supervisor_died"
    assert "died" in msb.out("ps", "-a")
    msb.run("gc")
    msb.run("rm", "-f", "web")
    assert names(msb, "-a") == [] and msb.out("gc") == ""


def test_a_killed_client_of_an_attached_sandbox_takes_it_along(msb, no_trace):
    process = msb.start("exe", "--memory", "128M", msb.image, "--", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.wait()
    until(lambda: names(msb, "-a") == [], "its end", 10)


def test_a_killed_client_of_exec_hangs_up_that_exec_only(shared):
    process = shared.start("exec", "box", "--", "sh", "-c", "trap 'touch /tmp/hup; exit' HUP; echo up; "
                                                           "while :; do sleep 0.1; done")
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.wait()
    until(lambda: shared.run("exec", "box", "--", "test", "-e", "/tmp/hup", expect=None).returncode == 0,
          "the hang-up")
    assert names(shared) == ["box"]


def test_stop_lets_programs_end_by_themselves(msb):
    msb.detached("--", "sh", "-c", 'trap "echo term; sleep 0.3; exit 3" TERM; echo ready; while :; do sleep 0.1; done')
    until(lambda: msb.out("logs", "box") == "ready\n", "the program's first line", 60)
    msb.run("stop", "--grace", "30s", "box")
    assert msb.out("logs", "box") == "ready\nterm\n"
    assert json.loads(msb.out("inspect", "box"))["outcome"]["exit_code"] == 3


def test_a_program_that_will_not_end_is_killed_when_the_grace_is_over(msb):
    msb.detached("--", "sh", "-c", 'trap "" TERM; echo ready; while :; do sleep 1; done')
    until(lambda: msb.out("logs", "box") == "ready\n", "the program's first line", 60)
    msb.run("stop", "--grace", "1s", "box")
    assert "did not stop within" in json.loads(msb.out("inspect", "box"))["outcome"]["detail"]


def test_a_debug_console_without_a_reader_stops_nothing(msb, no_trace):
    process = msb.start("exe", "--quiet", "--debug-console", "--timeout", "20s", "--memory", "128M", msb.image, "--",
                        "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x > /dev/hvc0; echo done")
    process.stderr.close()
    assert process.stdout.read() == b"done\n" and process.wait(60) == 0
    process.stdout.close()


def test_the_console_of_a_running_sandbox_can_be_read(msb):
    msb.detached(name="web")
    msb.run("exec", "web", "--", "sh", "-c", "for i in 1 2 3; do echo spoken $i > /dev/hvc0; done")
    until(lambda: "spoken 3" in msb.out("logs", "--console", "web"), "the console")
    assert msb.out("logs", "--console", "--tail", "1", "web").split() == ["spoken", "3"]
    assert b"does not follow" in msb.run("logs", "-f", "--console", "web", expect=1).stderr


def test_logs_go_on_after_a_rotation(msb):
    # The limit of a log is 16 MiB; lines of 1 KiB.
    script = "i=0; l=$(head -c 1000 /dev/zero | tr '\\0' x); while [ $i -lt 17500 ]; do echo $i $l; i=$((i+1)); done"
    assert msb.out("exe", "-d", "--memory", "128M", "--name", "web", msb.image, "--", "sh", "-c", script) == "web\n"
    followed = msb.out("logs", "-f", "web")
    assert [line.split()[0] for line in followed.splitlines()] == [str(i) for i in range(17500)]
    assert msb.out("logs", "web") == followed
    last = msb.out("logs", "-n", "5000", "web").splitlines()
    assert [line.split()[0] for line in last] == [str(i) for i in range(12500, 17500)]


def test_ps_shows_the_command_of_an_exe(msb):
    process = msb.start("exe", "--quiet", "--memory", "128M", "--name", "job", msb.image, "--", "sleep", "77")
    until(lambda: names(msb) == ["job"], "the sandbox")
    assert msb.out("ps").splitlines()[1].endswith("sleep 77")
    until(lambda: msb.ps()[0]["state"] == "running", "the hello")
    # Ended by its SIGTERM, as a program is.
    msb.run("stop", "job")
    assert process.wait(timeout=60) == 143


def test_what_is_not_there_is_removed_in_silence_by_force(msb):
    done = msb.run("rm", "-f", "nosuch")
    assert (done.stdout, done.stderr) == (b"", b"")
    error = json.loads(msb.run("inspect", "--json", "nosuch", expect=1).stderr)["error"]
    assert error["code"] == "not_found" and error["remedy"]


def test_listing_writes_nothing(msb):
    home = msb.home
    for words in (["ps"], ["image", "list"], ["ps", "-a", "--json"]):
        os.chmod(home, 0o500)
        try:
            msb.run(*words)
        finally:
            os.chmod(home, 0o700)
    assert not (home / ".locks").exists()


def test_a_one_off_root_leaves_nothing_in_the_store(msb, test_tar):
    def store():
        return sorted(str(path) for path in (msb.home / "images").rglob("*"))

    before = store()
    msb.run("exe", "--quiet", "--memory", "128M", "--rootfs", test_tar, "--", "/bin/true")
    process = msb.start("exe", "--quiet", "--memory", "128M", "--rootfs", test_tar, "--", "/bin/sleep", "60")
    until(lambda: len(msb.ps()) == 1, "the sandbox")
    process.kill()
    process.wait()
    until(lambda: msb.ps("-a") == [] and store() == before, "its end, and of its root")
