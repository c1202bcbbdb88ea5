# SPDX-License-Identifier: Apache-2.0
"""KVM that is not there, not ours, broken, or gone between the probe and the start; the guest's files
changed in the same moment. On a host whose KVM runs guests: conftest.py leaves this file out elsewhere."""

import json
import pathlib
import shutil
import struct
import subprocess
import sys

import pytest

from conftest import BIN, Msb, make_home, until
from test_bad_input import INITRAMFS, KERNEL, NO_DEV, elsewhere, parts, refused
from test_crash import named

DENY = pathlib.Path(__file__).with_name("deny.py")
KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_RUN = 0xAE00, 0xAE01, 0xAE80
KVM_SET_USER_MEMORY_REGION, KVM_CREATE_VCPU, KVM_SET_SREGS = 0x4020AE46, 0xAE41, 0x4138AE84
KVM_X86_SET_MSR_FILTER, KVM_IOEVENTFD = 0x4188AEC6, 0x4040AE79
NOBODY = 65534


def without(request, how):
    """A prefix under which one request to KVM does not work."""
    return [sys.executable, "-B", str(DENY), hex(request), how]


def doctor(msb, prefix=()):
    done = subprocess.run([*prefix, *msb.argv("doctor", "--json")], capture_output=True, env=msb.env,
                          stdin=subprocess.DEVNULL, timeout=120)
    answer = json.loads(done.stdout)
    return answer["isolation"], next(check for check in answer["checks"] if check["name"] == "kvm")


# What the probe finds.

BROKEN = [(KVM_GET_API_VERSION, "ENOTTY", "/dev/kvm is there and is not KVM's device"),
          (KVM_CREATE_VM, "EBUSY", "KVM on this host could not make a machine"),
          (KVM_RUN, "EFAULT", "KVM on this host could not make a machine"),
          (KVM_RUN, "dies", "KVM on this host cannot run ordinary guests"),
          (KVM_RUN, "hangs", "a guest of a few instructions did not end on this host's KVM")]


@pytest.mark.parametrize("request_number, how, said", BROKEN)
def test_a_kvm_that_fails_at_the_probe_is_told(msb, no_trace, request_number, how, said):
    # The test's own set-up has asked a KVM that works.
    (msb.home / "kvm-probe").unlink()
    prefix = without(request_number, how)
    assert said in refused(msb, "exe", "--require", "vm", msb.image, "--", "true", prefix=prefix)
    isolation, check = doctor(msb, prefix)
    assert isolation == "vm-emulated"
    assert (check["result"], check["state"]) == (said, "warning") and check["fix"] and check["cost"]


def test_a_kvm_that_dies_at_the_probe_leaves_the_emulated_machine(msb, no_trace):
    (msb.home / "kvm-probe").unlink()
    process = subprocess.Popen([*without(KVM_RUN, "dies"), *msb.argv("exe", "--memory", "128M", msb.image, "--", "true")],
                               stderr=subprocess.PIPE, env=msb.env, stdin=subprocess.DEVNULL)
    # An emulated machine on an emulated host is too slow to wait for; it starts, which is the point.
    assert process.stderr.readline() == (
        b"isolation vm-emulated: KVM on this host cannot run ordinary guests (msb doctor)\n")
    until(lambda: named("qemu-system"), "the emulated machine")
    process.terminate()
    process.communicate()
    # A busy host may have been the cause, so the next run asks again.
    assert msb.exe("echo", "ran").stderr == b""


@pytest.fixture
def user(images):
    """msb of an ordinary user, as a prefix and a home."""
    msb = Msb(make_home(images))
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", msb.home], check=True)
    yield msb, ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    shutil.rmtree(msb.home)


@pytest.mark.root
def test_a_kvm_that_is_forbidden_is_told(user):
    msb, as_user = user
    prefix = [*elsewhere(f"{NO_DEV}\nmknod -m 000 /dev/kvm c 10 232"), *as_user]
    message = refused(msb, "exe", "--require", "vm", msb.image, "--", "true", prefix=prefix)
    assert "--require vm: /dev/kvm is not yours to open" in message
    isolation, check = doctor(msb, prefix)
    assert isolation == "vm-emulated" and check["result"] == "/dev/kvm is not yours to open"
    assert "chmod 660 /dev/kvm" in check["fix"]


# What was remembered of the probe.

TAKEN = {
    "gone": NO_DEV,
    # The same device, inode and mode, so that what was remembered of it still counts.
    "not to be opened": "mount --bind /dev/kvm /dev/kvm; mount -o remount,bind,nodev /dev/kvm",
}


@pytest.mark.root
@pytest.mark.parametrize("how", TAKEN)
def test_what_is_remembered_of_kvm_is_not_believed_when_it_cannot_be_opened(msb, no_trace, how):
    said = "this host has no /dev/kvm" if how == "gone" else "/dev/kvm is not yours to open"
    assert said in refused(msb, "exe", "--require", "vm", msb.image, "--", "true", prefix=elsewhere(TAKEN[how]))
    # And back again.
    assert msb.exe("echo", "ran").stderr == b""


