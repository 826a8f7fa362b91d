#!/usr/bin/env python3
"""Gives mesh-server and nats-server the same loads, in turns, and prints what each costs its server.

    peers.py MESH_SERVER [NATS_SERVER] [--receivers N] [--idle N] [--seconds S] [--rounds N] [--json FILE]

One client, written for both: the standard library, one thread, one epoll. Every content bears a number, and every
receiver's numbers are followed: what is lost, repeated or out of order makes the exit status 1.
Mesh is what it always is: tokens, membership, numbers, SQLite with synchronous=FULL, WebSocket. nats-server has none of
these: its own protocol over TCP, nobody to verify, nothing stored (core NATS).
"""

import argparse
import json
import os
import re
import select
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

PATIENCE = 60
NUMBER = re.compile(rb"~(\d{8})~")
# What may be the beginning of a number that has not come whole.
LONGEST = len(b"~00000000~")
SIZE = 128
WINDOW = 64
# Connections of one account, and in one room where they are spread.
SHARE = 100


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def content(number):
    return (b"~%08d~" % number).ljust(SIZE, b"x")


def read_until(sock, what):
    got = b""
    while what not in got:
        piece = sock.recv(65536)
        if not piece:
            raise SystemExit(f"the connection ended before {what!r}: {got[-300:]!r}")
        got += piece
    return got


