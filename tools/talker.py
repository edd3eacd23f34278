"""A caller with a voice: as little SIP and RTP as a call by UDP needs, and flite for a mouth.

What it measures, it measures where a caller stands: from what it sends to what comes.
"""

import math
import secrets
import select
import socket
import struct
import subprocess
import tempfile
import threading
import time
import wave
from pathlib import Path

FRAME = 160
# The least amplitude of a packet in which somebody is heard.
LOUD = 300


def expand(byte: int) -> int:
    """PCMU to linear."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 132 << ((byte & 0x70) >> 4)) - 132
    return -magnitude if byte & 0x80 else magnitude


def compress(sample: int) -> int:
    """Linear to PCMU."""
    magnitude = min(abs(sample), 32_635) + 132
    exponent = magnitude.bit_length() - 8
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | magnitude >> exponent + 3 & 0x0F) & 0xFF


LEVEL = [abs(expand(byte)) for byte in range(256)]
SILENCE = bytes([compress(0)]) * FRAME


def says(voice: str, text: str) -> list:
    """The packets of some words, from the first that is heard to the last."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "words.wav")
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", path], check=True)
        with wave.open(path) as file:
            rate, samples = file.getframerate(), struct.unpack(f"<{file.getnframes()}h", file.readframes(file.getnframes()))
    if rate == 16_000:
        # A low pass of nine taps is enough for a voice.
        taps = [0.5 * (math.sin(n * math.pi / 2) / (n * math.pi / 2) if n else 1) * (0.5 + 0.5 * math.cos(n * math.pi / 10)) for n in range(-9, 10)]
        at = lambda n: samples[n] if 0 <= n < len(samples) else 0
        samples = [round(sum(tap * at(n + k - 9) for k, tap in enumerate(taps))) for n in range(0, len(samples), 2)]
    loud = [n for n, sample in enumerate(samples) if abs(sample) > LOUD]
    samples = samples[loud[0]:loud[-1] + 1]
    gain = 2_600 / math.sqrt(sum(sample * sample for sample in samples) / len(samples))
    bytes_ = bytes(compress(round(max(-32_000, min(32_000, sample * gain)))) for sample in samples)
    bytes_ += SILENCE[:-len(bytes_) % FRAME]
    return [bytes_[n:n + FRAME] for n in range(0, len(bytes_), FRAME)]


class Talker(threading.Thread):
    """One call. Over each prompt that it has heard for a second it says its words, and notes how long the prompt went on,
    and when the next one began."""

    PATIENCE_S = 20

    def __init__(self, sip: str, number: str, headers: dict, words: list, times: int):
        super().__init__(daemon=True)
        address, _, port = sip.rpartition(":")
        self.remote, self.number, self.headers, self.words, self.times = (address, int(port)), number, headers, words, times
        self.sip, self.rtp = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for each in (self.sip, self.rtp):
            each.bind(("127.0.0.1", 0))
        self.id, self.tag = secrets.token_hex(8), secrets.token_hex(4)
        # Milliseconds, one of each every time: from the first packet of the words to the last of the prompt, and from their
        # last one to the first of the next prompt.
        self.cut, self.answered, self.error = [], [], None
        self.start()

    def request(self, method: str, to_tag: str = "", uri: str = "", body: str = "") -> bytes:
        me = "{}:{}".format(*self.sip.getsockname())
        to = "sip:{}@{}:{}".format(self.number, *self.remote)
        head = [f"{method} {uri or to} SIP/2.0", f"Via: SIP/2.0/UDP {me};branch=z9hG4bK{secrets.token_hex(6)};rport",
                f"From: <sip:talker@{me}>;tag={self.tag}", f"To: <{to}>{to_tag}", f"Call-ID: {self.id}", f"CSeq: 1 {method}",
                f"Contact: <sip:talker@{me}>", "Max-Forwards: 70"]
        head += [f"{name}: {value}" for name, value in self.headers.items()] if method == "INVITE" else []
        head += ["Content-Type: application/sdp"] if body else []
        return "\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode()

    def call(self):
        port = self.rtp.getsockname()[1]
        offer = (f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
                 "a=rtpmap:0 PCMU/8000\r\n")
        self.sip.settimeout(self.PATIENCE_S)
        self.sip.sendto(self.request("INVITE", body=offer), self.remote)
        while True:
            head, _, body = self.sip.recv(8192).decode(errors="replace").partition("\r\n\r\n")
            status = int(head.split(" ")[1])
            if status >= 300:
                raise OSError(f"refused with {status}")
            if status >= 200:
                break
        fields = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in head.split("\r\n")[1:]}
        tag, uri = fields["to"].partition(";tag=")[2], fields["contact"].partition("<")[2].partition(">")[0]
        self.sip.sendto(self.request("ACK", f";tag={tag}", uri), self.remote)
        media = next(line for line in body.split("\r\n") if line.startswith("m=audio "))
        self.media = (self.remote[0], int(media.split(" ")[1]))

    def run(self):
        try:
            self.call()
            self.talk()
        except (OSError, StopIteration) as error:
            self.error = str(error) or type(error).__name__
        finally:
            self.sip.close()
            self.rtp.close()

    def talk(self):
        """Sends a packet each 20 ms and takes what comes, until the far end hangs up."""
        sequence, stamp, due = 0, 0, time.monotonic()
        packets, first_sent, last_sent = [], None, None
        # Of the prompt that is heard: its first packet, and the last that was loud.
        began, last = None, None
        speaking, changed = False, time.monotonic()
        while True:
            now = time.monotonic()
            if now > changed + self.PATIENCE_S:
                raise OSError(f"nothing happens after {len(self.cut)} interruptions")
            if now >= due:
                due += 0.02
                payload = SILENCE
                if packets:
                    payload = packets.pop(0)
                    first_sent, last_sent = first_sent or now, now
                self.rtp.sendto(struct.pack("!BBHII", 0x80, 0, sequence & 0xFFFF, stamp & 0xFFFFFFFF, 1) + payload, self.media)
                sequence, stamp = sequence + 1, stamp + FRAME
                continue
            ready, _, _ = select.select([self.rtp, self.sip], [], [], due - now)
            if self.sip in ready and self.sip.recv(8192).startswith(b"BYE "):
                return
            if self.rtp not in ready:
                continue
            packet, now = self.rtp.recv(2048), time.monotonic()
            # An empty datagram keeps NATs open.
            if len(packet) > 12 and packet[1] & 0x7F == 0 and max(LEVEL[byte] for byte in packet[12:]) > LOUD:
                if began is None and speaking and not packets:
                    self.answered.append((now - last_sent) * 1000)
                    speaking = False
                began = began or now
                last = now
            elif last is not None and now - last > 0.25:
                # The prompt is over.
                if speaking and first_sent:
                    self.cut.append((last - first_sent) * 1000)
                began = last = None
            if began is not None and not speaking and now - began > 1.0 and self.times:
                self.times -= 1
                packets, first_sent, speaking, changed = list(self.words), None, True, now
