# SPDX-License-Identifier: Apache-2.0
"""msb-vmm alone, on KVM: what boots, and by which name each machine ends. Its seccomp filters are in
force: a call that they do not know shows here as a machine that dies of SIGSYS."""

import pathlib
import struct
import subprocess
import sys
import time

import pytest

BUILD_INITRAMFS = pathlib.Path(__file__).resolve().parents[2] / "guest/initramfs/build"
RESET = "end guest-reset triple fault on CPU 0"


@pytest.mark.parametrize("cpus", [*range(1, 9), 32])
def test_boots_with_that_many_processors(start, cpus):
    one = start(cpus=cpus)
    one.hello()
    assert one.shell("nproc").strip() == str(cpus)
    assert one.shutdown() == (0, ["started", "channel open", "channel closed", RESET])


def test_disks_random_numbers_and_output_work_under_seccomp(start):
    one = start(cpus=2)
    one.hello()
    assert one.shell("head -c 100000 /dev/hwrng | wc -c").strip() == "100000"
    one.shell("dd if=/dev/urandom of=/x bs=1M count=20 2>/dev/null; sync; sha256sum /x > /sum")
    one.shell("echo 3 > /proc/sys/vm/drop_caches; sha256sum -c /sum; rm /x; sync")
    assert len(one.shell("head -c 3000000 /dev/zero")) == 3000000
    assert one.shutdown()[0] == 0


def test_a_guest_finds_nothing_wrong_with_its_machine(start):
    one = start(cpus=2)
    one.hello()
    log = one.shell("dmesg")
    for bad in ("Firmware Bug", "WARNING:", "BUG:", "consistency problem", "unchecked MSR access", "mismatch"):
        assert bad not in log, [line for line in log.splitlines() if bad in line]
    assert "TSC deadline timer available" in log
    one.shutdown()


def test_a_reset_by_the_guest_ends_the_machine(start):
    one = start()
    one.hello()
    one.greet()
    with pytest.raises(Exception, match="exit"):
        one.run(["reboot", "-f"])
    assert one.wait_end() == (0, ["started", "channel open", "channel closed", RESET])


def test_a_guest_that_switches_itself_off_closes_its_channel(start):
    """There is no switch: it halts for good, and the supervisor learns it from the channel."""
    one = start()
    one.hello()
    one.send_exec(["poweroff", "-f"])
    deadline = time.monotonic() + 60
    while "channel closed" not in [line for _, line in one.lines]:
        assert one.wait_for_anything(deadline), one.story()


@pytest.fixture
def panicking(tmp_path):
    """An initramfs whose init ends at once."""
    source, init, archive = tmp_path / "init.c", tmp_path / "init", tmp_path / "init.cpio"
    source.write_text("int main(void) { return 3; }\n")
    subprocess.run(["cc", "-static", "-o", init, source], check=True)
    subprocess.run([sys.executable, BUILD_INITRAMFS, archive, init], check=True)
    return archive


def test_a_panic_is_on_the_console_before_the_end(start, panicking):
    one = start(initramfs=panicking)
    assert one.wait_end() == (0, ["started", RESET])
    assert b"Kernel panic - not syncing: Attempted to kill init!" in one.console_text


def kernel_of(code):
    """An ELF file with a PVH entry, at which `code` lies."""
    entry = 1 << 20
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen", entry)
    body = code.ljust(16, b"\xf4") + note
    at = 64 + 2 * 56
    return (b"\x7fELF\2\1\1".ljust(16, b"\0")
            + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, entry, 64, 0, 0, 64, 56, 2, 0, 0, 0)
            + struct.pack("<IIQQQQQQ", 1, 5, at, entry, entry, len(body), len(body), 16)
            + struct.pack("<IIQQQQQQ", 4, 4, at + 16, 0, 0, len(note), len(note), 4) + body)


@pytest.mark.parametrize("where", [0xd0000000, 0xe0000000, 0xfee00000], ids=["a device", "nothing", "the local APIC"])
def test_a_guest_that_runs_code_where_no_memory_is_ends_by_a_name(start, tmp_path, where):
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(kernel_of(b"\xb8" + struct.pack("<I", where) + b"\xff\xe0"))  # mov eax, where; jmp eax
    assert start(kernel=kernel).wait_end() == (
        1, ["started", f"end kvm-error CPU 0: KVM cannot go on: internal error 1, at {where:#x}"])


def test_a_guest_of_an_instruction_that_is_none_ends_by_a_name(start, tmp_path):
    kernel = tmp_path / "vmlinux"
    kernel.write_bytes(kernel_of(b"\x0f\x0b"))
    assert start(kernel=kernel).wait_end() == (0, ["started", RESET])


def test_the_supervisors_end_is_the_machines_end(start):
    one = start()
    one.hello()
    one.control.close()
    assert one.process.wait(timeout=20) == 1


def test_a_truncated_kernel_is_named(start, files, tmp_path):
    short = tmp_path / "vmlinux"
    with open(files["kernel"], "rb") as whole:
        short.write_bytes(whole.read(4 << 20))
    code, lines = start(kernel=short).wait_end()
    assert code == 1
    assert lines[0].startswith("end boot-failed guest kernel: a segment is not in the file: truncated?")


def test_too_little_memory_is_named(start):
    code, lines = start(memory=32).wait_end()
    assert code == 1
    assert "at least 64 MiB" in lines[0] and lines[0].startswith("end boot-failed")


def test_what_is_not_kvm_is_named(start):
    code, lines = start(kvm="/dev/null").wait_end()
    assert code == 1
    assert lines[0].startswith("end kvm-error the descriptor given as /dev/kvm"), lines