@pytest.mark.parametrize("request_number, how, said", [
    (KVM_CREATE_VM, "EBUSY", "kvm-error: KVM_CREATE_VM: Device or resource busy"),
    (KVM_SET_USER_MEMORY_REGION, "ENOMEM", "KVM_SET_USER_MEMORY_REGION: Cannot allocate memory"),
    (KVM_X86_SET_MSR_FILTER, "ENOTTY", "kvm-error: KVM_X86_SET_MSR_FILTER: Inappropriate ioctl for device"),
    (KVM_IOEVENTFD, "ENOSPC", "kvm-error: KVM_IOEVENTFD: No space left on device"),
    (KVM_CREATE_VCPU, "ENOMEM", "kvm-error: KVM_CREATE_VCPU: Cannot allocate memory"),
    (KVM_SET_SREGS, "EINVAL", "kvm-error: KVM_SET_SREGS: Invalid argument"),
    (KVM_RUN, "EFAULT", "kvm-error: CPU 0: KVM_RUN: Bad address"),
    (KVM_RUN, "dies", "msb-vmm was killed by signal 31"),
])
def test_a_kvm_that_fails_after_the_probe_is_named(msb, no_trace, request_number, how, said):
    message = refused(msb, "exe", "--memory", "128M", msb.image, "--", "true", prefix=without(request_number, how))
    assert "boot failed: " in message and said in message, message


def test_a_machine_that_hangs_in_kvm_is_ended(msb, no_trace):
    message = refused(msb, "exe", "--memory", "128M", "--timeout", "4s", msb.image, "--", "true", code=124,
                      prefix=without(KVM_RUN, "hangs"))
    assert "timeout: the time of --timeout" in message


# Between the probe and the start: a supervisor that changes something and then is the real one.

@pytest.fixture
def meanwhile(msb, tmp_path):
    """meanwhile(script, ...) -> what refused() says of a run for which `script` runs after the probe."""
    prefix = tmp_path / "bin"
    prefix.mkdir()
    for name in ("msb", "msb-vmm"):
        shutil.copy(BIN / name, prefix / name)
    shutil.copy(BIN / "msb-supervisor", prefix / "real-supervisor")
    for name, path in parts().items():
        shutil.copy(path, prefix / name)

    def run(script, where=()):
        (prefix / "msb-supervisor").write_text(f'#!/bin/sh -e\ncd {prefix}\n{script}\nexec {prefix}/real-supervisor "$@"\n')
        (prefix / "msb-supervisor").chmod(0o755)
        return refused(msb, "exe", "--memory", "128M", msb.image, "--", "true", prefix=where, program=prefix / "msb")
    return run


@pytest.mark.root
@pytest.mark.parametrize("script, said", [
    ("rm /dev/kvm", "KVM: open /dev/kvm: No such file or directory"),
    ("mount --bind /dev/kvm /dev/kvm; mount -o remount,bind,nodev /dev/kvm", "KVM: open /dev/kvm: Permission denied"),
    # A number that no driver has.
    ("rm /dev/kvm; mknod -m 666 /dev/kvm c 10 254", "KVM: open /dev/kvm: No such device"),
    ("mount --bind /dev/null /dev/kvm",
     "kvm-error: the descriptor given as /dev/kvm: KVM_GET_API_VERSION: Inappropriate ioctl for device"),
])
def test_a_kvm_that_is_taken_away_between_probe_and_start_is_named(no_trace, meanwhile, script, said):
    assert said in meanwhile(script, elsewhere(f"{NO_DEV}\nmknod -m 666 /dev/kvm c 10 232"))


def kernel_entry():
    """Where in the kernel's file its first instruction is: the PVH note's address, then its segment."""
    image = parts()[KERNEL].read_bytes()
    table, size, count = (struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54))
    # p_type, p_flags, p_offset, p_vaddr, p_paddr, p_filesz
    segments = [struct.unpack_from("<IIQQQQ", image, table + i * size) for i in range(count)]
    xen = b"\4\0\0\0" + b"%c\0\0\0" + b"\x12\0\0\0Xen\0"
    notes = [(image.find(xen % width), width) for width in (4, 8)]
    at, width = next(found for found in notes if found[0] >= 0)
    entry = int.from_bytes(image[at + 16:at + 16 + width], "little")
    return next(offset + entry - start for kind, _, offset, _, start, size in segments
                if kind == 1 and start <= entry < start + size)


# Breakpoints, for which there is no handler yet.
GARBAGE = f"head -c 4096 /dev/zero | tr '\\000' '\\314' | dd of={KERNEL} bs=1 seek={{}} conv=notrunc status=none"


@pytest.mark.parametrize("script, said", [
    (f"truncate -s 4M {KERNEL}", "guest kernel: a segment is not in the file: truncated?"),
    (f"truncate -s 0 {KERNEL}", "is not complete"),
    (f"rm {KERNEL}", "guest kernel: open"),
    (f"head -c 3000000 /dev/zero > {KERNEL}", "is not an ELF file"),
    (f"cp /bin/bash {KERNEL}", "guest kernel: "),
    (GARBAGE, "guest-reset: triple fault on CPU 0; last stage: machine started, nothing on its console"),
    (f"truncate -s 100K {INITRAMFS}", "panic"),
    (f"truncate -s 0 {INITRAMFS}", "is not complete"),
    (f"rm {INITRAMFS}", "guest initramfs: open"),
    (f"head -c 3000000 /dev/zero > {INITRAMFS}", "is not a cpio archive"),
    (f"tr '\\000' Z < {INITRAMFS} > new; mv new {INITRAMFS}", "panic"),
])
def test_a_guests_file_that_changes_between_probe_and_start_is_named(no_trace, meanwhile, script, said):
    message = meanwhile(script.replace("{}", str(kernel_entry())))
    assert said in message, message
