# SPDX-License-Identifier: Apache-2.0
"""What programs find inside: a Linux machine of their own in which the ordinary things work and which
lives on, whatever they do to it."""

import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile
import time
import zipfile

import pexpect
import pytest

from conftest import ISOLATION, ROOT, Msb, make_home, remove_home, until

PYTHON = "microsandbox/python"
# PR_CAP_ALL of a file capability: cap_net_raw, permitted and effective, version 2.
CAP_NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")
# What a start and 5 000 processes may take on a loaded host without KVM.
LONG = 300


def folder(images):
    return pathlib.Path(os.environ.get("MSB_TEST_IMAGES", images.parent))


@pytest.fixture(scope="module")
def python(images):
    """A home with microsandbox/python and one detached sandbox of it, `py`, of 1 GiB."""
    tar = folder(images) / "python.tar"
    if not tar.exists():
        subprocess.run([ROOT / "guest/images/python/build", "--tar", tar], check=True)
    msb = Msb(make_home(images), PYTHON)
    msb.run("image", "import", PYTHON, tar, "--quiet", timeout=LONG)
    msb.run("exe", "-d", "--quiet", "--memory", "1G", "--name", "py", PYTHON)
    yield msb
    remove_home(msb)


def sh(msb, script, *options, box="box", **how):
    return msb.out("exec", *options, box, "--", "sh", "-c", script, **how)


def ended(msb, name):
    def outcome():
        found = json.loads(msb.out("inspect", name))
        return found["outcome"] if found["state"] == "ended" else None
    return until(outcome, f"the end of {name}")


# Namespaces, users, files.

def test_user_namespaces_and_mounts_in_them_work(python):
    python.run("exec", "py", "--", "unshare", "-Ur", "true")
    libc = "import ctypes; m = ctypes.CDLL(None, use_errno=True).mount; "
    script = (libc + "import os; [os.makedirs('/tmp/o/' + d) for d in 'lump']; "
              "assert m(b't', b'/tmp/o/m', b'tmpfs', 0, None) == 0, os.strerror(ctypes.get_errno()); "
              "[os.makedirs('/tmp/o/m/' + d) for d in 'luwm']; "
              "r = m(b'o', b'/tmp/o/m/m', b'overlay', 0, b'lowerdir=/tmp/o/m/l,upperdir=/tmp/o/m/u,"
              "workdir=/tmp/o/m/w,userxattr'); "
              "assert r == 0, os.strerror(ctypes.get_errno()); print('mounted')")
    assert python.out("exec", "--user", "nobody", "py", "--", "unshare", "-Urm", "python3", "-c",
                      script) == "mounted\n"


def test_su_changes_the_user(python):
    out = python.out("exec", "py", "--", "su", "nobody", "-s", "/bin/sh", "-c", "id")
    assert out == "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)\n"


@pytest.mark.parametrize("user, expected", [
    (None, "0 0 0 /root"), ("user", "1000 1000 1000 50 /home/user"), ("1000", "1000 1000 1000 50 /home/user"),
    ("user:staff", "1000 50 50 /home/user"), ("1000:7", "1000 7 7 /home/user"), ("4321", "4321 0 0 /"),
    ("4321:8765", "4321 8765 8765 /"),
])
def test_users_come_from_the_images_own_files(shared, user, expected):
    options = ["--user", user] if user else []
    assert sh(shared, "echo $(id -u) $(id -g) $(id -G) $HOME", *options).strip() == expected


def test_the_hostname_is_the_name_and_the_clock_the_hosts(shared):
    assert sh(shared, "hostname; cat /etc/hostname") == "box\nbox\n"
    before = time.time()
    inside = int(sh(shared, "date +%s"))
    assert before - 2 < inside < time.time() + 2


def test_the_workdir_is_where_a_program_starts(shared):
    assert sh(shared, "pwd", "--workdir", "/var/tmp") == "/var/tmp\n"
    assert sh(shared, "pwd") == "/\n"


