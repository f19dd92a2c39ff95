#!/usr/bin/env python3
"""A client of a testbed that uses nothing of it: Python's standard library and the package `cryptography`.

It follows docs/client-protocol.md. It spends one of the coins of the beginning, gives it back to its owner, prints the
receipt, queries it over a second session, as after a reconnect, and waits for two blocks.

    pip install cryptography
    python3 docs/examples/client.py data/keys/committee.txt data/hosts.txt [NODE]
"""

import hashlib
import hmac
import os
import socket
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

LABEL = b"dumbo-testbed session 1: "
MAGIC, VERSION, ROLE_CLIENT = b"dumbo-tb", 1, 2
DATA, PING, PONG = 1, 3, 4
SUBMIT, QUERY, COINS, STATUS, _, _, SUBSCRIBE = range(7)
FATES = ["finished", "rejected", "expired", "refused", "unknown"]
RECEIPTS_REPLY, COINS_REPLY, STATUS_REPLY, ERROR_REPLY, _, _, _, COMMIT_REPLY = range(8)
EXPIRY_ROUNDS = 1000


def number(value, size):
    return value.to_bytes(size, "little")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


class Testbed:
    """What committee.txt and hosts.txt say."""

    def __init__(self, committee, hosts):
        with open(committee, "rb") as file:
            text = file.read()
        self.id = sha256(text)
        words = [line.split() for line in text.decode().splitlines()]
        self.value = {line[0]: line[1] for line in words if len(line) == 2}
        self.keys = {int(line[1]): bytes.fromhex(line[2]) for line in words if line[0] == "node"}
        with open(hosts) as file:
            lines = [line.split("#")[0].split() for line in file]
        self.addresses = {int(line[0]): (line[2], int(line[3])) for line in lines if line}

    def shard_of(self, node):
        return node // int(self.value["nodes_per_shard"])


class Session:
    """An authenticated session with one node."""

    def __init__(self, testbed, node):
        self.socket = socket.create_connection(testbed.addresses[node], timeout=30)
        key, secret = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        hello = MAGIC + number(VERSION, 2) + bytes([ROLE_CLIENT]) + number(0, 2) + testbed.id
        hello += key.public_key().public_bytes_raw() + secret.public_key().public_bytes_raw()
        hello += os.urandom(8) + number(0, 8)
        self.socket.sendall(hello)
        reply = self.read(164)
        fields, signature = reply[:-64], reply[-64:]
        if fields[:10] != MAGIC + number(VERSION, 2):
            raise ValueError(f"node {node} speaks another protocol or version")
        if fields[10:44] != number(node, 2) + testbed.keys[node]:
            raise ValueError(f"this is not node {node}")
        transcript = LABEL + b"transcript" + hello + fields
        listener = Ed25519PublicKey.from_public_bytes(testbed.keys[node])
        listener.verify(signature, LABEL + b"listener signs" + sha256(transcript))
        transcript += signature
        finish = key.sign(LABEL + b"dialer signs" + sha256(transcript))
        self.socket.sendall(finish)
        # It refuses a secret of zeros itself.
        shared = secret.exchange(X25519PublicKey.from_public_bytes(fields[44:76]))
        extracted = mac(sha256(transcript + finish), shared)
        self.key_out = mac(extracted, LABEL + b"dialer to listener", b"\x01")
        self.key_in = mac(extracted, LABEL + b"listener to dialer", b"\x01")
        self.sent = self.received = 0

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed by the node")
            data += more
        return data

    def send(self, request, fields=b""):
        body = number(request, 4) + fields
        header = number(len(body), 4) + bytes([DATA]) + number(self.sent, 8)
        tag = mac(self.key_out, number(self.sent, 8), header, sha256(body))
        self.socket.sendall(header + body + tag)
        self.sent += 1

    def receive(self):
        """The number of the next reply, and its fields."""
        while True:
            header = self.read(13)
            body = self.read(int.from_bytes(header[:4], "little"))
            tag = mac(self.key_in, number(self.received, 8), header, sha256(body))
            if not hmac.compare_digest(self.read(32), tag):
                raise ValueError("a frame with a wrong tag")
            self.received += 1
            if header[4] == DATA:
                kind, fields = int.from_bytes(body[:4], "little"), body[4:]
                if kind == ERROR_REPLY:
                    raise ValueError(fields[8:].decode())
                return kind, fields

    def ask(self, request, fields, expected):
        self.send(request, fields)
        while True:
            kind, fields = self.receive()
            if kind == expected:
                return fields

    def receipt(self, tx_id):
        """The fate of a transaction and the number with it, once it comes."""
        while True:
            kind, fields = self.receive()
            if kind != RECEIPTS_REPLY:
                continue
            at = 8
            for _ in range(int.from_bytes(fields[:8], "little")):
                found, fate = fields[at : at + 32], int.from_bytes(fields[at + 32 : at + 36], "little")
                more = {0: 8, 1: 4, 3: 4}.get(fate, 0)
                detail = int.from_bytes(fields[at + 36 : at + 36 + more], "little")
                at += 36 + more
                if found == tx_id:
                    return FATES[fate], detail


