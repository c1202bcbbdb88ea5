# SPDX-License-Identifier: Apache-2.0
"""What people run, in a tree of Debian's own packages, under the default policy of microbox: the allowlist is tight, not
broken. Each workload runs twice: plain, and with what is refused shown, which must be what REFUSED says and why."""

import json
import os
import pathlib
import subprocess
import tempfile
import zipfile

import pytest
from conftest import BIN, HOMES

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TREE = "workloads.tar.zst"

# Refused, and why that stays so: the program goes on without.
REFUSED = {
    # useradd and su (libaudit, PAM) take EAFNOSUPPORT for a kernel without auditing. The host's log of who did what is
    # nothing that a sandbox should write to: netlink is NETLINK_ROUTE only.
    ("socket", "family=AF_NETLINK protocol=NETLINK_AUDIT"),
}


@pytest.fixture(scope="module")
def tree():
    with tempfile.TemporaryDirectory(prefix="msb-box-", dir=HOMES) as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        packed = pathlib.Path(os.environ.get("MSB_TEST_TREES", folder)) / TREE
        if not packed.exists():
            subprocess.run([SOURCE / "guest/images/workloads/build", "--tar", packed], check=True)
        tree = folder / "tree"
        tree.mkdir()
        # An ordinary user's sandbox has one id, and nobody makes device files.
        subprocess.run(["tar", "--zstd", "-xf", packed, "-C", tree, "--exclude=./dev/*"], check=True)
        yield tree


@pytest.fixture(params=["plain", "shown"])
def box(tree, request):
    def run(script, *flags, shell="sh"):
        with tempfile.TemporaryFile() as record:
            shown = ["--log-denied"] if request.param == "shown" else []
            done = subprocess.run([BIN / "microbox", "--fs", tree, "--status-fd", str(record.fileno()), *shown, *flags,
                                   "--", shell, "-ec", script], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=300, pass_fds=[record.fileno()], check=False)
            record.seek(0)
            said = json.loads(record.read())
        assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:], said)
        assert said["seccomp"] == "enforced"
        refused = {(one["call"], one["arguments"]) for one in said["refused"] or []}
        assert refused <= REFUSED, refused
        return done.stdout
    return run


def wheel(folder):
    """What `pip wheel` would make of a module with one function and one command."""
    info = "answer-1.0.dist-info"
    files = {"answer.py": "def main():\n    print(6 * 7)\n",
             f"{info}/METADATA": "Metadata-Version: 2.1\nName: answer\nVersion: 1.0\n",
             f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
             f"{info}/entry_points.txt": "[console_scripts]\nanswer = answer:main\n"}
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    path = folder / "answer-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    folder.chmod(0o755)
    path.chmod(0o644)


def test_python_with_pip_and_venv(box, tmp_path):
    wheel(tmp_path)
    said = box("""
        pip install -q --no-index --break-system-packages --root-user-action=ignore /given/answer-1.0-py3-none-any.whl
        answer
        pip uninstall -q -y --break-system-packages --root-user-action=ignore answer
        python3 -m venv /tmp/venv
        /tmp/venv/bin/pip install -q --no-index --find-links /given answer
        /tmp/venv/bin/answer
        /tmp/venv/bin/pip list --format=freeze --disable-pip-version-check | grep answer
        """, "--mount-ro", f"{tmp_path}:/given")
    assert said == "42\n42\nanswer==1.0\n"


