# SPDX-License-Identifier: Apache-2.0
"""Root disks as the kernel sees them: every tree is written as EROFS, checked by fsck.erofs, mounted,
and compared with the original name by name. Needs root, loop devices and EROFS in the kernel."""

import collections
import hashlib
import io
import os
import pathlib
import shutil
import socket
import stat
import struct
import subprocess
import tarfile
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = pathlib.Path(os.environ.get("MSB_BIN", ROOT / "build/dev/bin")) / "msb-mkrootdisk"

pytestmark = pytest.mark.root


@pytest.fixture(scope="session", autouse=True)
def needs():
    """Fails, never skips: a run that did not mount anything has shown nothing."""
    assert os.geteuid() == 0, "these tests mount images: run them as root"
    assert TOOL.exists(), f"{TOOL} is not built"
    assert os.path.exists("/dev/loop-control"), "no loop devices here"
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "erofs"], check=False)
    kinds = pathlib.Path("/proc/filesystems").read_text().split()
    assert "erofs" in kinds, "this kernel has no EROFS"


def beneath(tree):
    """Everything in a tree. Path.rglob() of Debian's Python 3.11.2 follows a link whose target is too
    long for a path, and fails."""
    return [pathlib.Path(folder) / name for folder, folders, files in os.walk(tree) for name in folders + files]


@pytest.fixture
def mount(tmp_path):
    mounted = []

    def do(image):
        at = tmp_path / f"mnt{len(mounted)}"
        at.mkdir()
        subprocess.run(["mount", "-t", "erofs", "-o", "loop,ro", image, at], check=True)
        mounted.append(at)
        return at

    yield do
    for at in mounted:
        subprocess.run(["umount", at], check=True)


def make(image, *inputs, expect=0):
    done = subprocess.run([TOOL, image, *inputs], capture_output=True, text=True)
    assert done.returncode == expect, done.stderr
    if expect == 0:
        check = subprocess.run(["fsck.erofs", "--extract", image], capture_output=True, text=True)
        assert check.returncode == 0, check.stdout + check.stderr
    return done


def xattrs(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in sorted(names)}


def content(path):
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def manifest(root):
    """Everything that can be asked of a tree, by path. Hard links as the smallest name of the group."""
    root = os.fsencode(root)
    entries = {}
    first = {}
    todo = [b""]
    while todo:
        rel = todo.pop()
        path = os.path.join(root, rel) if rel else root
        st = os.lstat(path)
        what = [stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid]
        what += [st.st_mtime_ns, st.st_nlink, tuple(xattrs(path).items())]
        if stat.S_ISREG(st.st_mode):
            what += [st.st_size, content(path)]
        elif stat.S_ISLNK(st.st_mode):
            what += [os.readlink(path)]
        elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            what += [st.st_rdev]
        elif stat.S_ISDIR(st.st_mode):
            todo += [os.path.join(rel, name) for name in os.listdir(path)]
        if not stat.S_ISDIR(st.st_mode) and st.st_nlink > 1:
            first.setdefault((st.st_dev, st.st_ino), []).append(rel)
        entries[rel] = what
    for names in first.values():
        for name in names:
            entries[name].append(min(names))
    return entries


def assert_same(original, mounted, ignore_root_time=False):
    want, got = manifest(original), manifest(mounted)
    assert want.keys() == got.keys()
    wrong = {k: (want[k], got[k]) for k in want if want[k] != got[k]}
    if ignore_root_time:
        wrong.pop(b"", None)
    assert not wrong, "\n".join(f"{k}: want {a} got {b}" for k, (a, b) in list(wrong.items())[:5])


