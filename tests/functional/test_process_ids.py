# SPDX-License-Identifier: Apache-2.0
"""Ids in an ordinary user's process sandbox: with those of /etc/subuid and /etc/subgid an image has its owners, in a
root tree of these ids that is made, used and removed in their user namespace; without them all is the user's."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import tempfile

import pytest
from conftest import BIN, HOMES, make_home, until
from test_microbox_ids import NOBODY, USER, given  # noqa: F401

pytestmark = pytest.mark.root

PROGRAMS = ("msb", "msb-supervisor", "msb-agent", "msb-image")
ENTRIES = "nobody:200000:65536\n"
SHARED = f"the user's own id {NOBODY} as 0, and 65535 subordinate ones from 200000 as 1 on, shared by the user's sandboxes"
ONE_ID = f"the user's own id {NOBODY} as 0: "


class User:
    """nobody, with programs and a home of his own."""

    def __init__(self, top, images):
        self.top = top
        (top / "bin").mkdir()
        for name in PROGRAMS:
            found = next(folder / name for folder in (BIN, BIN.parent / "lib/microsandbox") if (folder / name).exists())
            shutil.copy(found, top / "bin")
        self.home = make_home(images)
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", self.home], check=True)
        self.image = "microsandbox/busybox"

    def command(self, prefix, *words):
        return {"args": [*prefix, str(self.top / "bin/msb"), *map(str, words)], "stdin": subprocess.DEVNULL,
                "env": {**os.environ, "MICROSANDBOX_HOME": str(self.home), "HOME": "/nonexistent"}}

    def run(self, prefix, *words, expect=0):
        done = subprocess.run(**self.command(prefix, *words), capture_output=True, text=True, timeout=60, check=False)
        assert expect in (done.returncode, None), (words, done.returncode, done.stdout, done.stderr)
        return done

    def exe(self, prefix, script, *options, root=None):
        root = ["--rootfs", root] if root else [self.image]
        return self.run(prefix, "exe", "--isolation", "process", "--quiet", "--memory", "128M", *options, *root, "--",
                        "/bin/sh", "-ec", script).stdout

    def ids(self, prefix):
        """What the record says."""
        self.run(prefix, "exe", "-d", "--isolation", "process", "--quiet", "--memory", "128M", "--name", "box", self.image)
        said = json.loads(self.run(prefix, "inspect", "box").stdout)
        assert said["in_force"]["problems"] == []
        self.run(prefix, "rm", "-f", "box")
        return said["ids"]

    def trees(self, where="trees/sha256"):
        folder = self.home / "images" / where
        return sorted(folder.iterdir()) if folder.exists() else []

    def suffixes(self):
        return [tree.name.partition("-")[2] for tree in self.trees()]


@pytest.fixture
def user(images):
    with tempfile.TemporaryDirectory(prefix="msb-ids-", dir=HOMES) as folder:
        os.chmod(folder, 0o755)
        one = User(pathlib.Path(folder), images)
        yield one
        shutil.rmtree(one.home)


def test_an_image_has_its_owners_and_its_users(user, given):  # noqa: F811
    prefix = given(ENTRIES, "nobody:300000:65536\n")
    out = user.exe(prefix, "stat -c '%u %g' /home/user /etc/passwd; touch /x; chown 42:33 /x; stat -c '%u %g' /x; "
                           "awk '{print $2}' /proc/self/uid_map /proc/self/gid_map")
    assert out.split("\n") == ["1000 1000", "0 0", "42 33", str(NOBODY), "200000", str(NOBODY), "300000", ""]
    assert user.exe(prefix, "id -u; id -g; touch /root/x 2>/dev/null || echo refused", "--user", "user") == "1000\n1000\nrefused\n"
    (tree,) = user.trees()
    assert tree.name.endswith(f"-{NOBODY}-200000-300000-65535")
    owner = lambda path: ((tree / path).stat().st_uid, (tree / path).stat().st_gid)  # noqa: E731
    assert owner("root/home/user") == (200999, 300999) and owner("root/etc/passwd") == (NOBODY, NOBODY)
    assert owner("lock") == (NOBODY, NOBODY)
    made = tree.stat().st_ino
    assert user.ids(prefix) == SHARED
    assert [one.stat().st_ino for one in user.trees()] == [made] and user.trees("tmp") == []


def test_owners_that_are_in_no_map_are_nobody(user, given, test_tar):  # noqa: F811
    prefix = given(ENTRIES)
    tar = user.top / "odd.tar"
    with tarfile.open(test_tar) as base, tarfile.open(tar, "w") as out:
        top = tarfile.TarInfo(".")
        top.type, top.mode, top.uid, top.gid = tarfile.DIRTYPE, 0o700, 1000, 1000
        out.addfile(top)
        for member in base.getmembers():
            if member.name.strip("./"):
                out.addfile(member, base.extractfile(member) if member.isreg() else None)
        for name, kind in (("far", tarfile.REGTYPE), ("away", tarfile.SYMTYPE)):
            odd = tarfile.TarInfo(name)
            odd.type, odd.uid, odd.gid, odd.linkname = kind, 3_000_000, 42, "nowhere"
            out.addfile(odd)
    user.run(prefix, "image", "import", "--quiet", "local/odd", tar)
    user.image = "local/odd"
    # Twice: the second run opens the tree, whose top is not the user's.
    for _ in range(2):
        assert user.exe(prefix, "stat -c '%u %g' /far /away /bin/..") == "65534 42\n65534 42\n0 0\n"
    assert (user.trees()[0] / "root").stat().st_uid == 200999


def test_of_many_makers_one_tree_stays(user, given):  # noqa: F811
    words = ["exe", "--isolation", "process", "--quiet", "--memory", "128M", user.image, "--", "stat", "-c", "%u", "/home/user"]
    runs = [subprocess.Popen(**user.command(given(ENTRIES), *words), stdout=subprocess.PIPE) for _ in range(4)]
    assert [run.communicate(timeout=60)[0] for run in runs] == [b"1000\n"] * 4
    assert len(user.trees()) == 1 and user.trees("tmp") == []


def test_where_its_ids_can_not_be_mapped_any_more_nothing_starts(user, given):  # noqa: F811
    prefix = given(ENTRIES)
    user.exe(prefix, "true")
    forbidden = [*prefix[:-len(USER)], "setpriv", "--bounding-set=-setuid,-setgid", *USER[1:]]
    done = user.run(forbidden, "exe", "--isolation", "process", "--quiet", user.image, "--", "true", expect=125)
    assert "newuidmap: " in done.stderr and "msb doctor" in done.stderr
    assert len(user.trees()) == 1


def test_a_tree_goes_with_its_image(user, given):  # noqa: F811
    prefix = given(ENTRIES)
    user.exe(prefix, "true")
    assert user.run(prefix, "gc").stdout == "" and len(user.trees()) == 1
    user.run(prefix, "image", "remove", user.image)
    assert f"images/trees/sha256/{user.trees()[0].name}" in user.run(prefix, "gc").stdout
    assert user.trees() == [] and user.trees("tmp") == []


def test_a_tree_of_ids_that_are_the_users_no_more_is_named(user, given):  # noqa: F811
    user.exe(given(ENTRIES), "true")
    (old,) = user.trees()
    others = given("nobody:400000:65536\n")
    assert user.exe(others, "stat -c %u /home/user") == "1000\n"
    assert user.suffixes() == [f"{NOBODY}-200000-200000-65535", f"{NOBODY}-400000-400000-65535"]
    done = user.run(others, "gc", expect=1)
    assert str(old) in done.stderr and "200000-265534" in done.stderr and "newuidmap" in done.stderr
    assert "usermod --add-subuids 200000-265534 --add-subgids 200000-265534" in done.stderr
    # As whole as before, and all else goes on.
    assert len(user.trees()) == 2 and (old / "root/home/user").exists() and user.trees("tmp") == []
    assert user.exe(others, "echo on") == "on\n"
    # Given back: it can be removed, and is, because no run takes it.
    both = given("nobody:400000:65536\nnobody:200000:65536\n")
    assert old.name in user.run(both, "gc").stdout
    assert user.suffixes() == [f"{NOBODY}-400000-400000-65535"]


def test_root_removes_what_the_user_cannot(user, given):  # noqa: F811
    user.exe(given(ENTRIES), "true")
    nothing = given("")
    assert str(user.trees()[0]) in user.run(nothing, "gc", expect=1).stderr
    shutil.rmtree(user.trees()[0])
    user.run(nothing, "gc")


@pytest.mark.parametrize("entries, hidden, before, why", [
    ("", (), (), "/etc/subuid gives nobody no ids"),
    ("nobody:200000:1000\n", (), (), "fewer than 65536"),
    (ENTRIES, ("/usr/bin/newuidmap",), (), "newuidmap is missing"),
    (ENTRIES, (), ("--no-new-privs",), "no_new_privs"),
    (ENTRIES, (), ("--bounding-set=-setuid,-setgid",), "newuidmap: "),
], ids=["none", "few", "no helper", "no_new_privs", "a helper that may not"])
def test_without_them_all_files_are_the_users_and_the_record_says_why(user, given, entries, hidden, before, why):  # noqa: F811
    prefix = given(entries, hidden=hidden)
    if before:
        prefix = [*prefix[:-len(USER)], "setpriv", *before, *USER[1:]]
    assert user.exe(prefix, "stat -c %u /home/user; awk '{print $1, $2, $3}' /proc/self/uid_map") == f"0\n0 {NOBODY} 1\n"
    made = user.trees()[0].stat().st_ino
    said = user.ids(prefix)
    assert said.startswith(ONE_ID) and why in said
    assert user.suffixes() == [str(NOBODY)] and user.trees()[0].stat().st_ino == made
    user.run(prefix, "gc")
    assert len(user.trees()) == 1
    (check,) = [one for one in json.loads(user.run(prefix, "doctor", "--json", expect=None).stdout)["checks"] if one["name"] == "ids"]
    assert check["state"] == "warning" and why in check["result"] and check["fix"] and "apt" in check["cost"]


def test_a_tree_is_not_used_with_other_ids(user, given):  # noqa: F811
    user.exe(given(ENTRIES), "true")
    user.exe(given(""), "true")
    assert user.suffixes() == [str(NOBODY), f"{NOBODY}-200000-200000-65535"]
    assert user.exe(given(ENTRIES), "stat -c %u /home/user") == "1000\n"
    # Back to several: the one of one id is of no use.
    user.run(given(ENTRIES), "gc")
    assert user.suffixes() == [f"{NOBODY}-200000-200000-65535"]


def test_a_tar_has_its_owners_and_its_tree_goes(user, given, test_tar):  # noqa: F811
    prefix = given(ENTRIES)
    tar = shutil.copy(test_tar, user.top)
    os.chmod(tar, 0o644)
    assert user.exe(prefix, "stat -c '%u %a' /home/user /root", root=tar) == "1000 755\n0 700\n"
    assert user.trees("tmp") == [] and user.trees() == []
    # Of a run that was killed: the next command of the home.
    words = ["exe", "--isolation", "process", "--quiet", "--memory", "128M", "--rootfs", tar, "--", "/bin/sh", "-c", "echo up; sleep 9878"]
    with subprocess.Popen(**user.command(prefix, *words), stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"up\n"
        assert [tree.name.partition("-")[2] for tree in user.trees("tmp")] == [f"{NOBODY}-200000-200000-65535"]
        user.run(prefix, "gc")
        assert len(user.trees("tmp")) == 1
        run.send_signal(signal.SIGKILL)
        run.wait(timeout=60)
    until(lambda: (user.run(prefix, "ps"), user.trees("tmp"))[1] == [], "the end of its tree")


def test_a_directory_is_seen_with_all_ids(user, given):  # noqa: F811
    tree = user.top / "tree"
    (tree / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), tree / "bin")
    for name in ("sh", "stat", "chown", "touch", "true"):
        (tree / "bin" / name).symlink_to("busybox")
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", tree], check=True)
    os.chown(tree / "bin/busybox", 200041, 200041)
    assert user.exe(given(ENTRIES), "stat -c %u /bin /bin/busybox; touch /x; chown 5 /x; stat -c %u /x", root=tree) == "0\n42\n5\n"
