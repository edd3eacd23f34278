"""Two hosts on one PostgreSQL: how long after one has taken a change the other acts on it."""

import http.client
import json
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# After so long a change has not come.
PATIENCE_S = 20


def final(sip: str, number: str, relation: str) -> int:
    """Calls a number, hangs up when it is answered, and says with which status that was."""
    address, _, port = sip.rpartition(":")
    remote = (address, int(port))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        wire.settimeout(PATIENCE_S)
        me, tag = "{}:{}".format(*wire.getsockname()), secrets.token_hex(4)

        def send(method: str, branch: str, sequence: int, to_tag: str = "", uri: str = f"sip:{number}@{sip}", body: str = ""):
            head = [f"{method} {uri} SIP/2.0", f"Via: SIP/2.0/UDP {me};branch=z9hG4bK{branch};rport", f"From: <sip:bench@{me}>;tag={tag}",
                    f"To: <sip:{number}@{sip}>{to_tag}", f"Call-ID: {relation}", f"CSeq: {sequence} {method}", f"Contact: <sip:bench@{me}>",
                    f"X-Call-Relation-Id: {relation}", "Max-Forwards: 70", *(["Content-Type: application/sdp"] if body else [])]
            wire.sendto("\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode(), remote)

        invite = secrets.token_hex(6)
        send("INVITE", invite, 1, body="v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n")
        while True:
            head = wire.recv(8192).decode(errors="replace").partition("\r\n\r\n")[0].split("\r\n")
            status = int(head[0].split(" ")[1])
            if status >= 200:
                break
        fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head[1:]}
        to_tag = ";tag=" + fields["to"].partition(";tag=")[2]
        if status >= 300:
            send("ACK", invite, 1, to_tag)
            return status
        uri = fields["contact"].partition("<")[2].partition(">")[0]
        send("ACK", secrets.token_hex(6), 1, to_tag, uri)
        send("BYE", secrets.token_hex(6), 2, to_tag, uri)
        # Its answer, or a BYE that crossed ours: nothing of it is measured.
        wire.recv(8192)
        return status


class Source:
    """A customer's system that says at which path it was asked last."""

    def __init__(self):
        source, self.path = self, None

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self):
                source.path = self.path
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                """A call that is over waits for no answer."""

        self.server = Server(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def stop(self):
        self.server.shutdown()


class Neighbours:
    """What changes on the first host, and how it shows on the second. A guest with a source `early` is on the number already."""

    def __init__(self, first, second, server, source: Source, number: str, guest: bytes):
        self.first, self.second, self.server, self.source, self.number = first, second, server, source, number
        self.connection = http.client.HTTPConnection(second.base.removeprefix("http://"), timeout=PATIENCE_S)
        self.number_id = first.api("GET", "/v1/numbers")["data"][0]["id"]
        self.script = first.api("GET", "/v1/scripts")["data"][0]["id"]
        # The same component with a note, a custom section, is another version.
        first.api("POST", f"/v1/scripts/{self.script}/versions", guest + b"\x00\x05\x04note")
        self.bindings = {name: {each: {"url": source.url("/")} for each in each_of} for name, each_of in
                         (("sources", ("early", "late")), ("destinations", ("sink",)))}
        first.api("PUT", f"/v1/scripts/{self.script}/bindings", self.bindings)
        trunk = {"name": "pbx", "addresses": [{"host": "127.0.0.1", "port": 9}], "health": {"options_interval_s": 0}}
        self.trunk = first.api("POST", "/v1/trunks", trunk)["id"]

    def look(self, path: str):
        """What the second host says, over a connection that stays."""
        self.connection.request("GET", path, headers={"authorization": f"Bearer {self.second.key}"})
        response = self.connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise OSError(f"GET {path} answered {response.status}: {text[:300]!r}")
        return json.loads(text)

    def measured(self, kind: str, times: int) -> list:
        """Milliseconds from the answer of the first host to the first sign of the change on the second, and how often that was
        looked for, of each change. The sign itself – a call, a read – takes its time, and is counted."""
        change, shows = getattr(self, kind)()
        # The host has closed it where it was not used for a while.
        self.connection.close()
        rows = []
        for n in range(times):
            change(n)
            answered = time.perf_counter()
            for looks in range(1, 1_000_000):
                if shows(n):
                    rows.append(((time.perf_counter() - answered) * 1000, looks))
                    break
                if time.perf_counter() > answered + PATIENCE_S:
                    raise OSError(f"a change ({kind}) is not live after {PATIENCE_S} s")
        return rows

    def call(self) -> tuple:
        relation = secrets.token_hex(8)
        return relation, final(self.second.sip, self.number, relation)

    def of_number(self):
        change = lambda n: self.first.api("PATCH", f"/v1/numbers/{self.number_id}", {"enabled": n % 2 == 1})
        # 480 where it is off.
        return change, lambda n: (self.call()[1] == 200) == (n % 2 == 1)

    def of_version(self):
        version = lambda n: 2 - n % 2

        def shows(n: int) -> bool:
            relation, status = self.call()
            if status != 200:
                raise OSError(f"a call was answered {status}")
            return self.look(f"/v1/calls?relation_id={relation}")["data"][0]["script_version"] == version(n)

        return lambda n: self.first.api("POST", f"/v1/scripts/{self.script}/publish", {"version": version(n)}), shows

    def of_binding(self):
        def change(n: int):
            self.bindings["sources"]["early"]["url"] = self.source.url(f"/{n}")
            self.first.api("PUT", f"/v1/scripts/{self.script}/bindings", self.bindings)

        def shows(n: int) -> bool:
            self.source.path = None
            self.call()
            # It is asked while the call comes in, which may be answered before that arrives. One that is refused asks nobody.
            until = time.perf_counter() + 1
            while self.source.path is None and time.perf_counter() < until:
                time.sleep(0.0005)
            return self.source.path == f"/{n}"

        return change, shows

    def of_trunk(self):
        """Kept in memory by every host: the one that hears of a change by LISTEN/NOTIFY."""
        change = lambda n: self.first.api("PATCH", f"/v1/trunks/{self.trunk}", {"enabled": n % 2 == 1})
        return change, lambda n: self.look(f"/v1/trunks/{self.trunk}/status")["in_service"] == (n % 2 == 1)

    def of_trunk_unheard(self):
        """The same, while every connection that listens has just been broken."""
        change, shows = self.of_trunk()
        listening = "FROM pg_stat_activity WHERE query LIKE 'LISTEN %'"

        def unheard(n: int):
            # One that was not back yet would not be broken.
            until = time.monotonic() + PATIENCE_S
            while self.server.run("callbox", f"SELECT count(*) {listening}") != ["2"]:
                if time.monotonic() > until:
                    raise OSError("the hosts do not listen")
                time.sleep(0.1)
            self.server.run("callbox", f"SELECT pg_terminate_backend(pid) {listening}")
            change(n)

        return unheard, shows
