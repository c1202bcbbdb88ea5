# SPDX-License-Identifier: Apache-2.0
"""--net bridge in a world of the test's own: a "host" whose only neighbour is an "internet" with public and
private addresses, all in network namespaces. Nothing here touches the real network. What an ordinary user can
have is tried as one, too."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
from conftest import BIN, HOMES, until

pytestmark = pytest.mark.root
SERVER = pathlib.Path(__file__).with_name("internet.py")
PUBLIC, PRIVATE, METADATA, SHARED, NAMES = "203.0.113.9", "10.99.0.1", "169.254.169.254", "100.64.0.1", "192.168.50.53"
HOST = "198.51.100.2"
NOBODY = 65534
APPLETS = ("sh", "cat", "echo", "ip", "nc", "nslookup", "sleep", "true", "read", "mkfifo", "seq", "head", "ls", "ping", "grep")
# With a stdin that does not end: pasta 2023_03_09 loses the end of a connection that both sides close at once.
HEAR = "mkfifo /tmp/open; nc -w {} {} 80 <> /tmp/open"


@contextlib.contextmanager
def namespace():
    """Its command prefix, for as long as it is used."""
    # Mounts of its own, for a device that everybody may open, as udev has it.
    script = "mount -t tmpfs none /mnt; mknod -m 666 /mnt/tun c 10 200; mount --bind /mnt/tun /dev/net/tun; echo up; exec sleep infinity"
    with subprocess.Popen(["unshare", "--net", "--mount", "sh", "-ec", script], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        try:
            yield process.pid
        finally:
            process.kill()


class World:
    def __init__(self, host, internet):
        self.host, self.internet = host, internet

    def on(self, pid, *words, **how):
        return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *map(str, words)], check=True, capture_output=True, text=True, **how)

    @contextlib.contextmanager
    def server(self, pid):
        with subprocess.Popen(["nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-B", SERVER], stdout=subprocess.PIPE) as server:
            assert server.stdout.readline() == b"up\n"
            try:
                yield
            finally:
                server.kill()

    def state(self):
        """All that a sandbox could leave: rules, links, settings, files."""
        # Links may go while they are looked at.
        forwarding = "grep -s . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/ip_forward; true"
        links = [link["ifname"] for link in json.loads(self.on(self.host, "ip", "-j", "link").stdout)]
        run = pathlib.Path("/run/microsandbox")
        # Those of other namespaces are others' sandboxes.
        inode = os.stat(f"/proc/{self.host}/ns/net").st_ino
        programs = []
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.stat(entry / "ns/net").st_ino == inode:
                    programs.append((entry / "comm").read_text())
        return (self.on(self.host, "nft", "list", "ruleset").stdout, links, self.on(self.host, "sh", "-c", forwarding).stdout,
                (run / f"network-{inode}").exists(), sorted(programs))


@pytest.fixture(scope="module")
def world():
    if shutil.which("nft") is None:
        pytest.fail("nft is missing: tools/install-packages test", pytrace=False)
    with namespace() as host, namespace() as internet:
        world = World(host, internet)
        world.on(host, "sh", "-ec", f"""
            ip link set lo up
            ip link add up0 type veth peer name up1 netns {internet}
            ip addr add {HOST}/24 dev up0
            ip link set up0 up""")
        addresses = "\n".join(f"ip addr add {one}/32 dev lo" for one in (PUBLIC, PRIVATE, METADATA, SHARED, NAMES, "8.8.8.8"))
        world.on(internet, "sh", "-ec", f"""
            ip link set lo up
            ip addr add 198.51.100.1/24 dev up1
            ip link set up1 up
            {addresses}""")
        world.on(host, "ip", "route", "add", "default", "via", "198.51.100.1")
        with world.server(internet):
            yield world


@pytest.fixture(scope="module")
def tree():
    with tempfile.TemporaryDirectory(prefix="msb-net-", dir=HOMES) as folder:
        binaries = pathlib.Path(folder) / "bin"
        binaries.mkdir()
        os.chmod(folder, 0o755)
        shutil.copy(BIN / "microbox", folder)
        shutil.copy(shutil.which("busybox"), binaries / "busybox")
        for name in APPLETS:
            (binaries / name).symlink_to("busybox")
        yield folder


def box_of(world, tree, prefix):
    """Command lines of microbox on the world's host."""
    class Box:
        @staticmethod
        def argv(*words, net="bridge"):
            return ["nsenter", f"--net=/proc/{world.host}/ns/net", f"--mount=/proc/{world.host}/ns/mnt", *prefix, f"{tree}/microbox",
                    "--fs", tree, "--net", net, *map(str, words)]

        def run(self, *words, expect=0, **how):
            how.setdefault("stdin", subprocess.DEVNULL)
            done = subprocess.run(self.argv(*words, **({"net": how.pop("net")} if "net" in how else {})), capture_output=True,
                                  text=True, timeout=120, check=False, **how)
            assert expect is None or done.returncode == expect, (words, done.returncode, done.stdout, done.stderr)
            return done

        def record(self, *words, **how):
            with tempfile.TemporaryFile() as file:
                done = self.run("--status-fd", file.fileno(), *words, pass_fds=[file.fileno()], **how)
                file.seek(0)
                return done, json.loads(file.read())

        def reach(self, address, *words):
            """What a connection from a sandbox hears; "" when it is refused, which it must be at once."""
            began = time.monotonic()
            done = self.run(*words, "--", "sh", "-c", HEAR.format(30, address), expect=None)
            assert time.monotonic() - began < 25
            return done.stdout

        @contextlib.contextmanager
        def running(self, *words):
            """A sandbox that says its address first, until the end of the block."""
            with subprocess.Popen(self.argv(*words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                try:
                    yield process, process.stdout.readline().strip()
                finally:
                    process.stdin.close()
                    process.wait(60)
    return Box()


@pytest.fixture
def box(world, tree):
    """As root."""
    return box_of(world, tree, [])


@pytest.fixture
def user_box(world, tree):
    return box_of(world, tree, ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"])


@pytest.fixture(params=["box", "user_box"])
def any_box(request):
    """As root, and as an ordinary user."""
    return request.getfixturevalue(request.param)


@pytest.fixture(autouse=True)
def no_trace(world):
    before = world.state()
    yield
    until(lambda: world.state() == before, "the network as it was", 20)


SAY_ADDRESS = "ip -4 -o addr show eth0 | { read _ _ _ a _; echo ${a%/*}; }"


def test_the_internet_is_reached_by_the_hosts_address(any_box):
    assert any_box.reach(PUBLIC) == f"from {HOST}\n"


def test_names_are_asked_of_public_and_private_servers(any_box):
    assert "203.0.113.80" in any_box.run("--", "nslookup", "example.org").stdout
    assert "203.0.113.80" in any_box.run("--dns", NAMES, "--", "nslookup", "example.org").stdout
    # Its port 53, and nothing else.
    assert any_box.reach(NAMES, "--dns", NAMES) == ""


@pytest.mark.parametrize("address", [PRIVATE, METADATA, SHARED, NAMES])
def test_what_is_not_of_the_internet_is_refused(any_box, address):
    assert any_box.reach(address) == ""
    assert any_box.reach(address, "--net-allow", address) == f"from {HOST}\n"


def test_a_block_is_allowed(any_box):
    assert any_box.reach(PRIVATE, "--net-allow", "10.99.0.0/16") == f"from {HOST}\n"
    assert any_box.reach(PRIVATE, "--net-allow", "10.98.0.0/16") == ""


GATEWAY = HEAR.format(30, "$(ip route show default | { read _ _ gateway _; echo $gateway; })")


def test_the_host_is_refused_at_every_address(world, any_box):
    blocks = ("--net-allow", "10.0.0.0/8", "--net-allow", "198.51.100.0/24")
    with world.server(world.host):
        assert any_box.reach(HOST, *blocks) == ""
        assert any_box.reach("127.0.0.1", *blocks) == ""
        assert any_box.reach(HOST, "--net-allow", "host").startswith("from ")


def test_the_host_is_reached_by_the_gateways_address(world, box):
    with world.server(world.host):
        assert box.run("--net-allow", "10.0.0.0/8", "--", "sh", "-c", GATEWAY, expect=1).stdout == ""
        assert box.run("--net-allow", "host", "--", "sh", "-c", GATEWAY).stdout.startswith("from 10.44.")


def test_sandboxes_do_not_reach_each_other(box):
    everything = ("--net-allow", "0.0.0.0/0", "--net-allow", "host")
    with box.running(*everything, "--", "sh", "-c", f"{SAY_ADDRESS}; nc -l -p 8000 -e echo reached & read x") as (_, address):
        assert box.run(*everything, "--", "nc", "-w", "2", address, "8000", expect=1).stdout == ""


def test_the_host_reaches_the_sandbox(world, box):
    with box.running("--", "sh", "-c", f"{SAY_ADDRESS}; nc -l -p 8000 -e echo reached & read x") as (_, address):
        ask = f"import socket; print(socket.create_connection(('{address}', 8000), 20).recv(99))"
        heard = until(lambda: subprocess.run(["nsenter", f"--net=/proc/{world.host}/ns/net", "python3", "-c", ask], capture_output=True,
                                             text=True, check=False).stdout, "an answer")
        assert heard == "b'reached\\n'\n"


def test_nobody_else_reaches_the_sandbox(world, box):
    with box.running("--", "sh", "-c", f"{SAY_ADDRESS}; nc -l -p 8000 -e echo reached & read x") as (_, address):
        world.on(world.internet, "ip", "route", "add", f"{address}/32", "via", HOST)
        try:
            ask = f"import socket; socket.create_connection(('{address}', 8000), 2)"
            done = subprocess.run(["nsenter", f"--net=/proc/{world.internet}/ns/net", "python3", "-c", ask], capture_output=True, text=True, check=False)
            assert done.returncode == 1 and "imed out" in done.stderr
        finally:
            world.on(world.internet, "ip", "route", "del", f"{address}/32")


def test_the_host_is_no_router_for_its_neighbours(world, box):
    """What forwards for our sake forwards for nobody else's."""
    with namespace() as inner:
        world.on(world.host, "sh", "-ec", f"ip link add in0 type veth peer name in1 netns {inner}; ip addr add 10.77.0.1/24 dev in0; ip link set in0 up")
        world.on(inner, "sh", "-ec", "ip link set lo up; ip addr add 10.77.0.2/24 dev in1; ip link set in1 up; ip route add default via 10.77.0.1")
        world.on(world.internet, "ip", "route", "add", "10.77.0.0/24", "via", HOST)
        try:
            with box.running("--", "sh", "-c", f"{SAY_ADDRESS}; read x") as (_, address):
                assert address
                ask = "import socket; socket.create_connection(('10.77.0.2', 80), 2)"
                done = subprocess.run(["nsenter", f"--net=/proc/{world.internet}/ns/net", "python3", "-c", ask], capture_output=True, text=True, check=False)
                assert done.returncode == 1 and "imed out" in done.stderr
        finally:
            world.on(world.internet, "ip", "route", "del", "10.77.0.0/24")
            world.on(world.host, "ip", "link", "del", "in0")


@pytest.mark.parametrize("source, heard", [("", f"from {HOST}\n"), ("10.44.0.77", "")])
def test_another_source_address_is_dropped(world, box, source, heard):
    """Whoever may change the sandbox's address gains nothing by it; the host even has a way to that address."""
    script = (f"{SAY_ADDRESS}; set -- $(ip route show default | {{ read _ _ g _; echo $g; }}) $(ip -4 -o addr show eth0 | {{ read _ _ _ a _; echo ${{a%/*}}; }});"
              f"read x; ip addr flush dev eth0; ip addr add {source or '$2'}/31 dev eth0; ip route add $1 dev eth0 2> /dev/null;"
              f"ip route add default via $1; {HEAR.format(3, PUBLIC)}")
    with box.running("--cap-add", "NET_ADMIN", "--", "sh", "-c", script) as (process, address):
        link = json.loads(world.on(world.host, "ip", "-j", "route", "get", address).stdout)[0]["dev"]
        world.on(world.host, "ip", "route", "add", "10.44.0.77/32", "dev", link)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.read() == heard


def test_there_is_no_ipv6(world, box):
    assert "inet6" not in box.run("--", "ip", "addr", "show", "eth0").stdout
    enable = "ip -6 addr add fd00::2/64 dev eth0 2>/dev/null; ip -6 addr show eth0"
    with box.running("--cap-add", "NET_ADMIN", "--", "sh", "-c", f"{SAY_ADDRESS}; {enable} >&2; read x"):
        addresses = world.on(world.host, "ip", "-6", "-o", "addr").stdout
        assert "mbx-" not in addresses


def test_the_record_says_what_is_in_force(any_box):
    _, said = any_box.record("--net-allow", "10.99.0.0/16", "--dns", NAMES, "--", "true")
    network = said["network"]
    assert network["mode"] == "bridge" and network["address"].startswith("10.44.") and network["gateway"].startswith("10.44.")
    assert {"host", "sandboxes", "IPv6", "10.0.0.0/8", "169.254.0.0/16"} <= set(network["refused"])
    assert network["allowed"] == ["10.99.0.0/16", f"{NAMES}:53"] and network["ports"] == []
    assert any_box.record("--", "true", net="none")[1]["network"] == {"mode": "none"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_published_port_leads_inside(world, any_box):
    port = free_port()
    script = f"{SAY_ADDRESS}; nc -ll -p 8000 -e echo inside & read x"
    with any_box.running("--publish", f"{port}:8000", "--", "sh", "-c", script):
        ask = f"import socket, sys; print(socket.create_connection((sys.argv[1], {port}), 5).recv(99))"
        ours = ["nsenter", f"--net=/proc/{world.host}/ns/net", "python3", "-c", ask]
        def heard():
            return subprocess.run([*ours, "127.0.0.1"], capture_output=True, text=True, check=False).stdout
        assert until(lambda: heard() == "b'inside\\n'\n", "an answer")
        # Bound to the loopback only.
        assert subprocess.run([*ours, HOST], capture_output=True, check=False).returncode == 1
        # And taken.
        done = any_box.run("--publish", f"{port}:8000", "--", "true", expect=125)
        assert f"--publish 127.0.0.1:{port}:8000/tcp" in done.stderr and "another program" in done.stderr


def test_many_at_once_have_addresses_of_their_own(box):
    runs = [subprocess.Popen(box.argv("--memory", "0", "--cpus", "0", "--pids", "0", "--", "sh", "-c", f"{SAY_ADDRESS}; read x"),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(50)]
    addresses = [run.stdout.readline().strip() for run in runs]
    for run in runs:
        _, errors = run.communicate("\n", timeout=120)
        assert run.returncode == 0, errors
    assert len(set(addresses)) == 50 and all(address.startswith("10.44.") for address in addresses)


@pytest.mark.parametrize("others", [False, True])
def test_what_was_killed_is_taken_away_by_the_next(world, box, others):
    """Beside another that lives: its chain by the next bridge. Alone: everything, by any command."""
    before = world.state()
    with contextlib.ExitStack() as stack:
        if others:
            stack.enter_context(box.running("--", "sh", "-c", f"{SAY_ADDRESS}; read x"))
        process = subprocess.Popen(box.argv("--", "sh", "-c", "echo up; sleep 1000"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert world.state() != before
        box.run("--", "true", net="bridge" if others else "none")
        if others:
            until(lambda: world.state()[0].count("chain s") == 1, "the end of the dead one's chain", 20)
    until(lambda: world.state() == before, "the network as it was", 20)


def test_killed_while_it_starts(world, box):
    before = world.state()
    for delay in range(20):
        process = subprocess.Popen(box.argv("--", "sleep", "1000"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay * 0.001)
        process.kill()
        process.wait()
    box.run("--", "true", net="none")
    until(lambda: world.state() == before, "the network as it was", 20)


def test_a_range_that_the_host_has_a_way_into_is_left_alone(world, box):
    world.on(world.host, "ip", "route", "add", "10.44.0.0/20", "dev", "up0")
    try:
        assert box.run("--", "sh", "-c", SAY_ADDRESS).stdout.startswith("10.188.")
    finally:
        world.on(world.host, "ip", "route", "del", "10.44.0.0/20")


def test_a_failure_after_the_network_undoes_it(any_box):
    assert "not absolute" in any_box.run("--workdir", "x", "--", "true", expect=125).stderr
    any_box.run("--", "nosuch", expect=127)
    any_box.run("--workdir", "/nosuch", "--", "true", expect=125)


def test_a_user_who_is_killed_leaves_no_program(world, user_box):
    before = world.state()
    process = subprocess.Popen(user_box.argv("--", "sh", "-c", "echo up; sleep 1000"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"up\n"
    assert any(name.startswith("pas") for name in world.state()[4])
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: world.state() == before, "the end of pasta", 5)


def test_a_user_is_refused_what_would_go_around_the_rules(user_box):
    assert "NET_ADMIN" in user_box.run("--cap-add", "NET_ADMIN", "--", "true", expect=125).stderr
    with tempfile.TemporaryDirectory(dir=HOMES) as folder:
        os.chmod(folder, 0o777)
        profile = pathlib.Path(folder) / "profile"
        profile.write_text("allow socket family=AF_PACKET\n", encoding="ascii")
        for words in (("--allow-syscall", "socket"), ("--allow-syscall", "io_uring_setup"), ("--learn", f"{folder}/x"), ("--profile", profile)):
            assert "could go around" in user_box.run(*words, "--", "true", expect=125).stderr


def test_connections_are_limited(world, box):
    """The host has one table of them for all."""
    script = f"""
import socket, sys
for port in range(20000, 26000):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("", port))
        one.sendto(b"", ("{PUBLIC}", 9))
print("sent", flush=True)
sys.stdin.read()
"""
    system = [word for folder in ("/usr", "/lib", "/lib64") for word in ("--mount-ro", f"{folder}:{folder}")]
    with box.running(*system, "--", "/usr/bin/python3", "-c", script) as (_, said):
        assert said == "sent"
        count = int(world.on(world.host, "cat", "/proc/sys/net/netfilter/nf_conntrack_count").stdout)
        assert 4000 < count < 4200


def test_the_doctor_tries_it_without_a_trace(world, tree):
    for prefix in ([], ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]):
        done = subprocess.run(["nsenter", f"--net=/proc/{world.host}/ns/net", f"--mount=/proc/{world.host}/ns/mnt", *prefix, f"{tree}/microbox",
                               "--doctor", "--log-format", "json"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        bridge = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "bridge network"]
        assert [check["state"] for check in bridge] == ["ok"]
