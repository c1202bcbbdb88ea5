# SPDX-License-Identifier: Apache-2.0
"""A process sandbox and a tree to attack it from: what the tests of this folder share."""

import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import pytest
from boxes import BIN, PROBE, ROOT, Box

IDENTITIES = ["root", "user"] if os.geteuid() == 0 else ["user"]


def pytest_configure(config):
    config.addinivalue_line("markers", "root: needs root")


@pytest.fixture(scope="session")
def place():
    """Folders that an ordinary user can reach, whatever the modes above the checkout are."""
    with tempfile.TemporaryDirectory(prefix="msb-box-", dir=os.environ.get("MSB_TEST_HOMES", "/var/tmp")) as top:
        os.chmod(top, 0o755)
        yield pathlib.Path(top)


@pytest.fixture(scope="session")
def program(place):
    shutil.copy(BIN / "microbox", place)
    shutil.copy(PROBE, place)
    os.chmod(place / PROBE.name, 0o644)
    return place / "microbox"


@pytest.fixture(scope="session")
def tree(place):
    """The python image as a directory, owned by whoever runs the tests."""
    tar = pathlib.Path(os.environ.get("MSB_TEST_IMAGES", place)) / "python.tar"
    if not tar.exists():
        subprocess.run([ROOT / "guest/images/python/build", "--tar", tar], check=True)
    folder = place / "tree"
    with tarfile.open(tar) as archive:
        # Its devices are not for an ordinary user to make, and no sandbox shows them.
        archive.extractall(folder, [member for member in archive if not member.isdev()])
    return folder


@pytest.fixture(params=IDENTITIES)
def box(request, program, tree):
    return Box(program, request.param, tree)
