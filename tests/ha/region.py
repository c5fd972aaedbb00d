"""A region over a database: its shard, a gateway, writers over HTTP, and what is checked at the end."""

import base64
import concurrent.futures
import hashlib
import http.client
import json
import os
import pathlib
import random
import subprocess
import threading
import time
import tomllib
import uuid

from cluster import PASSWORD, ROOT, wait_until

REGION = "eu-fra"
MAP = ROOT / "tests/evidence/map.toml"
# A supervisor starts a shard again after these (deploy/README.md).
AGAIN = (69, 75)
# Callers that read at once, at the end.
READERS = 16
# Time of a writer between two writes: a long run keeps what it has written in mind.
PAUSE = 0.1


class Region:
    """One shard and one gateway, which the writers call."""

    def __init__(self, folder, binary, cluster):
        self.folder, self.binary, self.cluster = folder / "region", binary, cluster
        self.folder.mkdir()
        # Below the ports that outgoing connections are given.
        first = 20_000 + os.getpid() % 1_000 * 10
        self.ports = dict(zip(("shard", "shard_admin", "audit", "gateway", "gateway_admin"),
                              range(first, first + 5)))
        self.shard, self.gateway, self.starts, self.ends = None, None, 0, threading.Event()

    def path(self, name):
        return self.folder / name

    def write(self):
        """Writes the map, the annexes and both configurations."""
        text = MAP.read_text()
        self.path("map.toml").write_text(text)
        annexes = []
        for region in tomllib.loads(text)["regions"]:
            # The other regions of the map are down.
            port = self.ports["shard"] if region["name"] == REGION else 1
            annex = f"annex-{region['name']}.toml"
            self.path(annex).write_text(
                f'region = "{region["name"]}"\n[[shards]]\nname = "s1"\n'
                f'address = "http://127.0.0.1:{port}"\n'
                f'audit = "http://127.0.0.1:{self.ports["audit"]}"\nslots = "0-1023"\n')
            annexes.append(annex)
        password = self.path("database-password")
        password.write_text(PASSWORD)
        password.chmod(0o600)
        hosts = ",".join(f"{node.address}:5432" for node in self.cluster.nodes)
        self.path("shard.toml").write_text(f'''region = "{REGION}"
shard = "s1"
listen = "127.0.0.1:{self.ports['shard']}"
admin_listen = "127.0.0.1:{self.ports['shard_admin']}"
audit_listen = "127.0.0.1:{self.ports['audit']}"
map = "map.toml"
annex = "annex-{REGION}.toml"
anchor = "anchor"
keys = "keys"
engine = "postgres"
plaintext = true
[postgres]
url = "postgresql://bailiwick@{hosts}/people"
password_file = "database-password"
authorities = "{self.cluster.folder / 'ca.pem'}"
standby_networks = ["{self.cluster.site}"]
''')
        self.path("gateway.toml").write_text(f'''name = "gateway-1"
listen = "127.0.0.1:{self.ports['gateway']}"
admin_listen = "127.0.0.1:{self.ports['gateway_admin']}"
map = "map.toml"
annexes = {json.dumps(annexes)}
plaintext = true
[caller]
tenant = "sample"
name = "test"
roles = ["writer", "reader"]
[http]
json = true
''')

    def run(self, *arguments):
        """A command of the binary that must go well: what it prints."""
        command = [self.binary, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout

    def start(self):
        """Creates the shard, and starts both processes."""
        self.write()
        self.run("shard", "init", "--config", self.path("shard.toml"))
        self.gateway = self.process("gateway")
        threading.Thread(target=self.supervise, daemon=True).start()
        wait_until("the shard is ready", lambda: self.is_ready("shard_admin"))
        wait_until("the gateway is ready", lambda: self.is_ready("gateway_admin"))

    def process(self, name):
        log = open(self.path(f"{name}.log"), "ab")
        command = [self.binary, name, "--config", str(self.path(f"{name}.toml"))]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def supervise(self):
        """Starts the shard again whenever it has ended, as a supervisor does."""
        while not self.ends.is_set():
            self.starts += 1
            self.shard = self.process("shard")
            code = self.shard.wait()
            if not self.ends.is_set() and code not in AGAIN:
                self.ends.set()
                raise AssertionError(f"the shard has ended with {code}")
            time.sleep(0.5)

    def is_ready(self, admin):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[admin], timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def metric(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["shard_admin"], timeout=5)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
        finally:
            connection.close()

    def stop(self):
        self.ends.set()
        for process in (self.shard, self.gateway):
            if process:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()

    def audit(self):
        """Mirrors and verifies the log, compares it with the store, and returns its entries."""
        signed = lambda: self.metric("bailiwick_shard_log_size") == self.metric(
            "bailiwick_shard_checkpoint_size")
        wait_until("the whole log is signed", signed)
        mirror, url = self.path("mirror"), f"http://127.0.0.1:{self.ports['audit']}"
        self.run("audit", "mirror", "--shard", url, mirror)
        self.run("audit", "verify", mirror)
        self.run("audit", "reconcile", "--shard", url, mirror)
        return entries(mirror / f"{REGION}.s1.1/tile/entries")


def digest(data):
    """What is kept of a body or an entry until the end."""
    return hashlib.sha256(data).digest()


def entries(folder):
    """The entries of a mirrored log, in order, by the format of C2SP tlog-tiles."""
    bundles = {}
    for file in (path for path in folder.rglob("*") if path.is_file()):
        parts = [part.removesuffix(".p") for part in file.relative_to(folder).parts]
        if file.parent.name.endswith(".p"):
            parts.pop()
        number = int("".join(part.removeprefix("x") for part in parts))
        # The wider of two files of one bundle has all that the other has.
        bundles[number] = max(bundles.get(number, b""), file.read_bytes(), key=len)
    assert sorted(bundles) == list(range(len(bundles))), "bundles follow each other"
    found = []
    for _, data in sorted(bundles.items()):
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at:at + 2], "big")
            found.append(data[at + 2:at + 2 + length])
            at += 2 + length
    return found


