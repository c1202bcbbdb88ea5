# SPDX-License-Identifier: Apache-2.0
"""The command line where no machine has to start: help, errors, names, exit codes."""

import json
import os
import shutil
import subprocess

import pytest


def refused(msb, *words, code=125):
    """stderr of a refusal: one message, one remedy, nothing on stdout."""
    done = msb.run(*words, expect=code)
    lines = done.stderr.decode().splitlines()
    assert done.stdout == b""
    assert lines[0].startswith("msb: "), lines
    assert len(lines) == 2 and lines[1].startswith("  fix: "), lines
    return done.stderr.decode()


def test_version_in_three_spellings(msb):
    for words in (["version"], ["--version"], ["-V"]):
        assert msb.out(*words).startswith("msb ")
    assert json.loads(msb.out("version", "--json"))["version"]


def test_help_of_every_command_has_examples(msb):
    overview = msb.out("help")
    assert overview == msb.out() == msb.out("--help")
    for command in ("exe", "exec", "shell", "ps", "inspect", "logs", "stop", "kill", "rm", "doctor",
                    "gc", "version", "completion", "image list", "image import", "image remove",
                    "image resolve", "bench start"):
        assert command in overview
        text = msb.out(*command.split(), "--help")
        assert "Examples:" in text and f"msb {command}" in text


@pytest.mark.parametrize("words, hint", [
    (["exce", "a"], "msb exe"),
    (["exe", "--memroy", "1G", "a"], "--memory"),
    (["exe", "--memory", "lots", "a"], ""),
    (["exe", "--cpus", "0", "microsandbox/busybox"], ""),
    (["exe", "--cpus", "99", "microsandbox/busybox"], ""),
    (["exe", "--memory", "0", "microsandbox/busybox"], ""),
    (["exe", "--memory", "2T", "microsandbox/busybox"], ""),
    (["exe", "--storage", "1", "microsandbox/busybox"], ""),
    (["exe", "--name", "../x", "microsandbox/busybox"], ""),
    (["exe", "--workdir", "x", "microsandbox/busybox"], "--workdir /"),
    (["exe", "--status-fd", "77", "microsandbox/busybox"], "--status-fd 3"),
    (["exe", "--require", "vm", "microsandbox/busybox", "--", "true"], None),
    (["exe"], "msb exe IMAGE"),
    (["exe", "microsandbox/busybax"], "microsandbox/busybox"),
    (["exe", "nothing-like-it"], "msb image import"),
    (["exe", "UPPER CASE"], ""),
    (["exec", "nobody-there", "--", "true"], ""),
    (["exec", "box"], "msb shell box"),
    (["run", "x"], "msb help"),
    (["completion", "tcsh"], "bash"),
])
def test_refusals_say_what_and_how(msb, words, hint):
    if hint is None and json.loads(msb.out("doctor", "--json", expect=None))["isolation"] == "vm":
        pytest.skip("this host gives what is asked for")
    assert (hint or "") in refused(msb, *words)


def test_errors_of_commands_that_run_nothing_are_1(msb):
    for words in (["stop", "none"], ["kill", "none"], ["rm", "none"], ["logs", "none"],
                  ["image", "remove", "none"]):
        refused(msb, *words, code=1)
    assert msb.run("rm", "-f", "none").stderr == b""


def test_errors_as_json_are_one_object(msb):
    done = msb.run("exe", "--json", "nothing-like-it", expect=125)
    error = json.loads(done.stderr)["error"]
    assert error["code"] == "not_found" and error["message"] and error["remedy"]
    done = msb.run("exe", "--json", "--cpus", "x", "a", expect=125)
    assert json.loads(done.stderr)["error"]["code"] == "invalid_argument"


def test_status_of_a_refusal_is_written_too(msb):
    done, status = msb.status("exe", "nothing-like-it")
    assert done.returncode == 125 and status["exit_code"] == 125
    assert status["outcome"]["kind"] == "not_started" and status["id"] is None


def test_names_of_the_program(msb, tmp_path):
    for name, word in (("msr", "run"), ("msi", "install")):
        done = subprocess.run([msb.bin / name, "x"], capture_output=True, env=msb.env)
        assert done.returncode == 125 and f"msb {word}".encode() in done.stderr
    done = subprocess.run([msb.bin / "msx", "--help"], capture_output=True, env=msb.env)
    assert done.returncode == 0 and b"msb exe" in done.stdout