@pytest.fixture(scope="module")
def odd_tree(tmp_path_factory):
    """One of each of what a file system can hold."""
    tree = tmp_path_factory.mktemp("odd") / "tree"
    tree.mkdir()
    raw = os.fsencode(tree)
    for size in [0, 1, 511, 512, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 100_000, 5 << 20]:
        (tree / f"size{size}").write_bytes(os.urandom(size))
    os.link(tree / "size1", tree / "hard1")
    os.link(tree / "size100000", tree / "hard2")
    os.link(tree / "size100000", tree / "hard3")
    os.symlink("size1", tree / "short")
    os.symlink("/" + "t" * 2000, tree / "inline")
    os.symlink("x" * 4094, tree / "long")
    os.link(tree / "short", tree / "short-too", follow_symlinks=False)
    os.mknod(tree / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(tree / "big", stat.S_IFBLK | 0o600, os.makedev(259, 70_000))
    os.mkfifo(tree / "fifo", 0o640)
    (tree / "suid").write_bytes(b"#!")
    os.chown(tree / "suid", 4_000_000_000, 70_000)
    os.chmod(tree / "suid", 0o6755)
    os.chown(tree / "short", 5, 6, follow_symlinks=False)
    for name in [b"\xff\xfe", b"n" * 255, b"new\nline", "käse".encode(), b" ", b"!before-dot", b"-x"]:
        open(os.path.join(raw, name), "wb").write(name)
    (tree / "empty").mkdir(mode=0o700)
    os.chmod(tree / "empty", 0o1777)
    wide = tree / "wide"
    wide.mkdir()
    for i in range(700):
        (wide / f"entry-{i}").write_bytes(b"%d" % i)
    deep = tree
    for i in range(150):
        deep = deep / f"deep{i}"
        deep.mkdir()
    (deep / "bottom").write_text("here")

    holes = os.open(tree / "holes", os.O_CREAT | os.O_WRONLY)
    for at in [0, 1 << 20, (7 << 20) + 123, 15 << 20]:
        os.pwrite(holes, os.urandom(5000), at)
    os.ftruncate(holes, 20 << 20)
    os.close(holes)
    with open(tree / "all-hole", "wb") as f:
        f.truncate((40 << 20) + 5)
    with open(tree / "small-hole", "wb") as f:
        f.truncate(5000)

    os.setxattr(tree / "size1", "user.one", b"\0binary\n=")
    os.setxattr(tree / "size1", "user." + "n" * 240, b"v" * 1000)
    os.setxattr(tree / "size1025", "user.big", b"v" * 3000)
    os.setxattr(tree / "size100000", "trusted.overlay.opaque", b"y")
    os.setxattr(tree / "empty", "user.empty", b"")
    # cap_net_raw=ep, version 2.
    os.setxattr(tree / "suid", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *e)
        for e in [(1, 7, 2**32 - 1), (2, 5, 654321), (4, 5, 2**32 - 1), (16, 5, 2**32 - 1), (32, 0, 2**32 - 1)])
    os.setxattr(tree / "wide", "system.posix_acl_access", acl)
    os.setxattr(tree / "wide", "system.posix_acl_default", acl)

    for path in sorted(beneath(tree), reverse=True):
        os.utime(path, ns=(0, 1_700_000_000_123_456_789), follow_symlinks=False)
    os.utime(tree / "empty", ns=(0, -1_500_000_000))
    os.utime(tree / "null", ns=(0, 2**33 * 10**9 + 7))
    os.utime(tree, ns=(0, 1_600_000_000_000_000_001))
    return tree


def tar(tree, out, *options):
    subprocess.run(
        ["tar", "-C", tree, "--numeric-owner", "--sort=name", *options, "-cf", out, "."], check=True)
    return out


EXACT = ["--format=posix", "--xattrs", "--xattrs-include=*"]


@pytest.mark.parametrize("options", [
    EXACT,
    EXACT + ["--sparse", "--sparse-version=0.0"],
    EXACT + ["--sparse", "--sparse-version=0.1"],
    EXACT + ["--sparse", "--sparse-version=1.0"],
    EXACT + ["--sparse", "-z"],
    EXACT + ["--sparse", "--zstd"],
], ids=["posix", "sparse0.0", "sparse0.1", "sparse1.0", "gzip", "zstd"])
def test_a_tar_of_an_odd_tree_mounts_as_the_tree(odd_tree, tmp_path, mount, options):
    make(tmp_path / "image", tar(odd_tree, tmp_path / "a.tar", *options))
    assert_same(odd_tree, mount(tmp_path / "image"))


def test_a_gnu_tar_mounts_as_tar_itself_would_unpack_it(odd_tree, tmp_path, mount):
    archive = tar(odd_tree, tmp_path / "a.tar", "--format=gnu", "--sparse")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["tar", "-C", unpacked, "--numeric-owner", "-xpf", archive], check=True)
    make(tmp_path / "image", archive)
    assert_same(unpacked, mount(tmp_path / "image"))


def test_a_directory_mounts_as_itself(odd_tree, tmp_path, mount):
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(odd_tree)
    try:
        server.bind("socket")
        os.utime("socket", ns=(0, 5))
        os.utime(".", ns=(0, 1_600_000_000_000_000_001))
        make(tmp_path / "image", ".")
        assert_same(odd_tree, mount(tmp_path / "image"))
    finally:
        os.unlink("socket")
        os.utime(".", ns=(0, 1_600_000_000_000_000_001))
        os.chdir(here)


