# SPDX-License-Identifier: Apache-2.0
"""Whatever is missing, broken or refused: one error with its remedy, the right exit code, and nothing left
of the attempt. test_cli.py has what a wrong command line gets, test_image.py what msb-image refuses."""

import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest

from conftest import BIN

KERNEL, INITRAMFS = "vmlinux", "initramfs.cpio"


def parts():
    """The guest's files as msb finds them beside itself."""
    for place in (BIN, BIN.parent / "lib/microsandbox"):
        if (place / KERNEL).exists():
            return {KERNEL: place / KERNEL, INITRAMFS: place / INITRAMFS}
    pytest.fail(f"no guest kernel beside {BIN}", pytrace=False)


def refused(msb, *words, code=125, prefix=(), env=None, program=None):
    """Runs what must be refused; its message. Lines about the isolation and the limits in force do not count."""
    argv = msb.argv(*words)
    done = subprocess.run([*prefix, str(program or argv[0]), *argv[1:]], capture_output=True, timeout=120,
                          env={**msb.env, **(env or {})}, stdin=subprocess.DEVNULL)
    text = done.stderr.decode()
    assert done.returncode == code, text
    lines = [line for line in text.splitlines() if not line.startswith(("isolation ", "limits "))]
    assert done.stdout == b""
    assert lines[0].startswith("msb: "), lines
    assert len(lines) == 2 and lines[1].startswith("  fix: "), lines
    return lines[0]


def elsewhere(script):
    """A prefix that runs msb in mounts of its own, made by `script`. Needs root."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script + '\nexec "$@"', "sh"]


# The guest's parts.

def broken(kind, original, place):
    whole = original.read_bytes()
    content = {"empty": b"", "noise": b"\x5a" * (2 << 20), "half": whole[:len(whole) // 2],
               "head only": whole[:4096] + b"\0" * (2 << 20)}[kind]
    path = place / original.name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("part", [KERNEL, INITRAMFS])
@pytest.mark.parametrize("kind", ["empty", "noise", "half", "head only"])
def test_a_broken_part_of_the_guest_is_refused(msb, no_trace, tmp_path, part, kind):
    path = broken(kind, parts()[part], tmp_path)
    variable = "MICROSANDBOX_KERNEL" if part == KERNEL else "MICROSANDBOX_INITRAMFS"
    message = refused(msb, "exe", "--quiet", msb.image, "--", "true", env={variable: str(path)})
    assert str(path) in message or "boot failed: " in message


@pytest.mark.parametrize("part", [KERNEL, INITRAMFS, "msb-supervisor", "msb-vmm"])
def test_a_missing_part_is_named(msb, no_trace, tmp_path, part):
    prefix = tmp_path / "bin"
    prefix.mkdir()
    for name in ("msb", "msb-supervisor", "msb-vmm", "msb-image"):
        shutil.copy(BIN / name, prefix / name)
    for name, path in parts().items():
        (prefix / name).symlink_to(path)
    (prefix / part).unlink()
    done = subprocess.run([prefix / "msb", "exe", "--quiet", msb.image, "--", "true"], capture_output=True,
                          env=msb.env, stdin=subprocess.DEVNULL)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 125 and part in lines[0] and len(lines) == 2, lines
    assert "tools/install" in lines[1]


# Root disks.

def disk(msb):
    (path,) = (pathlib.Path(msb.home) / "images/disks/sha256").iterdir()
    return path if path.is_file() else next(file for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize("kind", ["missing", "empty", "half", "no magic number"])
def test_a_broken_root_disk_is_refused(msb, no_trace, kind):
    path = disk(msb)
    content = path.read_bytes()
    path.chmod(0o600)
    path.unlink()
    if kind != "missing":
        path.write_bytes({"empty": b"", "half": content[:len(content) // 2],
                          "no magic number": b"\0" * len(content)}[kind])
    assert msb.image in refused(msb, "exe", "--quiet", msb.image, "--", "true")


def test_a_root_disk_of_rubbish_fails_the_boot_in_words(msb, no_trace):
    path = disk(msb)
    content = bytearray(path.read_bytes())
    # The superblock stays, with its checksum; what it leads to does not.
    content[2048:] = b"\xa5" * (len(content) - 2048)
    path.chmod(0o600)
    path.write_bytes(content)
    message = refused(msb, "exe", "--quiet", msb.image, "--", "/bin/true", code=125)
    assert message


def archive(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, link in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, link, 0o755
            tar.addfile(entry)
    return out.getvalue()


FILE, LINK, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE = {
    "dots": archive(("a/../../x", FILE, "")),
    "hard link out": archive(("h", HARD, "../../etc/passwd")),
    "truncated": archive(*[(f"f{i}", FILE, "") for i in range(9)])[:1300],
    "no tar": b"\x5a" * 5000,
    "empty": b"",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tar_is_refused(msb, no_trace, tmp_path, kind):
    tar = tmp_path / "hostile.tar"
    tar.write_bytes(HOSTILE[kind])
    assert "--rootfs" in refused(msb, "exe", "--rootfs", tar, "--", "true")


def with_extra(test_tar, place, *entries):
    """The test image's tar with more entries in it."""
    path = place / "extra.tar"
    shutil.copy(test_tar, path)
    with tarfile.open(path, "a") as tar:
        for name, kind, link in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, link, 0o666
            entry.devmajor, entry.devminor = 1, 3
            tar.addfile(entry)
    return path


