# SPDX-License-Identifier: Apache-2.0
"""msb-image through its command line: what it stores, what it refuses, what it leaves when it dies.

As root every test runs twice, as root and as an ordinary user; as an ordinary user once."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = pathlib.Path(os.environ.get("MSB_BIN", ROOT / "build/dev/bin")) / "msb-image"
NOBODY = 65534


class User:
    """Somebody with a home, who runs msb-image."""

    def __init__(self, place, uid):
        self.uid = uid
        self.place = place
        self.home = place / "home"
        self.tool = place / "msb-image"
        shutil.copy(TOOL, self.tool)
        self.tool.chmod(0o755)
        self.identity = {} if uid == os.geteuid() else {"user": uid, "group": uid, "extra_groups": []}
        self.env = {**os.environ, "MICROSANDBOX_HOME": str(self.home), "HOME": str(place)}
        self.own(place)

    def own(self, path):
        if self.identity:
            subprocess.run(["chown", "-R", f"{self.uid}:{self.uid}", path], check=True)
        return path

    def start(self, *arguments, **how):
        how.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([self.tool, *map(str, arguments)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=self.env, **self.identity, **how)

    def run(self, *arguments, expect=0, data=None, **how):
        if data is not None:
            how["stdin"] = subprocess.PIPE
        process = self.start(*arguments, **how)
        out, err = process.communicate(data, timeout=60)
        assert process.returncode == expect, err.decode()
        return out.decode(), err.decode()

    def imported(self, name, source, *options, **how):
        out, _ = self.run("import", name, source, "--json", *options, **how)
        return json.loads(out)

    def refused(self, *arguments, **how):
        """One error with its code on stderr, exit code 125, and the store as it was."""
        before = self.files()
        out, err = self.run(*arguments, expect=125, **how)
        assert out == ""
        # What takes more than a second says how far it is.
        err = re.sub(r"\Aunpack: .*\n", "", err)
        assert err.startswith("msb-image: ") and err.count("msb-image:") == 1, err
        assert "]\n  fix: " in err, err
        assert self.files() == before
        return err

    def files(self):
        """Every file of the store but its own two, with size."""
        images = self.home / "images"
        return {str(p.relative_to(images)): p.stat().st_size for p in images.rglob("*")
                if p.is_file() and p.name not in ("lock", "oci-layout")}

    def blob(self, digest):
        return (self.home / "images/blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def disk(self, digest):
        return self.home / "images/disks/sha256" / (digest.removeprefix("sha256:") + ".erofs")


USERS = [os.geteuid()] + ([NOBODY] if os.geteuid() == 0 else [])


@pytest.fixture(params=USERS, ids=lambda uid: "root" if uid == 0 else "user")
def user(request):
    # Not pytest's tmp_path: only its owner can come there.
    place = pathlib.Path(tempfile.mkdtemp(prefix="image-test-", dir="/var/tmp"))
    place.chmod(0o755)
    yield User(place, request.param)
    shutil.rmtree(place)


def tar_of(entries):
    """A tar of (name, content) and of TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                tar.addfile(entry)
                continue
            info = tarfile.TarInfo(entry[0])
            info.size = len(entry[1])
            tar.addfile(info, io.BytesIO(entry[1]))
    return out.getvalue()


def tree(user, name="tree"):
    top = user.place / name
    (top / "bin").mkdir(parents=True)
    (top / "bin/program").write_bytes(b"#!/bin/sh\n" + random.Random(1).randbytes(9000))
    (top / "bin/program").chmod(0o755)
    (top / "bin/link").symlink_to("program")
    (top / "empty").touch()
    return user.own(top)


SMALL = tar_of([("etc/hostname", b"box\n")])


