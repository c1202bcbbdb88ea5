# SPDX-License-Identifier: Apache-2.0
"""Hosts that lack something, each made here: microbox says what, and what to do; nothing starts weaker than asked."""

import errno
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile

import pytest
from conftest import BIN

MICROBOX = str(BIN / "microbox")
BINDS = ["--mount-ro", "/usr:/usr", "--mount-ro", "/bin:/bin", "--mount-ro", "/lib:/lib"]
RUN = [*BINDS, "--", "/bin/sh", "-c", "echo ran"]
# In a user namespace between the host and microbox, whose limits are its own.
ABOVE = ["unshare", "--user", "--map-current-user", "--keep-caps", "sh", "-c"]
# A child of Python that cannot make a call: seccomp's answer to one number, then exec.
SYSCALL = {"landlock_create_ruleset": 444, "clone3": 435, "unshare": 272}


def doctor(*prefix, expect, flags=()):
    """Its checks by name, and its exit code as expected."""
    done = subprocess.run([*prefix, MICROBOX, "--log-format", "json", *flags, "--doctor"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == expect, (done.stdout, done.stderr)
    said = json.loads(done.stdout)
    assert said["default_works"] == (expect == 0)
    return {check["name"]: check for check in said["checks"]}


def refused(*prefix, expect=125, flags=(), words=RUN):
    """What a run says that must not start: the message and the fix."""
    done = subprocess.run([*prefix, MICROBOX, *flags, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (expect, ""), (done.stdout, done.stderr)
    lines = done.stderr.splitlines()
    return [line for line in lines if line.startswith("microbox: ")][-1], next(line for line in lines if line.startswith("  fix: "))


def without(calls, err):
    """A prefix for commands under a filter that answers `calls` with `err`."""
    load, equal, give = 0x20, 0x15, 0x06
    program = [struct.pack("HBBI", load, 0, 0, 0)]
    for call in calls:
        program.append(struct.pack("HBBI", equal, 0, 1, SYSCALL[call]))
        program.append(struct.pack("HBBI", give, 0, 0, 0x50000 | err))
    program.append(struct.pack("HBBI", give, 0, 0, 0x7FFF0000))
    code = """
import ctypes, os, sys
code = bytes.fromhex(sys.argv[1])
text = ctypes.create_string_buffer(code)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, ctypes.addressof(text)))) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""
    return ["/usr/bin/python3", "-Bc", code, b"".join(program).hex()]


def test_a_host_that_has_everything():
    if os.geteuid() != 0:
        checks = doctor(expect=1)  # No cgroup of its own: see below.
        assert [name for name, check in checks.items() if check["state"] == "failed"] == ["limits"]
    else:
        checks = doctor(expect=0)
    assert {"user namespaces", "namespaces", "landlock", "sandbox", "root from a directory", "overlay marks", "refused calls shown", "ids",
            "security label", "limits", "bridge network"} == set(checks)
    for check in checks.values():
        assert set(check) == {"name", "state", "tried", "result", "cost", "fix"}
        assert check["state"] != "ok" or (check["cost"] is None and check["fix"] is None)
    assert checks["sandbox"]["result"].startswith("started in ") and checks["landlock"]["result"].startswith("ABI ")
    assert checks["namespaces"]["result"] == "mount, pid, network, ipc, uts, cgroup, time"
    text = subprocess.run([MICROBOX, "--doctor"], capture_output=True, text=True, timeout=60, check=False).stdout
    for name in checks:
        assert f" {name} " in text


def test_a_user_without_a_cgroup_is_told_which_limits_are_missing():
    if os.geteuid() == 0:
        return  # It has them; without a tree below.
    checks = doctor(expect=1)
    assert "--memory, --cpus and --pids" in checks["limits"]["result"] and "not enforced" in checks["limits"]["cost"]
    said, fix = refused(flags=["--require-limits"])
    # The same words, but for the name of the cgroup that could not be made.
    words = [re.sub(r"box-[0-9]+-[0-9a-f]+", "box", text) for text in (checks["limits"]["result"], said)]
    assert words[0] in words[1] and checks["limits"]["fix"] in fix
    # Whoever asks for none lacks none.
    doctor(expect=0, flags=["--memory", "0", "--cpus", "0", "--pids", "0"])


@pytest.mark.root
def test_a_host_whose_cgroups_are_hidden():
    hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh"]
    checks = doctor(*hidden, expect=1)
    assert "--memory, --cpus and --pids" in checks["limits"]["result"] and checks["sandbox"]["state"] == "ok"
    said, _ = refused(*hidden, flags=["--require-limits"])
    assert "not enforced: --memory, --cpus and --pids" in said


@pytest.mark.root
def test_a_container_that_masks_its_proc():
    masked = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc/bus && exec "$@"', "sh"]
    for prefix in ([], ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]):
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            os.chmod(folder, 0o755)
            program = shutil.copy(MICROBOX, folder)
            done = subprocess.run([*masked, *prefix, program, *RUN], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                                  check=False)
            assert (done.returncode, done.stdout) == (125, ""), done.stderr
            assert "mount /proc: Operation not permitted" in done.stderr and "as containers do" in done.stderr
    check = doctor(*masked, expect=1)["sandbox"]
    assert check["state"] == "failed" and "mount /proc" in check["result"] and check["fix"] in done.stderr


def test_a_host_that_allows_no_user_namespaces():
    forbidden = [*ABOVE, 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    checks = doctor(*forbidden, expect=1)
    for name in ("user namespaces", "namespaces", "sandbox"):
        assert checks[name]["state"] == "failed" and checks[name]["cost"] == "no sandbox starts"
        assert "user.max_user_namespaces is 0" in checks[name]["fix"], checks[name]
    said, fix = refused(*forbidden, words=["--", "true"])
    assert "clone3 with namespaces" in said and "user.max_user_namespaces is 0" in fix


def test_a_host_that_allows_no_networks():
    forbidden = [*ABOVE, 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"', "sh"]
    checks = doctor(*forbidden, expect=1)
    assert checks["user namespaces"]["state"] == "ok" and checks["namespaces"]["result"].startswith("network: ")
    assert "user.max_net_namespaces is 0" in checks["namespaces"]["fix"]
    assert "user.max_net_namespaces is 0" in refused(*forbidden, words=["--", "true"])[1]
    if os.geteuid() == 0:
        said, fix = refused(*forbidden)
        assert "open /usr: Operation not permitted" in said and "--privileged" in fix


def test_a_security_module_that_forbids_namespaces():
    # What AppArmor answers to a program without a profile.
    forbidden = without(["clone3", "unshare"], errno.EACCES)
    checks = doctor(*forbidden, expect=1)
    assert checks["user namespaces"]["result"] == "Permission denied" and "forbids user namespaces" in checks["user namespaces"]["fix"]
    said, fix = refused(*forbidden)
    assert "Permission denied" in said and checks["sandbox"]["fix"] in fix


def test_a_kernel_without_landlock():
    missing = without(["landlock_create_ruleset"], errno.ENOSYS)
    checks = doctor(*missing, expect=1)
    assert checks["landlock"]["state"] == checks["sandbox"]["state"] == "failed"
    said, fix = refused(*missing)
    assert "this kernel has no Landlock" in said and checks["landlock"]["fix"] in fix and "CONFIG_SECURITY_LANDLOCK" in fix
    off, _ = refused(*without(["landlock_create_ruleset"], errno.EOPNOTSUPP))
    assert "switched off at boot" in off


@pytest.mark.root
def test_ids_that_are_not_there_are_told():
    said, fix = refused(*ABOVE, 'exec "$@"', "sh", words=["--", "true"])
    assert "uid_map" in said and "in a container" in fix
