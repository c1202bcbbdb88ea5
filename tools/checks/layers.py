# SPDX-License-Identifier: Apache-2.0
"""Checks src/LAYERS: a module includes itself and what the table allows; a library's headers appear
in one module; ARCHITECTURE.md shows the same table."""

import re

import _tree

SRC = _tree.ROOT / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)
# Third-party headers, by the start of their path, and the modules that may include them.
# rapidcheck, gtest and benchmark belong to tests.
THIRD_PARTY = {
    "boost/json": {"json"},
    "boost/": {"json", "http", "server"},
    "CLI/": {"programs"},
    "openssl/": {"crypto", "http"},
    "curl/": {"http"},
    "yaml-cpp/": {"config"},
    "archive": {"image/rootfs"},
    "zlib.h": {"image/rootfs"},
    "zstd.h": {"image/rootfs"},
    "seccomp.h": set(),  # The oracle of tests only.
}


def read_layers():
    layers = {}
    for line in (SRC / "LAYERS").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            module, allowed = line.split(":")
            layers[module.strip()] = allowed.split()
    return layers


def module_of(path, layers):
    """The longest name of the table that is the path's beginning."""
    hits = [module for module in layers if path.startswith(module + "/")]
    return max(hits, key=len, default=None)


def is_test(path):
    return re.search(r"(_test|_fuzz|_bench|_test_util|test_support|test_[a-z_]+)\.(cc|h)$", path) is not None


def check_include(path, module, quote, included, layers):
    if quote == "<":
        for start, owners in THIRD_PARTY.items():
            if included.startswith(start):
                if module not in owners and not is_test(path):
                    return f"src/{path}: <{included}> belongs to {', '.join(sorted(owners)) or 'tests'}"
                return None
        return None
    if not (SRC / included).is_file():
        return f'src/{path}: "{included}" is not a file under src/'
    target = module_of(included, layers)
    if target != module and target not in layers[module] and "*" not in layers[module]:
        return f"src/{path}: {module} may not include {target} ({included})"
    return None


def architecture_rows():
    """`| `module` | purpose | may include |` of ARCHITECTURE.md, as {module: [modules]}."""
    rows = {}
    page = _tree.ROOT / "ARCHITECTURE.md"
    for line in page.read_text().splitlines() if page.exists() else []:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and re.fullmatch(r"`[a-z_/0-9]*[a-z0-9]`", cells[0]):
            allowed = cells[2].replace("`", "").replace(",", " ").replace("–", "").replace("anything", "*")
            rows[cells[0].strip("`")] = allowed.split()
    return rows


def main():
    layers = read_layers()
    problems = []
    seen = set()
    for file in _tree.files("src/*.cc", "src/*.h"):
        path = str(file.relative_to(SRC))
        module = module_of(path, layers)
        if module is None:
            problems.append(f"src/{path}: no module of src/LAYERS")
            continue
        seen.add(module)
        for quote, included in INCLUDE.findall(file.read_text()):
            problem = check_include(path, module, quote, included, layers)
            if problem:
                problems.append(problem)
    for module, allowed in architecture_rows().items():
        if sorted(layers.get(module, [])) != sorted(allowed):
            problems.append(f"ARCHITECTURE.md: {module} may include {allowed}, src/LAYERS says {layers.get(module)}")
    for module in seen - set(architecture_rows()):
        problems.append(f"ARCHITECTURE.md: the module table lacks {module}")
    _tree.report(problems)


main()
