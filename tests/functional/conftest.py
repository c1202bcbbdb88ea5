# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: a home of their own with the test image in it, msb run in
it, and the check that nothing is left. They run as whoever runs pytest: the runner does it as root and
again as an ordinary user."""

import ctypes
import functools
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

import pexpect
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from waiting import TIMEOUT, until  # noqa: E402,F401

BIN = pathlib.Path(os.environ.get("MSB_BIN", ROOT / "build/dev/bin"))
IMAGE = "microsandbox/busybox"
PR_SET_CHILD_SUBREAPER = 36
# Where homes are made; named by whoever has a better file system for them.
HOMES = os.environ.get("MSB_TEST_HOMES", "/var/tmp")
# Left out where what they are of cannot be: nothing of them is skipped there, and the lab runs them. KVM that
# runs guests is named by whoever runs the suite; systemd's managers are found. Of Debian's tools, the other way
# round: their tree does not fit the lab's disk, and asks nothing that the host does not.
collect_ignore = [name for name, there in (("test_kvm.py", os.environ.get("MSB_TEST_ISOLATION") == "vm"),
                                           ("test_microbox_workloads.py", os.environ.get("MSB_TEST_ISOLATION") != "vm"),
                                           ("test_scope.py", os.path.isdir("/run/systemd/system"))) if not there]


# The level that the suite runs on. `vm` is where KVM works and so the default; `process` is asked for at each start
# that names no level itself; else the host's default is taken.
ISOLATION = os.environ.get("MSB_TEST_ISOLATION", "")
STARTS = ("exe", "x")


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root")
    # Orphans become our children: whatever our sandboxes leave running, we find below ourselves.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def pytest_collection_modifyitems(config, items):
    """What is of machines does not apply to process sandboxes: not_on_process.py says each test and why."""
    if ISOLATION != "process":
        return
    from not_on_process import reason
    left_out = [item for item in items if reason(item.nodeid)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not reason(item.nodeid)]


def processes():
    """pid -> (parent, name, state) of everything that runs."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "stat").read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        state, parent = text[text.rindex(")") + 2:].split()[:2]
        found[int(entry.name)] = (int(parent), name, state)
    return found


def descendants():
    """Names of the living processes below this one, by pid."""
    every = processes()
    below, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, (parent, _, _) in every.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return {pid: every[pid][1] for pid in below - {os.getpid()} if every[pid][2] != "Z"}


def cgroups(home):
    """Those of the home's sandboxes: their names end with its device and inode. Others may run meanwhile."""
    info = os.stat(home)
    key = struct.pack("<QQ", info.st_dev, info.st_ino).hex()
    return {str(path) for path in pathlib.Path("/sys/fs/cgroup").rglob(f"*.{key}") if path.is_dir()}


def mounts():
    return sorted(line.split()[4] for line in open("/proc/self/mountinfo"))


def files(home):
    """Everything below the home that a run could leave: not the images, not remembered probes."""
    left = []
    for path in pathlib.Path(home).rglob("*"):
        top = path.relative_to(home).parts[0]
        if top not in ("images", "cache") and path.name != "kvm-probe":
            left.append(str(path.relative_to(home)))
    # Directories and locks that are made once are the home's, not a run's.
    return sorted(name for name in left if name not in
                  ("sandboxes", "sandboxes/.gate", "sandboxes/.names", "templates", "installs"))


