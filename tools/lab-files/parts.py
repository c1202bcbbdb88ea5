# SPDX-License-Identifier: Apache-2.0
"""What a lab is started from, made once and kept in the cache: kernel, initramfs, clock rate."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = pathlib.Path(os.environ.get("MSB_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "microsandbox"))
VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
COMPILE = ["c++", "-std=c++20", "-Os", "-static", "-s", "-fno-exceptions", "-fno-rtti", "-Wall",
           "-Wextra", "-Wshadow", "-Wconversion", "-ffunction-sections", "-Wl,--gc-sections"]
KERNELS = ("6.12", "6.1")
KEEP_SECONDS = 30 * 24 * 3600  # Servers of other states of the sources, since other clones use them.
# tool: the package that has it
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", VIRTIOFSD: "qemu-system-common", "mke2fs": "e2fsprogs",
         "c++": "g++", "cpio": "cpio"}


class LabError(Exception):
    """What was wrong, where, and the remedy."""


SYSTEMD = {"/lib/systemd/systemd": "systemd", "dbus-daemon": "dbus", "/lib/systemd/systemd-logind": "systemd"}


def check_host(init):
    if os.geteuid() != 0:
        raise LabError("the lab needs root: it shares this machine's whole root file system with "
                       "its own machine, read-only (virtiofsd); run it with sudo")
    tools = {**TOOLS, **(SYSTEMD if init == "systemd" else {})}
    missing = sorted({package for tool, package in tools.items() if not shutil.which(tool)})
    if missing:
        raise LabError(f"packages are missing: apt-get install {' '.join(missing)}")


def kernel(version):
    """The kernel's file: one of the versions that we build, or a path."""
    if "/" in version:
        if not os.access(version, os.R_OK):
            raise LabError(f"no kernel at {version}")
        return version
    if version not in KERNELS:
        raise LabError(f"there is no kernel {version}: --kernel takes {', '.join(KERNELS)}, or the path of one (./FILE)")
    done = subprocess.run([HERE / "kernel/build", "--kernel", version, "--print-path"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise LabError(f"there is no kernel {version}: its build failed (above)")
    return done.stdout.strip()


def publish(folder, fill):
    """A folder of the cache that appears complete or not at all."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(prefix=".making.", dir=folder.parent))
        try:
            fill(work)
            try:
                os.rename(work, folder)
            except OSError:
                if not folder.is_dir():  # Another one was quicker: as good.
                    raise
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def _server_hash():
    hashed = hashlib.sha256()
    hashed.update(subprocess.run(["c++", "--version"], capture_output=True).stdout)
    hashed.update(" ".join(COMPILE).encode())
    for file in sorted((HERE / "server").glob("*.[ch]*")):
        hashed.update(file.name.encode() + file.read_bytes())
    return hashed.hexdigest()[:32]


def server():
    """A folder with the lab's server as `init` and as `initramfs.cpio`."""
    def fill(work):
        sources = sorted((HERE / "server").glob("*.cc"))
        done = subprocess.run([*COMPILE, "-o", work / "init", *sources], capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"compiling tools/lab-files/server failed:\n{done.stderr}")
        with open(work / "initramfs.cpio", "wb") as archive:
            subprocess.run(["cpio", "-o", "-H", "newc", "--quiet", "-R", "0:0"], input=b"init\n",
                           stdout=archive, cwd=work, check=True)
    wanted = CACHE / "lab" / f"server-{_server_hash()}"
    if not wanted.is_dir():
        for old in wanted.parent.glob("server-*"):
            if time.time() - old.stat().st_mtime > KEEP_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    return publish(wanted, fill)


def clock_rate(server_folder):
    """The rate of this machine's time stamp counter in kHz, measured once a boot. QEMU's translator
    hands that counter to the lab, where calibrating it goes wrong one time in five."""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    kept = CACHE / "lab" / f"clock-{boot}"
    try:
        return int(kept.read_text())
    except (OSError, ValueError):
        pass
    rate = subprocess.run([server_folder / "init", "--clock-rate"], capture_output=True, check=True)
    for old in kept.parent.glob("clock-*"):
        old.unlink(missing_ok=True)
    kept.write_bytes(rate.stdout)
    return int(rate.stdout)


def disk(size):
    """A descriptor of an unlinked, sparse file with an empty ext4 in it: gone with its last user."""
    folder = CACHE / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    os.truncate(descriptor, size)
    done = subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E",
                           "lazy_itable_init=1,root_owner=0:0", f"/proc/self/fd/{descriptor}"],
                          pass_fds=[descriptor], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"cannot make the lab's disk in {folder}: {done.stderr.strip()}")
    return descriptor
