# SPDX-License-Identifier: Apache-2.0
"""Isolation `process`: only when it is asked for and always by its name, from the same images as root trees, with
the agent as the first process behind every wall."""

import json
import os
import pathlib
import signal
import subprocess
import tarfile
import tempfile
import time

import pytest

from conftest import HOMES, Msb, descendants, make_home, processes, remove_home, several_ids, until
from test_bad_input import FILE, LINK, elsewhere, refused, with_extra
from test_limits import without_cgroups

PROCESS = ["--isolation", "process"]
# A root's sandbox has ids of its own; an ordinary user's has the user's, and others where there are any.
ROOT = os.geteuid() == 0


def exe(msb, *words, options=(), **how):
    return msb.run("exe", *PROCESS, "--quiet", "--memory", "128M", *options, msb.image, "--", *words, **how)


def detached(msb, *options, name="box"):
    msb.run("exe", "-d", *PROCESS, "--quiet", "--memory", "128M", "--name", name, *options, msb.image)
    return name


def sh(msb, script, *options, box="box", **how):
    return msb.out("exec", *options, box, "--", "sh", "-c", script, **how)


def trees(msb):
    folder = pathlib.Path(msb.home) / "images/trees/sha256"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture(scope="module")
def box(images):
    msb = Msb(make_home(images))
    detached(msb)
    yield msb
    remove_home(msb)


# Asked for, and named.

def test_it_runs_and_leaves_no_trace(msb, no_trace):
    done = exe(msb, "sh", "-c", "echo out; echo err >&2; exit 7", expect=7)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_every_line_about_it_names_it(msb, no_trace):
    done, status = msb.status("exe", *PROCESS, "--memory", "128M", msb.image, "--", "true")
    assert done.returncode == 0 and status["isolation"] == "process"
    assert done.stderr.startswith(b"isolation process: "), done.stderr
    detached(msb)
    assert msb.ps()[0]["isolation"] == "process" and "process" in msb.out("ps")
    msb.run("kill", "box")
    msb.run("rm", "box")


@pytest.mark.parametrize("level", ["vm", "vm-emulated"])
def test_a_stronger_wall_that_is_required_refuses_it(msb, no_trace, level):
    message = refused(msb, "exe", *PROCESS, "--require", level, msb.image, "--", "true")
    assert f"--isolation process contradicts --require {level}" in message


def with_isolation(msb, level):
    msb.env = {**msb.env, "MICROSANDBOX_ISOLATION": level}
    return msb


# The words of the runner's own level, where it adds them, would win over the environment.
def plain(msb, *words, expect=0):
    done = subprocess.run([str(msb.bin / "msb"), *map(str, words)], env=msb.env, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60)
    assert done.returncode == expect, done
    return done.stdout.decode(), done.stderr.decode()


def test_the_environment_asks_for_it_and_is_named(msb, no_trace):
    with_isolation(msb, "process")
    out, err = plain(msb, "exe", "--memory", "128M", msb.image, "--", "cat", "/proc/1/comm")
    assert out == "msb-agent\n"
    assert err.startswith("isolation process: ") and "asked for by MICROSANDBOX_ISOLATION=process" in err
    _, err = plain(msb, "exe", "--json", "--memory", "128M", msb.image, "--", "true")
    assert "MICROSANDBOX_ISOLATION=process" in json.dumps(json.loads(err.splitlines()[0]))
    plain(msb, "exe", "-d", "--quiet", "--memory", "128M", "--name", "box", msb.image)
    assert msb.ps()[0]["isolation"] == "process"
    plain(msb, "rm", "-f", "box")
    _, err = plain(msb, "exe", "--require", "vm", msb.image, "--", "true", expect=125)
    assert "MICROSANDBOX_ISOLATION=process: " in err and "--require vm" in err


def test_the_command_line_wins_over_the_environment(msb, no_trace):
    with_isolation(msb, "vm-emulated")
    out, err = plain(msb, "exe", *PROCESS, "--memory", "128M", msb.image, "--", "cat", "/proc/1/comm")
    assert out == "msb-agent\n" and "MICROSANDBOX_ISOLATION" not in err
    with_isolation(msb, "docker")
    _, err = plain(msb, "exe", msb.image, "--", "true", expect=125)
    assert "MICROSANDBOX_ISOLATION: " in err and "vm-emulated, process" in err


