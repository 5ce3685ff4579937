#!/usr/bin/env python3
"""Many clients at once: is every answer the one that the same request gets alone, is none lost, and how much more is written in all?

    python3 tests/clients/load.py TRICE [--clients 1,4,16,64] [--seconds 30,30,30,120] [--parallel 8] [--model builtin:stories]

TRICE is the program, best a release build; which device it takes is its own choice (VK_ICD_FILENAMES names a driver). Each of a
few hundred greedy requests is asked alone first. Then so many clients ask them in turn for so many seconds. An answer that differs
is asked alone once more with log-probabilities: where it first differs, the two most probable tokens must be less than 1e-3 apart.
Prints a line per number of clients, and exits with 1 where an answer is lost or another than alone.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import threading
import time

MAX_GAP = 1e-3
NAMES = ["Tom", "Lily", "Ben", "Mia", "Sam", "a dog", "a cat", "the sun", "a bird", "a fish"]
BEGINNINGS = ["Once upon a time there was", "One day,", "In a small house lived", "The best friend of all was", "It was raining and"]
LENGTHS = [8, 24, 48, 96]
REQUESTS = [(f"{beginning} {name}", length) for name in NAMES for beginning in BEGINNINGS for length in LENGTHS]


class Server:
    """`trice serve` on loopback, and what its log says of each answer."""

    def __init__(self, program, model, parallel):
        command = [program, "serve", model, "--port", "0", "--ctx", "256", "--parallel", str(parallel)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.queue_ms = []
        threading.Thread(target=self.read_log, daemon=True).start()
        address = next(match for line in self.process.stdout if (match := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
        self.port, self.model = int(address[1]), model
        next(line for line in self.process.stdout if line.startswith("ready"))

    def read_log(self):
        for line in self.process.stderr:
            if match := re.search(r"queue_ms=(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", line)):
                self.queue_ms.append(int(match[1]))

    def metric(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        return float(re.search(rf"^trice_{name} (\S+)$", text, re.MULTILINE)[1])

    def close(self):
        self.process.terminate()
        self.process.wait()


class Client:
    """One connection that asks one request after the other."""

    def __init__(self, server):
        self.server = server
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)

    def ask(self, request, **more):
        prompt, length = request
        body = json.dumps({"model": self.server.model, "prompt": prompt, "max_tokens": length, "temperature": 0, **more})
        self.connection.request("POST", "/v1/completions", body, {"content-type": "application/json"})
        answer = self.connection.getresponse()
        data = json.loads(answer.read())
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {data}")
        return data


def text_of(answer):
    return answer["choices"][0]["text"]


class Load:
    """Clients that ask for a while."""

    def __init__(self, server, wanted, n_clients):
        self.server, self.wanted, self.n_clients = server, wanted, n_clients
        self.lock = threading.Lock()
        self.asked, self.seconds, self.tokens, self.lost, self.others = 0, [], 0, [], []

    def run(self, duration):
        self.end = time.monotonic() + duration
        self.server.queue_ms.clear()
        start = time.monotonic()
        clients = [threading.Thread(target=self.client) for _ in range(self.n_clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.took = time.monotonic() - start
        time.sleep(0.2)  # the last lines of the log
        self.queue_ms = sorted(self.server.queue_ms)

    def client(self):
        client = Client(self.server)
        while time.monotonic() < self.end:
            with self.lock:
                request = REQUESTS[self.asked % len(REQUESTS)]
                self.asked += 1
            start = time.monotonic()
            try:
                answer = client.ask(request)
            except Exception as error:  # an answer is lost, whatever the reason
                self.lost.append(f"{request}: {error!r}")
                client = Client(self.server)
                continue
            with self.lock:
                self.seconds.append(time.monotonic() - start)
                self.tokens += answer["usage"]["completion_tokens"]
                if text_of(answer) != self.wanted[request]:
                    self.others.append((request, text_of(answer)))

    def judge(self):
        """How many answers were lost, or others than alone without a near tie."""
        bad = len(self.lost) + abs(len(self.queue_ms) - self.asked)
        for line in self.lost[:10]:
            print("lost:", line)
        for request, text in self.others:
            bad += not is_near_tie(Client(self.server), request, text)
        return bad


def is_near_tie(client, request, text):
    alone = client.ask(request, logprobs=2)["choices"][0]
    steps = alone["logprobs"]
    same = 0
    while same < min(len(text), len(alone["text"])) and text[same] == alone["text"][same]:
        same += 1
    step = max(i for i, offset in enumerate(steps["text_offset"]) if offset <= same)
    best, second = sorted(steps["top_logprobs"][step].values(), reverse=True)[:2]
    print(f"other than alone: {request}, from character {same} on; the two best tokens there are {best - second:.2e} apart")
    return best - second < MAX_GAP


def percentile(values, share):
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trice")
    parser.add_argument("--clients", default="1,4,16,64")
    parser.add_argument("--seconds", default="30,30,30,120")
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--model", default="builtin:stories")
    args = parser.parse_args()
    server = Server(args.trice, args.model, args.parallel)
    alone = Client(server)
    wanted = {request: text_of(alone.ask(request)) for request in REQUESTS}
    print(f"{len(wanted)} requests asked alone; {args.parallel} answers at once")
    bad, first = 0, None
    for n_clients, seconds in zip(map(int, args.clients.split(",")), map(float, args.seconds.split(",")), strict=True):
        before = server.metric("generated_tokens_total")
        load = Load(server, wanted, n_clients)
        load.run(seconds)
        counted = server.metric("generated_tokens_total") - before
        speed = load.tokens / load.took
        first = first or speed
        print(
            f"{n_clients} clients, {load.took:.0f} s: {load.asked} asked, {len(load.seconds)} answered, {len(load.lost)} lost, "
            f"{len(load.others)} other than alone; {speed:.1f} tokens/s, {speed / first:.2f} of the first; "
            f"queueing p50 {percentile(load.queue_ms, 0.5)} ms, p95 {percentile(load.queue_ms, 0.95)} ms; "
            f"an answer {statistics.median(load.seconds):.2f} s"
        )
        if counted != load.tokens:
            print(f"/metrics counts {counted:.0f} tokens, the clients {load.tokens}")
            bad += 1
        bad += load.judge()
    server.close()
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
