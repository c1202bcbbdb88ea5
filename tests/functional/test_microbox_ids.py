# SPDX-License-Identifier: Apache-2.0
"""The ids inside: one, or those that /etc/subuid and /etc/subgid give an ordinary user. Entries are made in a mount
namespace of the test's own, never in the host's files."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from conftest import BIN, HOMES

NOBODY = 65534
NO_LIMITS = ["--memory", "0", "--cpus", "0", "--pids", "0"]
USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
ONE_ID = f"the user's own id {NOBODY} as 0"


@pytest.fixture(scope="module")
def place():
    """microbox and a tree of busybox that are an ordinary user's."""
    with tempfile.TemporaryDirectory(prefix="msb-ids-", dir=HOMES) as folder:
        top = pathlib.Path(folder)
        os.chmod(top, 0o755)
        shutil.copy(BIN / "microbox", top)
        for name in ("bin", "etc", "tmp"):
            (top / "tree" / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), top / "tree/bin")
        for name in ("sh", "cat", "chown", "stat", "touch", "id", "su", "mkdir", "sleep", "true"):
            (top / "tree/bin" / name).symlink_to("busybox")
        (top / "tree/etc/passwd").write_text("root:x:0:0::/:/bin/sh\n_apt:x:42:65534::/:/bin/sh\n", encoding="ascii")
        if os.geteuid() == 0:
            subprocess.run(["chown", "-Rh", f"{NOBODY}:{NOBODY}", top / "tree"], check=True)
        yield top


@pytest.fixture
def given(tmp_path):
    """A prefix for commands under an /etc with these entries, and without these helpers."""
    def prefix(subuid, subgid=None, hidden=(), home=None):
        etc = tmp_path / f"etc-{len(os.listdir(tmp_path))}"
        shutil.copytree("/etc", etc, symlinks=True)
        (etc / "subuid").write_text(subuid, encoding="ascii")
        (etc / "subgid").write_text(subuid if subgid is None else subgid, encoding="ascii")
        if home:
            lines = (etc / "passwd").read_text(encoding="utf-8").splitlines(keepends=True)
            others = "".join(line for line in lines if not line.startswith("nobody:"))
            (etc / "passwd").write_text(f"{others}nobody:x:{NOBODY}:{NOBODY}::{home}:/bin/sh\n", encoding="utf-8")
        hide = "".join(f"mount --bind /dev/null {name}; " for name in hidden)
        return ["unshare", "--mount", "sh", "-ec", f'mount --bind {etc} /etc; {hide}exec "$@"', "sh", *USER]
    return prefix