class Msb:
    """msb in a home of its own."""

    def __init__(self, home, image=IMAGE):
        self.home = home
        self.image = image
        self.bin = BIN
        self.env = {**os.environ, "MICROSANDBOX_HOME": str(home), "TERM": "xterm",
                    "PATH": f"{BIN}:{os.environ['PATH']}"}

    def argv(self, *words):
        words = [str(word) for word in words]
        if ISOLATION == "process" and words and words[0] in STARTS and "--isolation" not in words:
            words[1:1] = ["--isolation", ISOLATION]
        return [str(BIN / "msb"), *words]

    def run(self, *words, expect=0, data=None, timeout=TIMEOUT, **how):
        """Runs to the end. stdin is /dev/null unless `data` (bytes) or stdin is given."""
        if data is None:
            how.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.argv(*words), input=data, capture_output=True, env=self.env,
                              timeout=timeout, **how)
        if expect is not None:
            assert done.returncode == expect, (words, done.returncode, done.stdout[-500:],
                                               done.stderr.decode(errors="replace"))
        return done

    def out(self, *words, **how):
        return self.run(*words, **how).stdout.decode()

    def err(self, *words, **how):
        return self.run(*words, **how).stderr.decode()

    def exe(self, *words, **how):
        """A command in a sandbox of the test image."""
        return self.run("exe", "--memory", "128M", self.image, "--", *words, **how)

    def start(self, *words, **how):
        how.setdefault("stdin", subprocess.DEVNULL)
        how.setdefault("stdout", subprocess.PIPE)
        how.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(self.argv(*words), env=self.env, **how)

    def terminal(self, *words, size=(24, 80)):
        """msb on a terminal of its own."""
        argv = self.argv(*words)
        return pexpect.spawn(argv[0], argv[1:], env=self.env, timeout=TIMEOUT, dimensions=size)

    def status(self, *words, **how):
        """Exit code and what --status-fd said; the first word is the command."""
        read, write = os.pipe()
        try:
            done = self.run(words[0], "--status-fd", write, *words[1:], expect=None,
                            pass_fds=[write], **how)
        finally:
            os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        return done, json.loads(text)

    def ps(self, *words):
        return json.loads(self.out("ps", "--json", *words))["sandboxes"]

    def detached(self, *words, name="box"):
        self.run("exe", "-d", "--quiet", "--memory", "128M", "--name", name, self.image, *words)
        return name


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A home with the test image, made once."""
    if not (BIN / "msb").exists():
        pytest.fail(f"no msb in {BIN}: build it, or name the folder in MSB_BIN", pytrace=False)
    folder = tmp_path_factory.mktemp("images")
    tar = pathlib.Path(os.environ.get("MSB_TEST_IMAGES", folder)) / "busybox.tar"
    if not tar.exists():
        subprocess.run([ROOT / "guest/images/test/build", "--tar", tar], check=True)
    home = folder / "home"
    env = {**os.environ, "MICROSANDBOX_HOME": str(home)}
    subprocess.run([BIN / "msb", "image", "import", IMAGE, tar, "--cmd", "sh", "--env",
                    "PATH=/bin:/sbin:/usr/bin:/usr/sbin", "--quiet"], check=True, env=env)
    return home


@pytest.fixture(scope="session")
def test_tar(images):
    return pathlib.Path(os.environ.get("MSB_TEST_IMAGES", images.parent)) / "busybox.tar"


def make_home(images):
    """Short, because paths of sockets are, and removed by its user."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="msb-", dir=HOMES))
    subprocess.run(["cp", "-a", f"{images}/.", home], check=True)
    return home


@functools.cache
def several_ids():
    """Whether the process sandboxes of whoever runs this have more ids than his own."""
    with tempfile.TemporaryDirectory(prefix="msb-", dir=HOMES) as home:
        found = json.loads(Msb(home).out("doctor", "--json", expect=None))
    return next(check for check in found["checks"] if check["name"] == "ids")["state"] == "ok"


def remove_home(msb):
    for sandbox in msb.ps("-a"):
        msb.run("rm", "-f", sandbox["id"], expect=None)
    if os.geteuid() != 0 and several_ids():
        # Root trees have ids that the user himself cannot remove.
        for image in json.loads(msb.out("image", "list", "--json"))["images"]:
            msb.run("image", "remove", image["reference"])
        msb.run("gc")
    shutil.rmtree(msb.home)


@pytest.fixture
def msb(images):
    msb = Msb(make_home(images))
    yield msb
    remove_home(msb)


@pytest.fixture(scope="module")
def shared(images):
    """One home with one detached sandbox, `box`, for all tests of a module."""
    msb = Msb(make_home(images))
    msb.detached()
    yield msb
    remove_home(msb)


@pytest.fixture
def no_trace(msb):
    """Processes, mounts, cgroups and files are the same after the test as before."""
    msb.run("doctor", expect=None)  # Makes the home's folders, remembers the probe.
    before = (descendants(), mounts(), cgroups(msb.home), files(msb.home))
    yield
    # The supervisor's last act, closing its lock, is a moment after its last word.
    until(lambda: set(descendants()) <= set(before[0]), f"the end of {descendants()}", 10)
    assert mounts() == before[1]
    assert cgroups(msb.home) <= before[2]
    assert files(msb.home) == before[3]


def interrupt(process, number=signal.SIGINT):
    process.send_signal(number)
