# SPDX-License-Identifier: Apache-2.0
"""What tools/test runs: the stages, in their order. A stage takes a Log and returns Counts."""

import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Callable

import counts
import lab
import suites

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
LOGS = BUILD / "logs"
FUZZ_SECONDS = 5
IN_LAB = "in the KVM lab"
JOBS = max(2, os.cpu_count() or 2)


class StageFailed(Exception):
    """A step without which the stage has no result."""


class Log:
    """All output of a stage's commands, in build/logs/<stage>.log."""

    def __init__(self, stage):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.path = LOGS / f"{stage}.log"
        self.path.write_text("")

    def write(self, text):
        with open(self.path, "a") as file:
            file.write(text)

    def run(self, *command, timeout=3600, env=None, cwd=ROOT):
        """True when the command succeeded."""
        self.write(f"+ {' '.join(map(str, command))}\n")
        with open(self.path, "ab") as file:
            try:
                done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                                      stdout=file, stderr=file, cwd=cwd, timeout=timeout,
                                      env={**os.environ, **(env or {})})
            except subprocess.TimeoutExpired:
                self.write(f"timed out after {timeout} s\n")
                return False
            except OSError as error:
                self.write(f"{command[0]}: {error}\n")
                return False
        return done.returncode == 0

    def must(self, *command, **how):
        if not self.run(*command, **how):
            raise StageFailed(" ".join(map(str, command)).replace(f"{ROOT}/", ""))

    def tail(self, lines=40):
        return self.path.read_text(errors="replace").splitlines()[-lines:]


def check(name):
    return lambda log: counts.one(name, log.run("python3", "-B", f"tools/checks/{name}.py"))


def build(preset, *targets):
    def run(log):
        log.must("tools/dev", "build", preset, *targets)
        return counts.Counts(passed=1)
    return run


def unit(preset):
    """Builds a preset and runs its unit and component tests."""
    def run(log):
        log.must("tools/dev", "build", preset)
        results = BUILD / preset / "gtest"
        shutil.rmtree(results, ignore_errors=True)
        junit = BUILD / preset / "ctest.xml"
        junit.unlink(missing_ok=True)
        log.run("ctest", "--preset", preset, "-j", JOBS, "--output-junit", junit,
                env={"GTEST_OUTPUT": f"json:{results}/", "TSAN_OPTIONS": "halt_on_error=1",
                     "ASAN_OPTIONS": "detect_stack_use_after_return=1"})
        if not junit.exists():
            raise StageFailed(f"ctest --preset {preset}")
        return counts.of_ctest(junit, results)
    return run


def fuzz_one(log, target):
    """The corpus replayed, then new inputs; what is found goes to a folder of this run."""
    corpus = ROOT / "fuzz/corpus" / target
    with tempfile.TemporaryDirectory() as found:
        seeds = [corpus] if corpus.is_dir() else []
        return log.run(BUILD / "fuzz/bin" / target, f"-max_total_time={FUZZ_SECONDS}", "-timeout=10",
                       "-rss_limit_mb=2048", "-verbosity=0", f"-artifact_prefix={LOGS}/{target}-",
                       found, *seeds, timeout=120)


def fuzz(log):
    log.must("tools/dev", "build", "fuzz", "fuzzers")
    targets = sorted(path.stem for path in (ROOT / "src").rglob("*_fuzz.cc"))
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        answers = list(pool.map(lambda target: counts.one(target, fuzz_one(log, target)), targets))
    return sum(answers, counts.Counts())


def guest(log):
    log.must("tools/dev", "guest", "release")
    agent, initramfs = (os.path.getsize(BUILD / "release" / part) for part in
                        ("msb-agent.stripped", "lib/microsandbox/initramfs.cpio"))
    log.write(f"agent {agent} bytes, initramfs {initramfs} bytes\n")
    return (counts.one("guest kernel and initramfs", True) +
            counts.one(f"agent of at most 1.2 MB ({agent})", agent <= 1_200_000) +
            counts.one(f"initramfs of at most 1.4 MB ({initramfs})", initramfs <= 1_400_000))


def images(log):
    folder = suites.image_folder()
    log.must("guest/images/test/build", "--tar", folder / "busybox.tar")
    log.must("guest/images/python/build", "--tar", folder / "python.tar")
    log.must("guest/images/workloads/build", "--tar", suites.tree_folder() / "workloads.tar.zst")
    return counts.Counts(passed=3)


