# SPDX-License-Identifier: Apache-2.0
"""The command line of tools/lab."""

import argparse
import json
import os
import re
import signal
import sys

import client
import keeper
import machine
import parts
import places
import room
import wire

ABOUT = """\
The KVM lab: a machine with a real /dev/kvm on any x86_64 host. QEMU's translator emulates an AMD
processor with SVM; this host's root file system lies beneath, read-only, under a layer of memory.

usage: tools/lab [OPTION...] -- COMMAND...      a lab for one command
       tools/lab start [OPTION...]              a lab that stays
       tools/lab run [OPTION...] [--] COMMAND...  a command in it; several at once
       tools/lab status [--json]                every lab of this user
       tools/lab stop                           the end of it

the lab:
  --kernel 6.12|6.1|FILE   default 6.12; built the first time (tools/lab-files/kernel)
  --cpus N                 default 1, which is what timings want
  --cpu MODEL              QEMU's model of the processor, to which SVM is added; default max,-erms: the translator
                           takes bytes one by one where it has fast strings, and a guest's start twice as long
  --memory SIZE            default 4G; what the lab writes to / lies in it too
  --init plain|systemd     plain: nothing but the commands; systemd: this host's, up to its basic target
  --write DIR              this host's DIR is writable in the lab; may be repeated
  --disk SIZE              of /lab/ext4, default 8G, sparse
  --network                reaches what this host reaches (QEMU's user network)
  --room                   a bare Debian 12 instead of this host's root, with a clone of HEAD in
                           /root/microsandbox, the current folder there; implies --network
  --lifetime SECONDS       the lab ends by itself after them; default 14400
the command:
  --timeout SECONDS        then SIGTERM, 2 s later the end; exit code 124
  --tty, --no-tty          default: a terminal when stdin and stdout are terminals
  -n, --no-stdin           leaves the caller's input alone
  --env NAME=VALUE         beyond PATH, HOME, LANG, TERM; may be repeated
  --cwd DIR                default: the current folder
  --name NAME              of several labs of this clone; default: default

Exit codes: the command's own, 128+N for a signal, 124 time limit, 125 the lab failed, 126 and 127
the command cannot be run or is not there.

  tools/lab -- sh -c 'ls -l /dev/kvm; uname -r'
  tools/lab start --cpus 2 && tools/lab run dmesg && tools/lab stop
"""

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
               "LANG": "C.UTF-8"}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"tools/lab: {message}; see tools/lab --help", file=sys.stderr)
        sys.exit(client.LAB_FAILED)


def megabytes(text):
    match = re.fullmatch(r"(\d+)\s*([MG])?(i?B)?", text, re.IGNORECASE)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is not a size (512M, 4G)")
    return int(match[1]) * (1024 if (match[2] or "").upper() == "G" else 1)


def model(text):
    """As QEMU writes it: a name, then features with their sign."""
    if not re.fullmatch(r"[A-Za-z][\w.-]*(,[+-][\w.-]+)*", text):
        raise argparse.ArgumentTypeError(f"{text} is not a processor of QEMU (max, max,-erms)")
    return text


def parser(machine, run):
    """Of a subcommand that takes options of the machine, of a run, or both."""
    made = Parser(prog="tools/lab", add_help=False, allow_abbrev=False)
    made.add_argument("--name", default="default")
    if machine:
        made.add_argument("--kernel", default="6.12")
        made.add_argument("--cpus", type=int, default=1, choices=range(1, 9), metavar="1..8")
        made.add_argument("--cpu", type=model, default="max,-erms", metavar="MODEL")
        made.add_argument("--memory", type=megabytes, default=4096)
        made.add_argument("--init", default="plain", choices=["plain", "systemd"])
        made.add_argument("--write", action="append", default=[])
        made.add_argument("--disk", type=megabytes, default=8192)
        made.add_argument("--network", action="store_true")
        made.add_argument("--room", action="store_true")
        made.add_argument("--lifetime", type=int, default=14400)
    if run:
        made.add_argument("--timeout", type=float)
        made.add_argument("--tty", action="store_true", default=None)
        made.add_argument("--no-tty", dest="tty", action="store_false")
        made.add_argument("-n", "--no-stdin", action="store_true")
        made.add_argument("--env", action="append", default=[])
        made.add_argument("--cwd")
        made.add_argument("command", nargs=argparse.REMAINDER)
    return made


def machine_options(given):
    parts.check_host(given.init)
    server = parts.server()
    for folder in given.write:
        if not os.path.isdir(folder):
            raise parts.LabError(f"--write {folder}: no such folder")
    shares = [{"folder": os.path.realpath(folder), "at": os.path.realpath(folder), "writable": True}
              for folder in given.write]
    if given.room:
        shares += room.shares()
    if len(shares) > machine.SHARES:
        raise parts.LabError(f"{len(shares)} shared folders: at most {machine.SHARES}"
                             f"{' with those of --room' if given.room else ''}; use --write less often")
    return {"name": given.name, "kernel": given.kernel, "kernel_file": parts.kernel(given.kernel),
            "cpus": given.cpus, "cpu": given.cpu, "memory": given.memory, "init": given.init, "disk": given.disk,
            "root": str(room.root()) if given.room else "/", "layer": "disk" if given.room else "memory",
            "shares": shares, "network": given.network or given.room, "room": given.room,
            "lifetime": given.lifetime, "server": str(server), "rate": parts.clock_rate(server)}


