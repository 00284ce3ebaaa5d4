"""A line between two network namespaces that delays what it carries.

    line.py NEAR FAR MILLISECONDS [LOST]

makes two TUN devices, says "up", and hands each packet that the system sends over one of them to the other one, so much
later, but for that share of them (0 to 1) which is lost. Who starts it puts them where they belong. It is TCP of the system's own that runs over it, with its windows and
its congestion control. Packets come as large as the system's segmentation offload makes them, which keeps them few.
"""

import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

# linux/if_tun.h
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 1, 2

# The largest IP packet and its virtio_net_hdr.
LARGEST = 65_535 + 10


def device(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
    fcntl.ioctl(descriptor, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return descriptor


def main():
    near, far = device(sys.argv[1]), device(sys.argv[2])
    delay = float(sys.argv[3]) / 1000
    lost = float(sys.argv[4]) if len(sys.argv) > 4 else 0
    print("up", flush=True)
    other = {near: far, far: near}
    under_way = deque()
    while True:
        timeout = max(0, under_way[0][0] - time.monotonic()) if under_way else None
        for source in select.select(list(other), [], [], timeout)[0]:
            try:
                packet = os.read(source, LARGEST)
            except BlockingIOError:
                continue  # It was dropped meanwhile, as when a device moves.
            if random.random() < lost:
                continue
            under_way.append((time.monotonic() + delay, other[source], packet))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, target, packet = under_way.popleft()
            try:
                os.write(target, packet)
            except OSError:
                pass  # The device is not up yet: a packet is lost, as packets are.


main()