def test_images_are_listed_resolved_and_removed(msb):
    assert msb.image in msb.out("image", "list")
    assert msb.out("image", "list", "-q") == msb.image + "\n"
    listed = json.loads(msb.out("image", "list", "--json"))["images"]
    assert [image["reference"] for image in listed] == [msb.image]
    assert msb.out("image", "resolve", "python").startswith("docker.io/microsandbox/python:latest\n")
    resolved = json.loads(msb.out("image", "resolve", "--json", "python"))
    assert resolved["reference"] == "microsandbox/python" and resolved["steps"]
    assert msb.out("image", "remove", msb.image) == msb.image + "\n"
    assert msb.out("image", "list", "-q") == ""
    assert "images/" in msb.out("gc")
    assert msb.out("gc") == ""


def test_an_empty_home_lists_nothing(msb):
    assert msb.out("ps").split() == ["ID", "NAME", "IMAGE", "ISOLATION", "STATE", "AGE", "COMMAND"]
    assert msb.ps("-a") == []


def test_a_home_that_cannot_be_written_is_refused(msb, tmp_path, monkeypatch):
    place = tmp_path / "file"
    place.write_text("")
    monkeypatch.setitem(msb.env, "MICROSANDBOX_HOME", str(place / "home"))
    refused(msb, "exe", msb.image, "--", "true")
    refused(msb, "ps", code=1)


def test_standard_descriptors_may_be_closed(msb):
    done = subprocess.run(f"exec {msb.bin}/msb image list -q 0<&- 2>&-", shell=True, env=msb.env,
                          capture_output=True)
    assert done.returncode == 0 and done.stdout.decode() == msb.image + "\n"
    assert subprocess.run(f"exec {msb.bin}/msb help >&-", shell=True, env=msb.env).returncode == 0


def test_a_reader_that_goes_away_ends_us_quietly(msb):
    done = subprocess.run(["bash", "-c", f"{msb.bin}/msb help | true; echo ${{PIPESTATUS[0]}}"],
                          capture_output=True, env=msb.env)
    assert done.stdout in (b"0\n", b"141\n") and done.stderr == b""


def test_a_full_disk_under_stdout_is_an_error(msb):
    with open("/dev/full", "w") as full:
        done = subprocess.run(msb.argv("help"), stdout=full, stderr=subprocess.PIPE, env=msb.env)
    assert done.returncode == 1 and b"No space left" in done.stderr


def test_doctor_tells_what_it_tried(msb):
    done = msb.run("doctor", "--json", expect=None)
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["default_works"] else 1)
    names = [check["name"] for check in found["checks"]]
    assert "kvm" in names and len(set(names)) == len(names)
    for check in found["checks"]:
        assert check["tried"] and check["result"] and check["state"] in ("ok", "warning", "failed")
        assert check["state"] == "ok" or check["fix"] or check["cost"], check
    assert "tried:" in msb.out("doctor", expect=None)


def complete(shell, msb, *words):
    """What bash offers for the last word."""
    script = f"""
        source <({msb.bin}/msb completion bash)
        COMP_WORDS=({' '.join(repr(word) for word in words)}) COMP_CWORD={len(words) - 1}
        _msb; printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run([shell, "-c", script], capture_output=True, env=msb.env)
    assert done.stderr == b"", done.stderr
    return done.stdout.decode().split()


def test_bash_completes_commands_options_and_names(msb):
    done = subprocess.run(["bash", "-n"], input=msb.out("completion", "bash").encode(),
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    registered = subprocess.run(["bash", "-c", f"source <({msb.bin}/msb completion bash); complete -p msb msx"],
                                capture_output=True, env=msb.env)
    assert b"-F _msb msb" in registered.stdout and b"-F _msb msx" in registered.stdout
    assert set(complete("bash", msb, "msb", "ex")) == {"exe", "exec"}
    assert complete("bash", msb, "msb", "exe", "--mem") == ["--memory"]
    assert complete("bash", msb, "msb", "exe", "--require", "") == ["vm", "vm-emulated", "process"]
    assert complete("bash", msb, "msb", "exe", "micro") == [msb.image]
    assert complete("bash", msb, "msx", "micro") == [msb.image]
    assert complete("bash", msb, "msb", "image", "re") == ["remove", "resolve"]
    assert complete("bash", msb, "msb", "exe", msb.image, "--", "--mem") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(msb, shell):
    script = msb.out("completion", shell)
    assert "memory" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script.encode(), check=True)