def test_python_with_processes_threads_sockets_and_a_database(box):
    said = box("""
cat > /tmp/job.py <<'END'
import asyncio, concurrent.futures, ctypes, mmap, multiprocessing, os, select, signal, socket, sqlite3, ssl, subprocess, sys
import tempfile, threading, time

def square(x):
    return x * x

async def shell():
    process = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = await process.communicate(b"through cat")
    return out.decode()

def listen(server):
    connection, _ = server.accept()
    with connection:
        connection.sendall(connection.recv(100).upper())

if __name__ == "__main__":
    for way in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(way).Pool(2) as pool:
            print(way, pool.map(square, range(4)))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        print("threads", sum(pool.map(square, range(100))))
    print(asyncio.run(shell()))
    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=listen, args=(server,))
    thread.start()
    with socket.create_connection(server.getsockname()) as client:
        client.sendall(b"loud")
        print(client.recv(100).decode())
    thread.join()
    with tempfile.TemporaryDirectory() as folder:
        base = sqlite3.connect(folder + "/base", isolation_level=None)
        base.execute("pragma journal_mode=wal")
        base.execute("create table t (x)")
        base.executemany("insert into t values (?)", [(n,) for n in range(1000)])
        print("rows", base.execute("select sum(x) from t").fetchone()[0])
        with open(folder + "/map", "w+b") as file:
            file.truncate(1 << 20)
            with mmap.mmap(file.fileno(), 0) as memory:
                memory[:3] = b"map"
                memory.flush()
            print(file.read(3).decode())
    signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause()
    ssl.create_default_context()
    print(len(os.urandom(8)), os.cpu_count() > 0, ctypes.CDLL(None).getpid() == os.getpid())
END
python3 /tmp/job.py
        """)
    squares = "[0, 1, 4, 9]"
    assert said.splitlines() == [f"fork {squares}", f"spawn {squares}", f"forkserver {squares}", "threads 328350", "through cat",
                                 "LOUD", "rows 499500", "map", "alarm", "8 True True"]


def test_node(box):
    said = box("""
cat > /tmp/job.js <<'END'
const {Worker, isMainThread, parentPort} = require('worker_threads');
if (!isMainThread) {
  parentPort.postMessage(6 * 7);
} else {
  const {execFileSync, fork} = require('child_process');
  const crypto = require('crypto'), fs = require('fs'), http = require('http'), zlib = require('zlib');
  const main = async () => {
    const worker = new Worker(__filename);
    console.log('worker', await new Promise((done) => worker.on('message', done)));
    fs.mkdirSync('/tmp/a/b', {recursive: true});
    await fs.promises.writeFile('/tmp/a/b/file', 'x'.repeat(100000));
    console.log('file', (await fs.promises.readFile('/tmp/a/b/file')).length, fs.readdirSync('/tmp/a').join());
    fs.rmSync('/tmp/a', {recursive: true});
    console.log('child', execFileSync('sh', ['-c', 'echo $((6 * 7))']).toString().trim());
    const server = http.createServer((request, answer) => answer.end(request.url));
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const body = await new Promise((done) => http.get(
        {host: '127.0.0.1', port: server.address().port, path: '/there'},
        (answer) => answer.on('data', (bytes) => done(bytes.toString()))));
    console.log('http', body);
    server.close();
    console.log('zip', zlib.gunzipSync(zlib.gzipSync('again')).toString(), crypto.randomBytes(8).length,
                await new Promise((done) => crypto.pbkdf2('a', 'b', 1000, 8, 'sha256', (_, key) => done(key.length))));
    await new Promise((done) => setTimeout(done, 20));
    let sum = 0;  // Long enough to be compiled.
    for (let i = 0; i < 1e7; i++) sum = (sum + i) % 1000003;
    console.log('sum', sum);
    process.exit(0);
  };
  main();
}
END
node /tmp/job.js
        """)
    total = 0
    for number in range(10**7):
        total = (total + number) % 1000003
    assert said.splitlines() == ["worker 42", "file 100000 b", "child 42", "http /there", "zip again 8 8", f"sum {total}"]


def test_git(box):
    said = box("""
        export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q -b main /tmp/first
        cd /tmp/first
        echo one > file && git add file && git commit -q -m one
        git checkout -q -b side && echo two >> file && git commit -q -a -m two
        git checkout -q main && echo other > other && git add other && git commit -q -m other
        git merge -q --no-edit side
        git gc -q
        git clone -q /tmp/first /tmp/second
        git clone -q file:///tmp/first /tmp/third
        cd /tmp/third
        cat file
        git log --format=%s | sort
        echo three >> file && git commit -q -a -m three && git push -q origin HEAD:pushed
        git -C /tmp/first log -1 --format=%s pushed
        git fsck --no-progress && git stash list && git status --porcelain
        """)
    assert said == "one\ntwo\nMerge branch 'side'\none\nother\ntwo\nthree\n"


