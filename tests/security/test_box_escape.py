# SPDX-License-Identifier: Apache-2.0
"""What hostile code and hostile trees can do with a process sandbox: box_probe.py tries it inside.

Run as root, every test runs twice: as root (a range of ids of its own) and as an ordinary user.
"""

import json
import os
import pathlib
import pty
import shutil
import subprocess
import tempfile

import pytest
from boxes import NOBODY, PROBE, Box

FIRST_ID, IDS = 0x78000000, 1024 * 65536
# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT SETFCAP
TWELVE = "00000000800425fb"


@pytest.fixture
def victim(place, box):
    """A folder of the host with a file in it; afterwards both are as they were."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=place))
    (folder / "file").write_text("precious", encoding="ascii")
    for path, mode in ((folder, 0o755), (folder / "file", 0o644)):
        os.chmod(path, mode)
        if box.prefix:
            os.chown(path, NOBODY, NOBODY)
    before = [path.stat() for path in (folder, folder / "file")]
    yield folder
    after = [path.stat() for path in (folder, folder / "file")]
    # st_mode, owner, size, and times of the last change of content or inode; reading is no harm.
    kept = ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns")
    assert [[getattr(info, key) for key in kept] for info in before] == [[getattr(info, key) for key in kept] for info in after]
    assert sorted(os.listdir(folder)) == ["file"]
    assert (folder / "file").read_text(encoding="ascii") == "precious"


def hostile(place, box, links):
    """A tree with a shell and `links` (place: target) in it."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=place))
    for top in ("bin", "lib", "lib64", "sbin"):
        os.symlink(f"usr/{top}", folder / top)
    (folder / "usr").mkdir()
    for where, target in links.items():
        path = folder / where
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, path)
    os.chmod(folder, 0o755)
    if box.prefix:
        subprocess.run(["chown", "-Rh", f"{NOBODY}:{NOBODY}", folder], check=True)
    return folder


USR = ["--mount-ro", "/usr:/usr"]
LINKS = [{"etc/hostname": "file"}, {"etc/hosts": "file", "etc/resolv.conf": "file", "etc/passwd": "file"}, {"etc": ""},
         {"tmp": ""}, {"proc": ""}, {"dev": ""}, {"sys": ""}, {"etc": "file", "tmp": "file", "proc": "file"}]


@pytest.mark.parametrize("links", LINKS, ids=lambda links: " ".join(links))
@pytest.mark.parametrize("up", ["absolute", "upwards"])
def test_links_of_a_hostile_tree_lead_nowhere(place, box, victim, links, up):
    where = str(victim) if up == "absolute" else "/".join([".."] * 12) + str(victim)
    folder = hostile(place, box, {name: f"{where}/{leaf}".rstrip("/") for name, leaf in links.items()})
    done = box.run(*USR, "--", "/bin/sh", "-c", "cat /etc/hostname; ls -d /proc/self /dev/null /tmp; echo x > /tmp/y", fs=folder)
    assert done.stdout.startswith("sandbox-") and done.stdout.count("\n") == 4


def test_places_of_binds_stay_in_the_tree(place, box, victim):
    folder = hostile(place, box, {"a": str(victim), "b": str(victim / "file"), "c": "../../../../.."})
    given = victim.with_name(f"{victim.name}.given")
    given.mkdir()
    (given / "mine").write_text("given", encoding="ascii")
    for target in ("/a/new", "/c/new", f"/c{victim}/new", "/b"):
        done = box.run(*USR, "--mount-ro", f"{given}:{target}", "--", "/bin/sh", "-c", f"cat {target}/mine", fs=folder, expect=None)
        assert done.returncode in (0, 125), done.stderr
        assert done.stdout == ("given" if done.returncode == 0 else "")
    shutil.rmtree(given)


@pytest.mark.parametrize("fs", [None, "host"])
def test_nothing_of_the_host_lies_above_the_root(box, fs):
    found = box.probe("root", fs=fs) if fs is None else json.loads(
        box.run("--", "/usr/bin/python3", "-B", box.program.with_name(PROBE.name), "root", fs=fs).stdout)["root"]
    assert found["same"]
    if fs is None:
        allowed = ("/", "/probe.py", "/proc", "/sys", "/dev")
        assert all(mount in allowed or mount.startswith(("/proc/", "/sys/", "/dev/")) for mount in found["mounts"])
        for mount, options in found["options"].items():
            assert "nosuid" in options, mount
            assert "nodev" in options or mount.startswith("/dev") or mount.startswith("/proc/"), mount