@dataclasses.dataclass
class Stage:
    name: str
    about: str
    run: Callable
    needs: tuple = ()
    blocks: bool = False  # Its failure keeps those that need it from running.
    place: str = "here"  # Where its tests run, for the closing summary.


# Files of tests/functional that start no sandbox by msb: they ask no isolation of it.
NOT_OF_MSB = ("test_microbox*.py", "test_erofs.py")

STAGES = [
    Stage("format", "clang-format over the tree", check("format")),
    Stage("layers", "src/LAYERS against the includes and ARCHITECTURE.md", check("layers")),
    Stage("calls", "raw system calls outside src/sys", check("calls")),
    Stage("licence", "the licence line of every file", check("licence")),
    Stage("links", "links between the pages", check("links")),
    Stage("words", "paths of a machine, registry hosts, unfinished work", check("words")),
    Stage("scripts", "shellcheck, Python syntax, --help of the tools", check("scripts")),
    Stage("dev", "g++: build, unit and component tests", unit("dev"), blocks=True),
    Stage("headers", "every header compiled alone", build("dev", "headers")),
    # The fuzz preset has the same flags, so the compiler cache has its objects already.
    Stage("asan", "clang 14, AddressSanitizer and UBSan: build, unit and component tests", unit("asan")),
    Stage("tsan", "g++, ThreadSanitizer: build, unit and component tests", unit("tsan")),
    Stage("fuzz", f"every fuzz target: corpus, then {FUZZ_SECONDS} s", fuzz),
    Stage("tidy", "clang-tidy 19; files that were clean are not read again",
          lambda log: counts.one("clang-tidy", log.run("tools/dev", "tidy"))),
    Stage("release", "the programs as they are installed", build("release", "programs", "msb-mkrootdisk"), blocks=True),
    Stage("guest", "guest kernel (cached), initramfs, their sizes", guest, ("release",), True),
    Stage("images", "images of the tests (cached)", images, blocks=True),
    Stage("cli-reference", "docs/reference/cli.md against msb help",
          check("cli_reference"), ("release",)),
    Stage("install", "tools/install into a folder, and out of it again", suites.install,
          ("release", "guest")),
    Stage("functional", "tests/functional, as the caller", suites.pytest("functional"),
          ("release", "guest", "images")),
    Stage("security", "tests/security, as the caller", suites.pytest("security"),
          ("release", "guest", "images")),
    Stage("functional-user", "tests/functional, as an ordinary user: all but what is inside, the same for everybody",
          suites.pytest("functional", as_user=True, leave_out=["test_inside.py"]), ("release", "guest", "images")),
    Stage("functional-process", "tests/functional on isolation process: all but what is of machines or of microbox",
          suites.pytest("functional", isolation="process", leave_out=NOT_OF_MSB), ("release", "guest", "images")),
    Stage("functional-process-user", "the same as an ordinary user",
          suites.pytest("functional", as_user=True, isolation="process", leave_out=NOT_OF_MSB),
          ("release", "guest", "images")),
    Stage("security-user", "tests/security, as an ordinary user",
          suites.pytest("security", as_user=True), ("release", "guest", "images")),
    Stage("lab", "the KVM lab itself: its runs, its machine, its end", lab.itself, ("release",), True, IN_LAB),
    Stage("lab-components", "component tests that meet KVM or cgroups, in labs of 6.12 and 6.1", lab.components,
          ("dev", "lab"), place=IN_LAB),
    Stage("baseline", "what a start takes, in counts that may only fall", lab.baseline, ("release", "guest", "lab"),
          place=IN_LAB),
    Stage("boots", "tests/vmm: msb-vmm alone on KVM, each end of a machine", lab.on_kvm("vmm"),
          ("release", "guest", "images", "lab"), place=IN_LAB),
    Stage("functional-vm", "tests/functional on isolation vm: a choice of them; tools/soak vm runs all",
          lab.on_kvm("functional", lab.ON_VM), ("release", "guest", "images", "lab"), place=IN_LAB),
    Stage("systemd", "transient scopes, of root and of an ordinary user, in a lab whose init is systemd",
          lab.on_kvm("functional/test_scope.py", init="systemd"), ("release", "guest", "images", "lab"), place=IN_LAB),
]
