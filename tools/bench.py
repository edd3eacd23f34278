#!/usr/bin/env python3
"""`make bench`: what a host carries, measured from outside.

    tools/bench.py [wire] [latency] [rate] [registrations] [media] [webrtc] [codecs] [listening] [results] [books] [reads] [live] [keys] [model] [scripts] [replay] [scenarios]
                   [--free] [--calls 500,1500,2000] [--phones 10000]

SIPp places the calls, `callbox-load` (tests/load) is the far end of their audio and the telephones that register, the host
is the release binary with an empty data folder for each run. The calls come from 127.0.0.1, which a host trusts unless it
is told otherwise: no limit per source counts for them. For the telephones, which have addresses of their own, all do. On a machine with more than one core the host gets core 0 alone and the load the others, so
that "on one core" means that; --free lets the scheduler decide. CPU is the host process's own time (user and system), so
that what else runs on the machine does not count; how much that was is told beside each figure.

Prints a table and writes target/bench/results.json. Without names, all parts.
"""

import argparse
import asyncio
import http.client
import heapq
import json
import os
import platform
import re
import shutil
import select
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from neighbour import Neighbours, Source
from stored import CALLS as STORED, FIRST, Postgres, fill_sqlite
from talker import Talker, says

ROOT = Path(__file__).resolve().parent.parent
BINARY = Path(os.environ.get("CALLBOX", ROOT / "target/release/callbox"))
LOAD = Path(os.environ.get("CALLBOX_LOAD", ROOT / "target/release/callbox-load"))
GUEST = ROOT / "target/guests/bench.wasm"
PROBE = ROOT / "target/guests/probe.wasm"
TALKER = ROOT / "target/guests/talk.wasm"
RUN = ROOT / "target/bench"
NUMBER = "7000"
WARM_UP = 40
TICK = os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
# Linux's number; Python knows it from 3.14 on.
SO_TIMESTAMPNS = 35
PARTS = ["wire", "latency", "rate", "registrations", "media", "webrtc", "codecs", "listening", "results", "books", "reads", "live", "keys", "model", "scripts", "replay", "scenarios"]
PASSWORD = "as good as any other"


class Failed(Exception):
    """A measurement could not be made; the text says what to look at."""


def say(text: str):
    print(text, flush=True)


# ---- the machine


def cpu_s(pid: int) -> float:
    """CPU time of a process, all its threads, without its children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICK


def cpu_by_thread(pid: int) -> dict:
    """The same by the threads' names, numbers left out."""
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")].rstrip("0123456789-").removeprefix("sqlx-") or "?"
        fields = text.rpartition(")")[2].split()
        times[name] = times.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICK
    return times