def run_options(given, folder):
    environment = {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    for setting in given.env:
        name, _, value = setting.partition("=")
        environment[name] = value
    wants = given.tty
    if wants is None:
        wants = os.isatty(0) and os.isatty(1) and not given.no_stdin
    elif wants and not os.isatty(0):
        raise parts.LabError("--tty: stdin is not a terminal")
    return {"tty": wants, "stdin": not given.no_stdin, "cwd": given.cwd or folder, "timeout": given.timeout,
            "environment": environment}


def start_keeper(options, lease=None):
    """A process that keeps the lab; returns its pid when the lab's folder is there, locked."""
    places.sweep()
    folder = places.folder_of(options["name"])
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ready)
        code = 1
        try:
            keep(options, folder, tell, lease)
            code = 0
        finally:
            os._exit(code)
    os.close(tell)
    answer = os.read(ready, 4096)
    os.close(ready)
    if answer != b"ok":
        os.waitpid(pid, 0)
        raise parts.LabError(answer.decode() or "the keeper died while it started")
    return pid


def keep(options, folder, tell, lease):
    os.setsid()
    os.chdir("/")
    lock = places.claim(folder)
    if lock is None:
        os.write(tell, f"a lab named {options['name']} runs already: tools/lab stop, or --name".encode())
        return
    null = os.open(os.devnull, os.O_RDWR)
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, number)
    kept = {0, 1, 2, lock, tell, lease}
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in kept:
            try:
                os.close(number)
            except OSError:
                pass
    keeper.Keeper(options, folder, lock, lease).run(lambda: (os.write(tell, b"ok"), os.close(tell)))


def connect(name):
    end = places.connect(places.folder_of(name))
    if end is None:
        raise parts.LabError(f"no lab named {name} runs: tools/lab start")
    return end


def ask(end, kind):
    """The keeper's answer to one frame, as (kind, body); None when it went away instead."""
    reader = wire.Reader()
    try:
        end.sendall(wire.frame(kind))
    except ConnectionError:
        pass  # There may be a last word to read.
    while True:
        try:
            piece = end.recv(1 << 16)
        except ConnectionError:
            piece = b""
        for answered, _, _, body in reader.feed(piece):
            return answered, body
        if not piece:
            return None


def wait_until_up(end):
    """The lab's status, once it is up."""
    answer = ask(end, wire.STATUS)
    if answer is None:
        raise parts.LabError("the lab ended while it started")
    if answer[0] == wire.NOTICE:
        raise parts.LabError(client.plain(answer[1]))
    return json.loads(answer[1])


def command_start(arguments):
    given = parser(True, False).parse_args(arguments)
    start_keeper(machine_options(given))
    up = wait_until_up(connect(given.name))
    if given.room:
        furnish(given.name)
    print(f"lab {given.name}: kernel {given.kernel}, {given.cpus} cpu, up after {up['up_after_ms']} ms",
          file=sys.stderr)
    return 0


def furnish(name):
    """Makes the clone in the room, as a newcomer would."""
    end = connect(name)
    run = client.Run(end, {"tty": False, "stdin": False, "cwd": "/", "timeout": None, "environment": ENVIRONMENT})
    run.start(["sh", "-ec", room.FURNISH])
    if run.finish() != 0:
        raise parts.LabError("the room has no clone (above)")


def execute(name, given):
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        raise parts.LabError("which command? see tools/lab --help")
    end = connect(name)
    folder = room.CLONE if wait_until_up(end)["room"] else os.getcwd()
    run = client.Run(end, run_options(given, folder))
    run.start(command)
    return run.finish()


def command_run(arguments):
    given = parser(False, True).parse_args(arguments)
    return execute(given.name, given)


def command_stop(arguments):
    given = parser(False, False).parse_args(arguments)
    places.sweep()
    end = places.connect(places.folder_of(given.name))
    if end is None:
        print(f"tools/lab: no lab named {given.name} runs", file=sys.stderr)
        return 0
    # The connection ends when the keeper does.
    while ask(end, wire.STOP) is not None:
        pass
    return 0


def command_status(arguments):
    made = parser(False, False)
    made.add_argument("--json", action="store_true")
    given = made.parse_args(arguments)
    places.sweep()
    labs = []
    for folder in sorted(places.base().glob("*")):
        end = places.connect(folder)
        answer = end and ask(end, wire.STATUS)
        if answer and answer[0] == wire.STATUS:
            labs.append({**json.loads(answer[1]), "mine": folder == places.folder_of(json.loads(answer[1])["name"])})
    if given.json:
        print(json.dumps({"labs": labs}, indent=2))
        return 0
    for lab in labs:
        where = "" if lab["mine"] else " (another clone's)"
        print(f"{lab['name']}{where}: kernel {lab['kernel']}, {lab['cpus']} cpu, {lab['memory_mib']} MiB, "
              f"{lab['init']}, {lab['runs']} running, {lab['age_s']} s old")
    return 0


def command_once(arguments):
    """A lab of its own for one command. It ends with this process, however this process ends."""
    given = parser(True, True).parse_args(arguments)
    given.name = f"once-{os.getpid()}"
    lease, held = os.pipe()
    pid = start_keeper(machine_options(given), lease)
    os.close(lease)
    try:
        if given.room:
            furnish(given.name)
        return execute(given.name, given)
    finally:
        end = places.connect(places.folder_of(given.name)) if given.write else None
        if end is not None:
            ask(end, wire.STOP)
        else:
            os.close(held)
        os.waitpid(pid, 0)


COMMANDS = {"start": command_start, "run": command_run, "stop": command_stop, "status": command_status}


def main():
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(ABOUT, end="", file=sys.stdout if arguments else sys.stderr)
        return 0 if arguments else client.LAB_FAILED
    chosen = COMMANDS.get(arguments[0])
    try:
        return chosen(arguments[1:]) if chosen else command_once(arguments)
    except parts.LabError as error:
        print(f"tools/lab: {error}", file=sys.stderr)
        return client.LAB_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