def test_directory_and_tar_hold_what_went_in(user):
    top = tree(user)
    from_directory = user.imported("app:dir", top)
    packed = subprocess.run(["tar", "-C", top, "-c", "."], check=True, capture_output=True).stdout
    from_tar = user.imported("app:tar", "-", data=packed)
    for stored in (from_directory, from_tar):
        out = user.place / f"out-{stored['manifest'][7:19]}"
        done = subprocess.run(["fsck.erofs", f"--extract={out}", user.disk(stored["manifest"])],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (out / "bin/program").read_bytes() == (top / "bin/program").read_bytes()
        assert os.readlink(out / "bin/link") == "program"
        assert (out / "bin/program").stat().st_mode & 0o777 == 0o755
    assert from_directory["files"] == from_tar["files"] == 2


def test_documents_are_oci_and_named_by_what_they_hold(user):
    stored = user.imported(
        "registry.example:5000/team/app:1", "-", "--cmd", '["server","-v"]', "--entrypoint", "tini",
        "--env", "PATH=/bin", "--env", "B=x=y", "--user", "app", "--workdir", "/srv",
        "--label", "k=v", "--created", "2026-01-31T12:00:00Z", "--arch", "arm64", data=SMALL)
    assert stored["reference"] == "registry.example:5000/team/app:1"
    for digest in (stored["manifest"], stored["config"]):
        assert "sha256:" + hashlib.sha256(user.blob(digest)).hexdigest() == digest
    manifest = json.loads(user.blob(stored["manifest"]))
    config = json.loads(user.blob(stored["config"]))
    disk = user.disk(stored["manifest"]).read_bytes()
    layer = manifest["layers"][0]
    assert manifest["schemaVersion"] == 2 and len(manifest["layers"]) == 1
    assert manifest["config"] == {"mediaType": "application/vnd.oci.image.config.v1+json",
                                  "digest": stored["config"],
                                  "size": len(user.blob(stored["config"]))}
    assert layer["digest"] == "sha256:" + hashlib.sha256(disk).hexdigest()
    assert layer["size"] == len(disk) == stored["disk_bytes"]
    assert config["architecture"] == "arm64" and config["os"] == "linux"
    assert config["created"] == "2026-01-31T12:00:00Z"
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    assert config["config"] == {"Cmd": ["server", "-v"], "Entrypoint": ["tini"],
                                "Env": ["PATH=/bin", "B=x=y"], "User": "app", "WorkingDir": "/srv",
                                "Labels": {"k": "v"}}
    layout = json.loads((user.home / "images/oci-layout").read_text())
    assert layout == {"imageLayoutVersion": "1.0.0"}


def test_the_same_input_gives_the_same_image_however_packed(user):
    digests = {user.imported("a", "-", data=SMALL)["manifest"],
               user.imported("b", "-", data=SMALL)["manifest"],
               user.imported("c", "-", data=gzip.compress(SMALL))["manifest"]}
    zstd = subprocess.run(["zstd", "-c"], input=SMALL, capture_output=True, check=True).stdout
    digests.add(user.imported("d", "-", data=zstd)["manifest"])
    assert len(digests) == 1
    assert len(user.files()) == 4 + 3


def test_short_names_are_stored_as_they_are_looked_up(user):
    assert user.imported("python", "-", data=SMALL)["reference"] == \
        "docker.io/microsandbox/python:latest"


def test_importing_again_replaces_the_image_and_its_files(user):
    first = user.imported("app", "-", data=SMALL)
    second = user.imported("app", "-", data=tar_of([("other", b"x")]))
    assert first["manifest"] != second["manifest"]
    assert len(user.files()) == 4
    assert not user.disk(first["manifest"]).exists()


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


LARGE = tar_of([(f"f{i}", random.Random(i).randbytes(50_000)) for i in range(20)])

BAD_TARS = {
    "empty": b"",
    "noise": random.Random(2).randbytes(10_000),
    "text": b"this is no tar\n" * 100,
    "cut in a header": LARGE[:700],
    "cut in a file": LARGE[:400_000],
    "no end marker": LARGE[:51_200],
    "cut gzip": gzip.compress(LARGE)[:300_000],
    "climbing name": tar_of([("../../escape", b"x")]),
    "hard link to nothing": tar_of([link("a", "nowhere", tarfile.LNKTYPE)]),
}


@pytest.mark.parametrize("name", BAD_TARS)
def test_bad_tar_is_one_error_and_leaves_nothing(user, name):
    user.imported("good", "-", data=SMALL)
    user.refused("import", "bad", "-", data=BAD_TARS[name])
    path = user.place / "bad.tar"
    path.write_bytes(BAD_TARS[name])
    user.refused("import", "bad", user.own(path))
    assert not (user.place / "escape").exists()


def test_links_in_a_tar_never_lead_to_the_host(user):
    victim = user.place / "victim"
    victim.write_text("untouched")
    user.own(victim)
    hostile = tar_of([link("out", str(user.place)), ("out/victim", b"taken"),
                      link("up", "../../../.."), ("up/x", b"taken")])
    process = user.start("import", "hostile", "-", stdin=subprocess.PIPE)
    process.communicate(hostile, timeout=60)
    assert process.returncode in (0, 125)
    assert victim.read_text() == "untouched"
    assert not pathlib.Path("/x").exists()


@pytest.mark.parametrize("arguments, words", [
    (["import", "a"], "NAME and a DIR"),
    (["import", "../a", "/"], "looks like a path"),
    (["import", "A", "/"], "lower case"),
    (["import", "a@sha256:" + "0" * 64, "/"], "digest"),
    (["import", "a", "/nowhere"], "No such file"),
    (["import", "a", "/dev/null"], "neither a directory nor a file"),
    (["import", "a", "/", "--nope"], "--nope"),
    (["import", "a", "/", "--env", "X"], "NAME=VALUE"),
    (["unpack", "/"], "--output-fd"),
    (["frobnicate"], "frobnicate"),
    ([], "import, unpack or unpack-tree"),
])
def test_wrong_usage_is_one_error(user, arguments, words):
    assert words in user.refused(*arguments)


def test_home_that_cannot_be_written_is_named_with_a_remedy(user):
    user.env["MICROSANDBOX_HOME"] = "/proc/home"
    assert "MICROSANDBOX_HOME" in user.refused("import", "a", "-", data=SMALL)
    user.env["MICROSANDBOX_HOME"] = str(user.place / "file")
    (user.place / "file").touch()
    assert "Not a directory" in user.refused("import", "a", "-", data=SMALL)


def test_unreadable_file_in_a_directory_is_named(user):
    top = tree(user)
    (top / "secret").write_text("x")
    (top / "secret").chmod(0)
    user.own(top)
    if user.uid == 0:
        assert user.imported("a", top)["files"] == 3
    else:
        assert "secret" in user.refused("import", "a", top)


def test_root_reads_what_others_own_and_keeps_no_more_than_that(user):
    if user.uid != 0:
        pytest.skip("of root only: an ordinary user has no capability to keep")
    top = tree(user)
    (top / "private").mkdir(mode=0o700)
    (top / "private/file").write_text("x")
    os.chown(top / "private", NOBODY, NOBODY)
    os.chown(top / "private/file", NOBODY, NOBODY)
    assert user.imported("a", top)["files"] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_full_disk_is_one_error_and_leaves_nothing(user):
    if user.uid != 0:
        pytest.skip("mounting is root's")
    source = user.place / "large.tar"
    source.write_bytes(tar_of([("large", random.Random(3).randbytes(4_000_000))]))
    user.home.mkdir()
    script = ('mount -t tmpfs -o size=1m tmpfs "$1" && "$2" import a "$3"; code=$?; '
              'find "$1" -type f -size +0 ! -name oci-layout; exit $code')
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", user.home, user.tool, source],
                          env=user.env, capture_output=True, text=True)
    assert done.returncode == 125
    assert "No space left on device [resource_exhausted]" in done.stderr
    assert "msb gc" in done.stderr
    assert done.stdout == ""


