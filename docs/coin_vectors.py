#!/usr/bin/env python3
"""Vectors for the threshold coin, computed by nothing but Python's own integers and hashes.

An independent second implementation of what bft/src/crypto/coin.rs does with curve25519-dalek: ristretto255 and its
one-way map after RFC 9496, the dealer's polynomial, shares, their DLEQ proofs, interpolation in the exponent, and the
leader. Written from the papers and the RFC for readability; it is slow and leaks secrets through time.

    python3 docs/coin_vectors.py > docs/coin_vectors.txt

The Rust test `vectors_of_the_independent_script` checks each line of the output. Before it prints anything the script
checks itself against vectors of RFC 9496, and that its own shares prove, combine and elect as they should.
"""

import hashlib
from itertools import combinations

# --- The field of 2^255 - 19 and the curve -x^2 + y^2 = 1 + d x^2 y^2 over it -----------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1, 1, 0)  # X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z


def is_negative(x):
    return x % P & 1 == 1


def absolute(x):
    return -x % P if is_negative(x) else x % P


def sqrt_ratio_m1(u, v):
    """(True, sqrt(u/v)) or (False, sqrt(sqrt(-1) u/v)); RFC 9496, 4.2."""
    r = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    check = v * r * r % P
    correct = check == u % P
    flipped = check == -u % P
    flipped_i = check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


def add(a, b):
    """Extended coordinates, the complete addition for a = -1."""
    (x1, y1, z1, t1), (x2, y2, z2, t2) = a, b
    m, n = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def mul(scalar, point):
    result = IDENTITY
    for bit in bin(scalar % ORDER)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


# --- ristretto255 -----------------------------------------------------------------------------------------------------

INVSQRT_A_MINUS_D = sqrt_ratio_m1(1, -1 - D)[1]
# Which of the two roots the map takes, RFC 9496 says by listing it in 4.1.
SQRT_AD_MINUS_ONE = 25063068953384623474111414158702152701244531502492656460079210482610430750235
ONE_MINUS_D_SQ = (1 - D * D) % P
D_MINUS_ONE_SQ = (D - 1) ** 2 % P
assert SQRT_AD_MINUS_ONE**2 % P == (-D - 1) % P


def encode(point):
    """RFC 9496, 4.3.2."""
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    _, invsqrt = sqrt_ratio_m1(1, u1 * u2 * u2 % P)
    den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
    z_inv = den1 * den2 * t0 % P
    if is_negative(t0 * z_inv):
        x, y, den_inv = y0 * SQRT_M1 % P, x0 * SQRT_M1 % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den_inv = x0, y0, den2
    if is_negative(x * z_inv):
        y = -y % P
    return absolute(den_inv * (z0 - y)).to_bytes(32, "little")


def decode(data):
    """RFC 9496, 4.3.1; None if the bytes are no canonical encoding."""
    s = int.from_bytes(data, "little")
    if s >= P or is_negative(s):
        return None
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    was_square, invsqrt = sqrt_ratio_m1(1, v * u2 * u2 % P)
    den_x = invsqrt * u2 % P
    den_y = invsqrt * den_x * v % P
    x, y = absolute(2 * s * den_x), u1 * den_y % P
    t = x * y % P
    if not was_square or is_negative(t) or y == 0:
        return None
    return x, y, 1, t


def elligator(t):
    """The map of a field element, RFC 9496, 4.3.4."""
    r = SQRT_M1 * t * t % P
    u = (r + 1) * ONE_MINUS_D_SQ % P
    v = (-1 - r * D) * (r + D) % P
    was_square, s = sqrt_ratio_m1(u, v)
    if was_square:
        c = P - 1
    else:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * D_MINUS_ONE_SQ - v) % P
    w0, w1, w2, w3 = 2 * s * v, n * SQRT_AD_MINUS_ONE, 1 - s * s, 1 + s * s
    return w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P


def from_uniform_bytes(data):
    halves = (int.from_bytes(half, "little") % 2**255 % P for half in (data[:32], data[32:]))
    return add(*(elligator(half) for half in halves))


