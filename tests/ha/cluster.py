"""A PostgreSQL cluster: three nodes, each with etcd, Patroni and PostgreSQL of Debian's packages.

With namespaces, each node has a network of its own on one bridge, and can be cut off. Without, the
nodes have addresses of the loopback network, and cannot.
"""

import base64
import grp
import http.client
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "deploy/patroni/patroni.yml"
PASSWORD = "of-this-test-alone"
# Debian keeps the programs of each version of PostgreSQL apart.
PROGRAMS = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
READY_WITHIN = 300


def wait_until(what, condition, within=READY_WITHIN):
    """Waits until the condition holds, and returns what it says."""
    until = time.monotonic() + within
    while True:
        said = condition()
        if said:
            return said
        if time.monotonic() > until:
            raise TimeoutError(f"not within {within} s: {what}")
        time.sleep(0.1)


def as_user(command):
    """The command as a user without rights: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return command
    user, group = pwd.getpwnam("postgres").pw_uid, grp.getgrnam("postgres").gr_gid
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", *command]


def own(path):
    """Gives a folder and what is in it to that user, and to that user alone."""
    for each in [path, *path.rglob("*")]:
        if os.geteuid() == 0:
            shutil.chown(each, "postgres", "postgres")
        each.chmod(0o700 if each.is_dir() else 0o600)


class Node:
    """One node of the cluster."""

    def __init__(self, name, address, folder, namespace):
        self.name, self.address, self.namespace = name, address, namespace
        self.folder = folder / name
        self.folder.mkdir()
        self.processes, self.commands = {}, {}

    def start(self, what, command, environment=None):
        """Starts one of its processes, in its network."""
        self.commands[what] = (command, environment)
        inside = ["ip", "netns", "exec", self.name] if self.namespace else []
        log = open(self.folder / f"{what}.log", "ab")
        self.processes[what] = subprocess.Popen(
            [*inside, *as_user(command)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), **(environment or {})},
            start_new_session=True,
        )

    def restart(self, what):
        """Starts a process again as it was started before."""
        self.start(what, *self.commands[what])

    def kill(self, what):
        """Kills one of its processes."""
        process = self.processes.pop(what, None)
        if process:
            process.kill()
            process.wait()

    def postmaster(self):
        """The process id of its PostgreSQL, if it runs."""
        try:
            return int((self.folder / "data/postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def kill_postgres(self):
        """Kills all processes of its PostgreSQL at once, as the end of its machine does."""
        main = self.postmaster()
        if main is None:
            return
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(main)], capture_output=True)
        for pid in [main, *map(int, listed.stdout.split())]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def ask(self, method, path, body=None, timeout=3):
        """Asks its Patroni: the status and the answer. None: no answer."""
        connection = http.client.HTTPConnection(self.address, 8008, timeout=timeout)
        secret = base64.b64encode(f"operator:{PASSWORD}".encode()).decode()
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"authorization": f"Basic {secret}"})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def is_primary(self):
        """Whether its Patroni says that it holds the lock and takes writes."""
        answer = self.ask("GET", "/primary")
        return answer is not None and answer[0] == 200


class Cluster:
    """Three nodes."""

    def __init__(self, folder, namespaces, etcd3=False):
        self.folder, self.namespaces, self.etcd3 = folder, namespaces, etcd3
        if os.geteuid() == 0:
            folder.chmod(0o711)
        if namespaces:
            self.site, addresses = "10.213.7.0/24", [f"10.213.7.1{n}" for n in range(1, 4)]
            self.make_bridge()
        else:
            # Other runs on this machine have others.
            own_part = f"{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"
            self.site, addresses = "127.0.0.0/8", [f"127.{own_part}.1{n}" for n in range(1, 4)]
        self.nodes = [
            Node(f"node{n}", address, folder, namespaces)
            for n, address in enumerate(addresses, 1)
        ]

    def make_bridge(self):
        """One network of this machine for all nodes; this process has the first address."""
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "site", "type", "bridge")
        run("ip", "addr", "add", "10.213.7.1/24", "dev", "site")
        run("ip", "link", "set", "site", "up")
        for n in range(1, 4):
            name = f"node{n}"
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"to-{name}", "type", "veth",
                "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"to-{name}", "master", "site", "up")
            run("ip", "-n", name, "addr", "add", f"10.213.7.1{n}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")

    def cut(self, node, peers_only):
        """Cuts a node off: from everything, or from the other nodes alone."""
        if not peers_only:
            run("ip", "link", "set", f"to-{node.name}", "down")
            return
        for other in self.nodes:
            if other is not node:
                run("ip", "-n", node.name, "route", "add", "blackhole", f"{other.address}/32")

    def join(self, node, peers_only):
        """Ends the cut."""
        if not peers_only:
            run("ip", "link", "set", f"to-{node.name}", "up")
            return
        for other in self.nodes:
            if other is not node:
                run("ip", "-n", node.name, "route", "del", "blackhole", f"{other.address}/32")

    def start(self):
        """Starts all of it, and waits until there are a primary and a synchronous standby."""
        self.make_certificates()
        etcd = ",".join(f"{node.name}=http://{node.address}:2380" for node in self.nodes)
        for node in self.nodes:
            own(node.folder)
            peer, client = f"http://{node.address}:2380", f"http://{node.address}:2379"
            node.start("etcd", [
                "etcd", "--name", node.name, "--data-dir", str(node.folder / "etcd"),
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--listen-client-urls", client, "--advertise-client-urls", client,
                "--initial-cluster", etcd, "--enable-v2", "--pre-vote",
                "--heartbeat-interval", "250", "--election-timeout", "2500",
            ])
        for node in self.nodes:
            self.start_patroni(node)
        self.wait_whole()

    def start_patroni(self, node):
        """Starts a node's Patroni, which starts its PostgreSQL."""
        names = {"SUPERUSER": "postgres", "REPLICATION": "replicator", "REWIND": "rewinder"}
        environment = {f"PATRONI_{name}_PASSWORD": PASSWORD for name in names}
        environment |= {"PATRONI_RESTAPI_USERNAME": "operator",
                        "PATRONI_RESTAPI_PASSWORD": PASSWORD}
        node.start("patroni", ["patroni", str(self.configuration(node))], environment)

    def configuration(self, node):
        """The file of deploy/patroni, with this node's names filled in."""
        text = TEMPLATE.read_text()
        etcd = ",".join(f"{other.address}:2379" for other in self.nodes)
        for name, value in [
            ("/etc/bailiwick-db", str(node.folder / "tls")),
            ("/var/lib/postgresql/bailiwick", str(node.folder)),
            ("/usr/lib/postgresql/15/bin", str(PROGRAMS)),
            ("ADDRESS", node.address), ("ETCD", etcd), ("SITE", self.site),
        ]:
            assert name in text, f"deploy/patroni/patroni.yml has no {name}"
            text = text.replace(name, value)
        text = text.replace("name: NODE", f"name: {node.name}")
        if self.etcd3:
            text = re.sub("^etcd:", "etcd3:", text, flags=re.MULTILINE)
        path = node.folder / "patroni.yml"
        path.write_text(text)
        path.chmod(0o644)
        return path

    def make_certificates(self):
        """An authority, and a certificate for each node's address."""
        authority, key = self.folder / "ca.pem", self.folder / "ca.key"
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
               "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        run(*new, "-subj", "/CN=authority of this test", "-keyout", key, "-out", authority,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        for node in self.nodes:
            tls = node.folder / "tls"
            tls.mkdir()
            run(*new, "-subj", f"/CN={node.name}", "-keyout", tls / "server.key",
                "-out", tls / "server.pem", "-CA", authority, "-CAkey", key,
                "-addext", f"subjectAltName=IP:{node.address}",
                "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "keyUsage=critical,digitalSignature",
                "-addext", "extendedKeyUsage=serverAuth")
            shutil.copy(authority, tls / "ca.pem")

    def primaries(self):
        """The nodes that say that they are the primary."""
        return [node for node in self.nodes if node.is_primary()]

    def whole(self):
        """The primary, if all three nodes run and a standby is synchronous."""
        for node in self.primaries():
            answer = node.ask("GET", "/cluster")
            if answer is None:
                continue
            members = json.loads(answer[1]).get("members", [])
            state = sorted((m["role"], m["state"] in ("running", "streaming")) for m in members)
            # A standby of another timeline still has to be rewound.
            lines = {m.get("timeline") for m in members}
            if state == [("leader", True), ("replica", True), ("sync_standby", True)] \
                    and len(lines) == 1:
                return node
        return None

    def wait_whole(self):
        """Waits until the cluster is whole, and returns its primary."""
        return wait_until("the cluster is whole", self.whole)

    def psql(self, text, timeout=None):
        """Runs a statement as the superuser, at the host that takes writes."""
        hosts = ",".join(node.address for node in self.nodes)
        address = f"host={hosts} target_session_attrs=read-write connect_timeout=3 dbname=postgres"
        return subprocess.run(
            [PROGRAMS / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1",
             f"{address} user=postgres sslmode=verify-full sslrootcert={self.folder / 'ca.pem'}",
             "-c", text],
            env={**os.environ, "HOME": str(self.folder), "PGPASSWORD": PASSWORD},
            capture_output=True, text=True, check=False, timeout=timeout,
        )

    def sql(self, text):
        """The same, which must go well."""
        done = self.psql(text)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def commits(self):
        """Whether the database takes a commit."""
        try:
            done = self.psql("create table if not exists looks (at timestamptz);"
                             "insert into looks values (now())", timeout=20)
            return done.returncode == 0 and "WARNING" not in done.stderr
        except subprocess.TimeoutExpired:
            return False

    def switch_over(self, primary):
        """Asks for a switchover, and says whether Patroni has agreed."""
        answer = primary.ask("POST", "/switchover", {"leader": primary.name}, timeout=60)
        return answer is not None and answer[0] == 200

    def stop(self):
        """Kills everything."""
        for node in self.nodes:
            node.kill("patroni")
            node.kill_postgres()
            node.kill("etcd")


def run(*command):
    """Runs a program to its end, which must be a good one."""
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr.decode()}"