@pytest.mark.root
def test_gc_ends_a_fork_bomb_whose_supervisor_was_killed(msb, no_trace):
    """An init that was killed needs the processor to die, and the sandbox's share of it is used up."""
    detached(msb)
    bomb = msb.start("exec", "box", "--", "sh", "-c", "echo up; b() { b | b & }; b; sleep 1000")
    assert bomb.stdout.readline() == b"up\n"
    time.sleep(2)
    os.kill(msb.ps()[0]["supervisor_pid"], signal.SIGKILL)
    bomb.communicate(timeout=60)
    msb.run("gc")
    assert msb.out("gc") == ""
    msb.run("rm", "box")


# Root trees.

def test_the_tree_is_made_once_and_by_digest(msb):
    assert trees(msb) == []
    exe(msb, "true")
    (made,) = trees(msb)
    digest = json.loads(msb.out("image", "list", "--json"))["images"][0]["digest"][7:]
    # With more ids than the user's own, those follow: test_process_ids.py.
    assert made.name.split("-")[:2] == [digest, str(os.geteuid())]
    before = made.stat()
    exe(msb, "sh", "-c", "echo x > /etc/written; rm -r /bin/ls")
    assert trees(msb) == [made] and made.stat().st_ino == before.st_ino
    assert (made / "root/bin/ls").exists() and not (made / "root/etc/written").exists()


def test_a_tree_lives_as_long_as_it_is_used(msb):
    detached(msb)
    msb.run("image", "remove", msb.image)
    msb.run("gc")
    assert len(trees(msb)) == 1 and sh(msb, "ls /bin | wc -l") != "0\n"
    msb.run("kill", "box")
    until(lambda: msb.ps() == [], "its end")
    until(lambda: "trees" in msb.out("gc") or trees(msb) == [], "the tree to be let go", 10)
    assert trees(msb) == []


def test_a_damaged_disk_is_named_and_leaves_nothing(msb, no_trace):
    (disk,) = (pathlib.Path(msb.home) / "images/disks/sha256").iterdir()
    with open(disk, "r+b") as file:
        file.seek(1024 + 14)
        file.write(b"\xff\xff")
    message = refused(msb, "exe", *PROCESS, msb.image, "--", "true")
    assert "root disk" in message
    assert trees(msb) == [] and list((pathlib.Path(msb.home) / "images/tmp").iterdir()) == []


def test_a_directory_is_used_in_its_place(msb, test_tar):
    # Of a file system that can map ids; and the sandbox, which is somebody else, may look into it.
    with tempfile.TemporaryDirectory(prefix="msb-tree-", dir=HOMES) as folder:
        os.chmod(folder, 0o755)
        subprocess.run(["tar", "-C", folder, "-xf", test_tar, "--no-same-owner"], check=True)
        out = msb.out("exe", *PROCESS, "--quiet", "--rootfs", folder, "--", "/bin/sh", "-c", "echo here; echo x > /x")
        assert out == "here\n" and not pathlib.Path(folder, "x").exists()


def own_trees(msb):
    """Those that are one sandbox's alone."""
    folder = pathlib.Path(msb.home) / "images/tmp"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_a_tar_is_unpacked_for_one_run(msb, no_trace, test_tar):
    out = msb.out("exe", *PROCESS, "--quiet", "--memory", "128M", "--rootfs", test_tar, "--", "/bin/sh", "-c",
                  "stat -c '%u %a' /home/user /root; echo x > /etc/passwd; cat /etc/passwd; exit 3", expect=3)
    assert out == ("1000 755\n" if several_ids() else "0 755\n") + "0 700\nx\n"
    assert own_trees(msb) == [] and trees(msb) == []


