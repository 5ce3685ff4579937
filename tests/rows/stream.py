"""How soon is a line answered that is added to a file which `tail -f FILE | trice classify` reads?

    python3 tests/rows/stream.py TRICE AG_NEWS/test.csv [LINES]

Adds LINES lines (200 unless given), one every 0.1 s, and prints the median, the 95th percentile and the longest time from a
line's arrival in the file to its answer on stdout. Exits with 1 where an answer is missing, is another line's, or the 95th
percentile is a second or more.
"""

import csv
import subprocess
import sys
import tempfile
import threading
import time

PAUSE_S = 0.1
MOST_S = 1.0


def main():
    trice, source = sys.argv[1:3]
    n_lines = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    with open(source, encoding="utf-8", newline="") as file:
        lines = [title for (_, title, _), _ in zip(csv.reader(file), range(n_lines + 1))]
    with tempfile.NamedTemporaryFile("w", suffix=".log", encoding="utf-8") as log:
        tail = subprocess.Popen(["tail", "-n", "+1", "-f", log.name], stdout=subprocess.PIPE)
        classify = subprocess.Popen([trice, "classify"], stdin=tail.stdout, stdout=subprocess.PIPE, text=True)
        sent, seconds, wrong = [], [], []

        def add(line):
            sent.append(time.monotonic())
            log.write(line + "\n")
            log.flush()

        def read():
            for line, answer in zip(lines, classify.stdout):
                seconds.append(time.monotonic() - sent[len(seconds)])
                if not answer.startswith(line + "\t"):
                    wrong.append(answer)

        reader = threading.Thread(target=read)
        reader.start()
        # The first line waits for the model as well, and is told apart.
        add(lines[0])
        while not seconds and classify.poll() is None:
            time.sleep(0.01)
        for line in lines[1:]:
            add(line)
            time.sleep(PAUSE_S)
        reader.join(timeout=10)
        tail.terminate()
        classify.wait(timeout=60)
    first, rest = seconds[0], sorted(seconds[1:])
    p95 = rest[int(0.95 * (len(rest) - 1))]
    print(f"{len(rest)} lines, one every {PAUSE_S} s: median {rest[len(rest) // 2]:.3f} s, p95 {p95:.3f} s, longest {rest[-1]:.3f} s")
    print(f"the first line, the loading of the model with it: {first:.3f} s")
    sys.exit(0 if len(seconds) == len(lines) and not wrong and p95 < MOST_S else 1)


if __name__ == "__main__":
    main()
