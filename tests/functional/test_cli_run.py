# SPDX-License-Identifier: Apache-2.0
"""Programs in sandboxes: exit codes, signals, options, output, and that nothing is left."""

import hashlib
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import ISOLATION, until


def test_exe_runs_and_leaves_no_trace(msb, no_trace):
    done = msb.exe("sh", "-c", "echo out; echo err >&2; exit 7", expect=7)
    assert done.stdout == b"out\n"
    assert done.stderr.decode().splitlines()[-1] == "err"


def test_the_isolation_in_force_is_named_on_stderr(msb):
    level = json.loads(msb.out("doctor", "--json", expect=None))["isolation"]
    # Where KVM must work, anything weaker is a fault of ours, not of the host.
    assert ISOLATION != "vm" or level == "vm"
    level = "process" if ISOLATION == "process" else level
    err = msb.exe("true").stderr.decode()
    assert (err == "") if level == "vm" else err.startswith(f"isolation {level}: ")
    assert msb.run("exe", "--quiet", msb.image, "--", "true").stderr == b""


@pytest.mark.parametrize("command, code, kind", [
    ("exit 0", 0, "exited"), ("exit 42", 42, "exited"), ("exit 255", 255, "exited"),
    ("exit 137", 137, "exited"), ("exit 125", 125, "exited"), ("kill -9 $$", 137, "signaled"),
    ("kill -TERM $$", 143, "signaled"), ("kill -SEGV $$", 139, "signaled"),
])
def test_exit_codes_and_signals_come_back_exactly(shared, command, code, kind):
    done, status = shared.status("exec", "box", "--", "sh", "-c", command)
    assert done.returncode == code == status["exit_code"]
    assert status["outcome"]["kind"] == kind
    expected = {"code": code, "signal": None} if kind == "exited" else {"code": None, "signal": code - 128}
    assert {key: status["outcome"][key] for key in expected} == expected
    assert status["usage"]["spawn_to_exit_ns"] > 0


@pytest.mark.parametrize("words, code", [
    (["--", "no-such-program"], 127), (["--", "/no/such/program"], 127),
    (["--", "/etc/not-executable"], 126), (["--", "/etc"], 126),
    (["--user", "nobody-like-this", "--", "true"], 125), (["--workdir", "/none", "--", "true"], 125),
])
def test_commands_that_cannot_start_say_why(shared, words, code):
    done = shared.run("exec", *words[:-2 if "--" in words[:-1] else 0], "box", *words[words.index("--"):],
                      expect=code) if words[0] != "--" else shared.run("exec", "box", *words, expect=code)
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("msb: ") and lines[1].startswith("  fix: "), lines


def test_the_status_of_a_run_is_exact(msb):
    done, status = msb.status("exe", "--memory", "128M", msb.image, "--", "sh", "-c", "echo hi")
    assert done.stdout == b"hi\n"
    assert status["outcome"] == {"kind": "exited", "code": 0, "signal": None, "detail": None}
    assert status["isolation"] in ([ISOLATION] if ISOLATION else ["vm", "vm-emulated"]) and status["id"]
    timings = status["timings_ns"]
    assert 0 < timings["ready"] <= timings["started"] <= timings["exited"] <= timings["ended"]
    assert {"hello received"} <= {step["step"] for step in status["startup"]}


def test_options_reach_the_program(msb):
    done = msb.run("exe", "--quiet", "--memory", "96M", "--cpus", "2", "--hostname", "here", "--env", "A=1",
                   "--env", "CALLERS", "--workdir", "/tmp", "--user", "user", msb.image, "--", "sh", "-c",
                   "echo $A$CALLERS $(pwd) $(id -un) $(hostname) $(nproc) $HOME",
                   expect=0)
    assert done.stdout == b"1 /tmp user here 2 /home/user\n"


def test_a_variable_without_a_value_is_the_callers(shared):
    shared.env["CALLERS"] = "x=y"
    assert shared.out("exec", "--env", "CALLERS", "box", "--", "sh", "-c", "echo $CALLERS") == "x=y\n"
    assert shared.out("exec", "box", "--", "sh", "-c", "echo $CALLERS") == "\n"


def test_the_images_own_command_runs_when_none_is_named(msb):
    assert msb.run("exe", "--quiet", msb.image, data=b"echo from stdin\n").stdout == b"from stdin\n"


def test_a_tree_or_tar_runs_without_an_image(msb, test_tar, tmp_path):
    assert msb.out("exe", "--quiet", "--rootfs", test_tar, "--", "/bin/echo", "tar") == "tar\n"
    tree = tmp_path / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-C", tree, "-xf", test_tar, "--no-same-owner"], check=True)
    assert msb.out("exe", "--quiet", "--rootfs", tree, "--", "/bin/echo", "tree") == "tree\n"
    done = msb.run("exe", "--rootfs", tmp_path / "none", "--", "true", expect=125)
    assert b"--rootfs" in done.stderr