@pytest.mark.parametrize("flags", [[], ["--log-denied"]], ids=["silent", "shown"])
def test_the_process_holds_no_more_than_it_was_given(box, flags):
    with open("/etc/passwd", encoding="ascii") as leaked:
        done = subprocess.run([*box.command("--mount-ro", f"{box.program.with_name(PROBE.name)}:/probe.py", "--env", "GIVEN=1",
                                            *flags, "--", "python3", "-B", "/probe.py", "process")],
                              pass_fds=[leaked.fileno()], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=60, check=True, env={**os.environ, "SECRET": "of the caller"})
    found = json.loads(done.stdout)["process"]
    assert found["fds"] == [0, 1, 2]
    assert found["status"]["NoNewPrivs"] == "1" and found["status"]["Seccomp"] == "2"
    assert found["status"]["CapInh"] == found["status"]["CapAmb"] == "0" * 16
    assert found["status"]["CapEff"] == found["status"]["CapPrm"] == found["status"]["CapBnd"] == TWELVE
    assert found["pid"] == found["session"] == 2 and found["pids"] == [1, 2]
    assert set(found["environment"]) <= {"PATH", "HOME", "TERM", "LANG", "GIVEN", "LC_CTYPE"}
    assert found["uptime"] < 60
    inside, outside, count = map(int, found["maps"]["uid"])
    assert inside == 0
    if box.identity == "root":
        assert found["maps"]["gid"] == found["maps"]["uid"]
        assert FIRST_ID <= outside < FIRST_ID + IDS and count == 65536
    else:
        assert outside == (NOBODY if box.prefix else os.geteuid()) and count == 1
        assert found["maps"]["gid"] == ["0", str(NOBODY if box.prefix else os.getegid()), "1"]
    for name in ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time"):
        assert found["namespaces"][name] != os.readlink(f"/proc/self/ns/{name}"), name


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_nothing_of_ours_takes_the_place_of_a_closed_stream(box, closed):
    """What the caller has closed is /dev/null inside: never the next file, pipe or cgroup that microbox opened."""
    with tempfile.TemporaryFile() as file:
        code = f"import os; os.write({file.fileno()}, repr([os.fstat(n).st_rdev for n in range(3)]).encode())"
        inner = ["sh", "-c", f'exec "$@" {closed}', "sh"]
        done = subprocess.run([*inner, *box.command("--keep-fd", file.fileno(), "--", "python3", "-Bc", code)], pass_fds=[file.fileno()],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60, check=False)
        file.seek(0)
        assert (done.returncode, file.read().decode()) == (0, repr([os.makedev(1, 3)] * 3))


@pytest.mark.parametrize("flags", [[], ["--log-denied"]], ids=["silent", "shown"])
def test_calls_that_reach_the_kernel_deeper_are_refused(box, flags):
    found = box.probe("calls", flags=flags)
    assert found.pop("clone3") == "ENOSYS" and found.pop("nobody_knows") == "ENOSYS"
    assert set(found.values()) == {"EPERM"}, found


@pytest.mark.parametrize("flags", [[], ["--log-denied"]], ids=["silent", "shown"])
def test_foreign_binary_interfaces_kill(box, flags):
    assert box.probe("foreign", flags=flags) == {"int80": "signal 31", "x32": "signal 31"}


def test_no_nested_user_namespace(box):
    assert box.probe("clone_user") == "EPERM"


def test_families_of_sockets(box):
    found = box.probe("sockets")
    assert [name for name, answer in found.items() if answer == "done"] == ["unix", "inet", "inet6", "route"]
    assert {answer for answer in found.values() if answer != "done"} == {"EAFNOSUPPORT"}