def test_acls_as_text_become_acls(odd_tree, tmp_path, mount):
    archive = tar(odd_tree, tmp_path / "a.tar", "--format=posix", "--acls", "--xattrs",
                  "--xattrs-include=user.*", "--xattrs-include=security.*", "--xattrs-include=trusted.*")
    make(tmp_path / "image", archive)
    assert_same(odd_tree, mount(tmp_path / "image"))


def test_the_same_input_gives_the_same_bytes(odd_tree, tmp_path):
    archive = tar(odd_tree, tmp_path / "a.tar", *EXACT)
    make(tmp_path / "one", archive)
    make(tmp_path / "two", archive)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_ordinary_user_gets_the_same_bytes(odd_tree, tmp_path):
    archive = tar(odd_tree, tmp_path / "a.tar", *EXACT, "--sparse")
    make(tmp_path / "image", archive)
    with tempfile.TemporaryFile() as out, open(archive, "rb") as source:
        tool = tempfile.mkdtemp()
        try:
            # Neither the build directory nor tmp_path need be open to nobody.
            os.chmod(tool, 0o755)
            shutil.copy(TOOL, tool)
            os.fchmod(out.fileno(), 0o666)
            subprocess.run([f"{tool}/{TOOL.name}", f"/proc/self/fd/{out.fileno()}", "-"], stdin=source,
                           user=65534, group=65534, extra_groups=[], pass_fds=[out.fileno()],
                           stdout=subprocess.DEVNULL, check=True)
        finally:
            shutil.rmtree(tool)
        out.seek(0)
        assert out.read() == (tmp_path / "image").read_bytes()


def test_a_directory_of_120000_names(tmp_path, mount):
    with tarfile.open(tmp_path / "a.tar", "w") as t:
        for i in range(120_000):
            entry = tarfile.TarInfo(f"many/file-number-{i}")
            data = b"%d" % i if i % 1000 == 0 else b""
            entry.size = len(data)
            t.addfile(entry, io.BytesIO(data))
    make(tmp_path / "image", tmp_path / "a.tar")
    many = mount(tmp_path / "image") / "many"
    names = os.listdir(many)
    assert len(names) == len(set(names)) == 120_000
    for i in range(0, 120_000, 1000):
        assert (many / f"file-number-{i}").read_bytes() == b"%d" % i
    assert not (many / "file-number-120000").exists()


def test_a_terabyte_of_hole_stays_small_and_reads_back(tmp_path, mount):
    with open(tmp_path / "sparse", "wb") as f:
        f.seek(500 << 30)
        f.write(b"in the middle")
        f.truncate(1 << 40)
    archive = tar(tmp_path, tmp_path / "a.tar", "--sparse", "--format=posix", "--exclude=a.tar")
    make(tmp_path / "image", archive)
    assert os.stat(tmp_path / "image").st_size < 16 << 20
    with open(mount(tmp_path / "image") / "sparse", "rb") as f:
        f.seek((500 << 30) - 4)
        assert f.read(20) == b"\0\0\0\0in the middle\0\0\0"
        f.seek((1 << 40) - 2)
        assert f.read() == b"\0\0"


def test_layers_with_whiteouts(tmp_path, mount):
    def layer(name, entries):
        with tarfile.open(tmp_path / name, "w") as t:
            for path, data in entries:
                entry = tarfile.TarInfo(path)
                entry.size = len(data)
                t.addfile(entry, io.BytesIO(data))
        return tmp_path / name

    lower = layer("lower.tar", [("etc/keep", b"k"), ("etc/gone", b"g"), ("opaque/old", b"o"), ("f", b"lower")])
    upper = layer("upper.tar", [("etc/.wh.gone", b""), ("opaque/new", b"n"), ("opaque/.wh..wh..opq", b""),
                                ("f", b"upper")])
    make(tmp_path / "image", lower, upper)
    root = mount(tmp_path / "image")
    seen = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert seen == {"etc/keep": b"k", "opaque/new": b"n", "f": b"upper"}


def test_dot_entries_come_in_byte_order(odd_tree, tmp_path, mount):
    make(tmp_path / "image", odd_tree)
    names = [e.name for e in os.scandir(os.fsencode(mount(tmp_path / "image")))]
    assert names == sorted(names)
    assert collections.Counter(names).most_common(1)[0][1] == 1
