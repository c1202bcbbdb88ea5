# SPDX-License-Identifier: Apache-2.0
"""The clean room: a bare Debian 12 as the lab's root, in which a newcomer's first commands are tried."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import time

import parts

CLONE = "/root/microsandbox"
BARE_ROOT = parts.ROOT / "tools/lab-files/bare-root"
# What this host built already: the guest kernel, and objects by ccache. Without them the translator would
# compile for hours, and the room would test patience.
FURNISH = f"""
    git clone -q /lab/clone {CLONE}
    mkdir -p /root/.cache/microsandbox
    cp -a /lab/cache/kernel /root/.cache/microsandbox/ 2> /dev/null || true
    [ ! -d /lab/ccache ] || printf '%s = %s\\n' cache_dir /lab/ccache read_only true temporary_dir /tmp/ccache \\
        stats false > /etc/ccache.conf
"""


def root():
    """The bare root's folder, made once a month: packages that have had a security update since are only
    a longer `apt-get install` in the room."""
    named = hashlib.sha256(BARE_ROOT.read_bytes() + time.strftime("%Y-%m").encode()).hexdigest()[:16]
    folder = parts.CACHE / "lab" / f"room-{named}"

    def fill(work):
        done = subprocess.run([BARE_ROOT, work], stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise parts.LabError("the bare root could not be made (above)")
        os.chmod(work, 0o755)

    if not folder.is_dir():
        for old in folder.parent.glob("room-*"):
            shutil.rmtree(old, ignore_errors=True)
    return parts.publish(folder, fill)


def shares():
    """What the room sees of this host: the clone that it clones from, and the caches of slow products."""
    parts.CACHE.mkdir(parents=True, exist_ok=True)
    ccache = pathlib.Path(os.environ.get("CCACHE_DIR") or parts.CACHE.parent / "ccache")
    return [{"folder": str(folder), "at": at, "writable": False}
            for folder, at in ((parts.ROOT, "/lab/clone"), (parts.CACHE, "/lab/cache"), (ccache, "/lab/ccache"))
            if folder.is_dir()]