def a_spare_coin(testbed, session, shard):
    """One of the last coins of the beginning, which loads leave alone."""
    count = int(testbed.value["genesis_coins"])
    names = [sha256(b"GENC", testbed.id, number(shard, 2), number(at, 8)) for at in range(max(0, count - 64), count)]
    unspent = session.ask(COINS, number(len(names), 8) + b"".join(names), COINS_REPLY)
    if len(unspent) < 48:
        raise ValueError("all spare coins are spent")
    # Not always the same one, so that two clients rarely take one coin.
    at = 8 + 40 * (os.urandom(1)[0] % (len(unspent) // 40))
    return unspent[at : at + 32], int.from_bytes(unspent[at + 32 : at + 40], "little")


def transaction(testbed, shard, coin, amount, expiry, payload):
    """Gives a coin within a shard back to its owner."""
    secret = Ed25519PrivateKey.from_private_bytes(sha256(b"GENK", testbed.id))
    owner = secret.public_key().public_bytes_raw()
    is_signed = testbed.value["signed"] == "true"
    head = bytes([1, 1, 1, int(is_signed)]) + number(shard, 2) + number(len(payload), 4)
    body = number(shard, 2) + coin + number(amount, 8) + owner + number(amount, 8)
    unsigned = head + body + number(shard, 2) + number(expiry, 8) + payload
    return unsigned + (secret.sign(b"TXIN" + testbed.id + sha256(unsigned)) if is_signed else b"")


def main():
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} COMMITTEE.TXT HOSTS.TXT [NODE]")
    testbed = Testbed(sys.argv[1], sys.argv[2])
    node = int(sys.argv[3]) if len(sys.argv) == 4 else 0
    shard = testbed.shard_of(node)
    session = Session(testbed, node)
    height = int.from_bytes(session.ask(STATUS, b"", STATUS_REPLY)[8:16], "little")
    coin, amount = a_spare_coin(testbed, session, shard)
    tx = transaction(testbed, shard, coin, amount, height + EXPIRY_ROUNDS, b"hello from python" + os.urandom(8))
    tx_id = sha256(tx)
    session.send(SUBMIT, number(1, 4) + number(len(tx), 4) + tx)
    fate, detail = session.receipt(tx_id)
    print(f"{tx_id.hex()} {fate} {detail}")
    # A session that is lost takes receipts with it and no transactions: another one is asked for them by id.
    session.socket.close()
    again = Session(testbed, node)
    again.send(QUERY, number(1, 8) + tx_id)
    repeated = again.receipt(tx_id)
    print(f"{tx_id.hex()} {repeated[0]} {repeated[1]}, asked again")
    # Two blocks as they are executed.
    again.send(SUBSCRIBE, number(2, 4))
    for _ in range(2):
        kind, fields = again.receive()
        while kind != COMMIT_REPLY:
            kind, fields = again.receive()
        height, finished = (int.from_bytes(fields[at : at + 8], "little") for at in (0, 40))
        print(f"block {height} finished {finished} transactions within shard {shard}")
    sys.exit(0 if fate == "finished" and repeated == (fate, detail) else 1)


if __name__ == "__main__":
    main()