def test_a_timeout_is_124(msb, no_trace):
    done, status = msb.status("exe", "--timeout", "3s", msb.image, "--", "sleep", "1000")
    assert done.returncode == 124 and status["outcome"]["kind"] == "timeout"
    assert b"timeout" in done.stderr


def test_out_of_memory_is_137_and_named(msb):
    done, status = msb.status("exe", "--memory", "96M", msb.image, "--", "sh", "-c",
                              "x=x; while :; do x=$x$x; done")
    assert done.returncode == 137 and status["outcome"]["kind"] == "out_of_memory"
    assert b"out of memory" in done.stderr and b"--memory" in done.stderr


def test_the_machine_dying_under_a_program_is_120(msb, no_trace):
    done, status = msb.status("exe", msb.image, "--", "sh", "-c",
                              "reboot -f; sleep 100")
    assert done.returncode == 120 and status["outcome"]["kind"] == "machine_died"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_forwarded(shared, number):
    name = number.name[3:]
    process = shared.start("exec", "box", "--", "sh", "-c",
                           f"trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.1; done")
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    assert process.communicate(timeout=60)[0] == b"got\n" and process.returncode == 9


def test_the_third_interrupt_kills(shared):
    process = shared.start("exec", "box", "--", "sh", "-c", "trap '' INT; echo ready; sleep 1000")
    assert process.stdout.readline() == b"ready\n"
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(timeout=60) == 137


def test_an_interrupt_during_the_start_ends_everything(msb, no_trace):
    process = msb.start("exe", msb.image, "--", "sleep", "1000")
    until(lambda: msb.ps(), "the sandbox to exist")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) in (-signal.SIGINT, 130)


def test_output_of_a_killed_program_is_complete(shared):
    done = shared.run("exec", "box", "--", "sh", "-c", "seq 1 20000; kill -9 $$", expect=137)
    assert done.stdout.split() == [str(i).encode() for i in range(1, 20001)]


def test_much_data_goes_in_and_out_unchanged(shared):
    data = os.urandom(8 << 20)
    done = shared.run("exec", "box", "--", "cat", data=data)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_a_slow_reader_loses_nothing(shared):
    process = shared.start("exec", "box", "--", "sh", "-c", "seq 1 200000")
    text = b""
    for _ in range(5):
        text += process.stdout.read(1000)
        time.sleep(0.1)
    text += process.stdout.read()
    assert text == b"".join(b"%d\n" % i for i in range(1, 200001)) and process.wait() == 0


def test_a_reader_that_stops_ends_the_program_quietly(shared):
    script = f"{shared.bin}/msb exec box -- yes | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=shared.env, timeout=60)
    assert done.stdout == b"y\n141\n" and done.stderr == b""


def test_64_programs_at_once_do_not_mix(shared):
    running = [shared.start("exec", "box", "--", "sh", "-c", f"cat; echo {i} >&2; exit {i}",
                            stdin=subprocess.PIPE) for i in range(64)]
    for i, process in enumerate(running):
        out, err = process.communicate(b"%d " % i * 1000, timeout=120)
        assert out == b"%d " % i * 1000 and err == b"%d\n" % i and process.returncode == i


def test_our_standard_descriptors_stay_blocking(shared):
    script = (f"import os, subprocess\n"
              f"subprocess.run(['{shared.bin}/msb', 'exec', 'box', '--', 'cat'])\n"
              f"print([os.get_blocking(fd) for fd in (0, 1, 2)])")
    done = subprocess.run(["python3", "-c", script], input=b"x\n", capture_output=True, env=shared.env)
    assert done.stdout.endswith(b"[True, True, True]\n"), done


def test_start_bench_measures_three_clocks(msb):
    found = json.loads(msb.out("bench", "start", "--runs", "2", "--json", msb.image))
    assert found["runs"] == 2 and found["image"] == msb.image and found["host"]["kernel"]
    clocks = found["clocks_ns"]
    assert 0 < clocks["R"]["median"] < clocks["U"]["median"] < clocks["E"]["median"] <= clocks["wall"]["median"]


def test_output_that_cannot_be_written_is_an_error(msb, no_trace):
    with open("/dev/full", "wb") as full:
        process = msb.start("exe", "--quiet", "--memory", "128M", msb.image, "--", "echo", "hi", stdout=full)
        message = process.communicate()[1]
    assert process.returncode == 1 and b"No space left on device" in message
