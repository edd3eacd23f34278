#!/usr/bin/env python3
"""`make demo`: a real call, from the INVITE to the signed result.

Starts a host with embedded defaults and a small business system, uploads and publishes the example script, places a real
SIP/RTP call, presses keys, and prints the conversation as it happens and the result as the business system received it.
With --once it ends there; the exit status tells whether all of it happened.
"""

import argparse
import base64
import json
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.get("CALLBOX", str(ROOT / "target/debug/callbox"))
PYTHON = str(ROOT / "target/python/bin/python")
RUN = ROOT / ".run/demo"
NUMBER = "1000"


class Failed(Exception):
    """The demo did not do what it promises; the text says what to look at."""


def say(text=""):
    print(text, flush=True)


def free_port(preferred: int, kinds=(socket.SOCK_STREAM, socket.SOCK_DGRAM)) -> int:
    for port in (preferred, 0):
        try:
            with socket.socket(socket.AF_INET, kinds[0]) as first:
                first.bind(("127.0.0.1", port))
                port = first.getsockname()[1]
                for kind in kinds[1:]:
                    with socket.socket(socket.AF_INET, kind) as other:
                        other.bind(("127.0.0.1", port))
            return port
        except OSError:
            continue
    raise Failed("no free port on 127.0.0.1")


class Api:
    """The REST API, as any customer calls it."""

    def __init__(self, base: str, key: str):
        self.base, self.key = base, key

    def __call__(self, method: str, path: str, body=None, content_type="application/json"):
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        request.add_header("authorization", f"Bearer {self.key}")
        if data is not None:
            request.add_header("content-type", content_type)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                text = response.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path} answered {error.code}: {error.read().decode(errors='replace')}") from error


class Child:
    """A program with its output in a queue, stopped when we stop."""

    def __init__(self, name: str, command: list, **options):
        self.name = name
        self.lines: queue.Queue = queue.Queue()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def next(self, timeout: float):
        """The next line; None when there is none in time or the program is over."""
        try:
            return self.lines.get(timeout=timeout)
        except queue.Empty:
            return None

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()


def start_host(http: int, sip: int, stack: list):
    """Starts `callbox serve` with an empty data directory; returns the API with the first key."""
    data = RUN / f"data-{os.getpid()}"
    data.mkdir(parents=True)
    log = open(RUN / "host.log", "w")
    host = Child(
        "callbox",
        [BINARY, "serve", "--data-dir", str(data), "--http", f"127.0.0.1:{http}",
         "--sip", f"127.0.0.1:{sip}", "--advertise", "127.0.0.1", "--allow-private"],
        stderr=log,
        # Any free port: another host on this machine may have the usual one.
        env={**os.environ, "CALLBOX_WEBRTC__PORT": "0"},
    )
    stack.append(host)
    key = None
    while (line := host.next(60)) is not None:
        event = json.loads(line)
        if event.get("event") == "first_key":
            key = event["key"]
        if event.get("event") == "ready":
            if key is None:
                raise Failed("the host did not print its first key")
            return Api(f"http://127.0.0.1:{http}", key)
    raise Failed(f"the host did not start; see {RUN / 'host.log'}")


def business_system(stack: list):
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
    context = {"name": "Ada Lovelace", "date": "2026-12-01", "time": "14:30", "place": "Analytical Clinic"}
    system = Child("business system", [PYTHON, str(ROOT / "tools/business.py"), "--secret", secret,
                                       "--context", json.dumps(context)])
    stack.append(system)
    line = system.next(20)
    if line is None:
        raise Failed("the business system did not start")
    return system, f"http://127.0.0.1:{json.loads(line)['port']}", secret


def publish(api: Api, wasm: Path, base: str, secret: str):
    script = api("POST", "/v1/scripts", {"name": "appointment"})["id"]
    version = api("POST", f"/v1/scripts/{script}/versions", wasm.read_bytes(), "application/wasm")
    say(f"   version {version['version']}, {version['digest'][:19]}…, {version['size']} bytes")
    say(f"   may: {', '.join(i.split('/')[-1].split('@')[0] for i in version['imports'])}")
    api("PUT", f"/v1/scripts/{script}/bindings", {
        "sources": {"appointment": {"url": f"{base}/context", "secret": secret, "timeout_ms": 2000}},
        "destinations": {"outcome": {"url": f"{base}/outcome", "secret": secret}},
        "settings": {"language": "en", "agent": "sip:agent@127.0.0.1"},
    })
    api("POST", f"/v1/scripts/{script}/publish", {"version": version["version"]})
    api("POST", "/v1/webhooks", {"url": f"{base}/webhooks", "secret": secret, "event_types": ["call.completed"]})
    api("POST", "/v1/numbers", {
        "address": NUMBER, "script_id": script, "recording": "on",
        "fallback": {"say": [{"text": "We are sorry, something went wrong. Please call again later."}]},
    })


