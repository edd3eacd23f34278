#!/usr/bin/env python3
"""Writes assets/chime.wav: two soft notes, 8 kHz, 16 bit, mono. Run once; the result is committed."""

import math
import struct
import wave
from pathlib import Path

RATE = 8000
NOTES = [(0.0, 659.26), (0.18, 880.0)]  # start in seconds, frequency in Hz
LENGTH = 0.7


def sample(t: float) -> float:
    return sum(
        math.exp(-6 * (t - start)) * min(1, (t - start) * 200) * math.sin(2 * math.pi * hz * (t - start))
        for start, hz in NOTES
        if t >= start
    )


with wave.open(str(Path(__file__).parent / "assets/chime.wav"), "wb") as out:
    out.setparams((1, 2, RATE, 0, "NONE", ""))
    out.writeframes(b"".join(struct.pack("<h", round(9000 * sample(i / RATE))) for i in range(int(LENGTH * RATE))))
