# SPDX-License-Identifier: Apache-2.0
"""The lab's machine: what it has, what is shared with it, how it ends."""

import importlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest

from conftest import KERNEL, LAB, NAME, ROOT, alive, descendants_of, tools_lab, until


def test_it_has_what_our_tests_need(lab):
    script = """
        test -c /dev/kvm && test -c /dev/net/tun && test -c /dev/fuse || echo a device
        test "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs || echo cgroup2
        for c in cpu cpuset memory io pids; do grep -qw $c /sys/fs/cgroup/cgroup.subtree_control || echo $c; done
        test -d /sys/kernel/tracing/events/kvm/kvm_entry || echo tracepoints
        unshare --user --map-root-user --mount --pid --net --ipc --uts --cgroup --time --fork true || echo namespaces
        grep -q landlock /sys/kernel/security/lsm || echo landlock
        test "$(stat -fc %T /lab/ext4)" = ext2/ext3 || echo ext4
        grep -q svm /proc/cpuinfo || echo svm
        nproc
    """
    assert lab("sh", "-c", script).stdout == b"1\n"


def test_this_hosts_files_are_there_and_stay_as_they_are(lab, tmp_path):
    (tmp_path / "file").write_text("from the host")
    done = lab("sh", "-c", "cat file; echo changed > file; cat file; echo new > other", cwd=tmp_path)
    assert done.stdout == b"from the hostchanged\n"
    assert (tmp_path / "file").read_text() == "from the host"
    assert not (tmp_path / "other").exists()


def test_a_file_that_this_host_replaces_is_the_new_one_for_the_next_command(lab, tmp_path):
    program = tmp_path / "program"
    for number in (1, 2, 3):
        (tmp_path / "next").write_text(f"#!/bin/sh\nexit {number}\n")
        (tmp_path / "next").chmod(0o755)
        os.rename(tmp_path / "next", program)
        # Names are believed for a second.
        until(lambda: lab(program).returncode == number, f"version {number} of the program", 10)


def test_a_lab_that_mounts_this_hosts_files_anew_cannot_write_them_either(lab, tmp_path):
    script = f"""
        mkdir -p /run/again && mount -t virtiofs -o rw host /run/again || exit 3
        touch /run/again{tmp_path}/planted
        chmod 777 /run/again{tmp_path}
        umount /run/again
    """
    mode = tmp_path.stat().st_mode
    done = lab("sh", "-c", script)
    assert done.stderr.count(b"Read-only file system") == 2, done.stderr.decode()
    assert not (tmp_path / "planted").exists() and tmp_path.stat().st_mode == mode


def test_nobody_else_can_be_served_this_hosts_files(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "tools/lab-files")
    machine = importlib.import_module("machine")
    served = []

    def serve(_, descriptors, *__, **___):
        listener = socket.socket(fileno=os.dup(descriptors[0]))
        listener.setblocking(False)
        served.append((listener, listener.accept()[0]))
    monkeypatch.setattr(machine, "spawn", serve)
    share = machine.Share("host", "/", False, None, tmp_path)
    listener, first = served[0]
    share.socket.sendall(b"QEMU's")
    assert first.recv(16) == b"QEMU's"
    name = listener.getsockname()
    assert isinstance(name, str) and not os.path.exists(name), "a name without a file is everybody's"
    assert not list(tmp_path.iterdir())
    for end in (listener, first, share.socket):
        end.close()


def test_one_command_in_a_lab_of_its_own_writes_back_where_it_may(tmp_path):
    done = tools_lab("--write", tmp_path, "--", "sh", "-c", "cat > result; exit 9", input=b"written inside", cwd=tmp_path)
    assert done.returncode == 9, done.stderr.decode()
    assert (tmp_path / "result").read_bytes() == b"written inside"


def test_it_is_woken_while_nobody_asks_anything_of_it(lab):
    """A timer's interrupt that the translator lost would else be waited for until somebody does."""
    interrupts = 'grep "$(basename /sys/bus/virtio/drivers/virtio_console/virtio*)" /proc/interrupts'
    done = lab("sh", "-c", f"{interrupts}; sleep 6; {interrupts}")
    counts = [sum(int(word) for word in line.split(":", 1)[1].split() if word.isdigit())
              for line in done.stdout.decode().splitlines()]
    assert counts[-1] - counts[0] >= 4, done.stdout.decode()


def test_status_names_the_lab(lab):
    labs = json.loads(tools_lab("status", "--json").stdout)["labs"]
    assert [(one["kernel"], one["cpus"], one["mine"]) for one in labs if one["name"] == NAME] == [(KERNEL, 1, True)]


def test_a_second_lab_of_that_name_is_refused(lab):
    again = tools_lab("start", "--name", NAME)
    assert again.returncode == 125 and b"runs already" in again.stderr


@pytest.mark.parametrize("options, fast", [((), False), (("--cpu", "max"), True)])
def test_fast_strings_are_there_when_asked_for(options, fast):
    done = tools_lab(*options, "--", "grep", "-c", "-w", "erms", "/proc/cpuinfo")
    assert done.stdout == (b"1\n" if fast else b"0\n"), done.stderr.decode()


@pytest.mark.parametrize("model", ["max,+erms,mem=1", "max;reboot", "1max", ""])
def test_a_processor_that_is_none_is_refused(model):
    done = tools_lab("--cpu", model, "--", "true")
    assert done.returncode == 125 and b"is not a processor of QEMU" in done.stderr


def test_without_a_lab_the_remedy_is_named():
    done = tools_lab("run", "--name", "nowhere", "true")
    assert done.returncode == 125
    assert done.stderr == b"tools/lab: no lab named nowhere runs: tools/lab start\n"
    assert tools_lab("stop", "--name", "nowhere").returncode == 0


