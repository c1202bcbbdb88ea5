# SPDX-License-Identifier: Apache-2.0
"""`msb inspect` says what the kernel says of a sandbox's processes, and nothing on the present of one that has
ended. Every figure is compared with /proc as this test reads it."""

import json
import os
import pathlib

from conftest import ISOLATION

CAPABILITIES = {"effective": "CapEff", "permitted": "CapPrm", "inheritable": "CapInh", "bounding": "CapBnd",
                "ambient": "CapAmb"}


def inspect(msb, name="box"):
    return json.loads(msb.out("inspect", name))


def part(in_force, name):
    [found] = [process for process in in_force["processes"] if process["part"] == name]
    return found


def status_of(pid, tid):
    text = pathlib.Path(f"/proc/{pid}/task/{tid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines())


def walls_of(process):
    return {wall["wall"]: wall for wall in process["walls"]}


def test_every_thread_is_shown_as_the_kernel_has_it(shared):
    in_force = inspect(shared)["in_force"]
    assert in_force["problems"] == []
    # A process sandbox has no init but its agent, which is its machine.
    for name in ("supervisor", "machine") if ISOLATION == "process" else ("supervisor", "jail init", "machine"):
        process = part(in_force, name)
        assert {str(thread["tid"]) for thread in process["threads"]} == set(os.listdir(f"/proc/{process['pid']}/task"))
        for thread in process["threads"]:
            status = status_of(process["pid"], thread["tid"])
            assert thread["name"] == status["Name"]
            assert thread["uids"] == [int(uid) for uid in status["Uid"].split()]
            assert thread["gids"] == [int(gid) for gid in status["Gid"].split()]
            assert thread["groups"] == [int(gid) for gid in status["Groups"].split()]
            assert thread["capabilities"] == {ours: status[field] for ours, field in CAPABILITIES.items()}
            assert thread["no_new_privs"] is (status["NoNewPrivs"] == "1")
            assert thread["seccomp"] == {"mode": int(status["Seccomp"]), "filters": int(status["Seccomp_filters"])}
            assert thread["seccomp"]["mode"] == 2 and thread["no_new_privs"]
    assert part(in_force, "supervisor")["pid"] == inspect(shared)["supervisor_pid"]


def test_the_machine_is_apart_and_every_promised_wall_is_looked_for(shared):
    record = inspect(shared)
    machine = part(record["in_force"], "machine")
    walls = walls_of(machine)
    assert set(record["walls"]) <= set(walls)
    unknown = {"landlock", "no descriptors but its own"}
    for name, wall in walls.items():
        assert wall["in_force"] is (None if name in unknown else True), wall
    for kind in ("mnt", "pid", "net", "ipc", "uts"):
        assert machine["namespaces"][kind] == os.readlink(f"/proc/{machine['pid']}/ns/{kind}")
        assert machine["namespaces"][kind] != os.readlink(f"/proc/self/ns/{kind}")
    assert sum(machine["descriptors"].values()) == len(os.listdir(f"/proc/{machine['pid']}/fd"))
    assert machine["root"] == sorted(os.listdir(f"/proc/{machine['pid']}/root/"))
    assert all(mount["read_only"] and mount["nosuid"] and mount["nodev"] for mount in machine["mounts"])
    core = [limit for limit in machine["rlimits"] if limit["name"] == "Max core file size"]
    assert [(limit["soft"], limit["hard"]) for limit in core] == [(0, 0)]


def test_each_class_of_thread_has_its_table(shared):
    record = inspect(shared)
    in_force = record["in_force"]
    tables = {policy["name"]: policy for policy in in_force["policies"]}
    threads = part(in_force, "machine")["threads"]
    assert {thread["policy"] for thread in threads} <= {*tables, None}
    if record["isolation"] == "vm":
        by_name = {thread["name"]: thread for thread in threads}
        assert by_name["blk"]["policy"] == "vmm worker" and by_name["vcpu0"]["policy"] == "vmm processor"
        assert [thread["policy"] for thread in threads].count("vmm devices") == 1
        assert all(thread["seccomp"]["filters"] == 3 for thread in threads)
        assert "pread64" in tables["vmm worker"]["allows"] and "pread64" not in tables["vmm processor"]["allows"]
        assert tables["vmm devices"]["otherwise"] == "kills the process"
    else:
        assert {thread["policy"] for thread in threads} == {"qemu"}


def test_limits_are_those_of_the_machines_cgroups(shared):
    record = inspect(shared)
    in_force = record["in_force"]
    assert [limit["wall"] for limit in in_force["limits"]] == record["limits"]
    assert all(limit["in_force"] is not False for limit in in_force["limits"]), in_force["limits"]
    for cgroup in in_force["cgroups"]:
        assert cgroup["holds_machine"] is True
        for file, value in cgroup["files"].items():
            assert (pathlib.Path(cgroup["path"]) / file).read_text().strip() == value


def test_people_see_tables(shared):
    text = shared.out("inspect", "--walls", "box")
    assert text.startswith("box: isolation process" if ISOLATION == "process" else "box: isolation vm")
    for words in ("THE KERNEL SAYS", "landlock", "unknown", "machine", "mode 2", "no_new_privs"):
        assert words in text
    assert " NO " not in text and "do not trust" not in text
    assert json.loads(shared.out("inspect", "--walls", "--json", "box"))["in_force"]["processes"]


def test_an_ended_one_has_a_record_and_no_present(msb):
    msb.detached(name="web")
    msb.run("kill", "web")
    record = inspect(msb, "web")
    assert record["in_force"] is None and "seccomp" in record["walls"]
    text = msb.out("inspect", "--walls", "web")
    assert "Nothing of it runs. Its start had set up" in text and "  seccomp\n" in text and "yes" not in text


def test_looking_disturbs_nobody(shared):
    for _ in range(20):
        inspect(shared)
    assert shared.out("exec", "box", "--", "echo", "hi") == "hi\n"