class Caller:
    """A connection to the gateway."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def call(self, method, message):
        """The answer of a method; or the reason for which there is none."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self.connection.request("POST", f"/bailiwick.v1.{method}", json.dumps(message),
                                    {"content-type": "application/json",
                                     "connect-timeout-ms": "20000"})
            answer = self.connection.getresponse()
            status, said = answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            return None, "NO_ANSWER"
        if status == 200:
            return said, None
        details = [detail.get("debug", {}) for detail in said.get("details", [])]
        reason = next((d["reason"] for d in details if "reason" in d), said.get("code"))
        # What may be sent again: UNAVAILABLE, RESOURCE_EXHAUSTED, and an outcome that is not known.
        assert status in (429, 503, 504) or reason == "WRITE_OUTCOME_UNKNOWN", said
        return None, reason


class Writers:
    """Writers that put one record after the other, each until it is acknowledged."""

    def __init__(self, region, count):
        self.region, self.stops = region, threading.Event()
        self.acked, self.reasons, self.newest, self.failed = [], {}, 0.0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.guarded, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def guarded(self, writer):
        try:
            self.write(writer)
        except Exception as error:  # Shown by the main thread.
            self.failed.append(error)
            raise

    def write(self, writer):
        caller, n = Caller(self.region.ports["gateway"]), 0
        subject = {"id": f"writer-{writer}"}
        evidence = [{"kind": kind, "value": "DE"} for kind in ("RESIDENCE", "CITIZENSHIP")]
        while not self.stops.is_set():
            n += 1
            body = random.randbytes(200)
            put = {"subject": subject, "collection": "profiles", "key": f"k{n}",
                   "body": base64.b64encode(body).decode(), "requestId": str(uuid.uuid4()),
                   "createSubject": True, "evidence": evidence}
            done = None
            while done is None:
                sent = time.monotonic()
                done, reason = caller.call("Records/Put", put)
                if done is None:
                    with self.lock:
                        self.reasons[reason] = self.reasons.get(reason, 0) + 1
                    time.sleep(0.05)
            assert done["version"] == "1", f"a retry has had a second effect: {done}"
            receipt = done["receipt"]
            entry = (int(receipt.get("index", 0)), digest(base64.b64decode(receipt["entry"])))
            with self.lock:
                self.acked.append((subject["id"], f"k{n}", digest(body), entry))
                self.newest = max(self.newest, sent)
            time.sleep(PAUSE)

    def wait_acked_after(self, moment):
        """Waits until a write that was sent after that moment is acknowledged."""
        def acked():
            assert not self.failed, self.failed
            assert not self.region.ends.is_set(), "the shard has ended"
            return self.newest > moment
        wait_until("writes go on", acked)
        return time.monotonic() - moment

    def wait_more(self, count):
        enough = len(self.acked) + count
        wait_until("more is acknowledged", lambda: self.failed or len(self.acked) >= enough)
        assert not self.failed, self.failed

    def stop(self):
        self.stops.set()
        for thread in self.threads:
            thread.join()
        assert not self.failed, self.failed
        return self.acked


def check(region, acked):
    """Every write that was acknowledged is there: the record, once, and its entry at its place."""
    log = region.audit()
    for _, _, _, (index, entry) in acked:
        assert digest(log[index]) == entry, f"entry {index} is another than the one of the receipt"
    assert len({index for _, _, _, (index, _) in acked}) == len(acked), "two writes have one entry"

    def read(part):
        caller = Caller(region.ports["gateway"])
        for subject, key, body, _ in part:
            of = {"subject": {"id": subject, "domicile": REGION}, "collection": "profiles"}
            of["key"] = key
            found = wait_until("a record is read", lambda: caller.call("Records/Get", of)[0])
            same = digest(base64.b64decode(found["body"])) == body and found["version"] == "1"
            assert same, f"{subject} {key}"
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, [acked[first::READERS] for first in range(READERS)]))
    return len(log)
