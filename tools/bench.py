#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Loads of bench-guest.sh that neither gup_test nor fio can make.

bench.py write FILE VALUE          nanoseconds that write(2) takes
bench.py read DISK DAX MIB COUNT   4 KiB direct reads, each to a random page of
                                   the first MIB of DAX
bench.py pin DAX PROCS MIB         PROCS processes pin a part of DAX of MIB each,
                                   at the same time: microseconds of the slowest
"""
import fcntl
import mmap
import os
import random
import struct
import sys
import time

PAGE = 4096
MIB = 1 << 20
# struct gup_test and its ioctl, mm/gup_test.h
GUP_TEST = struct.Struct("4Q11I4x")
PIN_FAST_BENCHMARK = 3 << 30 | GUP_TEST.size << 16 | ord("g") << 8 | 2
FOLL_WRITE = 1


def write(file, value):
    fd = os.open(file, os.O_WRONLY)
    start = time.perf_counter_ns()
    os.write(fd, value.encode())
    print(time.perf_counter_ns() - start)


def map_dax(dax, length, offset=0):
    fd = os.open(dax, os.O_RDWR)
    return mmap.mmap(fd, length, mmap.MAP_SHARED, offset=offset)


def read(disk, dax, mib, count):
    buffer = memoryview(map_dax(dax, int(mib) * MIB))
    fd = os.open(disk, os.O_RDONLY | os.O_DIRECT)
    pages = random.Random(1)
    for _ in range(int(count)):
        at = pages.randrange(len(buffer) // PAGE) * PAGE
        os.preadv(fd, [buffer[at:at + PAGE]], 0)


def pin_part(dax, number, length, ready, go):
    part = map_dax(dax, length, number * length)
    for at in range(0, length, PAGE):
        part[at] = 0
    # The first member of an object that a buffer exports: its address.
    import ctypes
    addr = ctypes.addressof(ctypes.c_char.from_buffer(part))
    arg = bytearray(GUP_TEST.pack(0, 0, addr, length, 512, FOLL_WRITE,
                                  *[0] * 9))
    fd = os.open("/sys/kernel/debug/gup_test", os.O_RDWR)
    os.write(ready, b"x")
    os.read(go, 1)
    fcntl.ioctl(fd, PIN_FAST_BENCHMARK, arg)
    get, _, _, size = GUP_TEST.unpack(arg)[:4]
    if size != length:
        raise SystemExit("pinned %d bytes of %d" % (size, length))
    return get


def pin(dax, procs, mib):
    procs, length = int(procs), int(mib) * MIB
    ready, go, result = os.pipe(), os.pipe(), os.pipe()
    for number in range(procs):
        if os.fork() == 0:
            get = pin_part(dax, number, length, ready[1], go[0])
            os.write(result[1], struct.pack("Q", get))
            os._exit(0)
    os.close(ready[1])
    os.close(result[1])
    for _ in range(procs):
        if not os.read(ready[0], 1):
            raise SystemExit("a process died before it pinned")
    os.write(go[1], b"x" * procs)
    times = [os.read(result[0], 8) for _ in range(procs)]
    if b"" in times:
        raise SystemExit("a process died when it pinned")
    print(max(struct.unpack("Q", t)[0] for t in times))


{"write": write, "read": read, "pin": pin}[sys.argv[1]](*sys.argv[2:])