def converse(api: Api, sip: int, stack: list) -> str:
    """Calls, presses 1 when the robot waits for it, and prints what is said as it is said."""
    caller = Child("caller", [BINARY, "call", f"sip:{NUMBER}@127.0.0.1:{sip}", "--from", "sip:+15551234567@127.0.0.1",
                              "--header", "X-call-relation-id: demo-42", "--keys", "1", "--json"],
                   stderr=subprocess.DEVNULL)
    stack.append(caller)
    call, printed, over = None, 0, False
    until = time.monotonic() + 90
    while time.monotonic() < until:
        line = caller.next(0.2)
        if line is None and caller.process.poll() is not None:
            over = True
        elif line:
            event = json.loads(line)
            text = {
                "ringing": "it rings",
                "answered": "answered",
                "hears": f"hears {event.get('ms', 0) / 1000:.1f} s of speech",
                "pressed": f"presses {event.get('digits', '')}",
                "ended": f"the call is over ({event.get('by', '?')} hung up)",
            }.get(event["event"])
            if text:
                say(f"   {'caller':>7} | {text}")
        if call is None:
            found = api("GET", "/v1/calls?limit=1")["data"]
            call = found[0]["id"] if found else None
        if call:
            turns = api("GET", f"/v1/calls/{call}/transcript")["data"]
            for turn in turns[printed:]:
                text = turn["text"] if turn["role"] == "robot" else f"[key {turn.get('digits')}] {turn['text']}"
                say(f"   {turn['role']:>7} | {text}")
            printed = len(turns)
        if over:
            break
    if caller.process.poll() != 0:
        raise Failed(f"the caller ended with status {caller.process.poll()}")
    if call is None:
        raise Failed("the host knows of no call")
    return call


def ladder(api: Api, call: str):
    """Shows the SIP messages of a call, as the command line does."""
    shown = subprocess.run([BINARY, "ladder", call], text=True, capture_output=True, timeout=30,
                           env={**os.environ, "CALLBOX_URL": api.base, "CALLBOX_KEY": api.key})
    if shown.returncode != 0:
        raise Failed(f"callbox ladder: {shown.stderr}")
    for line in shown.stdout.splitlines():
        say("   " + line)


def receive(system: Child, call: str):
    """Waits for the context request, the script's own push and call.completed, all signed."""
    wanted = {"context": None, "push": None, "webhook": None}
    until = time.monotonic() + 30
    while time.monotonic() < until and None in wanted.values():
        line = system.next(1)
        if line:
            event = json.loads(line)
            if not event["verified"]:
                raise Failed(f"a {event['kind']} request with a bad signature: {event['body']}")
            wanted[event["kind"]] = event
    missing = [kind for kind, event in wanted.items() if event is None]
    if missing:
        raise Failed(f"the business system did not receive: {', '.join(missing)}")
    if wanted["webhook"]["body"]["call_id"] != call:
        raise Failed("call.completed speaks of another call")
    return wanted


def check(wanted: dict):
    data = wanted["webhook"]["body"]["data"]
    for what, got, want in [
        ("outcome", data["outcome"], "answered"),
        ("disposition", data["disposition"], "confirmed"),
        ("end_reason", data["end_reason"], "script_returned"),
        ("the script's push", wanted["push"]["body"]["data"]["body"].get("outcome"), "confirmed"),
    ]:
        if got != want:
            raise Failed(f"{what} is {got!r}, not {want!r}")
    if not any("Ada Lovelace" in turn["text"] for turn in data["transcript"]):
        raise Failed("the script did not greet by the name from the context")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end after the first call")
    once = parser.parse_args().once
    stack: list = []
    RUN.mkdir(parents=True, exist_ok=True)
    try:
        http, sip = free_port(8080, (socket.SOCK_STREAM,)), free_port(5060)
        say("== The host starts")
        api = start_host(http, sip, stack)
        say(f"   API http://127.0.0.1:{http}, SIP 127.0.0.1:{sip} (UDP and TCP)")
        say("== A small business system starts: it serves context and receives results")
        system, base, secret = business_system(stack)
        say("== The example script is uploaded, bound, published, and put on number " + NUMBER)
        publish(api, ROOT / "target/guests/appointment.wasm", base, secret)
        say("== A caller calls")
        call = converse(api, sip, stack)
        say("== The business system received")
        wanted = receive(system, call)
        say(f"   context request {wanted['context']['id']}, signature verified")
        say(f"   push            {wanted['push']['id']}, signature verified: {json.dumps(wanted['push']['body']['data'])}")
        say(f"   call.completed  {wanted['webhook']['id']}, signature verified:")
        for line in json.dumps(wanted["webhook"]["body"], indent=2, ensure_ascii=False).splitlines():
            say("      " + line)
        check(wanted)
        say("== What went over the wire (callbox ladder)")
        ladder(api, call)
        say("== All of it happened.")
        if once:
            return 0
        password = secrets.token_urlsafe(9)
        api("POST", "/v1/sip-accounts", {"username": "ada", "password": password, "display_name": "Ada"})
        say(f"""
   The host stays up. Call it from your browser:  http://127.0.0.1:{http}/try
       the page asks for the API key:  {api.key}
   Or call in with any SIP phone:  sip:{NUMBER}@127.0.0.1:{sip}
       for example:  {BINARY} call sip:{NUMBER}@127.0.0.1:{sip} --keys 2
       or register a softphone (Linphone, MicroSIP, baresip): user ada, password {password},
       domain 127.0.0.1:{sip}, UDP or TCP; then dial {NUMBER}
   API:              http://127.0.0.1:{http}/v1        (Authorization: Bearer {api.key})
   Its documentation: http://127.0.0.1:{http}/docs
   Log:              {RUN / 'host.log'}
   Stop it with Ctrl-C.""")
        while stack[0].process.poll() is None:
            line = system.next(1)
            if line:
                event = json.loads(line)
                say(f"   received {event['kind']} {event['id']}: {json.dumps(event['body'].get('data', event['body']))[:300]}")
        raise Failed("the host ended by itself")
    except Failed as failure:
        say(f"== Failed: {failure}\n   The host's log is {RUN / 'host.log'}")
        return 1
    except KeyboardInterrupt:
        say("\n== Stopping")
        return 0
    finally:
        for child in reversed(stack):
            child.stop()


if __name__ == "__main__":
    # A TERM stops the children too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
