#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Loads of bench-machine.sh that neither gup_test nor fio can make.

bench.py write FILE VALUE          nanoseconds of CPU time that write(2) takes
bench.py read DISK DAX MIB COUNT   4 KiB direct reads, each to a random page of
                                   the first MIB of DAX
bench.py verify DISK DAX MIB COUNT the same from random places of a disk that is
                                   filled for that; what each page has in the
                                   end is compared
bench.py cycle DISK DAX COUNT ROUNDS
                                   the same to the first page of each of COUNT
                                   blocks, ROUNDS times, with a sleep between:
                                   nanoseconds of CPU time that all tasks of the
                                   machine take
bench.py pin DAX processes|threads N MIB ROUNDS
                                   N of them pin a part of DAX of MIB each, at the
                                   same time: microseconds of the slowest. ROUNDS
                                   times, after one that does not count; or, if
                                   that is 0, once
"""
import ctypes
import fcntl
import glob
import mmap
import os
import random
import struct
import sys
import threading
import time

PAGE = 4096
MIB = 1 << 20
BLOCK = 2 * MIB
# struct gup_test and its ioctl, mm/gup_test.h
GUP_TEST = struct.Struct("4Q11I4x")
PIN_FAST_BENCHMARK = 3 << 30 | GUP_TEST.size << 16 | ord("g") << 8 | 2
FOLL_WRITE = 1


def write(file, value):
    fd = os.open(file, os.O_WRONLY)
    start = time.thread_time_ns()
    os.write(fd, value.encode())
    print(time.thread_time_ns() - start)


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


def verify(disk, dax, mib, count):
    buffer = memoryview(map_dax(dax, int(mib) * MIB))
    data = os.urandom(16 * MIB)
    fd = os.open(disk, os.O_RDWR)
    os.pwrite(fd, data, 0)
    os.fsync(fd)
    fd = os.open(disk, os.O_RDONLY | os.O_DIRECT)
    pages = random.Random(1)
    filled = {}
    for _ in range(int(count)):
        at = pages.randrange(len(buffer) // PAGE) * PAGE
        filled[at] = pages.randrange(len(data) // PAGE) * PAGE
        got = os.preadv(fd, [buffer[at:at + PAGE]], filled[at])
        if got != PAGE:
            raise SystemExit("read %d bytes of %d" % (got, PAGE))
    for at, where in filled.items():
        if buffer[at:at + PAGE] != data[where:where + PAGE]:
            raise SystemExit("wrong data at %#x" % at)


def cpu_time():
    """Of all tasks, kernel threads too, what they are interrupted by included."""
    # For the process that runs, the file has only what the last tick knew.
    total = time.process_time_ns()
    for stat in glob.glob("/proc/[0-9]*/schedstat"):
        if stat.split("/")[2] == str(os.getpid()):
            continue
        try:
            with open(stat) as f:
                total += int(f.read().split()[0])
        except OSError:
            pass  # It has ended.
    return total


# The sleep lets the worker free blocks, but is too short for those that are kept to age
# out.
def cycle(disk, dax, count, rounds):
    buffer = memoryview(map_dax(dax, BLOCK * int(count)))
    fd = os.open(disk, os.O_RDONLY | os.O_DIRECT)
    pages = [[buffer[at:at + PAGE]] for at in range(0, len(buffer), BLOCK)]
    for number in range(int(rounds) + 1):
        for page in pages:
            os.preadv(fd, page, 0)
        time.sleep(0.15)
        # The first round makes the blocks that are kept.
        if number == 0:
            start = cpu_time()
    print(cpu_time() - start)


def pin_part(part, ready, go, rounds):
    for at in range(0, len(part), PAGE):
        part[at] = 0
    # ctypes gives the address of an object that shares the buffer's memory.
    addr = ctypes.addressof(ctypes.c_char.from_buffer(part))
    fd = os.open("/sys/kernel/debug/gup_test", os.O_RDWR)

    def once():
        arg = bytearray(GUP_TEST.pack(0, 0, addr, len(part), 512, FOLL_WRITE,
                                      *[0] * 9))
        fcntl.ioctl(fd, PIN_FAST_BENCHMARK, arg)
        get, _, _, size = GUP_TEST.unpack(arg)[:4]
        if size != len(part):
            raise SystemExit("pinned %d bytes of %d" % (size, len(part)))
        return get

    if rounds:
        once()
    os.write(ready, b"x")
    os.read(go, 1)
    return sum(once() for _ in range(rounds or 1))


def pin(dax, kind, workers, mib, rounds):
    workers, length, rounds = int(workers), int(mib) * MIB, int(rounds)
    ready, go, result = os.pipe(), os.pipe(), os.pipe()

    def work(buffer):
        status = 1
        try:
            get = pin_part(buffer, ready[1], go[0], rounds)
            os.write(result[1], struct.pack("Q", get))
            status = 0
        finally:
            # A thread that fails ends the others too.
            if status or kind == "processes":
                os._exit(status)

    if kind == "threads":
        everything = memoryview(map_dax(dax, workers * length))
        for number in range(workers):
            part = everything[number * length:(number + 1) * length]
            threading.Thread(target=work, args=[part]).start()
    else:
        for number in range(workers):
            if os.fork() == 0:
                work(memoryview(map_dax(dax, length, number * length)))
        os.close(ready[1])
        os.close(result[1])
    for _ in range(workers):
        if not os.read(ready[0], 1):
            raise SystemExit("a process died before it pinned")
    os.write(go[1], b"x" * workers)
    times = [os.read(result[0], 8) for _ in range(workers)]
    if b"" in times:
        raise SystemExit("a process died when it pinned")
    print(max(struct.unpack("Q", t)[0] for t in times))


{"write": write, "read": read, "verify": verify, "cycle": cycle,
 "pin": pin}[sys.argv[1]](*sys.argv[2:])
