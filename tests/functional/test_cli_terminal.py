# SPDX-License-Identifier: Apache-2.0
"""Terminals: what is typed goes in as over ssh, and the caller's terminal is always restored."""

import os
import signal
import termios

import pexpect
import pytest

from conftest import until


def mode(child):
    return termios.tcgetattr(child.child_fd)[:4]


def shell(msb, *words, size=(24, 80)):
    """A shell in the shared sandbox, at its prompt."""
    child = msb.terminal("exec", *words, "box", "--", "sh", size=size)
    child.sendline("PS1='pro''mpt> '")
    child.expect_exact("prompt> ")
    return child


def answer(child, command):
    child.sendline(f"{command}; echo 'e''nd'")
    child.expect_exact("end\r\n")
    text = child.before.decode()
    child.expect_exact("prompt> ")
    return text.split("\r\n", 1)[1].strip()


def finish(child, code):
    child.expect(pexpect.EOF)
    child.close()
    assert (child.exitstatus, child.signalstatus) == (code, None)


def test_a_terminal_is_given_when_both_ends_are_one(shared):
    child = shell(shared, size=(33, 101))
    assert answer(child, "tty").startswith("/dev/pts/")
    assert answer(child, "stty size") == "33 101"
    assert answer(child, "echo $TERM") == "xterm"
    child.sendline("exit 5")
    finish(child, 5)


def test_resize_is_passed_on(shared):
    child = shell(shared)
    child.setwinsize(40, 120)
    until(lambda: answer(child, "stty size") == "40 120", "the new size", 20)
    child.sendline("exit")
    finish(child, 0)


def test_ctrl_c_interrupts_the_program_not_the_shell(shared):
    child = shell(shared)
    # Before it runs, the shell would be the one that is interrupted.
    child.sendline("sh -c 'echo star''ted; exec sleep 1000'")
    child.expect_exact("started\r\n")
    child.sendintr()
    child.expect_exact("prompt> ")
    assert answer(child, "echo $?") == "130"
    child.sendline("exit 3")
    finish(child, 3)


def test_ctrl_z_and_fg_work_inside(shared):
    child = shell(shared)
    child.sendline("sh -c 'echo star''ted; exec sleep 2'")
    child.expect_exact("started\r\n")
    child.send("\x1a")
    child.expect("Stopped")
    child.expect_exact("prompt> ")
    child.sendline("fg")
    child.expect_exact("prompt> ")
    assert answer(child, "jobs") == ""
    child.sendline("exit")
    finish(child, 0)


def test_ctrl_d_ends_the_shell(shared):
    child = shell(shared)
    child.sendeof()
    finish(child, 0)


def test_the_terminal_is_raw_inside_and_restored_after_the_end(shared):
    child = shared.terminal("exec", "box", "--", "sh", "-c", "echo up; read x; exit 4")
    child.expect_exact("up\r\n")
    assert mode(child)[3] & termios.ICANON == 0
    child.send("x\r")
    child.expect(pexpect.EOF)
    assert mode(child)[3] & (termios.ICANON | termios.ECHO) == termios.ICANON | termios.ECHO
    child.close()
    assert child.exitstatus == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGALRM, signal.SIGIO])
def test_the_terminal_is_restored_after_a_signal(shared, number):
    child = shared.terminal("exec", "box", "--", "sh", "-c", "echo up; sleep 1000")
    child.expect_exact("up\r\n")
    before = mode(child)
    child.kill(number)
    child.expect(pexpect.EOF)
    assert mode(child) != before and mode(child)[3] & termios.ICANON
    child.close()
    # Passed on to the program, which ended so, or our own end.
    assert child.exitstatus == 128 + number or child.signalstatus == number


def test_the_terminal_is_restored_when_the_supervisor_dies(msb):
    child = msb.terminal("exe", "--memory", "128M", msb.image, "--", "sh", "-c", "echo up; sleep 1000")
    child.expect_exact("up\r\n")
    (sandbox,) = msb.ps()
    os.kill(sandbox["supervisor_pid"], signal.SIGKILL)
    child.expect(pexpect.EOF)
    assert mode(child)[3] & termios.ICANON
    child.close()
    assert child.exitstatus == 120


def test_no_tty_gives_pipes_on_a_terminal(shared):
    child = shared.terminal("exec", "--no-tty", "box", "--", "sh", "-c", "tty; tty <&1; exit 6")
    child.expect_exact("not a tty")
    finish(child, 6)


def test_tty_gives_a_terminal_on_pipes(shared):
    assert "/dev/pts/" in shared.run("exec", "--tty", "box", "--", "tty", data=b"").stdout.decode()


def test_shell_opens_a_shell(shared):
    child = shared.terminal("shell", "box")
    child.sendline("echo $((40+2))")
    child.expect_exact("42")
    child.sendline("exit 8")
    finish(child, 8)


def test_msb_stopped_from_outside_comes_back_raw(shared):
    child = shared.terminal("exec", "box", "--", "sh", "-c", "echo up; read x; echo got $x")
    child.expect_exact("up\r\n")
    child.kill(signal.SIGTSTP)
    until(lambda: mode(child)[3] & termios.ICANON, "the terminal's own mode", 10)
    child.kill(signal.SIGCONT)
    until(lambda: not mode(child)[3] & termios.ICANON, "raw mode again", 10)
    child.send("word\r")
    child.expect_exact("got word")
    finish(child, 0)