def test_cgroups_and_container_stores_are_there(shared):
    assert "cgroup2" in sh(shared, "grep ' /sys/fs/cgroup ' /proc/mounts")
    assert re.fullmatch(r"0::/sandbox/e\d+\n", sh(shared, "cat /proc/self/cgroup"))
    assert "memory" in sh(shared, "cat /sys/fs/cgroup/cgroup.controllers")
    for store in ("docker", "containers"):
        assert sh(shared, f"grep ' /var/lib/{store} ' /proc/mounts").split()[2] == "ext4"
    assert " overlay " in sh(shared, "grep ' / ' /proc/mounts")


def test_fuse_is_everybodys(shared):
    assert sh(shared, "stat -c %a /dev/fuse") == "666\n"


def test_the_agents_port_is_its_own(shared):
    done = shared.run("exec", "box", "--", "sh", "-c", "exec 3<>/dev/vport0p1", expect=None)
    assert done.returncode != 0 and b"usy" in done.stderr, done.stderr


def capable_busybox():
    """A tar of busybox twice, once with a file capability."""
    busybox = shutil.which("busybox") or "/bin/busybox"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, caps in (("bin/busybox", None), ("bin/busybox-capable", CAP_NET_RAW)):
            entry = tarfile.TarInfo(name)
            entry.mode, entry.size = 0o755, os.path.getsize(busybox)
            if caps:
                entry.pax_headers = {"SCHILY.xattr.security.capability": caps.decode("latin-1")}
            with open(busybox, "rb") as data:
                tar.addfile(entry, data)
    return out.getvalue()


@pytest.mark.parametrize("program, capabilities", [("busybox", "0" * 16), ("busybox-capable", "0000000000002000")])
def test_file_capabilities_of_the_image_hold(msb, tmp_path, program, capabilities):
    tar = tmp_path / "capable.tar"
    tar.write_bytes(capable_busybox())
    assert msb.out("exe", "--quiet", "--user", "1000:1000", "--rootfs", tar, "--", f"/bin/{program}", "grep",
                   "^CapEff", "/proc/self/status") == f"CapEff:\t{capabilities}\n"


def test_setuid_programs_of_the_image_work(python):
    # It reads /etc/shadow, which nobody but root may.
    assert python.out("exec", "--user", "nobody", "py", "--", "passwd", "-S").startswith("nobody L ")


# Python, packages, shells.

