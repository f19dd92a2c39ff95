#!/usr/bin/env python3
"""Vectors for the handshake that opens a session, computed by nothing but Python's own integers and hashes.

An independent second implementation of what wire/src/session.rs, frame.rs and mac.rs do with ed25519-dalek and
curve25519-dalek: hello, reply and finish byte by byte, X25519 (RFC 7748), ed25519 (RFC 8032), the frame keys (HKDF,
RFC 5869), and the first frames of either direction. Slow, and it leaks secrets through time.

    python3 docs/session_vectors.py > docs/session_vectors.txt

The Rust test `vectors_of_the_independent_script` checks each line of the output. Before it prints anything the script
checks itself against vectors of the RFCs.
"""

import hashlib
import hmac
import sys

sys.dont_write_bytecode = True

from coin_vectors import G, ORDER, P, mul  # noqa: E402

# --- X25519, RFC 7748 -------------------------------------------------------------------------------------------------


def clamp(secret):
    scalar = int.from_bytes(secret, "little")
    return scalar & ~7 & (2**254 - 1) | 2**254


def x25519(secret, u):
    """The ladder of RFC 7748, section 5, without the care that real secrets need."""
    scalar, x1 = clamp(secret), int.from_bytes(u, "little") % 2**255 % P
    x2, z2, x3, z3 = 1, 0, x1, 1
    for bit in range(254, -1, -1):
        swap = scalar >> bit & 1
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P, b * b % P, d * a % P, c * b % P
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, (aa - bb) * (aa + 121665 * (aa - bb)) % P
        if swap:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


NINE = (9).to_bytes(32, "little")

# --- ed25519, RFC 8032 ------------------------------------------------------------------------------------------------


def compress(point):
    x, y, z, _ = point
    z_inv = pow(z, P - 2, P)
    x, y = x * z_inv % P, y * z_inv % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def expand(seed):
    digest = hashlib.sha512(seed).digest()
    return clamp(digest[:32]), digest[32:]


def public_key(seed):
    return compress(mul(expand(seed)[0], G))


def hash_to_scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def sign(seed, message):
    secret, prefix = expand(seed)
    nonce = hash_to_scalar(prefix, message)
    commitment = compress(mul(nonce, G))
    challenge = hash_to_scalar(commitment, public_key(seed), message)
    return commitment + ((nonce + challenge * secret) % ORDER).to_bytes(32, "little")


def check_against_the_rfcs():
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032, 7.1
    assert public_key(seed).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert sign(seed, b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )
    once = x25519(NINE, NINE)  # RFC 7748, 5.2
    assert once.hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"


# --- The handshake ----------------------------------------------------------------------------------------------------

LABEL = b"dumbo-testbed session 1: "


def u16(value):
    return value.to_bytes(2, "little")


def u64(value):
    return value.to_bytes(8, "little")


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def frame(key, count, kind, sequence, body):
    header = len(body).to_bytes(4, "little") + bytes([kind]) + u64(sequence)
    return header + body + mac(key, u64(count), header, sha256(body))


DATA, ACK, PING, PONG, SKIP = range(1, 6)


def committee_text(seeds):
    lines = ["dumbo-testbed committee 1", "nonce " + "01" * 32, "nodes_per_shard 4", "shards 1", "signed false"]
    lines += ["proposal_bytes_max 1000", "transaction_bytes_max 1000", "genesis_coins 0", "genesis_amount 1"]
    lines += [f"node {i} {public_key(seed).hex()} {i:064x}" for i, seed in enumerate(seeds)]
    return "".join(line + "\n" for line in lines)


def print_case(name, role, dialer_id, seeds, dialer_seed):
    """Node 2 listens; its frame 9 is the next it expects."""
    listener_id, listener_seed = 2, seeds[2]
    testbed = sha256(committee_text(seeds).encode())
    dialer_secret, listener_secret = sha256(name, b" dialer secret"), sha256(name, b" listener secret")
    preamble = b"dumbo-tb" + u16(1)
    hello = preamble + bytes([role]) + u16(dialer_id) + testbed + public_key(dialer_seed)
    hello += x25519(dialer_secret, NINE) + u64(77) + u64(5)
    fields = preamble + u16(listener_id) + public_key(listener_seed)
    fields += x25519(listener_secret, NINE) + u64(88) + u64(6) + u64(9)
    transcript = LABEL + b"transcript" + hello + fields
    signature = sign(listener_seed, LABEL + b"listener signs" + sha256(transcript))
    transcript += signature
    finish = sign(dialer_seed, LABEL + b"dialer signs" + sha256(transcript))
    transcript += finish
    shared = x25519(dialer_secret, x25519(listener_secret, NINE))
    assert shared == x25519(listener_secret, x25519(dialer_secret, NINE))
    extracted = mac(sha256(transcript), shared)
    to_listener = mac(extracted, LABEL + b"dialer to listener", b"\x01")
    to_dialer = mac(extracted, LABEL + b"listener to dialer", b"\x01")
    vectors = {
        "dialer_seed": dialer_seed,
        "dialer_secret": dialer_secret,
        "listener_seed": listener_seed,
        "listener_secret": listener_secret,
        "hello": hello,
        "reply": fields + signature,
        "finish": finish,
        "transcript": sha256(transcript),
        "shared": shared,
        "to_listener": to_listener,
        "to_dialer": to_dialer,
        "frames_to_listener": frame(to_listener, 0, DATA, 9, b"body") + frame(to_listener, 1, PING, 4, u64(3))
        + frame(to_listener, 2, SKIP, 12, b""),
        "frames_to_dialer": frame(to_dialer, 0, ACK, 10, b"") + frame(to_dialer, 1, PONG, 4, u64(2)),
    }
    print(f"\ncase {name.decode()}")
    for key, value in vectors.items():
        print(key, value.hex())


def main():
    check_against_the_rfcs()
    seeds = [sha256(b"node %d" % i) for i in range(4)]
    print("# Printed by docs/session_vectors.py; everything in hex as it stands on the wire or in memory.")
    for line in committee_text(seeds).splitlines():
        print("committee", line)
    print_case(b"peer", 1, 1, seeds, seeds[1])
    print_case(b"client", 2, 0, seeds, sha256(b"throwaway"))


if __name__ == "__main__":
    main()