def test_bad_options_are_refused():
    for options in (["start", "--cpus", "99"], ["start", "--memory", "lots"], ["--kernel", "/no/such/kernel", "--", "true"],
                    ["--write", "/no/such/folder", "--", "true"], ["start", *["--write", "/tmp"] * 5], ["--bogus"], ["run"], []):
        done = tools_lab(*options)
        assert done.returncode == 125, options
        assert done.stderr, options


def test_a_kernel_that_is_not_ours_is_refused_with_those_that_are():
    done = tools_lab("--kernel", "5.4", "--", "true")
    assert done.returncode == 125
    assert done.stderr == b"tools/lab: there is no kernel 5.4: --kernel takes 6.12, 6.1, or the path of one (./FILE)\n"


def places(name):
    base = pathlib.Path(os.environ.get("XDG_RUNTIME_DIR") or "/run") / "microsandbox-lab"
    return list(base.glob(f"*-{name}*"))


def keeper_of(name):
    """The process that holds the lab's lock is the parent of its QEMU."""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if any(f"-{name}/lock" in os.readlink(link) for link in (entry / "fd").iterdir()):
                return int(entry.name)
        except OSError:
            continue
    return None


def test_kill_9_of_a_lab_for_one_command_leaves_nothing():
    once = subprocess.Popen([LAB, "--", "sh", "-c", "echo ready; sleep 600"], stdout=subprocess.PIPE)
    assert once.stdout.readline() == b"ready\n"
    theirs = descendants_of(once.pid)
    assert len(theirs) >= 3  # the keeper, QEMU, virtiofsd
    once.kill()
    once.wait()
    once.stdout.close()
    until(lambda: not any(map(alive, theirs)), "the end of the lab's processes", 10)
    until(lambda: not places(f"once-{once.pid}"), "its folder to go", 10)


def test_kill_9_of_the_keeper_leaves_nothing_that_runs():
    name = f"{NAME}-killed"
    assert tools_lab("start", "--name", name).returncode == 0
    keeper = keeper_of(name)
    theirs = descendants_of(keeper)
    os.kill(keeper, signal.SIGKILL)
    until(lambda: not any(map(alive, theirs)), "the end of the lab's processes", 10)
    assert tools_lab("run", "--name", name, "true").returncode == 125
    tools_lab("status")
    assert not places(name)


def test_a_machine_that_cannot_start_says_why(tmp_path):
    (tmp_path / "kernel").write_bytes(b"not a kernel" * 1000)
    done = tools_lab("--kernel", tmp_path / "kernel", "--", "true")
    assert done.returncode == 125
    assert re.search(r"the lab's machine ended: qemu.*; its console: .*\n", done.stderr.decode()), done.stderr.decode()


def test_the_end_of_the_process_that_serves_its_files_is_the_labs_end():
    once = subprocess.Popen([LAB, "--", "sh", "-c", "echo ready; sleep 600"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)
    assert once.stdout.readline() == b"ready\n"
    for pid in descendants_of(once.pid):
        if pathlib.Path(f"/proc/{pid}/comm").read_text() == "virtiofsd\n":
            os.kill(pid, signal.SIGKILL)
    out, err = once.communicate(timeout=30)
    assert once.returncode == 125 and b"virtiofsd, which serves /, ended" in err, err


def test_a_panic_ends_the_run_and_keeps_the_console():
    done = tools_lab("--", "sh", "-c", "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 60")
    assert done.returncode == 125
    text = done.stderr.decode()
    kept = re.search(r"the lab's kernel panicked; its console: (.*)", text)
    assert kept, text
    console = pathlib.Path(kept[1].strip())
    assert "sysrq triggered crash" in console.read_text(errors="replace").lower()
    console.unlink()


def test_a_flood_of_the_console_leaves_the_lab_small_and_alive_and_a_later_panic_is_kept():
    name = f"{NAME}-flooded"
    assert tools_lab("start", "--name", name).returncode == 0
    try:
        folder, = places(name)
        assert tools_lab("run", "--name", name, "sh", "-c", "head -c 5M /dev/zero | tr '\\0' y > /dev/ttyS0").returncode == 0
        assert sum(file.stat().st_size for file in folder.iterdir()) < (4 << 20) + 65536
        assert tools_lab("run", "--name", name, "echo", "alive").stdout == b"alive\n"
        crash = "echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger; sleep 60"
        done = tools_lab("run", "--name", name, "sh", "-c", crash)
    finally:
        tools_lab("stop", "--name", name)
    assert done.returncode == 125
    kept = re.search(r"the lab's kernel panicked; its console: (.*)", done.stderr.decode())
    assert kept, done.stderr.decode()
    console = pathlib.Path(kept[1].strip())
    text = console.read_bytes()
    assert b"y" * (1 << 20) in text and b"sysrq triggered crash" in text.lower() and len(text) < 5 << 20
    console.unlink()


def test_an_ordinary_user_is_told_why_it_needs_root(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools/lab-files")
    parts = importlib.import_module("parts")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(parts.LabError, match="needs root: it shares this machine's whole root.*sudo"):
        parts.check_host("plain")


def test_a_missing_tool_is_named_with_its_package(tmp_path):
    for tool in ("python3", "c++", "mke2fs", "cpio", "env"):
        (tmp_path / tool).symlink_to(subprocess.run(["which", tool], capture_output=True, text=True).stdout.strip())
    done = tools_lab("--", "true", env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 125
    assert done.stderr == b"tools/lab: packages are missing: apt-get install qemu-system-x86\n"
