# SPDX-License-Identifier: Apache-2.0
"""The stages that use the KVM lab: its own tests, and in a lab of one CPU on each kernel that we promise
the tests that need KVM or cgroup v2, whatever this host has."""

import dataclasses
import os
import pathlib
import shutil
import tempfile

import counts
import suites

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LAB = ROOT / "tools/lab"
KERNELS = ("6.12", "6.1")
# Component tests whose kernel objects differ between a host and the lab (cgroups, namespaces, KVM), and
# which of their tests.
PROGRAMS = {"sys_component_test": "*", "jail_component_test": "*", "box_component_test": "*",
            "agent_component_test": "ExecGroup*", "sandbox_component_test": "KvmProbe.*",
            "vmm_machine_component_test": "*OnTheHostsKvm"}


@dataclasses.dataclass
class Lab:
    words: list  # that start tools/lab
    name: str
    log: object


def as_root(log):
    """The words before a command that needs root, as tools/install-packages has them; None when it
    cannot be had. What is not run must not look as if it had passed."""
    if os.geteuid() == 0:
        return []
    if log.run("sudo", "-n", "true"):
        return ["sudo", "-n", "env", f"PATH={os.environ['PATH']}", f"MSB_CACHE={suites.cache()}"]
    log.write("the lab needs root (it shares this machine's root file system): run tools/test with sudo\n")
    return None


def itself(log):
    """tests/lab: the lab's own tests."""
    root = as_root(log)
    if root is None:
        return counts.one("root for the lab", False)
    log.must("tools/lab-files/kernel/build")
    with tempfile.TemporaryDirectory() as place:
        junit = pathlib.Path(place) / "junit.xml"
        log.run(*root, "python3", "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--durations=5",
                f"--junitxml={junit}", f"--basetemp={place}/t", "tests/lab", timeout=1200)
        return counts.of_pytest(junit) if junit.exists() else counts.one("pytest tests/lab", False)


def components(log):
    """The component tests of the dev build, again, in a lab of each kernel."""
    root = as_root(log)
    if root is None:
        return counts.one("root for the lab", False)
    return sum((components_on(log, [*root, LAB], kernel) for kernel in KERNELS), counts.Counts())


def components_on(log, words, kernel):
    results = BUILD / f"dev/gtest-lab-{kernel}"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    lab = Lab(words, f"runner-{os.getpid()}", log)
    log.must(*words, "start", "--kernel", kernel, "--name", lab.name, "--write", results)
    try:
        return sum((component(lab, program, tests, results) for program, tests in PROGRAMS.items()),
                   counts.Counts())
    finally:
        log.run(*words, "stop", "--name", lab.name)


def component(lab, program, tests, results):
    result = results / f"{program}.json"
    ok = lab.log.run(*lab.words, "run", "-n", "--name", lab.name, "--timeout", 300,
                     "--env", f"GTEST_OUTPUT=json:{result}", "--env", "MSB_KVM_WORKS=1",
                     BUILD / "dev/bin" / program, f"--gtest_filter={tests}")
    own = counts.of_gtest(result) if result.exists() else counts.Counts()
    if not result.exists() or (not ok and not own.failed):
        own += counts.one(f"{program} (the program itself)", ok)
    return own


# What tools/test runs of the functional suite on isolation vm; tools/soak runs all of it.
ON_VM = ("test_kvm or exe_runs_and_leaves_no_trace or isolation_in_force or much_data or out_of_memory or "
         "status_of_a_run or killing_the_machine or killing_the_supervisor or other_sandboxes_live_on or "
         "lies_in_memory")


# What a test's guest writes to its disk lies in the test's home. The lab's root is a layer of memory, which
# the lab has less of than a suite of them writes, so the homes are on its disk. All that is run on isolation
# vm gets this: tools/soak too.
ON_VM_ENVIRONMENT = {"MSB_TEST_ISOLATION": "vm", "MSB_TEST_HOMES": "/lab/ext4", "PYTHONDONTWRITEBYTECODE": "1"}


def pytest_on_vm(what, lab, env):
    """The words that run pytest with `what` in a lab of its own, where KVM works and the default isolation is
    vm. It names each test before it runs: a lab that stands still is ended, and its log must say where.
    `lab`: more options of tools/lab."""
    settings = [word for name, value in {**env, **ON_VM_ENVIRONMENT}.items() for word in ("--env", f"{name}={value}")]
    return [LAB, *lab, *settings, "--", "python3", "-m", "pytest", "-v", "-p", "no:cacheprovider", "--tb=short", *what]


def on_kvm(suite, select=None, timeout=1500, init="plain"):
    """A suite of the built programs as it is, where KVM works and the default isolation is vm. `suite` is a
    folder or file of tests/."""
    def run(log):
        root = as_root(log)
        if root is None:
            return counts.one("root for the lab", False)
        place = pathlib.Path(tempfile.mkdtemp(prefix="msb-lab.", dir="/var/tmp"))
        try:
            suites.copy_for_all(place)
            answers = place / "answers"
            answers.mkdir()
            words = pytest_on_vm(
                [f"tests/{suite}", "--durations=8", f"--junitxml={answers}/junit.xml",
                 *(["-k", select] if select else [])],
                lab=["--init", init, "--write", answers, "--timeout", timeout, "--cwd", place],
                env={"MSB_BIN": place / "bin", "MSB_TESTCASES": place / "testcases",
                     "MSB_TEST_IMAGES": place / "images", "MSB_GUEST": place / "lib/microsandbox"})
            log.run(*root, *words, timeout=timeout + 120)
            if not (answers / "junit.xml").exists():
                return counts.one(f"pytest tests/{suite} in the lab", False)
            return counts.of_pytest(answers / "junit.xml")
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return run


def baseline(log):
    """Counts that may only fall: exits, faults, system calls, code. What is above is in the log's end."""
    if as_root(log) is None:
        return counts.one("root for the lab", False)
    return counts.one("bench/baseline/counts.json: nothing grew", log.run("python3", "-B", "bench/baseline/check", timeout=300))
