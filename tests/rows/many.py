"""Many rows through `trice classify --file`: is memory flat, and is a run that is interrupted twice the same in the end?

    python3 tests/rows/many.py TRICE AG_NEWS/test.csv [ROWS]

Run 1 classifies ROWS rows (100,000 unless given, ag_news repeated) and notes the resident memory after a tenth of the rows
and at the end. Run 2 does so again, is interrupted (SIGINT) after a fifth and three fifths of the rows, and goes on with
--resume. Both outputs must hold every row, in order, with a label each, and be the same bytes. Exits with 1 where something
is not so. Linux only: memory is read from /proc.
"""

import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

MOST_GROWTH = 0.05


def make_table(source, path, n_rows):
    with open(source, encoding="utf-8", newline="") as file:
        texts = [f"{title}. {description}" for _, title, description in csv.reader(file)]
    with open(path, "w", encoding="utf-8") as file:
        for i, text in zip(range(n_rows), itertools.cycle(texts)):
            file.write(json.dumps({"id": i, "text": text}, ensure_ascii=False) + "\n")


class Run:
    """A running `trice classify`, and how many rows it has written."""

    def __init__(self, trice, table, out):
        args = [trice, "classify", "--file", table, "-o", out, "--resume"]
        self.process = subprocess.Popen(args, stderr=subprocess.PIPE, text=True)
        self.out = out
        self.n_rows = self.n_bytes = 0

    def count(self):
        if os.path.exists(self.out):
            with open(self.out, "rb") as file:
                file.seek(self.n_bytes)
                new = file.read()
            self.n_rows += new.count(b"\n")
            self.n_bytes += len(new)
        return self.n_rows

    def wait_for(self, n_rows):
        while self.process.poll() is None and self.count() < n_rows:
            time.sleep(0.05)
        return self.process.poll() is None

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    def end(self, code):
        said = self.process.communicate()[1].strip().splitlines()
        if self.process.returncode != code:
            sys.exit(f"exit code {self.process.returncode}, not {code}: {said}")
        return said


def measure(trice, table, out, n_rows):
    """Run 1: resident memory after a tenth of the rows and just before the end."""
    start = time.monotonic()
    run = Run(trice, table, out)
    if not run.wait_for(n_rows // 10):
        run.end(0)
    early = late = run.resident_kib()
    # The last number that can be read: the process is gone with its last row.
    while run.process.poll() is None and run.count() < n_rows:
        try:
            late = run.resident_kib()
        except (OSError, StopIteration):
            break
        time.sleep(0.05)
    run.end(0)
    seconds = time.monotonic() - start
    growth = late / early - 1
    print(f"{n_rows} rows in {seconds:.0f} s, {n_rows / seconds:.0f} rows/s")
    print(f"resident memory: {early / 1024:.1f} MiB at {n_rows // 10} rows, {late / 1024:.1f} MiB at {n_rows}: {growth:+.1%}")
    return abs(growth) <= MOST_GROWTH


def interrupt(trice, table, out, n_rows):
    """Run 2: stopped twice, and gone on with."""
    for share in (1 / 5, 3 / 5):
        run = Run(trice, table, out)
        if not run.wait_for(share * n_rows):
            run.end(130)
        run.process.send_signal(signal.SIGINT)
        said = run.end(130)
        print(f"interrupted at {run.count()} rows: {said[-2:]}")
    Run(trice, table, out).end(0)


def is_whole(table, out):
    """Every row, in order, as it was, with a label."""
    n_rows = 0
    with open(table, encoding="utf-8") as rows, open(out, encoding="utf-8") as results:
        for n_rows, (row, result) in enumerate(itertools.zip_longest(rows, results), 1):
            if row is None or result is None:
                print(f"row {n_rows} is in one file only")
                return False
            result = json.loads(result)
            label, score = result.pop("label"), result.pop("score")
            if result != json.loads(row) or not isinstance(label, str) or not 0 <= score <= 1:
                print(f"row {n_rows} is not whole: {result}")
                return False
    print(f"{os.path.basename(out)}: {n_rows} rows, complete and in order")
    return True


def main():
    trice, source = sys.argv[1:3]
    n_rows = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        table, plain, resumed = (os.path.join(folder, name) for name in ("in.jsonl", "plain.jsonl", "resumed.jsonl"))
        make_table(source, table, n_rows)
        passed = [measure(trice, table, plain, n_rows), is_whole(table, plain)]
        interrupt(trice, table, resumed, n_rows)
        passed.append(is_whole(table, resumed))
        with open(plain, "rb") as one, open(resumed, "rb") as other:
            same = one.read() == other.read()
        print(f"interrupted twice and resumed: {'the same bytes' if same else 'other bytes'}")
    sys.exit(0 if all([*passed, same]) else 1)


if __name__ == "__main__":
    main()