def busy_s() -> float:
    """CPU time of the whole machine that was not idle."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / TICK


def memory_kib(pid: int) -> dict:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text() + Path(f"/proc/{pid}/status").read_text()
    found = {}
    for line in rollup.splitlines():
        name, _, rest = line.partition(":")
        if name in ("Rss", "Private_Dirty", "VmPTE"):
            found[name] = int(rest.split()[0])
    return found


class Window:
    """What a span of time cost: the host, its load, and what else ran."""

    def __init__(self, host, load: list):
        self.host, self.load = host, load
        self.began = time.monotonic()
        self.first = (cpu_s(host.pid), [cpu_s(pid) for pid in load], busy_s(), cpu_by_thread(host.pid))

    def close(self) -> dict:
        span = time.monotonic() - self.began
        host, load, busy, threads = self.first
        mine = cpu_s(self.host.pid) - host
        # A generator that has ended is not known any more; its time counts as others'.
        loads = sum(max(0.0, cpu_s(pid) - before) for pid, before in zip(self.load, load))
        others = max(0.0, busy_s() - busy - mine - loads)
        now = cpu_by_thread(self.host.pid)
        by_thread = {name: round((spent - threads.get(name, 0.0)) / span, 4) for name, spent in now.items()}
        return {
            "window_s": round(span, 2), "host_cores": mine / span, "load_cores": loads / span,
            "other_cores": others / span,
            "threads": {name: cores for name, cores in sorted(by_thread.items(), key=lambda i: -i[1]) if cores > 0.001},
        }


def machine() -> dict:
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // (1 << 20)
    git = lambda *args: subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    dirty = "+" if git("status", "--porcelain", "--untracked-files=no", "--", "host") else ""
    return {"cpu": model, "cores": os.cpu_count(), "memory_gib": memory, "kernel": platform.release(),
            "commit": git("rev-parse", "--short", "HEAD") + dirty, "load_average": os.getloadavg()[0],
            "command": " ".join(["tools/bench.py", *sys.argv[1:]]), "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


# ---- the programs


class Pinned:
    """Which cores whom."""

    def __init__(self, free: bool, nice: int):
        apart = len(CORES) > 1 and not free
        self.nice = nice
        self.host = CORES[:1] if apart else CORES
        self.load = CORES[1:] if apart else CORES

    def start(self, cores: list, command: list, **options) -> subprocess.Popen:
        nice = ["nice", "-n", str(self.nice)] if self.nice else []
        command = ["taskset", "-c", ",".join(map(str, cores)), *nice, *map(str, command)]
        process = subprocess.Popen(command, start_new_session=bool(self.nice), **options)
        group = Path(f"/proc/{process.pid}/autogroup")
        if self.nice and group.exists():
            # Where sessions share the processor, a priority counts only within one.
            group.write_text(str(self.nice))
        return process


class Program:
    """A child with its lines of output, stopped when the part is over."""

    def __init__(self, pinned: Pinned, cores: list, command: list, **options):
        self.lines: list = []
        self.changed = threading.Condition()
        self.process = pinned.start(cores, command, stdout=subprocess.PIPE, text=True, **options)
        self.pid = self.process.pid
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(json.loads(line))
                self.changed.notify_all()
        with self.changed:
            self.lines.append(None)
            self.changed.notify_all()

    def next(self, timeout: float = 20):
        with self.changed:
            if not self.changed.wait_for(lambda: self.lines, timeout):
                raise Failed(f"{self.process.args[-1]} says nothing")
            return self.lines.pop(0)


class Load(Program):
    """One of `callbox-load`'s, which takes orders and ends when there are none to come."""

    PATIENCE_S = 5

    def say(self, order: str):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(self.PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Host(Program):
    """A release host on free ports with an empty data folder, unless it comes back to one it had, with the key it gave. One
    with a name is one of several: its folder is its own, and always empty."""

    def __init__(self, pinned: Pinned, key: str | None = None, name: str = "", **settings):
        self.data = RUN / f"data{name}"
        if key is None or name:
            shutil.rmtree(self.data, ignore_errors=True)
            self.data.mkdir(parents=True)
        self.log = RUN / f"host{name}.log"
        settings = {
            "HTTP__REQUESTS_PER_SECOND": 1000, "SIP__INVITES_PER_SECOND": 100_000,
            "SIP__REQUESTS_PER_SECOND_PER_SOURCE": 0, "CALLS__MAX": 3000, "CALLS__DRAIN_MS": 3000, **settings,
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOX_")}
        env |= {f"CALLBOX_{name}": str(value) for name, value in settings.items()}
        command = [BINARY, "serve", "--data-dir", self.data, "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0",
                   "--advertise", "127.0.0.1", "--log", os.environ.get("BENCH_LOG", "info")]
        super().__init__(pinned, pinned.host, command, stderr=open(self.log, "w"), env=env)
        while True:
            event = self.next(60)
            if event is None:
                raise Failed(f"the host did not start; see {self.log}")
            if event["event"] == "first_key":
                key = event["key"]
            if event["event"] == "ready":
                break
        self.base, self.key = f"http://{event['http']}", key
        self.sip = next(text.split()[1] for text in event["sip"] if text.startswith("udp"))

    def api(self, method: str, path: str, body=None):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("authorization", f"Bearer {self.key}")
        kind = "application/wasm" if isinstance(body, bytes) else "application/json"
        if data is not None:
            request.add_header("content-type", kind)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                text = response.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path} answered {error.code}: {error.read().decode(errors='replace')}") from error

    def publish(self, guest: Path = GUEST):
        """A guest on the number, compiled by the optimising compiler."""
        script = self.api("POST", "/v1/scripts", {"name": guest.stem})["id"]
        version = self.api("POST", f"/v1/scripts/{script}/versions", guest.read_bytes())["version"]
        nowhere = {"url": "http://127.0.0.1:9/", "timeout_ms": 1000}
        bindings = {"sources": {"early": nowhere, "late": nowhere}, "destinations": {"sink": {"url": nowhere["url"]}}}
        self.api("PUT", f"/v1/scripts/{script}/bindings", bindings if guest == PROBE else {})
        self.api("POST", f"/v1/scripts/{script}/publish", {"version": version})
        self.api("POST", "/v1/numbers", {"address": NUMBER, "script_id": script})
        for _ in range(200):
            if "optimised; new calls" in self.log.read_text():
                return
            time.sleep(0.1)
        raise Failed(f"the script was not optimised; see {self.log}")

    def kept(self) -> int:
        """Records of calls whose script came to its end, in the books of a host that has ended."""
        with sqlite3.connect(f"file:{self.data / 'callbox.db'}?mode=ro", uri=True) as books:
            of = "state = 'completed' AND outcome = 'answered' AND end_reason = 'script_returned'"
            return books.execute(f"SELECT count(*) FROM calls WHERE {of}").fetchone()[0]

    def stop(self) -> dict:
        """Ends it; what it counted."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise Failed(f"the host did not stop; see {self.log}") from None
        while (event := self.next(5)) is not None:
            if event["event"] == "stopped":
                return event
        raise Failed(f"the host ended without its figures; see {self.log}")


class Audio(Load):
    """The far end of all calls' audio."""

    def __init__(self, pinned: Pinned, press_ms: int = 0):
        command = [LOAD, "127.0.0.1:0", *([press_ms] if press_ms else [])]
        super().__init__(pinned, pinned.load, command, stdin=subprocess.PIPE)
        self.port = int(self.next()["address"].rpartition(":")[2])

    def reset(self):
        self.say("reset")

    def report(self) -> dict:
        self.say("report")
        return self.next()


INVITE = """
      INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
      From: <sip:bench@[local_ip]:[local_port]>;tag=[pid]t[call_number]
      To: <sip:[service]@[remote_ip]:[remote_port]>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:bench@[local_ip]:[local_port]>
      Max-Forwards: 70
      X-Bench-Mode: {mode}
      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=bench 1 1 IN IP4 [local_ip]
      s=-
      c=IN IP4 [local_ip]
      t=0 0
      m=audio {port} RTP/AVP 0 8 101
      a=rtpmap:0 PCMU/8000
      a=rtpmap:8 PCMA/8000
      a=rtpmap:101 telephone-event/8000
      a=fmtp:101 0-16
      a=ptime:20
"""
REQUEST = """
      {method} {uri} SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport
      From: <sip:bench@[local_ip]:[local_port]>;tag=[pid]t[call_number]
      To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: {number} {method}
      Max-Forwards: 70
      Content-Length: 0

"""
OK = """
      SIP/2.0 200 OK
      [last_Via:]
      [last_From:]
      [last_To:]
      [last_Call-ID:]
      [last_CSeq:]
      Content-Length: 0

"""


def scenario(mode: str, port: int, hold_ms: int = 0) -> str:
    """A call: the host hangs up, or we do after `hold_ms`. Time 1 is to the 200."""
    send = lambda text, more="": f"<send{more}><![CDATA[{text}]]></send>"
    request = lambda method, number, branch="[branch]", uri="[next_url]": REQUEST.format(
        method=method, number=number, branch=branch, uri=uri)
    steps = [
        send(INVITE.format(mode=mode, port=port), ' retrans="500" start_rtd="1"'),
        '<recv response="100" optional="true"/>',
        '<recv response="180" optional="true"/>',
        '<recv response="503" optional="true" next="1"/>',
        '<recv response="200" rrs="true" rtd="1"/>',
        send(request("ACK", 1)),
    ]
    if hold_ms:
        steps += [f'<pause milliseconds="{hold_ms}"/>', send(request("BYE", 2), ' retrans="500"'),
                  '<recv response="200" next="2"/>']
    else:
        steps += ['<recv request="BYE"/>', send(OK, ' next="2"')]
    # The ACK of a refusal belongs to the INVITE's transaction (RFC 3261 §17.1.1.3).
    refused = request("ACK", 1, f"[branch-{len(steps)}]", "sip:[service]@[remote_ip]:[remote_port]")
    steps += ['<label id="1"/>', send(refused), '<label id="2"/>']
    return '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="bench">\n' + "\n".join(steps) + "\n</scenario>\n"


class Sipp:
    """Some SIPp processes that share a load."""

    def __init__(self, pinned: Pinned, host: Host, text: str, rate: float, calls: int, processes: int = 1, seconds: int = 90):
        self.folders, self.processes = [], []
        for n in range(processes):
            folder = RUN / f"sipp-{n}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            (folder / "bench.xml").write_text(text)
            share = [calls // processes + (n < calls % processes), rate / processes]
            command = ["sipp", host.sip, "-sf", "bench.xml", "-s", NUMBER, "-i", "127.0.0.1", "-m", share[0], "-l", 100_000,
                       "-r", max(1, round(share[1])), "-rp", 1000, "-nostdin", "-timer_resol", 1,
                       "-trace_stat", "-fd", 1, "-trace_rtt", "-rtt_freq", 1, "-trace_err", "-timeout", seconds,
                       "-recv_timeout", 60_000, "-max_socket", 2000]
            process = pinned.start(pinned.load, command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.folders.append(folder)
            self.processes.append(process)
        self.pids = [process.pid for process in self.processes]

    def wait(self, seconds: float) -> dict:
        """What came of it, once all calls are over."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failed(f"SIPp did not come to its end; see {self.folders[0]}") from None
        return self.result()

    def result(self) -> dict:
        total = {"calls": 0, "failed": 0, "retransmissions": 0, "rtt_ms": [], "first": None, "last": None}
        for folder in self.folders:
            stat = next(folder.glob("bench_*_.csv"))
            head, *rows = [line.split(";") for line in stat.read_text().splitlines() if line]
            last = dict(zip(head, rows[-1]))
            total["calls"] += int(last["TotalCallCreated"])
            total["failed"] += int(last["FailedCall(C)"])
            total["retransmissions"] += int(last["Retransmissions(C)"])
            for file in folder.glob("*_rtt.csv"):
                for line in file.read_text().splitlines():
                    fields = line.split(";")
                    if len(fields) >= 3 and fields[2].strip() == "1":
                        total["rtt_ms"].append(float(fields[1]))
        return total

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


class Prober(threading.Thread):
    """Places short calls too, and takes the kernel's time of arrival of each 200: SIPp counts in ticks of 4 ms."""

    def __init__(self, host: Host, port: int, rate: float, seconds: float):
        super().__init__(daemon=True)
        self.rate, self.calls, self.port, self.enough = rate, int(rate * seconds), port, False
        address, _, remote = host.sip.rpartition(":")
        self.remote = (address, int(remote))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # What was sent and is not answered, by call; when each answered one was sent, and how long that took.
        self.sent, self.answered, self.others = {}, [], 0
        # When what is not answered is sent again (RFC 3261 §17.1.1.2), after which wait; the ACKs that were sent.
        self.again, self.repeated, self.acks = [], 0, {}
        self.start()

    def text(self, template: str, call: int, to_tag: str = "", **values) -> bytes:
        local = self.socket.getsockname()
        words = {
            "service": NUMBER, "remote_ip": self.remote[0], "remote_port": self.remote[1], "transport": "UDP",
            "local_ip": local[0], "local_port": local[1], "pid": "p", "call_number": call, "next_url": values.get("uri"),
            "branch": f"z9hG4bK{values.get('method', 'INVITE')}{local[1]}-{call}", "call_id": f"{call}@probe-{local[1]}",
            "peer_tag_param": to_tag,
        }
        text = template.format(mode="", port=self.port, branch="[branch]", **values)
        for name, value in words.items():
            text = text.replace(f"[{name}]", str(value))
        head, _, body = text.lstrip("\n").partition("\n\n")
        head, body = ("".join(line.strip() + "\r\n" for line in part.splitlines() if line.strip()) for part in (head, body))
        return (head.replace("[len]", str(len(body))) + "\r\n" + body).encode()

    def run(self):
        began = time.monotonic()
        placed = 0
        while placed < self.calls or time.monotonic() < began + self.calls / self.rate + 3:
            now = time.monotonic()
            due = began + placed / self.rate
            if self.enough:
                self.enough, self.calls = False, placed
            if placed < self.calls and now >= due:
                invite = self.text(INVITE, placed)
                self.sent[placed] = time.time_ns()
                self.socket.sendto(invite, self.remote)
                heapq.heappush(self.again, (now + 0.5, 0.5, placed, invite))
                placed += 1
                continue
            self.repeat(now)
            ready, _, _ = select.select([self.socket], [], [], max(0.0, due - now) if placed < self.calls else 0.1)
            if ready:
                self.take(*self.socket.recvmsg(4096, 64)[:2])

    def repeat(self, now: float):
        """Sends again what is due and not answered."""
        while self.again and self.again[0][0] <= now:
            _, wait, call, invite = heapq.heappop(self.again)
            if call in self.sent and wait < 8:
                self.socket.sendto(invite, self.remote)
                self.repeated += 1
                heapq.heappush(self.again, (now + 2 * wait, 2 * wait, call, invite))

    def take(self, data: bytes, control: list):
        head = data.decode(errors="replace").split("\r\n\r\n")[0].split("\r\n")
        fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
        call = int(fields["call-id"].split("@")[0])
        if head[0].startswith("BYE "):
            kept = [line for line in head[1:] if line.split(":")[0].lower() in ("via", "from", "to", "call-id", "cseq")]
            self.socket.sendto("\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode(), self.remote)
        elif head[0].startswith("SIP/2.0 200") and call in self.sent:
            seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
            sent = self.sent.pop(call)
            self.answered.append((sent, (seconds * 1_000_000_000 + nanoseconds - sent) / 1e6))
            tag = ";tag=" + fields["to"].partition(";tag=")[2]
            uri = fields["contact"].partition("<")[2].partition(">")[0]
            self.acks[call] = self.text(REQUEST, call, tag, method="ACK", number=1, uri=uri)
            self.socket.sendto(self.acks[call], self.remote)
        elif head[0].startswith("SIP/2.0 200") and call in self.acks:
            # It did not hear our ACK.
            self.socket.sendto(self.acks[call], self.remote)
        elif not head[0].startswith("SIP/2.0 1") and self.sent.pop(call, None):
            self.others += 1

    def result(self) -> list:
        self.over()
        if self.others or len(self.answered) != self.calls:
            raise Failed(f"{len(self.answered)} of {self.calls} probing calls were answered, {self.others} otherwise")
        return [ms for _, ms in self.answered]

    def over(self):
        self.join()
        self.socket.close()


class Phones(Load):
    """Telephones with an account each."""

    def __init__(self, stage, count: int):
        accounts(stage.host, count)
        super().__init__(stage.pinned, stage.pinned.load, [LOAD, "phones", stage.host.sip, count, PASSWORD], stdin=subprocess.PIPE)
        self.count, self.stage = count, stage
        stage.others.append(self)
        self.next(30)

    def register(self, order: str, within_ms: int, calls: int = 0) -> dict:
        """Lets all of them come within so long, and so many calls a second meanwhile; how it went."""
        stage, probed = self.stage, None
        prober = Prober(stage.host, stage.audio.port, calls, 120) if calls else None
        window, began = Window(stage.host, [self.pid]), time.time_ns()
        self.say(f"{order} {within_ms}")
        told = self.next(120)
        if told is None:
            raise Failed("the phones have ended")
        cost, ended = window.close(), time.time_ns()
        if prober:
            prober.enough = True
            prober.over()
            # Those placed while the phones came.
            times = [ms for sent, ms in prober.answered if began <= sent <= ended]
            probed = {"calls": len(times), "p50_ms": percentile(times, 500), "p99_ms": percentile(times, 990), "max_ms": max(times),
                      "of": prober.calls, "refused": prober.others, "unanswered": len(prober.sent), "repeated": prober.repeated}
        told["per_second"] = told["registered"] / (told["done"]["max_ms"] / 1000)
        told["cpu_ms_each"] = cost["host_cores"] * cost["window_s"] / max(1, told["registered"]) * 1000
        return {"within_ms": within_ms, "probed": probed, **told, **cost}

def accounts(host: Host, count: int):
    """Accounts `phone-0`, `phone-1`, … by the API, over connections that stay."""
    names, failed = iter(range(count)), []

    def make():
        connection = http.client.HTTPConnection(host.base.removeprefix("http://"))
        headers = {"authorization": f"Bearer {host.key}", "content-type": "application/json"}
        for n in names:
            body = json.dumps({"username": f"phone-{n}", "password": PASSWORD})
            connection.request("POST", "/v1/sip-accounts", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                failed.append(f"an account: {answer.status} {text.decode(errors='replace')}")
                return

    makers = [threading.Thread(target=make) for _ in range(16)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    if failed:
        raise Failed(failed[0])


class Receiver:
    """A customer's system that takes every result: as little as HTTP/1.1 can be, so that the host is what is measured."""

    def __init__(self):
        self.events, self.times, self.refused = set(), [], 0
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/"
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    async def serve(self, reader, writer):
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            except (asyncio.IncompleteReadError, ConnectionError):
                return writer.close()
            fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            body = json.loads(await reader.readexactly(int(fields["content-length"])))
            if body["type"] == "call.completed":
                self.events.add(fields["webhook-id"])
                self.times.append(time.time())
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)


class Stage:
    """A host, its audio, and calls to it; all ended at the end of `with`."""

    def __init__(self, pinned: Pinned, press_ms: int = 0, **settings):
        self.pinned = pinned
        self.audio = Audio(pinned, press_ms)
        self.sipps: list = []
        self.others: list = []
        try:
            self.host = Host(pinned, **settings)
            self.figures = None
            self.host.publish()
            # The voice renders the words once, the pool and the books take their first calls.
            self.calls("", WARM_UP // 2, WARM_UP).wait(30)
        except BaseException:
            self.close()
            raise

    def calls(self, mode: str, rate: float, calls: int, hold_ms: int = 0, processes: int = 1, seconds: int = 90) -> Sipp:
        sipp = Sipp(self.pinned, self.host, scenario(mode, self.audio.port, hold_ms), rate, calls, processes, seconds)
        self.sipps.append(sipp)
        return sipp

    def window(self) -> Window:
        return Window(self.host, [self.audio.pid] + [pid for sipp in self.sipps for pid in sipp.pids])

    def stop(self) -> dict:
        """The host's own figures."""
        self.figures = self.host.stop()
        return self.figures

    def close(self):
        for program in self.sipps + self.others:
            program.stop()
        host = getattr(self, "host", None)
        if host is not None and host.process.poll() is None:
            host.process.kill()
            host.process.wait()
        self.audio.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def percentile(values: list, permille: int) -> float:
    values = sorted(values)
    return values[min(len(values) - 1, -(-len(values) * permille // 1000) - 1)] if values else float("nan")


# ---- the measurements


def latency(pinned: Pinned, _) -> dict:
    found = {}
    for rate in (50, 200):
        seconds = 20
        with Stage(pinned) as stage:
            share = rate // 4 if rate > 50 else rate // 2
            sipp = stage.calls("", rate - share, (rate - share) * seconds, processes=2, seconds=seconds + 30)
            prober = Prober(stage.host, stage.audio.port, share, seconds)
            time.sleep(1)
            window = stage.window()
            time.sleep(seconds - 2)
            cost = window.close()
            result, times = sipp.wait(40), prober.result()
            figures = stage.stop()
        found[rate] = {
            "calls": result["calls"], "failed": result["failed"], "retransmissions": result["retransmissions"],
            "samples": len(times),
            "p50_ms": percentile(times, 500), "p99_ms": percentile(times, 990), "p999_ms": percentile(times, 999),
            "max_ms": max(times, default=float("nan")), "cpu_ms_per_call": cost["host_cores"] / rate * 1000, **cost,
            "host": figures["sip"],
        }
        row = found[rate]
        say(f"   {rate} calls/s: INVITE → 200 p50 {row['p50_ms']:.2f}, p99 {row['p99_ms']:.2f}, max {row['max_ms']:.2f} ms of {row['samples']}; "
            f"{row['failed']} failed, {row['retransmissions']} retransmitted; {row['cpu_ms_per_call']:.2f} ms CPU a call")
        say(f"      {cost['threads']}; others {cost['other_cores']:.2f} cores")
    return found


def burst(pinned: Pinned, rate: int, seconds: int, **settings) -> dict:
    """So many short calls a second for so long, on a host of their own."""
    with Stage(pinned, **settings) as stage:
        sipp = stage.calls("", rate, rate * seconds, processes=2 if rate < 800 else 3, seconds=seconds + 40)
        time.sleep(1)
        window = stage.window()
        time.sleep(seconds - 2)
        cost = window.close()
        result = sipp.wait(seconds + 60)
        figures = stage.stop()["sip"]
        kept = stage.host.kept()
    answered = result["rtt_ms"]
    return {
        "rate": rate, "seconds": seconds, "calls": result["calls"], "failed": result["failed"], "kept": kept - WARM_UP,
        "answered": len(answered), "refused": result["calls"] - result["failed"] - len(answered),
        "in_time": sum(1 for ms in answered if ms <= 500),
        "retransmissions": result["retransmissions"], "host_retransmissions": figures["retransmissions_sent"],
        "host_saw_again": figures["retransmissions_received"],
        "p50_ms": percentile(answered, 500), "p99_ms": percentile(answered, 990),
        "cpu_ms_per_call": cost["host_cores"] / rate * 1000, "host": figures, **cost,
    }


def clean(row: dict) -> bool:
    spoilt = row["failed"] + row["retransmissions"] + row["host_retransmissions"] + row["host_saw_again"] + row["refused"]
    return spoilt == 0 and row["answered"] == row["kept"] == row["calls"]


def told_burst(row: dict) -> str:
    return (f"   {row['rate']} calls/s: {row['answered']} of {row['calls']} answered, {row['in_time']} within 500 ms, "
            f"{row['kept']} records kept, {row['refused']} refused, {row['failed']} failed, retransmitted {row['retransmissions']} by SIPp, "
            f"{row['host_retransmissions']} by the host; p99 {row['p99_ms']:.0f} ms, host {row['host_cores']:.2f} cores "
            f"({row['cpu_ms_per_call']:.2f} ms a call), load {row['load_cores']:.2f}, others {row['other_cores']:.2f}")


def rate(pinned: Pinned, _) -> dict:
    steps, best = [], 0
    for offered in (300, 500, 700, 900, 1100):
        row = burst(pinned, offered, 8)
        steps.append(row)
        say(told_burst(row))
        if not clean(row):
            break
        best = offered
    if best and steps[-1]["rate"] > best:
        between = (best + steps[-1]["rate"]) // 2
        row = burst(pinned, between, 8)
        steps.append(row)
        say(told_burst(row))
        best = between if clean(row) else best
    found = {"steps": steps, "sustained": best}
    if best:
        say("   for longer:")
        for _ in range(3):
            found["held"] = burst(pinned, best, 25)
            say(told_burst(found["held"]))
            if clean(found["held"]):
                break
            best = best * 85 // 100
        found["sustained"] = best
        say(f"   twice as many as {best}, with the host told its limit, then without")
        found["overload_limited"] = burst(pinned, 2 * best, 15, SIP__INVITES_PER_SECOND=best)
        say(told_burst(found["overload_limited"]))
        found["overload_unlimited"] = burst(pinned, 2 * best, 15)
        say(told_burst(found["overload_unlimited"]))
    return found


def media(pinned: Pinned, options) -> dict:
    found = {}
    for calls in options.calls:
        rate, seconds = 200, 12
        setup = calls / rate
        hold = int((setup + 3 + seconds + 2) * 1000)
        with Stage(pinned) as stage:
            time.sleep(1)
            before = memory_kib(stage.host.pid)
            sipp = stage.calls("talk", rate, calls, hold_ms=hold, seconds=180)
            time.sleep(setup + 3)
            stage.audio.reset()
            window = stage.window()
            time.sleep(seconds)
            cost = window.close()
            audio = stage.audio.report()
            after = memory_kib(stage.host.pid)
            result = sipp.wait(setup + 60)
            figures = stage.stop()
        row = {
            "calls": calls, "up": audio["streams"], "failed": result["failed"], **cost,
            "percent_of_core_per_call": cost["host_cores"] / calls * 100,
            "kib_per_call": {name: (after[name] - before[name]) / calls for name in before},
            "audio": audio, "host_media": figures["media"],
        }
        found[calls] = row
        gaps, own = audio["gaps"], figures["media"]["gaps"]
        say(f"   {audio['streams']} of {calls} calls up: {cost['host_cores']:.3f} cores = {row['percent_of_core_per_call']:.4f} % a call "
            f"{cost['threads']}; {row['kib_per_call']['Private_Dirty']:.0f} KiB a call; load {cost['load_cores']:.2f}, "
            f"others {cost['other_cores']:.2f} cores")
        say(f"      gaps at the receiver p50 {gaps['p50_ms']:.1f}, p99 {gaps['p99_ms']:.1f}, max {gaps['max_ms']:.1f} ms, "
            f"{gaps['above_40_ms']} of {gaps['count']} above 40 ms; by the host's own histogram p99 {own['p99_ms']:.1f}, "
            f"max {own['max_ms']:.1f}; {audio['lost']} lost; {result['failed']} failed")
    return found


class Browsers(Load):
    """Browsers that call by HTTP, ICE and DTLS."""

    # They close a connection each.
    PATIENCE_S = 30

    def __init__(self, stage, codec: str, calls: int):
        # The mode is a header to the script, which a token's variable of that name is, too.
        body = {"number": NUMBER, "uses": calls, "expires_in_s": 3600, "variables": {"X-Bench-Mode": "talk"}}
        token = stage.host.api("POST", "/v1/webrtc/tokens", body)["token"]
        http = stage.host.base.removeprefix("http://")
        command = [LOAD, "webrtc", http, token, codec, "127.0.0.1"]
        super().__init__(stage.pinned, stage.pinned.load, command, stdin=subprocess.PIPE)
        self.next()

    def order(self, word: str, timeout: float = 0):
        self.say(word)
        return self.next(timeout) if timeout else None


WEBRTC = {"WEBRTC__PORT": 0, "WEBRTC__REQUESTS_PER_SECOND_PER_ADDRESS": 0, "WEBRTC__REQUESTS_PER_SECOND_PER_TOKEN": 0,
          "HTTP__REQUESTS_PER_SECOND": 100_000}


def webrtc(pinned: Pinned, _) -> dict:
    """Calls by browsers: how soon they are answered and hear, what they cost."""
    found = {}
    for codec, most, rate in (("opus", 500, 50), ("pcmu", 1500, 100)):
        rows = []
        for calls in (100, most):
            seconds = 12
            with Stage(pinned, **WEBRTC) as stage:
                time.sleep(1)
                before = memory_kib(stage.host.pid)
                browsers = Browsers(stage, codec, calls)
                stage.others.append(browsers)
                browsers.order(f"call {calls} {rate}")
                setup = browsers.order("settle", calls / rate + 60)
                time.sleep(2)
                browsers.order("reset")
                window = Window(stage.host, [stage.audio.pid, browsers.pid])
                time.sleep(seconds)
                cost = window.close()
                audio = browsers.order("report", 20)
                after = memory_kib(stage.host.pid)
                browsers.order("hang-up", 60)
                figures = stage.stop()
            row = {
                "calls": calls, "rate": rate, "setup": setup, "audio": audio, **cost,
                "percent_of_core_per_call": cost["host_cores"] / calls * 100,
                "media_percent_of_core_per_call": cost["threads"].get("media", 0.0) / calls * 100,
                "packets_per_call_and_second": audio["packets"] / calls / cost["window_s"],
                "kib_per_call": {name: (after[name] - before[name]) / calls for name in before},
                "host_media": figures["media"],
            }
            rows.append(row)
            answer, first, gaps = setup["answer"], setup["first_audio"], figures["media"]["gaps"]
            say(f"   {codec}: {setup['talking']} of {calls} calls up at {rate} a second, {setup['refused']} refused {setup['reasons']}; "
                f"offer → answer p50 {answer['p50_ms']:.1f}, p99 {answer['p99_ms']:.1f} ms; answer → first audio "
                f"p50 {first['p50_ms']:.0f}, p99 {first['p99_ms']:.0f}, max {first['max_ms']:.0f} ms")
            say(f"      {cost['host_cores']:.3f} cores = {row['percent_of_core_per_call']:.4f} % a call, media threads "
                f"{row['media_percent_of_core_per_call']:.4f} % {cost['threads']}; {row['kib_per_call']['Private_Dirty']:.0f} KiB a call; "
                f"load {cost['load_cores']:.2f}, others {cost['other_cores']:.2f} cores")
            say(f"      {row['packets_per_call_and_second']:.1f} packets a call and second, {audio['lost']} lost, "
                f"{audio['unauthentic'] + audio['early']} that should not be; gaps by the host's histogram p99 {gaps['p99_ms']:.1f}, "
                f"max {gaps['max_ms']:.1f} ms")
        found[codec] = rows
    return found


def results(pinned: Pinned, _) -> dict:
    rate, seconds = 300, 15
    receiver = Receiver()
    with Stage(pinned, EGRESS__ALLOW_PRIVATE="true") as stage:
        stage.host.api("POST", "/v1/webhooks", {"url": receiver.url, "event_types": ["call.completed"]})
        sipp = stage.calls("", rate, rate * seconds, processes=2, seconds=seconds + 30)
        time.sleep(1)
        window = stage.window()
        time.sleep(seconds - 2)
        cost = window.close()
        result = sipp.wait(40)
        ended = time.time()
        while len(receiver.events) < result["calls"] and time.time() < ended + 30:
            time.sleep(0.1)
        stage.stop()
    receiver.stop()
    delay = max(0.0, max(receiver.times, default=float("inf")) - ended)
    found = {"rate": rate, "calls": result["calls"], "failed": result["failed"], "delivered": len(receiver.events),
             "requests": len(receiver.times), "last_after_s": delay, "cpu_ms_per_call": cost["host_cores"] / rate * 1000, **cost}
    say(f"   {rate} calls/s: {found['delivered']} of {found['calls']} results delivered in {found['requests']} requests, the last "
        f"{delay:.1f} s after the last call; {found['cpu_ms_per_call']:.2f} ms CPU a call {cost['threads']}, others {cost['other_cores']:.2f} cores")
    return found


def books(pinned: Pinned, _) -> dict:
    """What storing and delivering cost, without telephones: store and outbox worker as a host has them."""
    found = {}
    for database in ("sqlite", "postgres"):
        told = lambda part: json.loads(cargo_bench(pinned, "-p", "callbox", "--bench", "books", "--", part, database)[-1])
        found[database] = row = told("calls") | told("delivery")
        say(f"   {database}: {row['calls']} calls, {row['at_once']} at once: {row['stored_per_s']:.0f} begun, answered and closed a second, "
            f"{row['pushed_per_s']:.0f} until the last of their results is delivered")
        say(f"   {row['endpoints']} endpoints with {row['results']} results each: {row['none_dead_per_s']:.0f} deliveries a second; "
            f"{row['one_dead_per_s']:.0f} where one endpoint never answers")
    return found


def reads(pinned: Pinned, _) -> dict:
    """What the API takes to read, one request at a time over one connection, with a million calls stored."""
    found = {}
    for database in ("sqlite", "postgres"):
        server = Postgres(ROOT / "tests/postgres/src/keeper.sh") if database == "postgres" else None
        settings = {"HTTP__REQUESTS_PER_SECOND": 100_000, **({"STORE__URL": server.url} if server else {})}
        try:
            host = Host(pinned, **settings)
            host.stop()
            began = time.monotonic()
            server.fill() if server else fill_sqlite(host.data / "callbox.db")
            say(f"   {database}: {STORED} calls made in {time.monotonic() - began:.0f} s")
            host = Host(pinned, key=host.key, **settings)
            try:
                found[database] = read_all(host)
            finally:
                host.stop()
        finally:
            if server:
                server.stop()
        for name, row in found[database].items():
            say(f"      {name}: p50 {row['p50_ms']:.2f}, p99 {row['p99_ms']:.2f}, max {row['max_ms']:.2f} ms of {row['count']}")
    return found


def read_all(host: Host) -> dict:
    """How long each kind of read takes, each time another one of its kind."""
    at = lambda n: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(FIRST / 1000 + n))
    kinds = {
        "newest calls": lambda n: "/v1/calls?limit=50",
        "calls of a number": lambda n: f"/v1/calls?number_id=num_{n % 500}&limit=50",
        "calls with an outcome": lambda n: f"/v1/calls?outcome={('busy', 'no_answer')[n % 2]}&limit=50",
        "calls of an hour": lambda n: f"/v1/calls?created_from={at(n)}&created_to={at(n + 3600)}&limit=50",
        "calls of a relation": lambda n: f"/v1/calls?relation_id=rel_{n // 10}",
        "one call": lambda n: f"/v1/calls/call_{n:032x}",
        "its events": lambda n: f"/v1/calls/call_{n:032x}/events",
        "newest deliveries": lambda n: "/v1/deliveries?limit=50",
        "failed deliveries": lambda n: "/v1/deliveries?state=failed&limit=50",
    }
    connection = http.client.HTTPConnection(host.base.removeprefix("http://"), timeout=60)
    found, every, n = {}, [], 12_345
    for name, path in kinds.items():
        times = []
        for turn in range(520):
            # Far apart, so that what was read before helps as little as it would.
            n = (n + 611_953) % (STORED - 10_000) + 1
            began = time.perf_counter()
            connection.request("GET", path(n), headers={"authorization": f"Bearer {host.key}"})
            response = connection.getresponse()
            text = response.read()
            if turn >= 20:
                times.append((time.perf_counter() - began) * 1000)
            if response.status != 200 or name != "failed deliveries" and b"call_" not in text:
                raise Failed(f"GET {path(n)} answered {response.status}: {text[:300]!r}")
        found[name] = {"count": len(times), "p50_ms": percentile(times, 500), "p99_ms": percentile(times, 990), "max_ms": max(times)}
        every += times
    connection.close()
    return {"all": {"count": len(every), "p50_ms": percentile(every, 500), "p99_ms": percentile(every, 990), "max_ms": max(every)}, **found}


def live(pinned: Pinned, _) -> dict:
    """What is changed on one host until another acts on it, both on one PostgreSQL."""
    found, hosts, source = {}, [], Source()
    server = Postgres(ROOT / "tests/postgres/src/keeper.sh")
    try:
        key = subprocess.run([BINARY, "keys", "new"], capture_output=True, text=True, check=True).stdout.strip()
        settings = {"STORE__URL": server.url, "STORE__OBJECTS": f"file://{RUN / 'objects'}", "STORE__KEY": key, "EGRESS__ALLOW_PRIVATE": "true",
                    "HTTP__REQUESTS_PER_SECOND": 100_000}
        for name in ("-a", "-b"):
            hosts.append(Host(pinned, key=hosts[0].key if hosts else None, name=name, STORE__HOST=f"voice{name}", **settings))
        hosts[0].publish(PROBE)
        both = Neighbours(*hosts, server, source, NUMBER, PROBE.read_bytes())
        for what, changes in (("number", 200), ("version", 200), ("binding", 200), ("trunk", 200), ("trunk_unheard", 25)):
            rows = both.measured(f"of_{what}", changes)
            times = [ms for ms, _ in rows]
            found[what] = {"changes": len(rows), "at_the_first_look": sum(looks == 1 for _, looks in rows),
                           "p50_ms": percentile(times, 500), "p99_ms": percentile(times, 990), "max_ms": max(times)}
            row = found[what]
            say(f"   {what}: p50 {row['p50_ms']:.1f}, p99 {row['p99_ms']:.1f}, max {row['max_ms']:.1f} ms of {row['changes']}; "
                f"{row['at_the_first_look']} were there at the first look")
    except OSError as error:
        raise Failed(str(error)) from error
    finally:
        for host in hosts:
            host.process.kill()
            host.process.wait()
        source.stop()
        server.stop()
    return found


def keys(pinned: Pinned, _) -> dict:
    calls = 400
    with Stage(pinned, press_ms=800) as stage:
        sipp = stage.calls("keys", 40, calls, seconds=60)
        result = sipp.wait(60)
        audio = stage.audio.report()
        stage.stop()
    cut, answer = audio["key_to_last_packet"], audio["key_to_answer"]
    say(f"   {audio['pressed']} keys, {cut['count']} prompts cut: last packet p50 {cut['p50_ms']:.1f}, p99 {cut['p99_ms']:.1f}, "
        f"max {cut['max_ms']:.1f} ms after the key; first packet of the answer p50 {answer['p50_ms']:.1f}, "
        f"p99 {answer['p99_ms']:.1f} ms; {result['failed']} failed")
    return {"calls": calls, "failed": result["failed"], "pressed": audio["pressed"], "last_packet": cut, "answer": answer}


def registrations(pinned: Pinned, options) -> dict:
    ordinary = {"SIP__REQUESTS_PER_SECOND_PER_SOURCE": 5000, "HTTP__REQUESTS_PER_SECOND": 100_000}
    found = {"phones": options.phones}

    def take(name: str, label: str, row: dict):
        found[name] = row
        answer, done, each = row["answer"], row["done"], row["registered_after"]
        say(f"   {label}: {row['registered']} of {row['phones']} registered in {done['max_ms'] / 1000:.1f} s (half after "
            f"{done['p50_ms'] / 1000:.2f}, 99 % after {done['p99_ms'] / 1000:.2f} s), {row['per_second']:.0f}/s; {row['sent']} requests, "
            f"{row['repeated']} repeated, {row['challenged']} challenged, {row['refused']} refused for a while, {row['failed']} gave up")
        say(f"      answer p50 {answer['p50_ms']:.1f}, p99 {answer['p99_ms']:.1f}, max {answer['max_ms']:.1f} ms; from the first request to "
            f"the 200 p50 {each['p50_ms']:.1f}, p99 {each['p99_ms']:.1f} ms; {row['cpu_ms_each']:.3f} ms CPU each {row['threads']}; "
            f"load {row['load_cores']:.2f}, others {row['other_cores']:.2f} cores")
        if row["probed"]:
            calls = row["probed"]
            say(f"      {calls['calls']} calls meanwhile: INVITE → 200 p50 {calls['p50_ms']:.2f}, p99 {calls['p99_ms']:.2f}, "
                f"max {calls['max_ms']:.2f} ms; of {calls['of']} {calls['refused']} refused, {calls['unanswered']} unanswered, "
                f"{calls['repeated']} INVITEs repeated")

    with Stage(pinned, **ordinary) as stage:
        began = time.monotonic()
        phones = Phones(stage, options.phones)
        say(f"   {options.phones} accounts made by the API in {time.monotonic() - began:.1f} s")
        time.sleep(1)
        before = memory_kib(stage.host.pid)
        take("at_once", "all at once, each challenged", phones.register("register", 0))
        after = memory_kib(stage.host.pid)
        found["kib_each"] = {name: (after[name] - before[name]) / options.phones for name in before}
        say(f"   {found['kib_each']['Private_Dirty']:.2f} KiB more for each than before, answers that are kept for 32 s included")
        take("refresh", "all refresh at once, with the nonce they have", phones.register("refresh", 0))
        take("paced", "anew within 10 s, with 100 calls/s", phones.register("register", 10_000, 100))
        take("with_calls", "anew at once, with 100 calls/s", phones.register("register", 0, 100))
        take("refresh_with_calls", "refresh at once, with 100 calls/s", phones.register("refresh", 0, 100))
        found["host"] = stage.stop()["sip"]
    say(f"   the host: {found['host']['dropped']}, {found['host']['retransmissions_received']} repetitions received")
    return found


def cargo_bench(pinned: Pinned, *words) -> list:
    """What a benchmark of the workspace prints."""
    command = ["cargo", "bench", "--quiet", *words]
    process = pinned.start(CORES, command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, errors = process.communicate()
    if process.returncode:
        raise Failed(f"cargo bench: {errors[-2000:]}")
    return out.splitlines()


def wire(pinned: Pinned, _) -> dict:
    """What single steps cost, without sockets."""
    found = {}
    for bench in ("wire", "calls"):
        for line in cargo_bench(pinned, "-p", "callbox-sip", "--bench", bench):
            say(f"   {line}")
            if timed := re.fullmatch(r"(.*?):? +([0-9.]+) [uµ]s", line):
                found[timed[1]] = float(timed[2])
    return found


def codecs(pinned: Pinned, _) -> dict:
    """What a call costs in each codec and under each protection, by the media room alone."""
    found = {}
    for line in cargo_bench(pinned, "-p", "callbox-media", "--features", "g729", "--bench", "calls"):
        say(f"   {line}")
        if cost := re.match(r"(.*?) +([0-9.]+) % of a core a call +([0-9.]+) µs", line):
            found[cost[1]] = {"percent_of_core": float(cost[2]), "us_per_20_ms": float(cost[3])}
    return found


# What the probe is asked by its callers: a prompt long enough to be cut, and what may be answered.
PROMPT = ("Thank you for calling the clinic by the river, which is open on every day of the week from eight in the morning to six in "
          "the evening, and on Saturdays until noon. What can we do for you today?")
MENU = {"answer": {"kind": "choices", "choices": [{"value": "hours", "phrases": ["opening hours"], "key": "1"},
                                                  {"value": "book", "phrases": ["make an appointment"], "key": "2"}]}}
DIGITS = {"answer": {"kind": "digits", "min": 3, "max": 5}}


def listening(pinned: Pinned, _) -> dict:
    """How soon a prompt gives way, and how soon the caller is answered, where the caller stands; and what a call costs that
    is listened to."""
    found = {}
    for line in cargo_bench(pinned, "-p", "callbox-media", "--bench", "calls", "--", "listened"):
        say(f"   {line}")
        if cost := re.match(r"(.*?) +([0-9.]+) % of a core a call +([0-9.]+) µs", line):
            found[cost[1]] = {"percent_of_core": float(cost[2]), "us_per_20_ms": float(cost[3])}
    command = [BINARY, "speech", "accuracy", "--voices", "rms", "--channels", "g711", "--at-once", "1"]
    process = pinned.start(pinned.host, command, stdout=subprocess.PIPE, text=True)
    told = process.communicate()[0]
    cost = re.search(r"(\d+) recognitions of .* ([0-9.]+) a second; ([0-9.]+) s of work for a second of audio", told)
    if process.returncode or not cost:
        raise Failed(f"callbox speech accuracy: {told}")
    row = {"count": int(cost[1]), "per_second": float(cost[2]), "share_of_core": float(cost[3])}
    found["recognition"] = row
    say(f"   {row['count']} recognitions on one core, over G.711: {row['per_second']:.1f} a second; "
        f"{1 / row['share_of_core']:.0f} callers at once who all speak")
    turns, callers, rounds = 10, 4, 6
    for name, what, grammar in (
        ("whole answer", says("rms", "opening hours"), MENU),
        ("answer that may go on", says("rms", "four seven one"), DIGITS),
    ):
        question = {"ask": PROMPT, "grammar": grammar}
        headers = {"X-Probe-Mode": "spoken", "X-Probe-Questions": json.dumps([question] * (turns + 1))}
        cut, answered, misunderstood = [], [], 0
        host = Host(pinned)
        try:
            host.publish(PROBE)
            for _ in range(rounds):
                talkers = [Talker(host.sip, NUMBER, headers, what, turns) for _ in range(callers)]
                for talker in talkers:
                    talker.join()
                    if talker.error:
                        raise Failed(f"{name}: {talker.error}; see {host.log}")
                    cut += talker.cut
                    # After the last act there is one more prompt, to which nobody answers.
                    answered += talker.answered
            calls = host.api("GET", "/v1/calls?limit=100")["data"]
            for call in calls:
                record = host.api("GET", f"/v1/calls/{call['id']}")["record"]
                misunderstood += sum(1 for answer in record["fields"]["answers"][:turns] if not answer["meaning"])
        finally:
            host.stop()
        found[name] = {"turns": len(answered), "misunderstood": misunderstood, "cut": len(cut),
                       **{f"cut_p{p // 10}_ms": percentile(cut, p) for p in (500, 950)},
                       **{f"answer_p{p // 10}_ms": percentile(answered, p) for p in (500, 950)}}
        row = found[name]
        say(f"   {name}: silence p50 {row['cut_p50_ms']:.0f}, p95 {row['cut_p95_ms']:.0f} ms after it begins; the answer p50 "
            f"{row['answer_p50_ms']:.0f}, p95 {row['answer_p95_ms']:.0f} ms after it ends, of {row['turns']}; {misunderstood} misunderstood")
    return found


def scripts(pinned: Pinned, _) -> dict:
    found = json.loads(cargo_bench(pinned, "-p", "callbox", "--bench", "script", "--", str(GUEST))[-1])
    instantiate, calls, waiting = found["instantiate_us"], found["host_call_ns"], found["suspended"]
    say(f"   {found['size']} bytes, {found['tier']}: instantiate best {instantiate['best']:.1f}, p50 {instantiate['p50']:.1f}, "
        f"p99 {instantiate['p99']:.1f} µs of CPU; a short script p50 {found['short_script_us']['p50']:.0f} µs")
    say(f"   a host call: {calls['now']:.0f} ns, with a text {calls['set_32_bytes']:.0f} ns, through a task {calls['now_through_a_task']:.0f} ns")
    say(f"   {waiting['count']} suspended: {waiting['private_dirty_kib']:.1f} KiB private dirty each, "
        f"page tables {waiting['page_tables_kib']:.1f} KiB")
    return found


def replay(pinned: Pinned, _) -> dict:
    """A call of ten minutes, run again from its tape: by the room alone, and by the command with all it does."""
    folder = RUN / "replay"
    found = json.loads(cargo_bench(pinned, "-p", "callbox-sim", "--bench", "replay", "--", str(folder))[-1])
    command = [str(BINARY), "replay", str(folder / "ten-minutes.jsonl"), "--component", str(folder / "ten-minutes.wasm")]
    env = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    times = []
    # The first one compiles.
    for _ in range(21):
        began = time.monotonic()
        process = pinned.start(CORES, command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, errors = process.communicate()
        times.append((time.monotonic() - began) * 1000)
        if process.returncode or not out.startswith("The same"):
            raise Failed(f"callbox replay: {out}{errors}")
    found["command_ms"] = {"compiles": times[0], "best": min(times[1:]), "p50": percentile(times[1:], 500)}
    read, again, made, whole = (found[name] for name in ("read_ms", "replay_ms", "scenario_ms", "command_ms"))
    say(f"   {found['host_calls']} host calls, {found['bytes']} bytes: read {read['p50']:.2f} ms, replayed {again['p50']:.2f} ms, "
        f"as a scenario and played {made['p50']:.2f} ms")
    say(f"   callbox replay: {whole['p50']:.1f} ms, {whole['compiles']:.0f} ms where it has to be compiled first")
    return found


def scenarios(pinned: Pinned, _) -> dict:
    """Scenarios on one core, of a small menu and of an example in Rust, and random callers."""
    found = {"menu": ()}
    example = GUEST.with_name("appointment.wasm")
    files = sorted((ROOT / "examples/appointment/scenarios").glob("*.yaml"))
    if example.exists() and files:
        found["appointment"] = (str(example), *map(str, files))
    for name, words in found.items():
        row = json.loads(cargo_bench(pinned, "-p", "callbox-sim", "--bench", "scenarios", "--", *words)[-1])
        say(f"   {name}, {row['scenarios']} scenarios of {row['virtual_s']:.0f} s and {row['host_calls']:.0f} host calls: {row['us']:.0f} µs each "
            f"({row['cpu_us']:.0f} µs of CPU), {row['per_second']:.0f} a second; random callers {row['random_per_second']:.0f} a second")
        say(f"   {row['size']} bytes compiled in {row['compile_ms']:.0f} ms, from the cache in {row['cached_ms']:.1f} ms")
        found[name] = row
    return found


# ---- the table


def model(pinned: Pinned, _) -> dict:
    """A language model that answers at once (`callbox speechd`): from its first token to the first packet of its words,
    through the sentence, espeak-ng and the media plane. Each call says other words, so that none come from the cache."""
    calls, number = 40, "7100"
    answers = RUN / "answers.yaml"
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"]
    says = "There is a free visit on {} at {} o'clock, with a doctor whom you know. Would you like to have it?"
    host, speechd, times = None, None, []
    try:
        host = Host(pinned, EGRESS__ALLOW_PRIVATE="true")
        script = host.api("POST", "/v1/scripts", {"name": "talk"})["id"]
        version = host.api("POST", f"/v1/scripts/{script}/versions", TALKER.read_bytes())["version"]
        for n in range(calls):
            answers.write_text(json.dumps({"answers": [{"says": says.format(days[n % 5], n + 1)}]}))
            speechd = Program(pinned, pinned.load, [BINARY, "speechd", "--port", "0", "--script", answers])
            url = speechd.next()["url"] + "/chat/completions"
            host.api("PUT", f"/v1/scripts/{script}/bindings", {"models": {"assistant": {"url": url, "model": "scripted"}}})
            if n == 0:
                host.api("POST", f"/v1/scripts/{script}/publish", {"version": version})
                host.api("POST", "/v1/numbers", {"address": number, "script_id": script})
            pinned.start(pinned.load, [BINARY, "call", f"sip:{number}@{host.sip}", "--hangup-after", "1500", "--json"],
                         stdout=subprocess.DEVNULL).wait(60)
            speechd.process.kill()
            speechd.process.wait()
        ended = [call["id"] for call in host.api("GET", "/v1/calls?limit=100")["data"]]
        for call in ended:
            asked, first = None, None
            for entry in host.api("GET", f"/v1/calls/{call}/timeline")["data"]:
                token = re.search(r"first token after (\d+) ms", entry["detail"])
                if entry["kind"] == "model" and asked is None:
                    asked = entry["at"]
                elif entry["kind"] == "model_replied" and first is None and token:
                    first = asked + int(token[1])
                elif entry["kind"] == "prompt_started" and first is not None:
                    times.append(entry["at"] - first)
                    break
    finally:
        for program in (speechd, host):
            if program is not None and program.process.poll() is None:
                program.process.kill()
                program.process.wait()
    if not times:
        raise Failed("no call heard the model")
    found = {"calls": calls, "samples": len(times), "p50_ms": percentile(times, 500), "p95_ms": percentile(times, 950), "max_ms": max(times)}
    say(f"   first token → first packet p50 {found['p50_ms']}, p95 {found['p95_ms']}, max {found['max_ms']} ms of {len(times)}")
    return found


def table(found: dict) -> list:
    rows = []
    add = lambda what, aim, value: rows.append((what, aim, value))
    for what, us in found.get("wire", {}).items():
        add(what, "", f"{us:.2f} µs")
    for rate_, row in found.get("latency", {}).items():
        aim = "p99 < 10 ms" if rate_ == 200 else ""
        add(f"INVITE → 200 at {rate_} calls/s", aim, f"p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms")
    if "rate" in found:
        row = found["rate"]
        held = row.get("held")
        flaw = "" if held and clean(held) else " (not for 25 s without a flaw)"
        cost = f", {held['cpu_ms_per_call']:.2f} ms CPU each" if held else ""
        add("short calls/s on one core, nothing failed or sent twice", "300", f"{row['sustained']}{cost}{flaw}")
        for name, label in (("overload_limited", "with the limit set"), ("overload_unlimited", "without a limit")):
            if name in row:
                over = row[name]
                add(f"twice that ({over['rate']}/s), {label}: answered within 500 ms", "",
                    f"{over['in_time'] / over['seconds']:.0f}/s; {over['refused']} refused, {over['failed']} failed")
    if "registrations" in found:
        row = found["registrations"]
        for name, label in (("at_once", "register at once, challenged"), ("refresh", "refresh at once"),
                            ("paced", "register within 10 s"), ("with_calls", "register at once, with calls"),
                            ("refresh_with_calls", "refresh at once, with calls")):
            one = row[name]
            calls = f"; calls meanwhile p99 {one['probed']['p99_ms']:.1f} ms" if one["probed"] else ""
            add(f"{row['phones']} phones {label}", "", f"{one['registered']} in {one['done']['max_ms'] / 1000:.1f} s, "
                f"{one['cpu_ms_each']:.2f} ms CPU each, answer p99 {one['answer']['p99_ms']:.0f} ms{calls}")
    if "results" in found:
        row = found["results"]
        add(f"{row['rate']} calls/s, each result delivered to a webhook", "",
            f"{row['delivered']} of {row['calls']}, {row['cpu_ms_per_call']:.2f} ms CPU a call")
    for database, row in found.get("books", {}).items():
        add(f"completed calls recorded a second, {database}", "500", f"{row['stored_per_s']:.0f}; recorded and pushed {row['pushed_per_s']:.0f}")
        add(f"deliveries a second to {row['endpoints']} endpoints, {database}", "a dead one costs nothing",
            f"{row['none_dead_per_s']:.0f}; with one dead {row['one_dead_per_s']:.0f}")
    for database, rows_ in found.get("reads", {}).items():
        slowest = max((name for name in rows_ if name != "all"), key=lambda name: rows_[name]["p99_ms"])
        add(f"API read with a million calls stored, {database}", "",
            f"p50 {rows_['all']['p50_ms']:.2f} ms, p99 {rows_['all']['p99_ms']:.2f} ms; slowest kind, {slowest}: p99 {rows_[slowest]['p99_ms']:.2f} ms")
    for calls, row in found.get("media", {}).items():
        gaps = row["audio"]["gaps"]
        add(f"{calls} calls, prompt playing, RTP both ways", "1500 on one core" if calls == 1500 else "",
            f"{row['host_cores']:.2f} cores, {row['percent_of_core_per_call']:.3f} % of a core and "
            f"{row['kib_per_call']['Private_Dirty']:.0f} KiB a call")
        add(f"   gaps in the outgoing RTP at {calls} calls", "max ≤ 40 ms",
            f"p50 {gaps['p50_ms']:.1f}, p99 {gaps['p99_ms']:.1f}, max {gaps['max_ms']:.1f} ms, {gaps['above_40_ms']} above 40 ms")
    for codec, rows_ in found.get("webrtc", {}).items():
        for row in rows_:
            aim = {("opus", 500): "500 on one core", ("pcmu", 1500): "1500 on one core"}.get((codec, row["calls"]), "")
            add(f"{row['calls']} browsers with {codec}, prompt playing, RTP both ways", aim,
                f"{row['host_cores']:.2f} cores, {row['percent_of_core_per_call']:.3f} % of a core and "
                f"{row['kib_per_call']['Private_Dirty']:.0f} KiB a call")
            answer, first = row["setup"]["answer"], row["setup"]["first_audio"]
            add(f"   offer → answer at {row['rate']} a second", "", f"p50 {answer['p50_ms']:.1f} ms, p99 {answer['p99_ms']:.1f} ms")
            add("   answer → first audio", "< 300 ms", f"p50 {first['p50_ms']:.0f} ms, p99 {first['p99_ms']:.0f} ms")
    for what, cost in found.get("codecs", {}).items():
        add(f"one call, {what}", "", f"{cost['percent_of_core']:.4f} % of a core, {cost['us_per_20_ms']:.1f} µs per 20 ms")
    for name, row in found.get("listening", {}).items():
        if "us_per_20_ms" in row:
            add(f"one call, {name}", "", f"{row['percent_of_core']:.4f} % of a core, {row['us_per_20_ms']:.1f} µs per 20 ms")
            continue
        if "share_of_core" in row:
            add("recognitions on one core, pocketsphinx", "",
                f"{row['per_second']:.1f} a second; {1 / row['share_of_core']:.0f} callers at once who all speak")
            continue
        aim = "p50 ≤ 450 ms" if name == "whole answer" else "p50 ≤ 900 ms"
        add(f"caller's voice → silence on the wire ({name})", "p50 ≤ 250, p95 ≤ 350 ms", f"p50 {row['cut_p50_ms']:.0f}, p95 {row['cut_p95_ms']:.0f} ms")
        add(f"end of speech → first packet of the answer ({name})", aim,
            f"p50 {row['answer_p50_ms']:.0f}, p95 {row['answer_p95_ms']:.0f} ms of {row['turns']}; {row['misunderstood']} misunderstood")
    if "keys" in found:
        row = found["keys"]
        add("key → last packet of the prompt", "", f"p50 {row['last_packet']['p50_ms']:.1f} ms, p99 {row['last_packet']['p99_ms']:.1f} ms")
        add("key → first packet of the answer", "", f"p50 {row['answer']['p50_ms']:.1f} ms, p99 {row['answer']['p99_ms']:.1f} ms")
    for what, row in found.get("live", {}).items():
        add(f"changed on one host → live on the other: {what.replace('_unheard', ', LISTEN broken')}", "1 s", f"p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms")
    if "model" in found:
        row = found["model"]
        add("a model's first token → first packet of its words", "", f"p50 {row['p50_ms']:.0f} ms, p95 {row['p95_ms']:.0f} ms")
    if "scripts" in found:
        row = found["scripts"]
        add("instantiate a Rust script", "< 20 µs CPU", f"p50 {row['instantiate_us']['p50']:.1f} µs, p99 {row['instantiate_us']['p99']:.1f} µs")
        add("host call", "", f"{row['host_call_ns']['now']:.0f} ns; through the call's task {row['host_call_ns']['now_through_a_task']:.0f} ns")
        add("suspended Rust script", "< 100 KiB", f"{row['suspended']['private_dirty_kib']:.0f} KiB private dirty")
    for name, row in found.get("scenarios", {}).items():
        add(f"scenarios a second on one core, {name}: {row['virtual_s']:.0f} s, {row['host_calls']:.0f} host calls", "1,000 after compile",
            f"{row['per_second']:.0f} ({row['us']:.0f} µs each); loaded from the cache in {row['cached_ms']:.0f} ms")
    if "replay" in found:
        row = found["replay"]
        add(f"replay of a ten-minute call, {row['host_calls']} host calls", "< 50 ms after compile",
            f"{row['replay_ms']['p50']:.2f} ms; the whole command {row['command_ms']['p50']:.0f} ms")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="which; all by default")
    parser.add_argument("--free", action="store_true", help="do not pin the host and its load to cores of their own")
    parser.add_argument("--nice", type=int, default=0, help="priority of the host and its load, where others use the machine")
    parser.add_argument("--calls", type=lambda text: [int(n) for n in text.split(",")], default=[500, 1500, 2000],
                        help="concurrent calls of the part media")
    parser.add_argument("--phones", type=int, default=10_000, help="telephones of the part registrations")
    options = parser.parse_args()
    for needed in (BINARY, LOAD, GUEST, TALKER):
        if not needed.exists():
            raise Failed(f"{needed} is not there: make bench builds it")
    RUN.mkdir(parents=True, exist_ok=True)
    about = machine()
    say(f"== {about['cpu']}, {about['cores']} cores, {about['memory_gib']} GiB, Linux {about['kernel']}, commit {about['commit']}, "
        f"load average {about['load_average']:.1f}")
    pinned = Pinned(options.free, options.nice)
    os.sched_setaffinity(0, pinned.load)
    found = {}
    for name in options.parts or PARTS:
        say(f"== {name}")
        began = time.monotonic()
        found[name] = globals()[name](pinned, options)
        say(f"   ({time.monotonic() - began:.0f} s)")
        (RUN / "results.json").write_text(json.dumps({"about": about, **found}, indent=1))
    rows = [("what", "aim", "measured"), *table(found)]
    widths = [max(len(row[n]) for row in rows) for n in range(3)]
    say("")
    say(f"{about['when']}, `{about['command']}`, commit {about['commit']}")
    for n, row in enumerate(rows):
        say("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |")
        if n == 0:
            say("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(1)
