"""Two people talk through a server that is killed in the middle, by clients that were not written here.

Driven by crates/server/tests/it/third_party, and by hand against a server of your own:

    MESH_TEST_JWT_SECRET=… python conversation.py http://127.0.0.1:8000

With MESH_TEST_COMPRESSION=on it expects the server to agree to compression (MESH_WS_COMPRESSION=on), which it always offers.

It says "talking" once there is something to lose. When the server is gone it reads from standard input where it is
back, goes on from there, and says "done" with the number of messages when nothing acknowledged is lost.
"""

import asyncio
import json
import os
import sys
import time
import urllib.parse
import urllib.request

import jwt
import websockets

PASSWORD = "correct horse battery"
WINDOW = 16
ENOUGH = 100  # acknowledgements each, before the kill and after it
COMPRESSED = os.environ.get("MESH_TEST_COMPRESSION") == "on"
NAMES = sys.argv[2:4] if len(sys.argv) > 3 else ["ana", "Ben"]


def call(base, method, path, token=None, body=None, form=None):
    headers = {}
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(base + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def check_token(answer, base, secret):
    """The access token, as anybody with the secret may check it (RFC 7519, RFC 9068)."""
    token = answer["access_token"]
    header = jwt.get_unverified_header(token)
    assert (header["typ"], header["alg"]) == ("at+jwt", "HS256"), header
    issuer = "http://localhost:8000"
    required = ["iss", "sub", "sid", "jti", "iat", "exp"]
    claims = jwt.decode(token, secret, algorithms=["HS256"], issuer=issuer, options={"require": required})
    assert claims["sub"] == answer["user"]["id"], claims
    assert claims["exp"] - claims["iat"] == answer["expires_in"] == 120 * 60, claims
    assert abs(claims["iat"] - time.time()) < 600, claims
    assert answer["token_type"] == "bearer"
    for wrong, error in [
        (dict(key=secret + "x", issuer=issuer), jwt.InvalidSignatureError),
        (dict(key=secret, issuer="http://elsewhere.example"), jwt.InvalidIssuerError),
    ]:
        try:
            jwt.decode(token, algorithms=["HS256"], **wrong)
        except error:
            continue
        raise AssertionError(f"{error.__name__} was expected")
    # And the other way round: one signed with the same secret, but of another type, is none.
    forged = jwt.encode(claims, secret, algorithm="HS256")
    try:
        call(base, "GET", "/api/auth/me", forged)
    except urllib.error.HTTPError as refused:
        assert refused.code == 401 and json.load(refused)["code"] == "token_invalid"
        return
    raise AssertionError("a token of another type was taken for an access token")


def socket(base, token):
    return websockets.connect(base.replace("http", "ws", 1) + "/ws?token=" + token)


async def check_refusal(base):
    async with socket(base, "garbage") as refused:
        try:
            await refused.recv()
        except websockets.ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4401, "token_invalid"), closed
            return
    raise AssertionError("a bad token was let in")