BASE_X = sqrt_ratio_m1((4 * pow(5, P - 2, P)) ** 2 - 1, D * (4 * pow(5, P - 2, P)) ** 2 + 1)[1]
BASE_Y = 4 * pow(5, P - 2, P) % P
G = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def check_against_rfc_9496():
    multiples = [  # A.1: 0 to 4 times the generator
        "0000000000000000000000000000000000000000000000000000000000000000",
        "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
        "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
        "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
        "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
    ]
    for k, expected in enumerate(multiples):
        assert encode(mul(k, G)).hex() == expected, k
        assert encode(decode(bytes.fromhex(expected))).hex() == expected, k
    for bad in (P.to_bytes(32, "little"), (1).to_bytes(32, "little"), b"\xff" * 32):  # A.2
        assert decode(bad) is None
    label = hashlib.sha512(b"Ristretto is traditionally a short shot of espresso coffee").digest()  # A.3
    expected = "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
    assert encode(from_uniform_bytes(label)).hex() == expected


# --- The coin ---------------------------------------------------------------------------------------------------------


def hash_to_scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def scalar_bytes(scalar):
    return scalar.to_bytes(32, "little")


def coin_name(testbed, shard, round_, view):
    return testbed + shard.to_bytes(2, "little") + round_.to_bytes(8, "little") + view.to_bytes(4, "little")


def coin_base(name):
    return from_uniform_bytes(hashlib.sha512(b"dumbo-testbed/coin/name" + name).digest())


def challenge(base, commitment, value, nonce_points):
    points = [G, base, commitment, value, *nonce_points]
    return hash_to_scalar(b"dumbo-testbed/coin/proof", *(encode(point) for point in points))


def make_share(secret, name):
    base = coin_base(name)
    value = mul(secret, base)
    nonce = hash_to_scalar(b"dumbo-testbed/coin/nonce", scalar_bytes(secret), name)
    c = challenge(base, mul(secret, G), value, [mul(nonce, G), mul(nonce, base)])
    return value, c, (nonce + c * secret) % ORDER


def share_is_valid(commitment, name, share):
    value, c, response = share
    base = coin_base(name)
    nonce_points = [
        add(mul(response, G), mul(-c, commitment)),
        add(mul(response, base), mul(-c, value)),
    ]
    return challenge(base, commitment, value, nonce_points) == c


def combine(values):
    """Interpolates {x: point} at 0 in the exponent."""
    total = IDENTITY
    for i, point in values.items():
        factor = 1
        for j in values:
            if j != i:
                factor = factor * j * pow(j - i, ORDER - 2, ORDER) % ORDER
        total = add(total, mul(factor, point))
    return total


def leader_of(coin, n):
    return int.from_bytes(hashlib.sha256(encode(coin)).digest(), "big") % n


# --- Vectors ----------------------------------------------------------------------------------------------------------


def print_case(n, shard, names):
    threshold = n - (n - 1) // 3
    testbed = hashlib.sha256(b"testbed of %d" % n).digest()
    coefficients = [hash_to_scalar(b"coefficient %d of %d" % (k, n)) for k in range(threshold)]
    secrets = [sum(a * x**k for k, a in enumerate(coefficients)) % ORDER for x in range(1, n + 1)]
    print(f"\ncase n {n} threshold {threshold} shard {shard} testbed {testbed.hex()}")
    for secret in secrets:
        print(f"member secret {scalar_bytes(secret).hex()} commitment {encode(mul(secret, G)).hex()}")
    for round_, view in names:
        name = coin_name(testbed, shard, round_, view)
        base = coin_base(name)
        print(f"name round {round_} view {view} base {encode(base).hex()}")
        shares = [make_share(secret, name) for secret in secrets]
        for secret, share in zip(secrets, shares):
            value, c, response = share
            assert share_is_valid(mul(secret, G), name, share)
            assert not share_is_valid(mul(secret + 1, G), name, share)
            proof = f"challenge {scalar_bytes(c).hex()} response {scalar_bytes(response).hex()}"
            print(f"share value {encode(value).hex()} {proof}")
        values = {x: share[0] for x, share in enumerate(shares, start=1)}
        coin = mul(coefficients[0], base)
        subsets = list(combinations(values, threshold))
        for subset in (subsets[0], subsets[-1]):
            assert encode(combine({x: values[x] for x in subset})) == encode(coin)
        print(f"coin {encode(coin).hex()} leader {leader_of(coin, n)}")


def main():
    check_against_rfc_9496()
    print("# Printed by docs/coin_vectors.py; numbers in hex are little endian. Members and shares by index.")
    print_case(1, 0, [(1, 0)])
    print_case(2, 0, [(1, 0)])
    print_case(4, 0, [(1, 0), (1, 1), (2, 0), (2**40 + 5, 2**31 + 7)])
    print_case(7, 3, [(1, 0), (77, 2)])
    print_case(10, 258, [(1, 0), (123456789, 3)])
    print_case(16, 1, [(9, 1)])


if __name__ == "__main__":
    main()
