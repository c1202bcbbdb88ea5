# SPDX-License-Identifier: Apache-2.0
"""The suites that need the built programs. They run in a copy that everybody can read (a clone often
lies below a home that nobody else may enter), as the caller and as an ordinary user."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

import counts

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "build/release"
TEST_USER = "microsandbox-test"
PROGRAMS = ("msb", "msx", "msr", "msi", "msb-image", "msb-supervisor", "msb-vmm",
            "msb-agent", "msb-mkrootdisk", "microbox")


def cache():
    """Where build products lie that outlive a clone."""
    return os.environ.get("MSB_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "microsandbox")


def image_folder():
    """Tars of the test images."""
    folder = pathlib.Path(cache()) / "test-images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def tree_folder():
    """The tree of tests/functional/test_microbox_workloads.py: large, so only where it is used."""
    folder = pathlib.Path(cache()) / "test-trees"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def copy_for_all(place):
    """place/bin and place/lib/microsandbox as installed, place/tests, place/images, place/guest."""
    shutil.copytree(RELEASE / "lib", place / "lib")
    (place / "bin").mkdir()
    for program in PROGRAMS:
        source = RELEASE / "bin" / program
        if source.exists():
            shutil.copy2(source, place / "bin" / program, follow_symlinks=False)
    if (RELEASE / "testcases").is_dir():
        shutil.copytree(RELEASE / "testcases", place / "testcases")
    for part in ("tests", "guest", "schema", "tools", "bench", "docs"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(image_folder(), place / "images")
    subprocess.run(["chmod", "-R", "a+rX", place], check=True)


def test_user():
    """An ordinary user of the tests' own, made when it is not there. None when we cannot."""
    try:
        return pwd.getpwnam(TEST_USER)
    except KeyError:
        pass
    done = subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--shell",
                           "/bin/bash", "--home-dir", "/nonexistent", TEST_USER], capture_output=True)
    return pwd.getpwnam(TEST_USER) if done.returncode == 0 else None


def pytest(suite, as_user=False, isolation="", leave_out=()):
    """`isolation`: the level that the suite asks for at each start; none: the host's default. `leave_out`: files
    that another stage runs and that would see no difference here."""
    def run(log):
        if not list((ROOT / "tests" / suite).glob("test_*.py")):
            return counts.Counts()
        user = None
        if as_user:
            if os.geteuid() != 0:
                log.write("the caller is an ordinary user: nothing to repeat\n")
                return counts.Counts()
            user = test_user()
            if user is None:
                log.write(f"cannot make the user {TEST_USER}\n")
                return counts.one(f"a user {TEST_USER} to run as", False)
        # Short, because it becomes part of paths of sockets; and not below a private TMPDIR.
        place = pathlib.Path(tempfile.mkdtemp(prefix="msb-test.", dir="/var/tmp"))
        try:
            return run_suite(log, suite, place, user, isolation, leave_out)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return run


def run_suite(log, suite, place, user, isolation, leave_out):
    os.chmod(place, 0o755)
    copy_for_all(place)
    if suite == "functional" and not isolation:
        shutil.copytree(tree_folder(), place / "trees")
        subprocess.run(["chmod", "-R", "a+rX", place / "trees"], check=True)
    home = place / "home"
    home.mkdir()
    junit = home / "junit.xml"
    env = {
        "PATH": f"{place}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
        "MSB_BIN": str(place / "bin"), "MSB_TESTCASES": str(place / "testcases"),
        "MSB_TEST_IMAGES": str(place / "images"), "MSB_TEST_TREES": str(place / "trees"),
        "MICROSANDBOX_HOME": str(home / ".microsandbox"),
    }
    if isolation:
        env["MSB_TEST_ISOLATION"] = isolation
    command = ["env", "-i", *(f"{key}={value}" for key, value in env.items()), "python3", "-m", "pytest",
               "-q", "-p", "no:cacheprovider", "--tb=short", "--durations=10", f"--junitxml={junit}",
               f"--basetemp={home}/t", *(f"--ignore-glob=*/{name}" for name in leave_out)]
    if user:
        os.chown(home, user.pw_uid, user.pw_gid)
        command = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
                   *command, "-m", "not root"]
    log.run(*command, place / "tests" / suite, cwd=place, timeout=1800)
    if not junit.exists():
        return counts.one(f"pytest {suite}", False)
    return counts.of_pytest(junit)


def install(log):
    """Installs into a folder, asks the installed program, uninstalls; nothing is left."""
    with tempfile.TemporaryDirectory() as place:
        prefix = pathlib.Path(place) / "prefix"
        result = counts.one("install", log.run("tools/install", "--prefix", prefix))
        result += counts.one("the installed msb runs", log.run(prefix / "bin/msb", "version"))
        result += counts.one("a second install", log.run("tools/install", "--prefix", prefix))
        result += counts.one("uninstall", log.run("tools/install", "--prefix", prefix, "--uninstall"))
        left = [str(path) for path in prefix.rglob("*") if not path.is_dir()]
        log.write("".join(f"left: {path}\n" for path in left))
        return result + counts.one("nothing is left", not left)
