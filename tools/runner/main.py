# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of tools/test one after the other and ends with the sum of their counts.

usage: tools/test [--list] [STAGE...]"""

import os
import sys
import time
import traceback

import counts
import stages


def say(line, end="\n"):
    print(line, end=end, flush=True)


def run(stage, running_in_terminal):
    """One line a stage: name, time, counts."""
    log = stages.Log(stage.name)
    if running_in_terminal:
        say(f"{stage.name:<16} ...", end="\r")
    started = time.monotonic()
    try:
        result = stage.run(log)
    except stages.StageFailed as failure:
        result = counts.Counts(failed=1, failures=[str(failure)])
    except Exception:  # A defect of a stage fails that stage and no other.
        log.write(traceback.format_exc())
        result = counts.Counts(failed=1, failures=["the stage itself broke"])
    took = time.monotonic() - started
    say(f"{stage.name:<16} {took:7.1f} s  {result}")
    if result.failed:
        for line in result.failures[:20]:
            say(f"  FAILED {line}")
        for line in log.tail():
            say(f"  | {line}")
        say(f"  the whole log: {os.path.relpath(log.path, stages.ROOT)}")
    return result


def chosen(names):
    known = {stage.name: stage for stage in stages.STAGES}
    for name in names:
        if name not in known:
            sys.exit(f"tools/test: no stage {name}; tools/test --list names them")
    wanted = set()
    queue = list(names) or list(known)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.add(name)
            queue.extend(known[name].needs)
    return [stage for stage in stages.STAGES if stage.name in wanted]


def main():
    names = sys.argv[1:]
    if names == ["--list"]:
        for stage in stages.STAGES:
            needs = f" (after {', '.join(stage.needs)})" if stage.needs else ""
            say(f"{stage.name:<16} {stage.about}{needs}")
        return 0
    places = {}
    bad = set()
    started = time.monotonic()
    for stage in chosen(names):
        if bad & set(stage.needs):
            result = counts.Counts(failed=1, failures=[stage.name])
            say(f"{stage.name:<16}           not run: {', '.join(sorted(bad & set(stage.needs)))} failed")
        else:
            result = run(stage, sys.stdout.isatty())
        if result.failed and stage.blocks:
            bad.add(stage.name)
        places[stage.place] = places.get(stage.place, counts.Counts()) + result
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    say(f"{minutes} min {seconds} s")
    total = sum(places.values(), counts.Counts())
    if len(places) > 1:
        say("; ".join(f"{place}: {part}" for place, part in places.items()))
    say(str(total))
    return 1 if total.failed else 0


sys.exit(main())