def run(prefix, place, *words, expect=0, **how):
    done = subprocess.run([*prefix, place / "microbox", *NO_LIMITS, "--fs", place / "tree", *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False, **how)
    assert done.returncode == expect, (words, done.returncode, done.stdout, done.stderr)
    return done


def ids(prefix, place, *words, **how):
    """What the record says of ids, and what was printed."""
    done = run(prefix, place, "--status-fd", "2", *words, **how)
    return json.loads(done.stderr.splitlines()[-1])["ids"], done.stdout


def doctor(prefix, place):
    done = subprocess.run([*prefix, place / "microbox", *NO_LIMITS, "--log-format", "json", "--doctor"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    return next(check for check in json.loads(done.stdout)["checks"] if check["name"] == "ids")


@pytest.mark.root
def test_a_user_with_subordinate_ids_has_them_inside(place, given):
    with_ids = given("nobody:200000:65536\n", "nobody:300000:65536\n")
    said, out = ids(with_ids, place, "--", "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    assert [line.split() for line in out.splitlines()] == [["0", str(NOBODY), "1"], ["1", "200000", "65535"],
                                                           ["0", str(NOBODY), "1"], ["1", "300000", "65535"]]
    assert said == ONE_ID + ", and 65535 subordinate ones from 200000 as 1 on, shared by the user's sandboxes"
    check = doctor(with_ids, place)
    assert (check["state"], check["result"]) == ("ok", said)


@pytest.mark.root
def test_what_needs_several_ids_works_with_them(place, given):
    with_ids = given("nobody:200000:65536\n")
    done = run(with_ids, place, "--", "sh", "-ec",
               "touch /x; chown 42:33 /x; stat -c %u:%g /x /bin/busybox; mkdir -p /var/partial; chown _apt /var/partial; "
               "su _apt -c 'id -u; id -G; touch /var/partial/got; stat -c %u /var/partial/got'")
    assert done.stdout.split() == ["42:33", "0:0", "42", "65534", "42"]
    who = run(with_ids, place, "--user", "1000:1001", "--", "sh", "-c", "id -u; id -g; id -G; touch /x || echo refused")
    assert who.stdout.split() == ["1000", "1001", "1001", "refused"]
    # What is written to a bind is the user's own, or one of his subordinate ids; never another's.
    shared = place / "shared"
    shared.mkdir()
    os.chown(shared, NOBODY, NOBODY)
    run(with_ids, place, "--mount-rw", f"{shared}:/shared", "--", "sh", "-ec", "touch /shared/mine /shared/his; chown 42:42 /shared/his")
    assert [(shared / name).stat().st_uid for name in ("mine", "his")] == [NOBODY, 200041]


@pytest.fixture
def home(place):
    """Of an ordinary user."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="home-", dir=place))
    os.chown(folder, NOBODY, NOBODY)
    return folder


def at_once(prefix, place, environments):
    """What sandboxes that run together have: the first uid that is not the user's own, and whose it is said to be."""
    runs = [subprocess.Popen([*prefix, place / "microbox", *NO_LIMITS, "--fs", place / "tree", "--status-fd", "2", "--", "sh", "-c",
                              "cat /proc/self/uid_map; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env={**os.environ, **env}) for env in environments]
    firsts = [int([one.stdout.readline() for _ in range(2)][1].split()[1]) for one in runs]
    said = [json.loads(one.communicate("\n", timeout=60)[1].splitlines()[-1])["ids"].rsplit(", ", 1)[1] for one in runs]
    return sorted(zip(firsts, said, strict=True))


SHARED, OWN = "shared by the user's sandboxes", "its own"


@pytest.mark.root
def test_parts_of_a_large_range_are_one_sandboxs_own(place, given, home):
    with_ids = given(f"{NOBODY}:200000:196608\n", home=home)
    # Each in a session of its own, whose directory is not there any more.
    had = at_once(with_ids, place, [{"XDG_RUNTIME_DIR": str(home / str(number))} for number in range(4)])
    assert had == [(200000, SHARED), (200000, SHARED), (265536, OWN), (331072, OWN)]
    assert ids(with_ids, place, "--", "true")[0].endswith("from 265536 as 1 on, its own")


@pytest.mark.root
def test_lines_that_share_ids_give_them_once(place, given, home):
    overlapping = f"{NOBODY}:200000:131072\nnobody:230000:131072\nnobody:200000:65536\n"
    had = at_once(given(overlapping, home=home), place, [{}] * 3)
    assert had == [(200000, SHARED), (200000, SHARED), (265536, OWN)]


@pytest.mark.root
def test_without_a_place_for_locks_there_is_one_id_and_it_is_said(place, given, home):
    for nowhere in ("/nonexistent", "/"):
        prefix = given(f"{NOBODY}:200000:196608\n", home=nowhere)
        assert ids(prefix, place, "--", "true", env={**os.environ, "XDG_RUNTIME_DIR": str(home)})[0] == ONE_ID
        check = doctor(prefix, place)
        assert check["state"] == "less" and "no place to note" in check["result"] and "home directory" in check["fix"]
        assert "no place to note" in run(prefix, place, "--log-level", "warn", "--", "true").stderr
    # One part is shared in any case, and needs none.
    assert ids(given(f"{NOBODY}:200000:65536\n", home="/nonexistent"), place, "--", "true")[0].endswith(SHARED)


@pytest.mark.root
def test_a_small_range_is_what_it_is(place, given):
    with_ids = given("nobody:200000:3\n")
    said, out = ids(with_ids, place, "--", "sh", "-c", "touch /x; chown 3:3 /x && stat -c %u /x; chown 4 /x 2>/dev/null || echo refused")
    assert "and 3 subordinate ones from 200000" in said and out.split() == ["3", "refused"]
    assert "change the user" in run(with_ids, place, "--user", "4", "--", "true", expect=125).stderr


@pytest.mark.root
@pytest.mark.parametrize("entries, hidden, why, fix", [
    ("", (), "/etc/subuid gives nobody no ids", "usermod --add-subuids"),
    ("other:200000:65536\n1:200000:65536\nnobody:0:65536\nnobody:4294967295:2\nnobody:x\n", (), "gives nobody no ids", "usermod"),
    ("nobody:200000:65536\n", ("/usr/bin/newuidmap",), "newuidmap is missing", "install the package uidmap"),
])
def test_without_them_there_is_one_id_and_the_doctor_says_why(place, given, entries, hidden, why, fix):
    prefix = given(entries, hidden=hidden)
    said, out = ids(prefix, place, "--", "cat", "/proc/self/uid_map")
    assert (said, out.split()) == (ONE_ID, ["0", str(NOBODY), "1"])
    check = doctor(prefix, place)
    assert check["state"] == "less" and why in check["result"] and fix in check["fix"] and "apt" in check["cost"]
    assert why in run(prefix, place, "--log-level", "warn", "--", "true").stderr
    assert run(prefix, place, "--", "true").stderr == ""


@pytest.mark.root
def test_helpers_that_may_not_map_leave_one_id(place, given):
    entries = "nobody:200000:65536\n"
    for forbidden in (["--no-new-privs"], ["--bounding-set=-setuid,-setgid"]):
        prefix = [*given(entries), "setpriv", *forbidden] if forbidden[0] == "--no-new-privs" else [
            *given(entries)[:-len(USER)], "setpriv", *forbidden, *USER[1:]]
        said, out = ids(prefix, place, "--", "cat", "/proc/self/uid_map")
        assert (said, out.split()) == (ONE_ID, ["0", str(NOBODY), "1"]), forbidden
        assert doctor(prefix, place)["state"] == "less"


def test_every_start_has_ids_and_says_which(place):
    said, out = ids([], place, "--", "cat", "/proc/self/uid_map")
    first = out.split()
    assert first[0] == "0" and first[1] != "0" and first[1] in said
