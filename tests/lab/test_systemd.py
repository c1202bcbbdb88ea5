# SPDX-License-Identifier: Apache-2.0
"""The lab with systemd as its init: a system manager and a user manager that make transient scopes, as
they do for sandboxes on such hosts."""

import pytest

from conftest import NAME, tools_lab

# PIDs, Delegate and MemoryMax of a scope around a process that has just started.
START_SCOPE = """
    sleep 600 & pid=$!
    busctl $1 call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \\
        StartTransientUnit 'ssa(sv)a(sa(sv))' demo.scope fail 3 PIDs au 1 $pid Delegate b true \\
        MemoryMax t 67108864 0 > /dev/null || exit 1
    until grep -q demo.scope /proc/$pid/cgroup; do sleep 0.05; done
    cut -d: -f3 /proc/$pid/cgroup
    cat /sys/fs/cgroup$(cut -d: -f3 /proc/$pid/cgroup)/memory.max
"""


@pytest.fixture(scope="module")
def systemd():
    name = f"{NAME}-systemd"
    started = tools_lab("start", "--name", name, "--init", "systemd")
    assert started.returncode == 0, started.stderr.decode()
    yield lambda *command: tools_lab("run", "-n", "--name", name, *command)
    assert tools_lab("stop", "--name", name).returncode == 0


def test_the_system_runs_and_nothing_failed(systemd):
    assert systemd("systemctl", "is-system-running").stdout == b"running\n"
    assert systemd("cat", "/proc/1/comm").stdout == b"systemd\n"


def test_the_system_manager_makes_a_scope_with_its_limit(systemd):
    done = systemd("sh", "-c", START_SCOPE, "sh", "--system")
    assert done.stdout == b"/system.slice/demo.scope\n67108864\n", done.stderr.decode()


def test_the_manager_of_an_ordinary_user_makes_one_too(systemd):
    script = """
        useradd --create-home tester && user=$(id -u tester) && systemctl start user@$user || exit 1
        exec setpriv --reuid $user --regid $user --clear-groups env XDG_RUNTIME_DIR=/run/user/$user sh -c "$0" sh --user
    """
    done = systemd("sh", "-c", script, START_SCOPE)
    path, limit = done.stdout.decode().split() or ("", "")
    assert path.startswith("/user.slice/user-") and path.endswith("/app.slice/demo.scope"), done.stderr.decode()
    assert limit == "67108864"