def test_a_tar_with_names_and_links_that_lead_out_stays_inside(msb, no_trace, tmp_path, test_tar):
    tar = with_extra(test_tar, tmp_path, ("/abs", FILE, ""), ("out", LINK, "/etc/passwd"), ("node", tarfile.CHRTYPE, ""),
                     ("down", LINK, "/var/tmp"), ("down/under", FILE, ""))
    done = msb.run("exe", *PROCESS, "--quiet", "--memory", "128M", "--rootfs", tar, "--", "/bin/sh", "-c",
                   "ls -d /abs; head -n 1 /out; ls /node", expect=1)
    assert done.stdout.decode().splitlines() == ["/abs", "root:x:0:0:root:/root:/bin/sh"]
    assert not pathlib.Path("/abs").exists() and not pathlib.Path("/var/tmp/under").exists()
    assert own_trees(msb) == []


def test_a_tar_that_is_none_leaves_nothing(msb, no_trace, test_tar, tmp_path):
    (tmp_path / "cut.tar").write_bytes(pathlib.Path(test_tar).read_bytes()[:700_000])
    refused(msb, "exe", *PROCESS, "--rootfs", tmp_path / "cut.tar", "--", "true")
    # Its tree is whole, and no sandbox can be started.
    refused(msb, "exe", *PROCESS, "--rootfs", test_tar, "--", "true", env={"MICROSANDBOX_AGENT": "/no/such/file"})
    assert own_trees(msb) == []


@pytest.mark.parametrize("who", ["msb", "supervisor"])
def test_the_tree_of_a_killed_run_is_found(msb, no_trace, test_tar, who):
    process = msb.start("exe", *PROCESS, "--quiet", "--memory", "128M", "--rootfs", test_tar, "--", "/bin/sh", "-c",
                        "echo up; sleep 9876")
    assert process.stdout.readline() == b"up\n"
    supervisor = msb.ps()[0]["supervisor_pid"]
    (tree,) = own_trees(msb)
    # What is used is left alone.
    msb.run("gc")
    assert own_trees(msb) == [tree] and (tree / "root/bin/busybox").exists()
    os.kill(process.pid if who == "msb" else supervisor, signal.SIGKILL)
    process.communicate(timeout=60)
    if who == "supervisor":
        assert process.returncode == 120
        msb.run("gc")
    else:
        until(lambda: supervisor not in descendants(), "its end")
        assert own_trees(msb) == [tree]
        assert f"images/tmp/{tree.name}" in msb.out("gc")
    assert own_trees(msb) == []


def test_the_tree_of_a_killed_unpacking_is_found(msb, no_trace, test_tar):
    for seconds in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3):
        process = msb.start("exe", *PROCESS, "--quiet", "--memory", "128M", "--rootfs", test_tar, "--", "/bin/sleep", "9877")
        time.sleep(seconds)
        process.kill()
        process.communicate(timeout=60)
    until(lambda: msb.ps("-a") == [] and own_trees(msb) == [], "the end of them all")


def test_the_tree_of_a_detached_sandbox_goes_with_it(msb, no_trace, test_tar):
    for way in (["kill", "box"], ["stop", "box"], ["rm", "-f", "box"]):
        msb.run("exe", "-d", *PROCESS, "--quiet", "--memory", "128M", "--name", "box", "--rootfs", test_tar)
        assert len(own_trees(msb)) == 1 and sh(msb, "echo x > /etc/motd; ls /bin/busybox") == "/bin/busybox\n"
        msb.run(*way)
        assert own_trees(msb) == [], way
        msb.run("rm", "-f", "box")
    # One that ends by itself: the next command of the home.
    msb.run("exe", "-d", *PROCESS, "--quiet", "--memory", "128M", "--name", "box", "--rootfs", test_tar, "--", "/bin/sleep", "1")
    until(lambda: msb.ps() == [] and own_trees(msb) == [], "its end, and of its tree")
    msb.run("rm", "box")