def children(pid):
    return [int(x) for x in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(what, seconds=10):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = what()
        if answer:
            return answer
        time.sleep(0.005)
    pytest.fail("waited in vain")


def unpacking(user, *arguments):
    """An import that waits for the second half of its stdin, and its confined child."""
    process = user.start("import", "slow", "-", *arguments, stdin=subprocess.PIPE)
    process.stdin.write(LARGE[:300_000])
    process.stdin.flush()
    [child] = wait_for(lambda: children(process.pid))

    def confined():
        return "Seccomp:\t2" in pathlib.Path(f"/proc/{child}/status").read_text()

    wait_for(confined)
    return process, child


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_unpacker_is_confined_before_it_reads(user):
    process, child = unpacking(user)
    status = pathlib.Path(f"/proc/{child}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status and "CapPrm:\t0000000000000000" in status
    if os.geteuid() == 0:  # The directory is root's when a process may not be dumped.
        fds = {os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")}
        assert not [fd for fd in fds if "/home/images" in fd and "deleted" not in fd], fds
    process.stdin.write(LARGE[300_000:])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
                         ids=lambda number: number.name)
def test_interrupt_leaves_nothing_and_shows_the_signal(user, number):
    process, child = unpacking(user)
    process.send_signal(number)
    process.wait(timeout=10)
    assert process.returncode == -number
    assert gone(child)
    assert user.files() == {}


def test_killed_import_takes_its_unpacker_along_and_leaves_nothing(user):
    process, child = unpacking(user)
    process.kill()
    process.wait(timeout=10)
    wait_for(lambda: gone(child), 1)
    assert user.files() == {}


def test_killed_unpacker_is_one_error(user):
    process, child = unpacking(user)
    os.kill(child, signal.SIGKILL)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 125
    assert b"the unpacker was killed by signal 9" in err
    assert user.files() == {}


def test_kill_at_any_moment_leaves_only_what_the_next_import_removes(user):
    source = user.place / "large.tar"
    source.write_bytes(LARGE)
    user.own(source)
    start = time.monotonic()
    user.imported("kept", source)
    duration = time.monotonic() - start
    kept = user.files()
    chance = random.Random(4)
    for _ in range(30):
        process = user.start("import", "killed", source, "--cmd", "x")
        time.sleep(chance.random() * duration)
        process.kill()
        process.communicate(timeout=10)
        for ref in (user.home / "images/refs").iterdir():
            if not ref.name.startswith("."):
                record = json.loads(ref.read_text())
                assert user.disk(record["manifest"]).stat().st_size == record["disk_bytes"]
                user.blob(record["manifest"]), user.blob(record["config"])
    user.imported("killed", "-", data=SMALL)
    (user.home / "images/refs/docker.io+library+killed:latest").unlink()
    user.imported("kept", source)  # Collects what the line above orphaned.
    assert user.files() == kept


def test_many_imports_at_once_all_arrive(user):
    source = user.place / "large.tar"
    source.write_bytes(LARGE)
    user.own(source)
    processes = [user.start("import", f"app{i % 4}", source, "--label", f"n={i % 4}")
                 for i in range(12)]
    for process in processes:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    refs = list((user.home / "images/refs").iterdir())
    assert len(refs) == 4
    for ref in refs:
        assert user.disk(json.loads(ref.read_text())["manifest"]).exists()


def test_unpack_writes_to_a_descriptor_and_keeps_no_reference(user):
    path = user.place / "disk"
    path.touch()
    with open(path, "r+b") as disk:
        out, err = user.run("unpack", "--output-fd", disk.fileno(), tree(user),
                            pass_fds=[disk.fileno()])
    summary = json.loads(out)["summary"]
    assert err == "" and summary["image_bytes"] == path.stat().st_size
    assert subprocess.run(["fsck.erofs", path], capture_output=True).returncode == 0
    with open(path, "r+b") as disk:  # Not empty now.
        out, _ = user.run("unpack", "--output-fd", disk.fileno(), user.place / "tree",
                          pass_fds=[disk.fileno()], expect=125)
    assert json.loads(out)["error"]["code"] == "invalid_argument"


def test_progress_only_when_it_takes_over_a_second(user):
    _, err = user.run("import", "fast", "-", data=SMALL)
    assert err == ""
    process, _ = unpacking(user)
    time.sleep(1.1)
    process.stdin.write(LARGE[300_000:])
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.startswith(b"unpack: ") and err.count(b"\n") == 1


def test_the_recipe_of_the_test_image_imports(user):
    env = {**user.env, "MSB_IMAGE": str(user.tool)}
    done = subprocess.run([ROOT / "guest/images/test/build"], env=env, capture_output=True,
                          text=True, **user.identity)
    assert done.returncode == 0, done.stderr
    assert "docker.io+microsandbox+busybox:latest" in os.listdir(user.home / "images/refs")