class Server:
    """A process in a folder of its own."""

    def start(self, command, env, port):
        self.folder, self.port = tempfile.mkdtemp(prefix="peers-"), port
        self.child = subprocess.Popen(
            command, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{command[0]} does not listen")
                time.sleep(0.01)

    def stop(self):
        self.child.kill()
        self.child.wait()
        shutil.rmtree(self.folder)

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def cpu(self):
        """Seconds of all threads, user and system."""
        with open(f"/proc/{self.child.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kib(self):
        with open(f"/proc/{self.child.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1])


class Nats(Server):
    name = "nats-server"

    def __init__(self, program):
        port = free_port()
        self.start([program, "-a", "127.0.0.1", "-p", str(port)], os.environ, port)

    def prepare(self, _):
        """Nobody has an account, and a subject is there when it is named."""

    def open(self, index, spread=False):
        sock, subject = self.connect(), f"room.{index // SHARE}" if spread else "hall"
        sock.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB %s 1\r\nPING\r\n' % subject.encode())
        read_until(sock, b"PONG\r\n")
        return sock

    def says(self, number):
        return b"PUB hall %d\r\n%s\r\n" % (SIZE, content(number))


class Mesh(Server):
    name = "mesh-server"

    def __init__(self, program):
        port = free_port()
        env = {
            "MESH_HOST": "127.0.0.1",
            "MESH_PORT": str(port),
            "MESH_BCRYPT_COST": "4",
            "MESH_LOGIN_ATTEMPTS": "1000000",
            "MESH_EVENTS_PER_SECOND": "1000000",
            "LOG_LEVEL": "WARNING",
        }
        self.start([program], env, port)
        self.tokens, self.rooms = [], []
        self.prepare(1)

    def ask(self, path, body, token=None):
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def prepare(self, connections):
        """An account and a room for each hundred connections."""
        while len(self.tokens) * SHARE < connections:
            account = {"username": f"peer-{len(self.tokens)}", "password": "correct horse battery"}
            self.tokens.append(self.ask("/api/auth/register", account)["access_token"])
            room = {"name": f"Room {len(self.rooms)}", "visibility": "public"}
            self.rooms.append(self.ask("/api/rooms", room, self.tokens[-1])["id"])

    @staticmethod
    def frame(event):
        """A text frame of a client; a mask of zeros is a mask."""
        text = json.dumps(event).encode()
        head = bytes([0x81, 0x80 | len(text)]) if len(text) < 126 else struct.pack(">BBH", 0x81, 0xFE, len(text))
        return head + bytes(4) + text

    def open(self, index, spread=False):
        sock, token = self.connect(), self.tokens[index // SHARE]
        room = self.rooms[index // SHARE if spread else 0]
        sock.sendall(
            f"GET /ws?token={token} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        read_until(sock, b"\r\n\r\n")
        hello = self.frame({"type": "system.hello", "id": "h", "payload": {"peer_type": "client", "version": "peers"}})
        sock.sendall(hello + self.frame({"type": "room.join", "id": "j", "payload": {"room_id": room}}))
        read_until(sock, b'"reply_to":"j"')
        return sock

    def says(self, number):
        payload = {"room_id": self.rooms[0], "content": content(number).decode()}
        return self.frame({"type": "chat.message.send", "id": f"s{number}", "payload": payload})


class Hall:
    """A sender and receivers; all hear what the sender says."""

    def __init__(self, server, receivers):
        self.server = server
        server.prepare(receivers + 1)
        self.socks = [server.open(index) for index in range(receivers + 1)]
        self.poll = select.epoll()
        self.by_fd = {}
        for index, sock in enumerate(self.socks):
            sock.setblocking(False)
            self.poll.register(sock, select.EPOLLIN)
            self.by_fd[sock.fileno()] = index
        self.heard = [0] * len(self.socks)
        self.rest = [b""] * len(self.socks)
        self.expected, self.said_at, self.latencies, self.faults = [], [], [], 0
        self.waiting = b""

    def say(self, count):
        """Says so many more; what the socket does not take waits."""
        for _ in range(count):
            number = len(self.expected)
            self.expected.append(b"%08d" % number)
            self.said_at.append(time.perf_counter())
            self.waiting += self.server.says(number)
        if self.waiting:
            try:
                self.waiting = self.waiting[self.socks[0].send(self.waiting):]
            except BlockingIOError:
                pass

    def hear(self, timeout, timed):
        """Reads once from each that has something; how many of its own the sender heard."""
        before = self.heard[0]
        for fd, _ in self.poll.poll(timeout):
            index = self.by_fd[fd]
            piece = self.socks[index].recv(1 << 18)
            if not piece:
                raise SystemExit(f"{self.server.name} closed a connection")
            if b"PING\r\n" in piece and isinstance(self.server, Nats):
                self.socks[index].send(b"PONG\r\n")
            piece = self.rest[index] + piece
            end, heard = 0, []
            for found in NUMBER.finditer(piece):
                end = found.end()
                heard.append(found[1])
            self.rest[index] = piece[max(end, len(piece) - LONGEST):]
            if heard:
                at = self.heard[index]
                if heard != self.expected[at:at + len(heard)]:
                    self.faults += 1
                self.heard[index] = at + len(heard)
                if timed:
                    now = time.perf_counter()
                    self.latencies.extend(now - self.said_at[int(number)] for number in heard)
        return self.heard[0] - before

    def complete(self, timed):
        """Waits until everybody has everything."""
        deadline = time.monotonic() + PATIENCE
        while self.waiting or min(self.heard) < len(self.expected):
            self.say(0)
            self.hear(0.1, timed)
            if time.monotonic() > deadline:
                self.faults += sum(heard < len(self.expected) for heard in self.heard)
                return

    def close(self):
        for sock in self.socks:
            sock.close()


def figures(hall, cpu, seconds):
    deliveries = len(hall.expected) * len(hall.socks)
    return {
        "deliveries": deliveries,
        "faults": hall.faults,
        "deliveries_per_second": deliveries / seconds,
        "cpu_seconds_per_million": cpu / deliveries * 1e6,
    }


def saturated(server, options):
    """As fast as a window of own echoes allows."""
    hall = Hall(server, options.receivers)
    cpu, begun = server.cpu(), time.perf_counter()
    hall.say(WINDOW)
    while time.perf_counter() - begun < options.seconds:
        hall.say(hall.hear(1, False))
    hall.complete(False)
    out = figures(hall, server.cpu() - cpu, time.perf_counter() - begun)
    hall.close()
    return out


def paced(server, options):
    """20 messages a second: nothing can be gathered."""
    hall = Hall(server, options.receivers)
    cpu, begun = server.cpu(), time.perf_counter()
    for number in range(int(options.seconds * 20)):
        due = begun + number / 20
        while (left := due - time.perf_counter()) > 0:
            hall.hear(left, True)
        hall.say(1)
    hall.complete(True)
    out = figures(hall, server.cpu() - cpu, time.perf_counter() - begun)
    latencies = sorted(hall.latencies)
    out["p50_ms"], out["p99_ms"] = (latencies[int(len(latencies) * q)] * 1e3 for q in (0.5, 0.99))
    hall.close()
    return out


def idle(server, options):
    """Connections that are there, a hundred in a room, and hear nothing."""
    server.prepare(options.idle)
    before, cpu, begun = server.resident_kib(), server.cpu(), time.perf_counter()
    socks = [server.open(index, spread=True) for index in range(options.idle)]
    seconds, cpu = time.perf_counter() - begun, server.cpu() - cpu
    kib = (server.resident_kib() - before) / options.idle
    for sock in socks:
        sock.close()
    return {"faults": 0, "kib_per_connection": kib, "cpu_ms_per_connection": cpu / options.idle * 1e3}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh")
    parser.add_argument("nats", nargs="?", default="nats-server")
    parser.add_argument("--receivers", type=int, default=500)
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    programs = [(Mesh, os.path.abspath(options.mesh)), (Nats, shutil.which(options.nats) or parser.error("no nats-server"))]
    runs, faults = {}, 0
    for turn in range(options.rounds):
        for scenario in (saturated, paced, idle):
            # Each begins as often as the other.
            for make, program in programs if turn % 2 == 0 else reversed(programs):
                server = make(program)
                try:
                    got = scenario(server, options)
                finally:
                    server.stop()
                faults += got.pop("faults")
                print(f"{turn + 1} {scenario.__name__:9} {make.name:11}", {k: round(v, 3) for k, v in got.items()}, file=sys.stderr, flush=True)
                for key, value in got.items():
                    runs.setdefault(f"{scenario.__name__}.{key}", {}).setdefault(make.name, []).append(value)
    medians = {key: {name: statistics.median(values) for name, values in both.items()} for key, both in runs.items()}
    print(f"{'median of ' + str(options.rounds):36}{'mesh-server':>14}{'nats-server':>14}{'mesh : nats':>14}")
    for key, both in medians.items():
        if key.endswith(".deliveries"):
            continue
        mesh, nats = both["mesh-server"], both["nats-server"]
        print(f"{key:36}{mesh:14,.3f}{nats:14,.3f}{mesh / nats if nats else float('nan'):14.2f}")
    print(f"{faults} receivers with something lost, repeated or out of order")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"faults": faults, "runs": runs, "medians": medians, "load": os.getloadavg()}, file, indent=1)
    sys.exit(faults > 0)


main()