@pytest.mark.root
def test_a_file_system_that_cannot_map_ids_is_named(images, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    msb = Msb(home / "home")
    script = (f"mount -t tmpfs none {home}; mkdir {home}/upper {home}/work {home}/home; "
              f"mount -t overlay none {home}/home -o lowerdir={images},upperdir={home}/upper,workdir={home}/work")
    message = refused(msb, "exe", *PROCESS, msb.image, "--", "true", prefix=elsewhere(script))
    assert f"{home}/home/images/trees/" in message and "cannot map ids" in message


# What is inside.

def test_the_agent_is_the_first_process_and_out_of_reach(box):
    assert sh(box, "cat /proc/1/comm") == "msb-agent\n"
    for number in ("KILL", "TERM", "INT", "SEGV", "STOP"):
        sh(box, f"kill -{number} 1")
    for path in ("/proc/1/mem", "/proc/1/environ", "/proc/1/fd/3", "/proc/1/root/etc/passwd"):
        assert sh(box, f"cat {path} >/dev/null 2>&1; echo $?") != "0\n", path
    assert sh(box, "(echo x > /proc/1/exe) 2>/dev/null; (echo x > /dev/msb-agent) 2>/dev/null; "
                   "chmod 777 /dev/msb-agent 2>/dev/null; echo alive") == "alive\n"
    agent = pathlib.Path(box.bin) / "msb-agent"
    if not agent.exists():
        agent = pathlib.Path(box.bin).parent / "lib/microsandbox/msb-agent"
    assert subprocess.run([agent, "--version"], capture_output=True).stdout.startswith(b"msb-agent ")
    assert agent.stat().st_mode & 0o777 == 0o755


def test_programs_see_a_sandbox_of_their_own(box):
    assert sh(box, "hostname; cat /etc/hostname") == "box\nbox\n"
    assert sh(box, "ls /sys/class/net") == "lo\n"
    assert " overlay " in sh(box, "grep ' / ' /proc/mounts")
    assert int(sh(box, "cut -d. -f1 /proc/uptime")) < 3600
    # Descriptors of the agent, of the supervisor, of msb: none of them.
    assert sh(box, "ls /proc/self/fd | grep -v '^[0-3]$' | wc -l") == "0\n"
    assert sh(box, "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status") == "NoNewPrivs:\t1\nSeccomp:\t2\n"


def test_files_have_the_images_owners_or_are_all_the_users(box):
    assert sh(box, "stat -c '%u %g' /home/user /etc/passwd").split("\n")[1] == "0 0"
    assert sh(box, "stat -c '%u %g' /home/user") == ("1000 1000\n" if several_ids() else "0 0\n")


def test_users(box):
    assert sh(box, "id -u; id -g") == "0\n0\n"
    done = box.run("exec", "--user", "user", "box", "--", "id", "-u", expect=0 if several_ids() else 125)
    if several_ids():
        assert done.stdout == b"1000\n"
    else:
        assert b"one id" in done.stderr and b"--user root" in done.stderr, done.stderr


def test_a_terminal_is_the_sandboxes_own(box):
    child = box.terminal("exec", "box", "--", "sh", "-c", "tty; stty size; echo x > /dev/tty")
    child.expect_exact("/dev/pts/")
    child.expect_exact("24 80")
    child.expect_exact("x")
    child.wait()
    child.close()
    assert child.exitstatus == 0


def test_what_is_written_fits_the_storage(msb):
    done = exe(msb, "dd", "if=/dev/zero", "of=/fill", "bs=1M", "count=100", options=["--storage", "64M"], expect=1)
    assert b"No space left" in done.stderr


@pytest.mark.root
def test_a_memory_hog_is_named_and_its_sandbox_lives(msb, no_trace):
    detached(msb, "--storage", "16M")
    done, status = msb.status("exec", "box", "--", "sh", "-c", "x=x; while :; do x=$x$x; done")
    assert done.returncode == 137 and status["outcome"]["kind"] == "out_of_memory", status
    assert b"out of memory" in done.stderr
    assert sh(msb, "echo alive") == "alive\n"
    # Nothing of it sticks to what comes after.
    _, status = msb.status("exec", "box", "--", "sh", "-c", "kill -9 $$")
    assert status["outcome"]["kind"] == "signaled"
    msb.run("kill", "box")
    msb.run("rm", "box")


def test_without_a_cgroup_each_program_is_limited_by_itself(msb, no_trace):
    argv = msb.argv("exe", *PROCESS, "--memory", "96M", msb.image, "--", "sh", "-c",
                    "x=x; while :; do x=$x$x; done; echo never")
    done = subprocess.run([*without_cgroups(), *argv], env=msb.env, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60)
    assert done.returncode not in (0, 125) and b"never" not in done.stdout and b"limits not set" in done.stderr, done


def test_a_kill_takes_the_whole_session(box):
    script = "trap '' INT; setsid sleep 9873 & (sleep 9873 & exec sleep 9873) & echo ready; sleep 9873"
    process = box.start("exec", "box", "--", "sh", "-c", script)
    assert process.stdout.readline() == b"ready\n"
    count = "ps | grep -c '[s]leep 9873' || true"
    until(lambda: int(sh(box, count)) >= 4, "the sleepers", 20)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    assert process.wait(timeout=60) == 137
    until(lambda: int(sh(box, count)) == 0, "the end of all of them", 20)


def test_every_promised_wall_is_in_force(box):
    record = json.loads(box.out("inspect", "box"))
    in_force = record["in_force"]
    assert in_force["problems"] == []
    (agent,) = [process for process in in_force["processes"] if process["part"] == "machine"]
    walls = {wall["wall"]: wall for wall in agent["walls"]}
    assert {"user namespace", "network namespace", "pid namespace", "mount namespace", "ipc namespace",
            "uts namespace", "cgroup namespace", "time namespace", "seccomp", "no_new_privs",
            "landlock"} <= set(walls)
    for name, wall in walls.items():
        assert wall["in_force"] is (None if name == "landlock" else True), wall
    uids = set(agent["threads"][0]["uids"])
    assert uids == {record["machine_uid"]} and (not ROOT or 0 not in uids)
    assert agent["threads"][0]["policy"] == "process sandbox"
    text = box.out("inspect", "--walls", "box")
    assert text.startswith("box: isolation process") and " NO " not in text and "do not trust" not in text


# Ends.

def inside():
    """Processes of sandboxes below us."""
    return {pid for pid, name in descendants().items() if name.startswith(("msb-agent", "sleep"))}


def test_killing_the_supervisor_ends_everything(msb):
    before = inside()
    process = msb.start("exe", *PROCESS, "--quiet", msb.image, "--", "sh", "-c", "setsid sleep 9874 & echo up; wait")
    assert process.stdout.readline() == b"up\n"
    os.kill(msb.ps()[0]["supervisor_pid"], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 120 and b"supervisor" in err
    until(lambda: inside() <= before, f"the end of {descendants()}", 10)


def test_killing_the_agent_is_a_machine_that_died(msb, no_trace):
    process = msb.start("exe", *PROCESS, "--quiet", msb.image, "--", "sh", "-c", "echo up; sleep 9875")
    assert process.stdout.readline() == b"up\n"
    supervisor = msb.ps()[0]["supervisor_pid"]
    (agent,) = [pid for pid, (parent, _, _) in processes().items() if parent == supervisor]
    os.kill(agent, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 120 and b"signal 9" in err, err


def test_stop_gives_its_grace_and_the_record_stays(msb):
    msb.run("exe", "-d", *PROCESS, "--quiet", "--name", "web", msb.image, "--", "sh", "-c",
            "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done")
    until(lambda: b"up" in msb.run("logs", "web").stdout, "its start")
    msb.run("stop", "--grace", "20s", "web")
    record = until(lambda: [box for box in msb.ps("-a") if box["state"] == "ended"], "its end")[0]
    assert record["outcome"]["kind"] in ("stopped", "exited") and b"bye" in msb.run("logs", "web").stdout


@pytest.mark.parametrize("variable", ["MICROSANDBOX_AGENT", "MICROSANDBOX_SUPERVISOR"])
def test_a_missing_part_is_named(msb, no_trace, variable):
    message = refused(msb, "exe", *PROCESS, msb.image, "--", "true", env={variable: "/no/such/part"})
    assert f"{variable}: /no/such/part" in message


def test_no_machine_is_needed(msb, no_trace):
    """Neither a guest kernel nor QEMU nor KVM."""
    env = {"MICROSANDBOX_KERNEL": "/none", "MICROSANDBOX_INITRAMFS": "/none"}
    done = subprocess.run(msb.argv("exe", *PROCESS, "--quiet", msb.image, "--", "echo", "hi"),
                          env={**msb.env, **env}, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert done.stdout == b"hi\n", done.stderr
