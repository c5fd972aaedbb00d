"""A region over a real cluster of PostgreSQL, Patroni and etcd, whose primary changes under writers.

tests/long/ha runs it with networks that can be cut; the test command for a shorter time without.
"""

import argparse
import ctypes
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

from cluster import PASSWORD, Cluster, wait_until
from region import Region, Writers, check

# What dies with the primary, in turn.
DYING = [("postgres",), ("postgres", "patroni"), ("postgres", "patroni", "etcd")]


class Trial:
    """What is done to the cluster, and how long it took."""

    def __init__(self, cluster, region, writers):
        self.cluster, self.region, self.writers = cluster, region, writers
        self.times, self.kills, self.cuts, self.two = {}, 0, 0, 0

    def watch(self):
        """Counts the looks at which two nodes say that they are the primary."""
        while not self.writers.stops.is_set():
            if len(self.cluster.primaries()) > 1:
                self.two += 1
            time.sleep(0.5)

    def resumed(self, kind, old, began):
        """Waits for another primary, for a commit there, and for a write: the time of the last two."""
        def another():
            return self.others(old) or self.writers.newest > began + 1
        wait_until(f"another primary after a {kind}", another)
        there = time.monotonic()
        wait_until(f"the database commits after a {kind}", self.cluster.commits)
        commits = time.monotonic()
        self.writers.wait_acked_after(there)
        after = time.monotonic() - commits
        self.times.setdefault(kind, []).append((commits - began, after))
        print(f"{kind} of {old.name}: a primary after {there - began:.1f} s, commits of the database "
              f"after {commits - began:.1f} s, writes {after:.1f} s later", flush=True)

    def switchover(self, primary):
        for _ in range(20):
            began = time.monotonic()
            if self.cluster.switch_over(primary):
                return self.resumed("switchover", primary, began)
            # Patroni refuses one while it does something else.
            primary = self.cluster.wait_whole()
        raise AssertionError("Patroni refuses a switchover")

    def kill(self, primary):
        dying = DYING[self.kills % len(DYING)]
        self.kills += 1
        began = time.monotonic()
        for what in reversed(dying):
            primary.kill(what) if what != "postgres" else primary.kill_postgres()
        self.resumed(f"kill of {' and '.join(dying)}", primary, began)
        for what in ("etcd", "patroni"):
            if what in dying:
                primary.restart(what)

    def hang(self, primary):
        """Patroni stands still, and PostgreSQL goes on: as without a watchdog."""
        began = time.monotonic()
        primary.processes["patroni"].send_signal(signal.SIGSTOP)
        try:
            wait_until("another primary beside one that hangs", lambda: self.others(primary))
            time.sleep(random.uniform(0, 15))
        finally:
            primary.processes["patroni"].send_signal(signal.SIGCONT)
        self.resumed("hang of patroni", primary, began)

    def others(self, old):
        return [node for node in self.cluster.primaries() if node is not old]

    def partition(self, primary):
        peers_only = self.cuts % 2 == 1
        self.cuts += 1
        kind = "partition from its peers" if peers_only else "partition from everything"
        began = time.monotonic()
        self.cluster.cut(primary, peers_only)
        try:
            self.resumed(kind, primary, began)
            self.writers.wait_more(100)
            time.sleep(random.uniform(0, 15))
        finally:
            self.cluster.join(primary, peers_only)

    def run(self, events):
        threading.Thread(target=self.watch, daemon=True).start()
        for event in events:
            primary = self.cluster.wait_whole()
            self.writers.wait_more(100)
            getattr(self, event)(primary)
        self.cluster.wait_whole()
        self.writers.wait_more(100)

    def report(self):
        for kind, times in sorted(self.times.items()):
            database, after = ([each[at] for each in times] for at in (0, 1))
            print(f"{len(times)} times {kind}: the database commits after {max(database):.1f} s at the "
                  f"most, writes go on {max(after):.1f} s after it at the most")


def trial(options, folder):
    cluster = Cluster(folder, options.namespaces, options.etcd3)
    region = Region(folder, options.binary, cluster)
    writers = None
    try:
        cluster.start()
        cluster.sql(f"create role bailiwick login password '{PASSWORD}'")
        cluster.sql("grant pg_read_all_stats to bailiwick")
        cluster.sql("create database people owner bailiwick")
        region.start()
        events = ["switchover"] * options.switchovers + ["kill"] * options.kills
        events += ["partition"] * options.partitions + ["hang"] * options.hangs
        random.shuffle(events)
        writers = Writers(region, options.writers)
        done = Trial(cluster, region, writers)
        done.run(events)
        acked = writers.stop()
        size = check(region, acked)
        done.report()
        print(f"{len(acked)} writes were acknowledged and are there, with their entries, in a log of "
              f"{size} that verifies; in between, callers were told {writers.reasons}; the shard was "
              f"started {region.starts} times; two nodes called themselves primary at {done.two} looks")
    finally:
        if writers:
            writers.stops.set()
        region.stop()
        cluster.stop()


def leave_orphans_to_a_parent():
    """Goes on in a child process, whose parent waits for all that lose theirs.

    Patroni does not notice the end of its PostgreSQL, which is no child of it, until that is waited for.
    """
    PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("the parent has ended"))
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        return
    while True:
        pid, status = os.wait()
        if pid == child:
            os._exit(min(abs(os.waitstatus_to_exitcode(status)), 255))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--etcd3", action="store_true", help="the protocol that loses commits")
    parser.add_argument("--seed", type=int, default=20261201)
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    for name, usual in [("switchovers", 20), ("kills", 20), ("partitions", 10), ("hangs", 5),
                        ("writers", 32)]:
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    assert options.namespaces or options.partitions == 0, "partitions need namespaces"
    leave_orphans_to_a_parent()
    random.seed(options.seed)
    folder = tempfile.mkdtemp(prefix="bailiwick-ha-")
    try:
        trial(options, pathlib.Path(folder))
    except BaseException:
        print(f"seed {options.seed}; what the processes said is in {folder}", file=sys.stderr)
        raise
    if not options.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
