# SPDX-License-Identifier: Apache-2.0
"""Counts of passed, failed and skipped tests, and how they are read from what gtest, ctest and pytest write."""

import dataclasses
import json
import pathlib
import xml.etree.ElementTree


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list = dataclasses.field(default_factory=list)

    def __add__(self, other):
        return Counts(self.passed + other.passed, self.failed + other.failed,
                      self.skipped + other.skipped, self.failures + other.failures)

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def one(name, ok):
    return Counts(passed=1) if ok else Counts(failed=1, failures=[name])


def of_gtest(path):
    """Of one program's --gtest_output=json: file."""
    counts = Counts()
    for suite in json.loads(path.read_text())["testsuites"]:
        for test in suite["testsuite"]:
            name = f"{suite['name']}.{test['name']}"
            if test.get("failures"):
                counts += one(name, False)
            elif test.get("result") == "SKIPPED" or test.get("status") == "NOTRUN":
                counts.skipped += 1
            else:
                counts.passed += 1
    return counts


def of_ctest(junit, gtest_folder):
    """Of a ctest run whose programs wrote their gtest results into a folder. A program that failed
    without a failed test of its own (it crashed, hung, leaked) counts as one failure."""
    counts = Counts()
    for case in xml.etree.ElementTree.parse(junit).getroot().iter("testcase"):
        name = case.get("name")
        result = pathlib.Path(gtest_folder) / f"{name}.json"
        own = of_gtest(result) if result.exists() else Counts()
        ok = case.get("status") == "run" and case.find("failure") is None
        if not result.exists() or (not ok and not own.failed):
            own += one(f"{name} (the program itself)", ok)
        counts += own
    return counts


def of_pytest(junit):
    counts = Counts()
    for case in xml.etree.ElementTree.parse(junit).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            counts += one(name, False)
        elif case.find("skipped") is not None:
            counts.skipped += 1
        else:
            counts.passed += 1
    return counts
