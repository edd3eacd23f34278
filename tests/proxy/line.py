#!/usr/bin/env python3
"""A bad line between this machine and a network namespace, for kernels without `tc netem`: a tunnel whose packets this
program carries across, late, out of order, or not at all. Ends when its standard input does.

Usage: line.py NAMESPACE DEVICE NEAR FAR DELAY_MS JITTER_MS LOSS_PERCENT SEED
"""
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import sys
import time

namespace, device, near, far, delay, jitter, loss, seed = sys.argv[1:9]
delay, jitter, loss = float(delay) / 1e3, float(jitter) / 1e3, float(loss) / 100
dice = random.Random(int(seed))


def tunnel(name, ours, theirs):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    # TUNSETIFF with IFF_TUN | IFF_NO_PI.
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
    subprocess.run(["ip", "addr", "add", ours, "peer", theirs, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return fd


here = tunnel(device, near, far)
with open(f"/var/run/netns/{namespace}") as other:
    if ctypes.CDLL(None, use_errno=True).setns(other.fileno(), 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
there = tunnel(device, far, near)
print("ready", flush=True)

under_way, count = [], 0
while True:
    wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
    ready, _, _ = select.select([here, there, sys.stdin], [], [], wait)
    if sys.stdin in ready and not sys.stdin.buffer.raw.read(1):
        break
    for source, sink in ((here, there), (there, here)):
        while source in ready:
            try:
                packet = os.read(source, 65_536)
            except BlockingIOError:
                break
            if dice.random() >= loss:
                count += 1
                at = time.monotonic() + delay + dice.random() * jitter
                heapq.heappush(under_way, (at, count, sink, packet))
    now = time.monotonic()
    while under_way and under_way[0][0] <= now:
        _, _, sink, packet = heapq.heappop(under_way)
        try:
            os.write(sink, packet)
        except OSError:
            pass
