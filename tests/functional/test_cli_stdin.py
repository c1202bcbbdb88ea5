# SPDX-License-Identifier: Apache-2.0
"""Whose bytes stdin's are: a program gets what it reads, the caller keeps the rest."""

import subprocess


def bash(msb, script, data=b"", **how):
    return subprocess.run(["bash", "-c", script], input=data, capture_output=True, env=msb.env, timeout=120,
                          **how)


def lines(count):
    return b"".join(b"line %d\n" % i for i in range(count))


def test_a_loop_over_a_file_sees_every_line(shared, tmp_path):
    file = tmp_path / "lines"
    file.write_bytes(lines(5))
    done = bash(shared, f"while read x; do msb exec box -- true; echo $x; done < {file}")
    assert done.stdout == lines(5), done.stderr


def test_a_loop_over_a_pipe_sees_every_line(shared):
    done = bash(shared, "seq 1 5 | while read x; do msb exec box -- true; echo $x; done")
    assert done.stdout == b"1\n2\n3\n4\n5\n", done.stderr


def test_a_loop_of_programs_that_linger_sees_every_line(shared):
    done = bash(shared, "seq 1 3 | while read x; do msb exec box -- sleep 0.5; echo $x; done")
    assert done.stdout == b"1\n2\n3\n", done.stderr


def test_exe_in_a_loop_leaves_the_lines_too(msb):
    done = bash(msb, f"seq 1 2 | while read x; do msb exe --quiet {msb.image} -- true; echo $x; done")
    assert done.stdout == b"1\n2\n", done.stderr


def test_a_program_takes_what_it_reads(shared, tmp_path):
    file = tmp_path / "bytes"
    file.write_bytes(lines(2000))
    # dd reads 1000 bytes, one by one, and no more; the rest is the caller's, to the byte.
    done = bash(shared, f"{{ msb exec box -- dd bs=1 count=1000 status=none; echo; cat; }} < {file}")
    assert done.stdout == lines(2000)[:1000] + b"\n" + lines(2000)[1000:]
    done = bash(shared, f"cat {file} | {{ msb exec box -- dd bs=1 count=1000 status=none; echo; cat; }}")
    assert done.stdout == lines(2000)[:1000] + b"\n" + lines(2000)[1000:]


def test_a_program_that_reads_nothing_leaves_a_pipe_full(shared):
    done = bash(shared, "{ msb exec box -- true; cat; }", data=lines(1000))
    assert done.stdout == lines(1000)


def test_a_program_that_reads_all_leaves_nothing(shared):
    done = bash(shared, "{ msb exec box -- cat; echo; cat; }", data=lines(1000))
    assert done.stdout == lines(1000) + b"\n"


def test_no_stdin_reads_none_and_gives_none(shared):
    done = bash(shared, "{ msb exec --no-stdin box -- cat; cat; }", data=lines(3))
    assert done.stdout == lines(3)


def test_input_that_comes_slowly_arrives_as_it_comes(shared):
    process = shared.start("exec", "box", "--", "cat", stdin=subprocess.PIPE)
    for i in range(5):
        process.stdin.write(b"%d\n" % i)
        process.stdin.flush()
        assert process.stdout.readline() == b"%d\n" % i
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def test_many_small_writes_fill_no_pipe_for_ever(shared):
    # 100 000 lines of a line a write: the caller's pipe is full long before its 64 KiB are.
    done = bash(shared, "for ((i = 0; i < 20000; i++)); do echo $i; done | msb exec box -- tail -n 1")
    assert done.stdout == b"19999\n"


def test_devices_are_read_as_they_are(shared):
    assert bash(shared, "msb exec box -- cat < /dev/null").stdout == b""
    assert bash(shared, "msb exec box -- head -c 5 < /dev/zero").stdout == b"\0" * 5
