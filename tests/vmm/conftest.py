# SPDX-License-Identifier: Apache-2.0
"""What the boots share: the programs and the guest's files of one build, disks made once. They need a
KVM that runs ordinary guests and fail where there is none: run them in the lab, if not here.

    tools/dev build dev msb-vmm msb-mkrootdisk && tools/dev guest dev
    tools/lab -- python3 -B -m pytest -q -p no:cacheprovider tests/vmm
"""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("MSB_BIN", ROOT / "build/dev/bin"))
PARTS = pathlib.Path(os.environ.get("MSB_GUEST", BIN.parent / "lib/microsandbox"))
sys.path.insert(0, str(ROOT / "bench/vmm"))


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Kernel, initramfs, root disk (busybox) and writable disk (256 MiB)."""
    place = tmp_path_factory.mktemp("disks")
    tar, root, upper = place / "busybox.tar", place / "root.erofs", place / "upper.img"
    if "MSB_TEST_IMAGES" in os.environ:
        tar = pathlib.Path(os.environ["MSB_TEST_IMAGES"]) / "busybox.tar"
    else:
        subprocess.run([ROOT / "guest/images/test/build", "--tar", tar], check=True)
    subprocess.run([BIN / "msb-mkrootdisk", root, tar], check=True)
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", upper, "256M"], check=True)
    return {"kernel": str(PARTS / "vmlinux"), "initramfs": str(PARTS / "initramfs.cpio"),
            "root": str(root), "upper": str(upper)}


@pytest.fixture
def start(files):
    """start(cpus=1, memory=MiB, **other_files) -> Machine; all are killed at the end."""
    import machine
    running = []

    def begin(cpus=1, memory=256, **others):
        running.append(machine.vmm(str(BIN / "msb-vmm"), {**files, **{k: str(v) for k, v in others.items()}},
                                   cpus, memory << 20))
        return running[-1]
    yield begin
    for one in running:
        one.kill()