def test_absolute_names_links_and_devices_stay_inside(msb, tmp_path, test_tar):
    tar = with_extra(test_tar, tmp_path, ("/abs", FILE, ""), ("out", LINK, "/etc/passwd"),
                     ("node", tarfile.CHRTYPE, ""), ("down", LINK, "/var/tmp"), ("down/under", FILE, ""))
    out = msb.out("exe", "--quiet", "--rootfs", tar, "--", "/bin/sh", "-c",
                  "ls -d /abs; head -n 1 /out; stat -c %F /node; echo x > /node && echo written")
    assert out.splitlines() == ["/abs", "root:x:0:0:root:/root:/bin/sh", "character special file", "written"]
    assert not pathlib.Path("/abs").exists() and not pathlib.Path("/var/tmp/under").exists()


# What is asked for cannot be had.

@pytest.mark.parametrize("words", [
    ["--memory", "0"], ["--memory", "1T"], ["--memory", "-1"], ["--memory", "1"], ["--cpus", "0"], ["--cpus", "99"],
    ["--cpus", "-1"], ["--storage", "0"], ["--storage", "999999T"], ["--timeout", "0"], ["--workdir", "relative"],
    ["--env", "=x"], ["--hostname", "a b"],
])
def test_amounts_that_cannot_be_are_refused_before_anything_starts(msb, no_trace, words):
    refused(msb, "exe", *words, msb.image, "--", "true")


@pytest.mark.parametrize("words, code", [
    (["--user", "nobody-here", "IMAGE", "--", "true"], 125), (["--user", "0:nobodies", "IMAGE", "--", "true"], 125),
    (["--workdir", "/none", "IMAGE", "--", "true"], 125), (["IMAGE", "--", "no-such-command"], 127),
    (["IMAGE", "--", "/etc/not-executable"], 126),
])
def test_a_command_that_cannot_start_leaves_nothing(msb, no_trace, words, code):
    words = [msb.image if word == "IMAGE" else word for word in words]
    refused(msb, "exe", "--quiet", *words, code=code)


# The host.

@pytest.mark.root
def test_no_room_for_a_root_disk_is_told(msb, no_trace, test_tar, tmp_path):
    script = f"mount -t tmpfs -o size=1m,mode=700 none {tmp_path}"
    message = refused(msb, "exe", "--rootfs", test_tar, "--", "/bin/true", prefix=elsewhere(script),
                      env={"MICROSANDBOX_HOME": str(tmp_path / "home")})
    assert "No space left" in message or "storage full" in message


@pytest.mark.root
def test_no_room_for_a_writable_disk_is_told(msb, no_trace, tmp_path):
    script = (f"mount -t tmpfs -o size=32m,mode=700 none {tmp_path}; cp -a {msb.home} {tmp_path}/home; "
              f"head -c 100M /dev/zero > {tmp_path}/fill 2>/dev/null || true")
    message = refused(msb, "exe", msb.image, "--", "/bin/true", prefix=elsewhere(script),
                      env={"MICROSANDBOX_HOME": str(tmp_path / "home")})
    assert "No space left" in message or "storage full" in message


@pytest.mark.root
def test_a_home_that_is_read_only_is_told(msb, no_trace):
    script = f"mount --bind {msb.home} {msb.home}; mount -o remount,bind,ro {msb.home}"
    assert "Read-only file system" in refused(msb, "exe", msb.image, "--", "true", prefix=elsewhere(script))


