# Copyright 2026 the Sabre authors. MIT license.

"""What Python's multiprocessing does with the same work: `python.py <what> <count>`."""

import json
import multiprocessing
import resource
import sys
import time


def square(x):
    return x * x


def nothing():
    pass


def put_all(queue, count):
    for i in range(count):
        queue.put(i)


def send_all(connection, count):
    for i in range(count):
        connection.send(i)


def echo(connection, count):
    for _ in range(count):
        connection.send(connection.recv())


def pool_map(count, chunksize):
    with multiprocessing.Pool(2) as pool:
        pool.map(square, range(1_000))
        start = time.perf_counter()
        assert pool.map(square, range(count), chunksize)[7] == 49
        return count, time.perf_counter() - start


def pool_apply(count):
    with multiprocessing.Pool(2) as pool:
        pool.map(square, range(1_000))
        start = time.perf_counter()
        for i in range(count):
            assert pool.apply(square, (i,)) == i * i
        return count, time.perf_counter() - start


def queue_ints(count):
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=put_all, args=(queue, count))
    child.start()
    assert queue.get() == 0
    start = time.perf_counter()
    for i in range(1, count):
        assert queue.get() == i
    used = time.perf_counter() - start
    child.join()
    return count, used


def pipe_ints(count):
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=send_all, args=(there, count))
    child.start()
    assert here.recv() == 0
    start = time.perf_counter()
    for i in range(1, count):
        assert here.recv() == i
    used = time.perf_counter() - start
    child.join()
    return count, used


def pipe_trips(count):
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=echo, args=(there, count))
    child.start()
    start = time.perf_counter()
    for i in range(count):
        here.send(i)
        assert here.recv() == i
    used = time.perf_counter() - start
    child.join()
    return count, used


def starts(count):
    start = time.perf_counter()
    for _ in range(count):
        child = multiprocessing.Process(target=nothing)
        child.start()
        child.join()
    return count, time.perf_counter() - start


def idle(count):
    queue = multiprocessing.Queue()
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        queue.get(timeout=count)
    except Exception:
        pass
    after = resource.getrusage(resource.RUSAGE_SELF)
    return count, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    what, count = sys.argv[1], int(sys.argv[2])
    done, used = {
        "map": lambda: pool_map(count, None),
        "map1": lambda: pool_map(count, 1),
        "apply": lambda: pool_apply(count),
        "queue": lambda: queue_ints(count),
        "pipe": lambda: pipe_ints(count),
        "trips": lambda: pipe_trips(count),
        "starts": lambda: starts(count),
        "idle": lambda: idle(count),
    }[what]()
    print(json.dumps({"count": done, "time": used * 1e3}))
