# SPDX-License-Identifier: Apache-2.0
"""Commands in a booted lab: exit codes, streams, terminals, signals."""

import hashlib
import os
import signal
import subprocess
import time

import pexpect
import pytest

from conftest import until


@pytest.mark.parametrize("code", [0, 1, 7, 255])
def test_the_exit_code_is_the_commands_own(lab, code):
    assert lab("sh", "-c", f"exit {code}").returncode == code


def test_a_signal_is_128_and_its_number(lab):
    assert lab("sh", "-c", "kill -KILL $$").returncode == 137


def test_a_command_that_is_not_there_is_127_and_one_that_cannot_run_126(lab):
    missing = lab("no-such-command")
    assert (missing.returncode, missing.stdout) == (127, b"")
    assert missing.stderr == b"tools/lab: no-such-command: No such file or directory\n"
    assert lab("/etc/passwd").returncode == 126


def test_a_folder_that_is_not_there_is_named(lab):
    done = lab("--cwd", "/no/such/folder", "true")
    assert done.returncode == 127 and b"/no/such/folder" in done.stderr


def test_stdout_and_stderr_stay_apart(lab):
    done = lab("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_it_runs_as_root_in_the_callers_folder_with_a_plain_environment(lab, tmp_path):
    done = lab("--env", "GREETING=hello there", "sh", "-c", "id -u; pwd; echo $GREETING; env | grep -c ^PYTEST", cwd=tmp_path)
    assert done.stdout.decode().splitlines() == ["0", str(tmp_path), "hello there", "0"]


def test_a_mebibyte_arrives_whole_both_ways(lab):
    sent = os.urandom(1 << 20)
    assert lab("cat", input=sent).stdout == sent


def test_bytes_come_in_order_however_they_are_cut(lab):
    done = lab("sh", "-c", "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i + 1)); done")
    assert done.stdout.decode().splitlines() == [f"line {i}" for i in range(500)]


def test_output_written_right_before_the_end_is_complete(lab):
    done = lab("sh", "-c", "head -c 300000 /dev/zero; kill -KILL $$")
    assert (done.returncode, len(done.stdout)) == (137, 300000)


def test_the_end_of_input_is_seen(lab):
    assert lab("wc", "-c", input=b"12345").stdout == b"5\n"
    assert lab("-n", "wc", "-c", input=b"12345").stdout == b"0\n"


def test_without_stdin_a_loop_keeps_its_lines(lab_command):
    script = f"while read -r line; do {' '.join(lab_command)} -n true < /dev/stdin; echo $line; done"
    done = subprocess.run(["sh", "-c", script], input=b"one\ntwo\n", capture_output=True, timeout=120)
    assert done.stdout == b"one\ntwo\n"


def test_a_background_process_does_not_hold_the_run(lab):
    started = time.monotonic()
    assert lab("sh", "-c", "sleep 600 & echo started").stdout == b"started\n"
    assert time.monotonic() - started < 60


def test_a_reader_that_stops_does_not_stall_other_runs(lab, lab_command):
    stalled = subprocess.Popen([*lab_command, "-n", "cat", "/dev/zero"], stdout=subprocess.PIPE)
    try:
        stalled.stdout.read(1)
        assert lab("echo", "here").stdout == b"here\n"
    finally:
        stalled.kill()
        stalled.wait()
        stalled.stdout.close()


def test_several_runs_at_once_do_not_mix(lab_command):
    runs = [subprocess.Popen([*lab_command, "-n", "sh", "-c", f"head -c 200000 /dev/zero | tr '\\0' {letter}; exit {i}"],
                             stdout=subprocess.PIPE) for i, letter in enumerate("abcdefgh")]
    for i, (run, letter) in enumerate(zip(runs, "abcdefgh")):
        output = run.communicate(timeout=120)[0]
        assert (run.returncode, output) == (i, letter.encode() * 200000)


def test_a_time_limit_is_124_and_ends_the_command(lab):
    done = lab("--timeout", "1", "sh", "-c", "trap '' TERM; echo $$; while :; do sleep 1; done")
    assert done.returncode == 124
    pid = int(done.stdout)
    until(lambda: lab("test", "-d", f"/proc/{pid}").returncode == 1, "the end of the command")


def test_killing_the_client_kills_all_of_its_run(lab, lab_command):
    run = subprocess.Popen([*lab_command, "-n", "sh", "-c", "setsid sleep 7777 & echo ready; wait"],
                           stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    run.kill()
    run.wait()
    run.stdout.close()
    until(lambda: lab("pgrep", "-f", "sleep 7777").returncode == 1, "the end of the run")


def test_signals_reach_the_command(lab_command):
    run = subprocess.Popen([*lab_command, "-n", "sh", "-c", "trap 'exit 42' INT; echo ready; while :; do sleep 0.1; done"],
                           stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGINT)
    assert run.wait(timeout=60) == 42
    run.stdout.close()


def test_a_reader_that_goes_away_is_a_sigpipe(lab_command):
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {' '.join(lab_command)} -n yes | head -n 1"],
                          capture_output=True, timeout=120)
    assert (done.returncode, done.stdout) == (141, b"y\n")


def spawn(lab_command, script, **how):
    return pexpect.spawn(lab_command[0], [*lab_command[1:], "sh", "-c", script], timeout=60, encoding="utf-8", **how)


def exit_code(child):
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


def test_a_terminal_has_its_size_and_follows_it(lab_command):
    child = spawn(lab_command, "stty size; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.1; done",
                  dimensions=(31, 97))
    child.expect("31 97")
    child.expect("ready")
    child.setwinsize(40, 120)
    child.expect("40 120")
    assert exit_code(child) == 3


def test_ctrl_c_interrupts_the_foreground_only(lab_command):
    child = spawn(lab_command, "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done")
    child.expect("ready")
    child.send("\x03")
    child.expect("caught")
    assert exit_code(child) == 5


def test_ctrl_d_is_the_end_of_a_terminals_input(lab_command):
    child = spawn(lab_command, "cat; echo over")
    child.sendline("hello")
    child.expect("hello\r\nhello")
    child.send("\x04")
    child.expect("over")
    assert exit_code(child) == 0


def test_without_a_terminal_there_is_none(lab):
    assert lab("sh", "-c", "test -t 0 || test -t 1 || test -t 2").returncode == 1
    refused = lab("--tty", "true")
    assert refused.returncode == 125 and b"stdin is not a terminal" in refused.stderr
