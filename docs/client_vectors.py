#!/usr/bin/env python3
"""Vectors for what clients and nodes say to each other, computed from docs/client-protocol.md alone.

A second implementation of the encodings in wire/src/client.rs and bft/src/transaction.rs: requests, replies, receipts,
transactions, their ids and the coins that follow from them.

    python3 docs/client_vectors.py > docs/client_vectors.txt

The Rust tests `vectors_of_the_independent_script` of wire::client and bft::transaction check each line of the output.
"""

import hashlib
import sys

sys.dont_write_bytecode = True

from session_vectors import public_key, sign  # noqa: E402


def u8(value):
    return value.to_bytes(1, "little")


def u16(value):
    return value.to_bytes(2, "little")


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# --- Transactions -----------------------------------------------------------------------------------------------------


def transaction(inputs, output_shard, outputs, expiries, payload, signatures=()):
    head = bytes([len(inputs), len(outputs), len(expiries), len(signatures)]) + u16(output_shard) + u32(len(payload))
    inputs = b"".join(u16(shard) + coin + u64(amount) for shard, coin, amount in inputs)
    outputs = b"".join(owner + u64(amount) for owner, amount in outputs)
    expiries = b"".join(u16(shard) + u64(number) for shard, number in expiries)
    return head + inputs + outputs + expiries + payload + b"".join(signatures)


def signed(testbed, seeds, inputs, output_shard, outputs, expiries, payload):
    """With a signature of each input's owner, over the bytes that it has with these counts and without signatures."""
    empty = transaction(inputs, output_shard, outputs, expiries, payload, [b""] * len(inputs))
    message = b"TXIN" + testbed + sha256(empty)
    return empty + b"".join(sign(seed, message) for seed in seeds)


def genesis_coin(testbed, shard, index):
    return sha256(b"GENC", testbed, u16(shard), u64(index))


def genesis_secret(testbed):
    return sha256(b"GENK", testbed)


def output_coin(tx_id, output):
    return sha256(b"COIN", tx_id, u8(output))


def refund_coin(tx_id, coin):
    return sha256(b"RFND", tx_id, coin)


# --- Messages ---------------------------------------------------------------------------------------------------------


def ids(all_ids):
    return u64(len(all_ids)) + b"".join(all_ids)


def items(all_items):
    return u32(len(all_items)) + b"".join(u32(len(item)) + item for item in all_items)


def coins(all_coins):
    return u64(len(all_coins)) + b"".join(coin + u64(amount) for coin, amount in all_coins)


def option(encoded):
    return u8(0) if encoded is None else u8(1) + encoded


FINISHED, REJECTED, EXPIRED, REFUSED, UNKNOWN = range(5)


def main():
    testbed, owner = b"\x01" * 32, b"\x02" * 32
    a, b = genesis_coin(testbed, 0, 7), genesis_coin(testbed, 1, 8)
    secret = genesis_secret(testbed)
    plain = transaction([(0, a, 1000)], 0, [(owner, 1000)], [(0, 90)], b"hello")
    outputs = [(owner, 1500), (public_key(secret), 500)]
    crossing = signed(testbed, [secret, secret], [(0, a, 1000), (1, b, 1000)], 2, outputs, [(0, 90), (1, 91)], b"")
    plain_id, crossing_id = sha256(plain), sha256(crossing)
    fates = [u32(FINISHED) + u64(12)] + [u32(REJECTED) + u32(reason) for reason in range(5)]
    fates += [u32(EXPIRED)] + [u32(REFUSED) + u32(reason) for reason in range(9)] + [u32(UNKNOWN)]
    receipts = u64(len(fates)) + b"".join(plain_id + fate for fate in fates)
    error = "a query for 10001 ids, expected at most 10000".encode()
    vectors = {
        "testbed": testbed,
        "genesis_coin_0_7": a,
        "genesis_coin_1_8": b,
        "genesis_secret": secret,
        "genesis_owner": public_key(secret),
        "transaction_plain": plain,
        "transaction_plain_id": plain_id,
        "transaction_crossing": crossing,
        "transaction_crossing_id": crossing_id,
        "output_coin_crossing_1": output_coin(crossing_id, 1),
        "refund_coin_crossing_a": refund_coin(crossing_id, a),
        "request_submit": u32(0) + items([plain, crossing]),
        "request_query": u32(1) + ids([plain_id, crossing_id]),
        "request_coins": u32(2) + ids([a, b]),
        "request_coins_none": u32(2) + ids([]),
        "request_status": u32(3),
        "request_coins_from": u32(4) + owner + u32(10_000),
        "request_ledger_sums": u32(5) + u32(0),
        "request_subscribe": u32(6) + u32(100),
        "reply_receipts": u32(0) + receipts,
        "reply_coins": u32(1) + coins([(a, 1000), (b, 1000)]),
        "reply_error": u32(3) + u64(len(error)) + error,
        "reply_coins_from": u32(4) + coins([(a, 1000)]) + option(u32(20_000)),
        "reply_commit": u32(7) + u64(12) + b"\x03" * 32 + b"".join(u64(number) for number in (5, 4, 3, 2, 1)),
        "reply_try_again": u32(8) + u32(250),
        "reply_coins_from_end": u32(4) + coins([]) + option(None),
    }
    print("# Printed by docs/client_vectors.py; everything in hex. docs/client-protocol.md says what it is.")
    for key, value in vectors.items():
        print(key, value.hex())


if __name__ == "__main__":
    main()