def wheel():
    """A pure Python wheel of one module."""
    info = "inhouse-1.0.dist-info"
    parts = {"inhouse.py": "VALUE = 42\n",
             f"{info}/METADATA": "Metadata-Version: 2.1\nName: inhouse\nVersion: 1.0\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*parts, f"{info}/RECORD"]))
    return out.getvalue()


def test_a_venv_is_made_and_pip_installs_a_local_wheel(python):
    name = "/tmp/inhouse-1.0-py3-none-any.whl"
    python.run("exec", "py", "--", "sh", "-c", f"cat > {name}", data=wheel())
    sh(python, f"python3 -m venv /tmp/venv && /tmp/venv/bin/pip install --no-index --quiet {name}", box="py",
       timeout=LONG)
    assert sh(python, "/tmp/venv/bin/python -c 'import inhouse; print(inhouse.VALUE)'", box="py") == "42\n"


def test_dpkg_installs_a_local_package(python):
    script = """set -e
        mkdir -p /tmp/deb/DEBIAN /tmp/deb/opt/hello
        echo hello > /tmp/deb/opt/hello/text
        printf '%s\\n' 'Package: hello-inside' 'Version: 1.0' 'Architecture: all' 'Description: test' \\
               'Maintainer: test <t@example.org>' > /tmp/deb/DEBIAN/control
        printf '#!/bin/sh\\necho configured > /opt/hello/state\\n' > /tmp/deb/DEBIAN/postinst
        chmod 755 /tmp/deb/DEBIAN/postinst
        dpkg-deb --build --root-owner-group /tmp/deb /tmp/hello.deb
        dpkg -i /tmp/hello.deb
        cat /opt/hello/text /opt/hello/state
        dpkg --purge hello-inside
        test ! -e /opt/hello/text"""
    out = sh(python, script, box="py", timeout=LONG)
    assert "hello\nconfigured\n" in out


def test_bash_has_job_control(python):
    child = python.terminal("exec", "py", "--", "bash", "--norc")
    child.sendline("PS1='pro''mpt> '; set -m")
    child.expect_exact("prompt> ")
    child.sendline("sleep 1000 &")
    child.expect(r"\[1\] \d+")
    child.sendline("fg")
    child.expect_exact("sleep 1000\r\n")
    child.send("\x1a")
    child.expect("Stopped")
    child.sendline("bg; jobs")
    child.expect("Running")
    child.sendline("kill %1; wait %1; echo co''de $?")
    child.expect_exact("code 143")
    child.sendline("exit 3")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3


# The machine under pressure.

def test_five_thousand_processes_run_at_once(msb):
    msb.run("exe", "-d", "--quiet", "--memory", "2G", "--name", "crowd", msb.image)
    # A process costs the kernel and its own few pages about 200 KiB: 1 GiB is too little for so many.
    # Each waits for somebody to open the fifo for writing.
    script = ("mkfifo /tmp/gate; i=0; while [ $i -lt 5000 ]; do read x < /tmp/gate & i=$((i+1)); done; "
              "echo up; read x; : > /tmp/gate; wait; echo done")
    crowd = msb.start("exec", "crowd", "--", "sh", "-c", script, stdin=subprocess.PIPE)
    assert crowd.stdout.readline() == b"up\n"
    assert int(sh(msb, "ls /proc | grep -c '^[0-9]'", box="crowd")) > 5000
    out, err = crowd.communicate(b"\n", timeout=LONG)
    assert out == b"done\n" and crowd.returncode == 0, err


def test_the_disk_is_as_large_as_asked_and_full_is_enospc(msb):
    msb.run("exe", "-d", "--quiet", "--memory", "128M", "--storage", "64M", "--name", "small", msb.image)
    done = msb.run("exec", "small", "--", "dd", "if=/dev/zero", "of=/fill", "bs=1M", "count=1000", expect=1)
    assert b"No space left" in done.stderr
    written = int(msb.out("exec", "small", "--", "stat", "-c", "%s", "/fill"))
    assert 40 << 20 < written < 64 << 20
    done = msb.run("exec", "small", "--", "sh", "-c", "echo x > /more", expect=None)
    assert done.returncode in (0, 1)
    assert msb.out("exec", "small", "--", "sh", "-c", "rm /fill; echo again > /f; cat /f") == "again\n"


def test_sixty_four_mebibytes_are_enough(msb):
    done = msb.run("exe", "--quiet", "--memory", "64M", msb.image, "--", "sh", "-c",
                   "seq 1 10000 | tail -n 1; dd if=/dev/zero of=/tmp/f bs=1M count=100 2>/dev/null; echo $?")
    assert done.stdout == b"10000\n0\n"


def test_a_memory_hog_is_named_and_its_sandbox_lives(shared):
    done, status = shared.status("exec", "box", "--", "sh", "-c", "x=x; while :; do x=$x$x; done")
    assert done.returncode == 137 and status["outcome"]["kind"] == "out_of_memory"
    assert b"out of memory" in done.stderr
    assert sh(shared, "echo alive") == "alive\n"


def test_a_storm_of_forks_leaves_the_sandbox_answering(msb):
    msb.detached()
    # As many as fit the memory, each forking without an end: what is short is the processor.
    bomb = msb.start("exec", "box", "--", "sh", "-c",
                     "for i in $(seq 100); do (while :; do (:) ; done) & done; echo up; sleep 1000")
    assert bomb.stdout.readline() == b"up\n"
    assert msb.out("exec", "box", "--", "echo", "here") == "here\n"


def test_a_fork_bomb_is_ended_from_outside(msb):
    msb.detached()
    bomb = msb.start("exec", "box", "--", "sh", "-c", "echo up; b() { b | b & }; b; sleep 1000")
    assert bomb.stdout.readline() == b"up\n"
    time.sleep(2)
    msb.run("kill", "box")
    bomb.communicate(timeout=60)
    assert ended(msb, "box")["kind"] in ("killed", "stopped")


def test_a_panic_is_named(msb):
    # Of the panics that root can cause this one needs nothing but two files.
    done, status = msb.status("exe", "--memory", "96M", msb.image, "--", "sh", "-c",
                              "echo 2 > /proc/sys/vm/panic_on_oom; x=x; while :; do x=$x$x; done")
    assert done.returncode == 120 and status["outcome"]["kind"] == "machine_died"
    assert "panic" in status["outcome"]["detail"], status
    assert b"panic" in done.stderr


def test_what_a_command_writes_to_the_console_ends_nothing(msb):
    script = ("for said in 'reboot: System halted' 'reboot: Power down' 'Kernel panic - not syncing: not really'; do "
              "echo \"$said\" > /dev/console; sleep 1; done; echo alive")
    assert msb.exe("sh", "-c", script).stdout == b"alive\n"


def test_a_reset_from_inside_is_a_machine_that_died(msb):
    # Trouble that the machine lived through is not what ends it. QEMU tells of a port once a second.
    done, status = msb.status("exe", "--memory", "96M", msb.image, "--", "sh", "-c",
                              "echo 'Kernel panic - not syncing: not really' > /dev/console; sleep 3; "
                              "reboot -f; sleep 100")
    assert done.returncode == 120 and status["outcome"]["kind"] == "machine_died"
    assert "panic" not in status["outcome"]["detail"]


def test_the_first_process_cannot_be_killed(shared):
    for number in ("KILL", "TERM", "INT", "SEGV", "CHLD", "PIPE", "PWR"):
        assert sh(shared, f"kill -{number} 1; echo $?") == "0\n"
    assert sh(shared, "cat /proc/1/comm") == ("msb-agent\n" if ISOLATION == "process" else "init\n")


# Cgroups of execs.

def groups(msb):
    return set(sh(msb, "ls /sys/fs/cgroup/sandbox | grep '^e'").split())


def test_a_kill_takes_the_whole_tree(shared):
    script = ("trap '' INT; setsid sh -c 'sleep 9871 & exec sleep 9871' & "
              "mkdir /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/below; echo ready; sleep 9871")
    process = shared.start("exec", "box", "--", "sh", "-c", script)
    assert process.stdout.readline() == b"ready\n"
    count = "ps | grep -c '[s]leep 9871'"
    until(lambda: int(sh(shared, f"{count} || true")) >= 3, "the sleepers", 20)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(timeout=60) == 137
    until(lambda: int(sh(shared, f"{count} || true")) == 0, "the end of the whole tree", 20)
    # The cgroup that the program made goes too.
    until(lambda: sh(shared, "ls -d /sys/fs/cgroup/sandbox/*/below 2>/dev/null || true") == "",
          "the end of the nested cgroup", 20)


def test_cgroups_go_when_the_last_descendant_ends(shared):
    before = groups(shared)
    for _ in range(int(os.environ.get("MSB_GROUP_ROUNDS", "30"))):
        shared.run("exec", "box", "--", "sh", "-c", "sleep 9872 >/dev/null 2>&1 &")
    assert len(groups(shared) - before) >= 30
    sh(shared, "killall sleep")
    # Nothing but this look asks the agent for anything.
    until(lambda: len(groups(shared) - before) <= 2, "the cgroups to go", 20)
