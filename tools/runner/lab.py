# SPDX-License-Identifier: Apache-2.0
"""The stages that use the KVM lab: its own tests, and in one lab of 6.12 with one CPU the tests that
need KVM or cgroup v2, wherever this host has neither."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import counts

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LAB = ROOT / "tools/lab"
# Component tests whose kernel objects differ between a host and the lab (cgroups, namespaces, KVM), and
# which of their tests.
PROGRAMS = {"sys_component_test": "*", "jail_component_test": "*", "agent_component_test": "ExecGroup*",
            "sandbox_component_test": "KvmProbe.*"}


def not_root(log):
    """A failure with its remedy: what is not run must not look as if it had passed."""
    log.write("the lab needs root (it shares this machine's root file system): run tools/test with sudo\n")
    return counts.one("root for the lab", False)


def itself(log):
    """tests/lab: the lab's own tests."""
    if os.geteuid() != 0:
        return not_root(log)
    log.must("tools/lab-files/kernel/build")
    with tempfile.TemporaryDirectory() as place:
        junit = pathlib.Path(place) / "junit.xml"
        log.run("python3", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--durations=5",
                f"--junitxml={junit}", f"--basetemp={place}/t", "tests/lab", timeout=1200,
                env={"MSB_BIN": str(BUILD / "release/bin")})
        return counts.of_pytest(junit) if junit.exists() else counts.one("pytest tests/lab", False)


def components(log):
    """The component tests of the dev build, again, in a lab."""
    if os.geteuid() != 0:
        return not_root(log)
    results = BUILD / "dev/gtest-lab"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    name = f"runner-{os.getpid()}"
    log.must(LAB, "start", "--name", name, "--write", results)
    try:
        release = subprocess.run([LAB, "run", "-n", "--name", name, "uname", "-r"], capture_output=True, text=True)
        log.write(f"in the KVM lab, Linux {release.stdout}")
        return sum((component(log, name, program, tests, results) for program, tests in PROGRAMS.items()),
                   counts.Counts())
    finally:
        log.run(LAB, "stop", "--name", name)


def component(log, name, program, tests, results):
    result = results / f"{program}.json"
    ok = log.run(LAB, "run", "-n", "--name", name, "--timeout", 300, "--env", f"GTEST_OUTPUT=json:{result}",
                 "--env", "MSB_KVM_WORKS=1", BUILD / "dev/bin" / program, f"--gtest_filter={tests}")
    own = counts.of_gtest(result) if result.exists() else counts.Counts()
    if not result.exists() or (not ok and not own.failed):
        own += counts.one(f"{program} (the program itself)", ok)
    return own