def test_a_home_that_is_not_ours_is_told(msb, no_trace):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere: the read-only home is root's test")
    assert "Permission denied" in refused(msb, "exe", msb.image, "--", "true",
                                          env={"MICROSANDBOX_HOME": "/root/.microsandbox"})


@pytest.mark.parametrize("home", ["relative/home", "/proc/none", "/dev/null"])
def test_a_home_that_cannot_be_is_told(msb, no_trace, home):
    refused(msb, "exe", msb.image, "--", "true", env={"MICROSANDBOX_HOME": home})


def test_a_home_without_locks_is_told(msb, no_trace):
    # No file system here lacks them, so the calls are made to fail as such a one's would. The first
    # three ask whether stdin, stdout and stderr are open.
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=fcntl", "-e", "inject=fcntl:error=ENOLCK:when=4+"]
    assert "locks do not work" in refused(msb, "exe", msb.image, "--", "true", prefix=strace)


@pytest.mark.root
def test_no_qemu_is_told(msb, no_trace, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    script = "\n".join(f"test ! -e {path} || mount --bind {plain} {path}" for path in
                       ("/usr/bin/qemu-system-x86_64", "/usr/local/bin/qemu-system-x86_64"))
    assert "QEMU is not installed" in refused(msb, "exe", "--isolation", "vm-emulated", msb.image, "--", "true",
                                              prefix=elsewhere(script))
    done = subprocess.run([*elsewhere(script), *msb.argv("doctor")], capture_output=True, env=msb.env)
    assert b"qemu-system-x86" in done.stdout
    # The default needs QEMU only where KVM cannot run guests.
    assert done.returncode == (0 if json.loads(msb.out("doctor", "--json"))["isolation"] == "vm" else 1)


NO_DEV = """mount -t tmpfs -o mode=755 none /dev
mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/zero c 1 5; mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/random c 1 8; mknod -m 666 /dev/tty c 5 0; mkdir /dev/shm"""


@pytest.mark.root
@pytest.mark.parametrize("script, said", [
    (NO_DEV, "this host has no /dev/kvm"),
    (NO_DEV + "\nmknod -m 600 /dev/kvm c 1 3", "/dev/kvm is there and is not KVM's device"),
])
def test_without_a_usable_kvm_the_emulated_machine_runs_and_says_so(msb, no_trace, script, said):
    done = subprocess.run([*elsewhere(script), *msb.argv("exe", "--memory", "128M", msb.image, "--", "echo", "ran")],
                          capture_output=True, env=msb.env, stdin=subprocess.DEVNULL)
    assert done.stdout == b"ran\n", done.stderr
    assert done.stderr.decode() == f"isolation vm-emulated: {said} (msb doctor)\n"
    assert said in refused(msb, "exe", "--require", "vm", msb.image, "--", "true", prefix=elsewhere(script))


def test_a_forbidden_kvm_is_told(msb, no_trace):
    if os.geteuid() == 0 or not os.path.exists("/dev/kvm") or os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs a /dev/kvm that this user may not open")
    assert "/dev/kvm is not yours to open" in refused(msb, "exe", "--require", "vm", msb.image, "--", "true")


def test_a_home_that_others_may_write_is_refused(msb):
    msb.home.chmod(0o777)
    message = msb.err("ps", expect=1)
    msb.home.chmod(0o700)
    assert "others may write" in message and "chmod go-w" in message


@pytest.mark.root
def test_a_home_of_another_user_is_refused(msb):
    os.chown(msb.home, 65534, 65534)
    message = msb.err("ps", expect=1)
    os.chown(msb.home, 0, 0)
    assert "belongs to user 65534" in message and "fix:" in message


@pytest.mark.parametrize("damage", [lambda disk: disk.write_bytes(b""),
                                    lambda disk: disk.write_bytes(bytes(disk.stat().st_size))],
                         ids=["empty", "zeroes"])
def test_a_damaged_disk_template_is_made_anew(msb, damage):
    assert msb.out("exe", "--storage", "64M", msb.image, "--", "echo", "one") == "one\n"
    disk, = (msb.home / "cache").glob("ext4-*.img")
    damage(disk)
    assert msb.out("exe", "--storage", "64M", msb.image, "--", "echo", "two") == "two\n"