class Talker:
    def __init__(self, answer, room):
        self.name, self.token, self.room = answer["user"]["username"], answer["access_token"], room
        self.sent = self.acknowledged = 0
        self.seen = None  # the newest sequence number
        self.open = []  # client ids that were sent and not acknowledged; the content is the same
        self.told = {}  # sequence number: content

    async def ask(self, ws, kind, payload):
        await ws.send(json.dumps({"type": kind, "id": kind, "payload": payload}))
        answer = json.loads(await ws.recv())
        assert answer["reply_to"] == kind, answer
        return answer

    async def send(self, ws, client_id):
        payload = {"room_id": self.room, "content": client_id, "client_id": client_id}
        await ws.send(json.dumps({"type": "chat.message.send", "id": client_id, "payload": payload}))

    async def talk(self, base, tell=None):
        """Until enough is acknowledged; with `tell`, which hears of each acknowledgement, until the server dies."""
        try:
            async with socket(base, self.token) as ws:
                await self.talk_on(ws, tell)
        except (websockets.ConnectionClosed, OSError):
            if tell is None:
                raise
        else:
            assert tell is None, "the server lives on"

    async def talk_on(self, ws, tell):
        agreed = [extension.name for extension in ws.protocol.extensions]
        assert agreed == (["permessage-deflate"] if COMPRESSED else []), agreed
        hello = {"peer_type": "client", "version": "websockets " + websockets.__version__}
        welcome = await self.ask(ws, "system.hello", hello)
        assert welcome["payload"]["user"]["username"] == self.name, welcome
        since = {} if self.seen is None else {"since_seq": self.seen}
        joined = await self.ask(ws, "room.join", {"room_id": self.room, **since})
        assert joined["type"] == "room.joined" and joined["payload"]["gap"] is False, joined
        known = joined["payload"]["last_seq"]
        self.seen = known if self.seen is None else self.seen
        resent = set(self.open)
        for client_id in self.open:
            await self.send(ws, client_id)
        goal = self.acknowledged + len(resent) + ENOUGH
        while tell or self.acknowledged < goal or self.seen < known:
            while len(self.open) < WINDOW and (tell or self.acknowledged + len(self.open) < goal):
                self.sent += 1
                self.open.append(f"{self.name}-{self.sent}")
                await self.send(ws, self.open[-1])
            event = json.loads(await ws.recv())
            if event["type"] == "chat.message.created":
                self.take(event, known, resent, tell)
            else:
                assert event["type"] == "presence.update", event

    def take(self, event, known, resent, tell):
        seq, message = event["payload"]["seq"], event["payload"]["message"]
        client_id = event.get("reply_to")
        if client_id:
            assert message["content"] == message["client_id"] == client_id, event
            self.open.remove(client_id)
            self.acknowledged += 1
            if tell:
                tell()
        # What was committed before the server died is acknowledged again, out of the room's order.
        if not (client_id in resent and seq <= known):
            assert seq == self.seen + 1, f"{self.name} heard {seq} after {self.seen}"
            self.seen = seq
        assert self.told.setdefault(seq, message["content"]) == message["content"], event


def history(base, token, room):
    log = []
    while True:
        page = call(base, "GET", f"/api/rooms/{room}/messages?limit=200&after_seq={len(log)}", token)
        log += page
        if not page:
            return log


async def main():
    base, secret = sys.argv[1], os.environ["MESH_TEST_JWT_SECRET"]
    answers = []
    for name in NAMES:
        answers.append(call(base, "POST", "/api/auth/register", body={"username": name, "password": PASSWORD}))
        check_token(answers[-1], base, secret)
    form = {"grant_type": "password", "username": NAMES[0], "password": PASSWORD}
    check_token(call(base, "POST", "/api/auth/login", form=form), base, secret)
    await check_refusal(base)
    owner = answers[0]["access_token"]
    room = call(base, "POST", "/api/rooms", owner, {"name": "Cuisine"})["id"]
    call(base, "POST", f"/api/rooms/{room}/members", owner, {"username": NAMES[1]})

    talkers = [Talker(answer, room) for answer in answers]
    count = 0

    def tell():
        nonlocal count
        count += 1
        if count == 2 * ENOUGH:
            print("talking", flush=True)

    await asyncio.gather(*(talker.talk(base, tell) for talker in talkers))
    base = (await asyncio.to_thread(sys.stdin.readline)).strip()
    await asyncio.gather(*(talker.talk(base) for talker in talkers))

    log = history(base, owner, room)
    assert [message["seq"] for message in log] == list(range(1, len(log) + 1))
    assert len({message["client_id"] for message in log}) == len(log), "something is there twice"
    for talker in talkers:
        for seq, content in talker.told.items():
            assert log[seq - 1]["content"] == content, f"{seq} was acknowledged: {content}"
        own = [message["content"] for message in log if message["username"] == talker.name]
        assert sorted(own) == sorted(f"{talker.name}-{n + 1}" for n in range(talker.sent))
    print("done", len(log), flush=True)


asyncio.run(main())