def test_nothing_is_typed_into_the_callers_terminal(box):
    ours, theirs = pty.openpty()
    try:
        assert set(box.probe("terminal", stdin=theirs).values()) == {"EPERM"}
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_hosts_and_the_inits_files_of_proc_are_out_of_reach(box):
    found = box.probe("paths")
    assert found.pop("firmware") in ("", "ENOENT")
    for path, answer in found.items():
        readable = path.startswith("r ") and answer == "empty"
        assert readable or answer in ("EACCES", "EPERM", "EROFS", "ENOENT"), (path, answer)


def test_no_devices(box):
    found = box.probe("devices")
    assert (found["char"], found["block"], found["fifo"]) == ("EPERM", "EPERM", "done")
    assert found["dev"] == "fd,full,mqueue,null,ptmx,pts,random,shm,stderr,stdin,stdout,tty,urandom,zero"


@pytest.mark.root
def test_no_devices_with_the_hosts_ids(program, tree):
    found = Box(program, "root", tree).probe("devices", flags=["--userns", "host"])
    assert (found["char"], found["block"]) == ("EPERM", "EPERM")


def test_no_network_but_the_loopback(box):
    assert box.probe("network") == {"names": ["lo"], "lo up": True, "out": "ENETUNREACH"}


@pytest.mark.root
def test_a_setuid_program_gives_nothing(program, tree):
    box = Box(program, "root", tree)
    done = box.run("--", "sh", "-c", "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && setpriv --reuid 1000 --clear-groups /tmp/id -u")
    assert done.stdout == "1000\n"


@pytest.mark.root
def test_what_is_mounted_in_a_read_only_bind_is_read_only(program, tree, place):
    box = Box(program, "root", tree)
    folder = place / "submounts"
    (folder / "below").mkdir(parents=True)
    script = f"mount -t tmpfs none {folder}/below && " + ' "$@"'
    done = box.run("--mount-ro", f"{folder}:/given", "--", "sh", "-c", "touch /given/x /given/below/x; ls /given/below",
                   prefix=["unshare", "--mount", "sh", "-c", script, "sh"], expect=None)
    assert done.stderr.count("Read-only file system") == 2 and done.stdout == ""


@pytest.mark.root
@pytest.mark.parametrize("fs", ["host", None])
def test_mounts_inside_do_not_reach_a_shared_host(program, tree, fs, tmp_path):
    command = " ".join(Box(program, "root", tree).command("--mount-ro", "/etc:/given", "--", "/bin/sh", "-c", ":") if fs is None else
                       Box(program, "root", tree).command("--", "/bin/sh", "-c", ":", fs=fs))
    command = command.replace("-c :", "-c 'echo ran'")
    look = "cut -d' ' -f1-6,8- /proc/self/mountinfo"
    done = subprocess.run(["unshare", "--mount", "--propagation", "shared", "sh", "-ec",
                           f"mount --make-rshared /; {look} > {tmp_path}/before; {command}; {look} | diff - {tmp_path}/before"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr


def test_a_fork_bomb_ends_with_the_sandbox(box):
    if box.identity == "user":
        flags = ["--timeout", "5s", "--kill-after", "1s"]  # No cgroup: nothing counts its processes.
        bomb = "for i in $(seq 50); do (while :; do :; done) & done; wait"
    else:
        flags = ["--pids", "64", "--timeout", "5s", "--kill-after", "1s"]
        bomb = "bomb() { bomb | bomb & }; bomb; sleep 30"
    box.run(*flags, "--", "sh", "-c", bomb, expect=None)
    left = subprocess.run(["pgrep", "-f", "bomb [|] bomb|while :; do :; done"], capture_output=True, text=True, check=False).stdout
    assert left == ""


@pytest.mark.root
def test_memory_has_an_end_and_its_name(program, tree):
    done = Box(program, "root", tree).run("--memory", "64M", "--", "python3", "-c", "bytearray(256 << 20)", expect=137)
    assert "out of memory" in done.stderr


def test_storage_has_an_end(box):
    done = box.run("--storage", "2M", "--", "sh", "-c", "cat /dev/zero > /big; for i in $(seq 5); do :; done; rm /big; echo on", expect=0)
    assert "No space left on device" in done.stderr and done.stdout == "on\n"