def test_gcc(box):
    said = box("""
cat > /tmp/main.c <<'END'
#include <pthread.h>
#include <stdio.h>
#include <math.h>
static void *work(void *sum) {
  for (int i = 0; i < 1000; i++) __atomic_fetch_add((long *)sum, i, __ATOMIC_SEQ_CST);
  return 0;
}
int main(void) {
  pthread_t threads[4];
  long sum = 0;
  for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, work, &sum);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
  printf("%ld %.0f\\n", sum, sqrt(49));
}
END
cd /tmp
gcc -O2 -Wall -Werror -pthread -o dynamic main.c -lm && ./dynamic
gcc -O2 -flto -static -pthread -pipe -o static main.c -lm && ./static
gcc -g -O0 -fPIC -shared -o libmain.so main.c -lm && ls libmain.so
        """)
    assert said == "1998000 7\n1998000 7\nlibmain.so\n"


def test_bash(box):
    said = box("""
        declare -A map=([a]=1 [b]=2); echo "${map[a]}${map[b]}"
        diff <(printf '1\\n2\\n') <(printf '1\\n3\\n') || true
        set -o pipefail; seq 10000 | sort -rn | head -n 1 | tr -d '\\n' || true; echo
        coproc cat; echo hello >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; echo "$line"; kill %1; wait || true
        trap 'echo trapped' USR1; kill -USR1 $$
        (sleep 0.01; exit 7) & wait $! || echo "$?"
        ulimit -n 64; ulimit -n
        time -p true 2>/dev/null
        read -t 0.01 x </dev/zero || echo timed
        find /usr/bin -maxdepth 1 -name 'bas[h]' | xargs -n 1 -P 4 basename
        tar -C /etc -czf - passwd | tar -xzOf - | head -n 1
        """, shell="bash")
    assert said.splitlines() == ["12", "2c2", "< 2", "---", "> 3", "10000", "hello", "trapped", "7", "64", "timed", "bash",
                                 "root:x:0:0:root:/root:/bin/bash"]


@pytest.mark.root
def test_apt_with_the_hosts_ids(box):
    """From a repository of its own: no network is needed, and none is there."""
    said = box("""
        mkdir -p /tmp/answer/DEBIAN /tmp/answer/usr/bin /srv/debs
        printf '#!/bin/sh\\necho 42\\n' > /tmp/answer/usr/bin/answer && chmod 755 /tmp/answer/usr/bin/answer
        cat > /tmp/answer/DEBIAN/control <<'END'
Package: answer
Version: 1.0
Architecture: all
Maintainer: nobody <nobody@example.org>
Depends: libc6
Description: an answer
END
        cat > /tmp/answer/DEBIAN/postinst <<'END'
#!/bin/sh
set -e
id answer >/dev/null 2>&1 || useradd --system --home-dir /var/lib/answer --create-home answer
chown answer:answer /usr/bin/answer
END
        chmod 755 /tmp/answer/DEBIAN/postinst
        dpkg-deb --root-owner-group --build /tmp/answer /srv/debs/answer.deb >/dev/null
        cd /srv/debs
        { dpkg-deb -f answer.deb; echo "Filename: ./answer.deb"; echo "Size: $(stat -c %s answer.deb)"
          echo "SHA256: $(sha256sum answer.deb | cut -d ' ' -f 1)"; } > Packages
        echo 'deb [trusted=yes] file:/srv/debs ./' > /etc/apt/sources.list
        rm -f /etc/apt/sources.list.d/*
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q >/tmp/update.log 2>&1 || { cat /tmp/update.log; exit 1; }
        apt-get install -q -y answer >/tmp/install.log 2>&1 || { cat /tmp/install.log; exit 1; }
        ! grep -E '^(W|E):' /tmp/update.log /tmp/install.log
        answer
        stat -c %U /usr/bin/answer
        su -s /bin/sh answer -c 'id -un'
        dpkg-query -W -f '${Status}\\n' answer
        apt-get remove -q -y --purge answer >/tmp/remove.log 2>&1
        dpkg-query -W answer 2>/dev/null || echo gone
        dpkg -i /srv/debs/answer.deb >/dev/null && answer
        """, "--userns", "host")
    assert said == "42\nanswer\nanswer\ninstall ok installed\ngone\n42\n"
