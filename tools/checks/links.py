# SPDX-License-Identifier: Apache-2.0
"""Checks the links of the Markdown pages: files that exist, headings that exist. Web addresses are
not asked for."""

import re

import _tree

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page):
    headings = re.findall(r"^#+\s+(.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def main():
    problems = []
    for page in _tree.files("*.md"):
        for target in LINK.findall(FENCE.sub("", page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            other = (page.parent / path).resolve() if path else page
            if not other.exists() or _tree.ROOT not in [other, *other.parents]:
                problems.append(f"{_tree.name(page)}: {target}: no such file in the tree")
            elif anchor and other.suffix == ".md" and anchor not in anchors(other):
                problems.append(f"{_tree.name(page)}: {target}: no such heading")
    _tree.report(problems)


main()
