# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of tools/test and ends with the sum of their counts: first, one after the other, what other
stages need and what uses every processor; then two lanes side by side, the tests on this machine and those in
the KVM lab.

usage: tools/test [--list] [STAGE...]"""

import concurrent.futures
import os
import sys
import time
import traceback

import counts
import stages


def say(line, end="\n"):
    print(line, end=end, flush=True)


def run(stage, running_in_terminal):
    """One line a stage: name, time, counts; what failed, in one piece."""
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
    lines = [f"{stage.name:<16} {took:7.1f} s  {result}"]
    if result.failed:
        lines += [f"  FAILED {line}" for line in result.failures[:20]] + [f"  | {line}" for line in log.tail()]
        lines.append(f"  the whole log: {os.path.relpath(log.path, stages.ROOT)}")
    say("\n".join(lines))
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


class Tally:
    """The results so far. What needs a stage that failed is not run, and counts as failed."""

    def __init__(self):
        self.places = {}
        self.bad = set()

    def take(self, stage, alone=False):
        missing = sorted(self.bad & set(stage.needs))
        if missing:
            result = counts.Counts(failed=1, failures=[stage.name])
            say(f"{stage.name:<16}           not run: {', '.join(missing)} failed")
        else:
            result = run(stage, alone and sys.stdout.isatty())
        if result.failed and stage.blocks:
            self.bad.add(stage.name)
        # One lane a place, so nobody else has this entry.
        self.places[stage.place] = self.places.get(stage.place, counts.Counts()) + result


def lanes_of(every):
    """The stages that wait for others and that nobody waits for, by their place; and `lab`, whose lane it opens."""
    tests = [stage for stage in every if stage.needs and not stage.blocks]
    in_lab = [stage for stage in every if stage.place == stages.IN_LAB]
    return [[stage for stage in tests if stage.place != stages.IN_LAB], in_lab]


def main():
    names = sys.argv[1:]
    if names == ["--list"]:
        for stage in stages.STAGES:
            needs = f" (after {', '.join(stage.needs)})" if stage.needs else ""
            say(f"{stage.name:<16} {stage.about}{needs}")
        return 0
    started = time.monotonic()
    every = chosen(names)
    lanes = lanes_of(every)
    tally = Tally()
    for stage in every:
        if not any(stage in lane for lane in lanes):
            tally.take(stage, alone=True)
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        for done in [pool.submit(lambda lane=lane: [tally.take(stage) for stage in lane]) for lane in lanes]:
            done.result()
    places = tally.places
    minutes, seconds = divmod(int(time.monotonic() - started), 60)
    say(f"{minutes} min {seconds} s")
    total = sum(places.values(), counts.Counts())
    if len(places) > 1:
        say("; ".join(f"{place}: {part}" for place, part in places.items()))
    say(str(total))
    return 1 if total.failed else 0


sys.exit(main())
