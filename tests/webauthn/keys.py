"""Public keys and signatures that are wrong, or written in another way."""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from changes import KEYS, RANDOM, flipped, put, replaced
from device import EDDSA, ES256, RS256, Key, Raw, cbor

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED_ORDER = 2**252 + 27742317777372353535851937790883648493


def wrong_keys():
    """COSE keys that are wrong, or written in another way, as a key to sign with and the bytes."""
    es256, eddsa, rs256 = (KEYS[a] for a in (ES256, EDDSA, RS256))

    def member(key, **changes):
        members = key.members()
        for name, value in changes.items():
            label = {"kty": 1, "alg": 3, "a": -1, "b": -2, "c": -3, "kid": 2, "ops": 4}[name]
            if value is ...:
                del members[label]
            else:
                members[label] = value
        return cbor(members)

    x, y = es256.members()[-2], es256.members()[-3]
    for algorithm in (-257, -8, -9, -35, -36, -37, -47, -65535, 0, 7, 2**31):
        yield f"ES256 key that says {algorithm}", es256, member(es256, alg=algorithm)
    for algorithm in (-257, -7, -19, -53):
        yield f"EdDSA key that says {algorithm}", eddsa, member(eddsa, alg=algorithm)
    for algorithm in (-7, -8, -37, -258, -65535):
        yield f"RS256 key that says {algorithm}", rs256, member(rs256, alg=algorithm)
    for name, key in (("ES256", es256), ("EdDSA", eddsa), ("RS256", rs256)):
        pairs = list(key.members().items())
        yield f"{name} key without kty", key, member(key, kty=...)
        yield f"{name} key without alg", key, member(key, alg=...)
        yield f"{name} key without -1", key, member(key, a=...)
        yield f"{name} key without -2", key, member(key, b=...)
        yield f"{name} key with alg of text", key, member(key, alg=name)
        yield f"{name} key with kty of text", key, member(key, kty="EC2")
        yield f"{name} key with -1 of text", key, member(key, a="P-256")
        yield f"{name} key with -2 of text", key, member(key, b="x")
        yield f"{name} key with an empty -2", key, member(key, b=b"")
        for kty in (0, 1, 2, 3, 4):
            if kty != key.members()[1]:
                yield f"{name} key of type {kty}", key, member(key, kty=kty)
        yield f"{name} key with kid", key, member(key, kid=b"a")
        yield f"{name} key with key_ops", key, member(key, ops=Raw(b"\x81\x02"))
        yield f"{name} key with a label of text", key, cbor([*pairs, ("a", 1)])
        yield f"{name} key in another order", key, cbor(pairs[::-1])
        yield f"{name} key of indefinite length", key, (
            b"\xbf" + b"".join(cbor(k) + cbor(v) for k, v in pairs) + b"\xff")
        yield f"{name} key with alg twice", key, cbor([*pairs, (3, key.algorithm)])
        yield f"{name} key with another alg first", key, cbor([(3, -35), *pairs])
        yield f"{name} key with -2 twice", key, cbor([(-2, b"a"), *pairs])
        yield f"{name} key with a length in long form", key, (
            b"\xb8" + bytes([len(pairs)]) + cbor(pairs)[1:])
        yield f"{name} key with kty in long form", key, cbor(
            [(Raw(b"\x18\x01"), Raw(b"\x18" + bytes([key.members()[1]]))), *pairs[1:]])
        chunks = Raw(b"\x5f" + cbor(key.members()[-2]) + b"\xff")
        yield f"{name} key with -2 in chunks", key, member(key, b=chunks)
        yield f"{name} key with a tagged -2", key, member(key, b=Raw(b"\xc2" + cbor(pairs[3][1])))
        yield f"{name} key in a list", key, b"\x81" + cbor(pairs)
        yield f"{name} key that breaks off", key, cbor(pairs)[:-1]
        yield f"{name} key of no members", key, b"\xa0"
        yield f"{name} key of no bytes", key, b""
    for curve in (0, 2, 3, 6, 8):
        yield f"ES256 key of curve {curve}", es256, member(es256, a=curve)
    for curve in (0, 1, 4, 5, 7):
        yield f"EdDSA key of curve {curve}", eddsa, member(eddsa, a=curve)
    yield "ES256 key without y", es256, member(es256, c=...)
    yield "ES256 key with a sign for y", es256, member(es256, c=bool(y[-1] & 1))
    yield "ES256 key with y false", es256, member(es256, c=False)
    yield "ES256 key with x of 31 bytes", es256, member(es256, b=x[1:])
    yield "ES256 key with x of 33 bytes", es256, member(es256, b=b"\0" + x)
    yield "ES256 key with x and y swapped", es256, member(es256, b=y, c=x)
    yield "ES256 key off the curve", es256, member(es256, c=flipped(0)(y))
    yield "ES256 key of zeros", es256, member(es256, b=bytes(32), c=bytes(32))
    yield "ES256 key beyond the field", es256, member(es256, b=b"\xff" * 32, c=b"\xff" * 32)
    point = eddsa.members()[-2]
    yield "EdDSA key of 31 bytes", eddsa, member(eddsa, b=point[1:])
    yield "EdDSA key of 33 bytes", eddsa, member(eddsa, b=point + b"\0")
    yield "EdDSA key off the curve", eddsa, member(eddsa, b=b"\x02" + bytes(31))
    yield "EdDSA key of small order", eddsa, member(eddsa, b=b"\x01" + bytes(31))
    yield "EdDSA key beyond the field", eddsa, member(eddsa, b=b"\xff" * 32)
    yield "EdDSA key with y", eddsa, member(eddsa, c=y)
    n, e = rs256.members()[-1], rs256.members()[-2]
    for bits in (512, 1024, 2040, 16384):
        number = RANDOM.getrandbits(bits) | 1 | 1 << bits - 1
        yield f"RS256 key of {bits} bits", rs256, member(rs256, a=number.to_bytes(bits // 8, "big"))
    yield "RS256 key with a zero before n", rs256, member(rs256, a=b"\0" + n)
    yield "RS256 key with a zero before e", rs256, member(rs256, b=b"\0" + e)
    yield "RS256 key with an even n", rs256, member(rs256, a=n[:-1] + bytes([n[-1] & 254]))
    yield "RS256 key with n of zeros", rs256, member(rs256, a=bytes(256))
    for name, exponent in {"0": b"\0", "1": b"\1", "2": b"\2", "65536": b"\1\0\0",
                           "2^32 + 1": b"\1\0\0\0\1", "2^64 + 1": b"\1" + bytes(7) + b"\1"}.items():
        yield f"RS256 key with e {name}", rs256, member(rs256, b=exponent)
    yield "RS256 key with e 3", rs256, member(rs256, b=b"\3")
    yield "RS256 key with -3", rs256, member(rs256, c=b"a")


def signatures(algorithm):
    """Signatures that are wrong, or written in another way."""
    # In the numbers: changed DER is a case of its own.
    places = ((4, 33), (-28, None)) if algorithm == ES256 else ((0, None),)
    for number in range(24):
        yield f"bit flip {number}", flipped(RANDOM.getrandbits(16), *places[number % len(places)])
    yield "empty", lambda _: b""
    yield "a zero behind", lambda s: s + b"\0"
    yield "a zero before", lambda s: b"\0" + s
    yield "cut", lambda s: s[:-1]
    yield "zeros", lambda s: bytes(len(s))
    yield "ones", lambda s: b"\xff" * len(s)
    yield "of another message", lambda _: KEYS[algorithm].sign(b"another")
    if algorithm == EDDSA:
        def scalar(function):
            def change(s):
                value = function(int.from_bytes(s[32:], "little"))
                return s[:32] + value.to_bytes(32, "little")
            return change
        yield "s + order", scalar(lambda s: s + ED_ORDER)
        yield "order - s", scalar(lambda s: ED_ORDER - s)
        yield "twice", lambda s: s + s
        yield "halves swapped", lambda s: s[32:] + s[:32]
        yield "R of small order", lambda s: b"\1" + bytes(31) + s[32:]
    if algorithm == ES256:
        def pair(function):
            def change(s):
                return function(*utils.decode_dss_signature(s))
            return change

        def number(value):
            data = value.to_bytes((value.bit_length() + 8) // 8, "big")
            return b"\2" + bytes([len(data)]) + data

        def sequence(*parts):
            data = b"".join(parts)
            return b"\x30" + (b"" if len(data) < 128 else b"\x81") + bytes([len(data)]) + data

        def wide(value, size=33):
            return b"\2" + bytes([size]) + value.to_bytes(size, "big")
        encode = utils.encode_dss_signature
        yield "the other s", pair(lambda r, s: encode(r, ORDER - s))
        yield "r 0", pair(lambda r, s: encode(0, s))
        yield "s 0", pair(lambda r, s: encode(r, 0))
        yield "r and s 0", lambda _: encode(0, 0)
        yield "r + order", pair(lambda r, s: encode(r + ORDER, s))
        yield "s + order", pair(lambda r, s: encode(r, s + ORDER))
        yield "s - order", pair(lambda r, s: sequence(
            number(r), b"\2\x21" + (s - ORDER).to_bytes(33, "big", signed=True)))
        yield "r and s swapped", pair(lambda r, s: encode(s, r))
        yield "not in DER", pair(lambda r, s: r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        yield "DER with zeros before r", pair(lambda r, s: sequence(wide(r, 34), number(s)))
        yield "DER with zeros before s", pair(lambda r, s: sequence(number(r), wide(s, 34)))
        yield "DER of signed numbers", pair(lambda r, s: sequence(wide(r, 32), wide(s, 32)))
        yield "DER with three numbers", pair(lambda r, s: sequence(number(r), number(s), number(1)))
        yield "DER with one number", pair(lambda r, s: sequence(number(r)))
        yield "DER with a length in long form", lambda s: b"\x30\x81" + s[1:]
        yield "DER with a length of three bytes", lambda s: b"\x30\x82\x00" + s[1:]
        yield "DER of indefinite length", lambda s: b"\x30\x80" + s[2:] + b"\0\0"
        yield "DER with a length too long", lambda s: b"\x30" + bytes([s[1] + 1]) + s[2:]
        yield "DER with a length too short", lambda s: b"\x30" + bytes([s[1] - 1]) + s[2:]
        yield "DER of a set", lambda s: b"\x31" + s[1:]
        yield "DER of octets", lambda s: s.replace(b"\x02", b"\x04", 1)
        yield "DER with null behind", lambda s: b"\x30" + bytes([s[1] + 2]) + s[2:] + b"\5\0"
        yield "DER with r in long form", lambda s: (
            b"\x30" + bytes([s[1] + 1]) + b"\x02\x81" + s[3:])


def signature_changes(algorithm):
    """Changes of claims that concern the signature."""
    def other(sign):
        def change(claims):
            class Signer:
                def sign(self, data):
                    return sign(claims_key, data)
            claims_key = claims.key
            claims.key = Signer()
        return change

    def long(key, data):
        """A signature of ECDSA whose numbers have 256 bits, so that all are encoded alike."""
        while len(signature := key.sign(data)) != 72:
            pass
        return signature

    for name, change in signatures(algorithm):
        def changes(claims, change=change):
            if algorithm == ES256:
                other(long)(claims)
            claims.signature = change
        yield f"signature: {name}", changes

    yield "signature: of another key", put(key=Key(algorithm))
    yield "signature: without the client data", put(signed=lambda d: d[:-32])
    yield "signature: with other client data", put(
        sent_client_bytes=replaced(b'"crossOrigin"', b'"a":1,"crossOrigin"'))
    yield "signature: with another flag", lambda claims: setattr(
        claims, "signed", lambda d: d[:32] + bytes([d[32] ^ 8]) + d[33:])
    yield "signature: with another counter", lambda claims: setattr(
        claims, "signed", lambda d: d[:36] + bytes([d[36] ^ 64]) + d[37:])
    if algorithm == ES256:
        for hash in (hashes.SHA1(), hashes.SHA384(), hashes.SHA512()):
            yield f"signature: of {hash.name}", other(
                lambda key, d, hash=hash: key.private.sign(d, ec.ECDSA(hash)))
    if algorithm == RS256:
        for hash in (hashes.SHA1(), hashes.SHA384(), hashes.SHA512()):
            yield f"signature: of {hash.name}", other(
                lambda key, d, hash=hash: key.private.sign(d, padding.PKCS1v15(), hash))
        yield "signature: PSS", other(lambda key, d: key.private.sign(
            d, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()))

        def beyond(key, data):
            n = key.private.public_key().public_numbers().n
            value = int.from_bytes(key.sign(data), "big") + n
            return value.to_bytes(257, "big") if value >> 2048 else value.to_bytes(256, "big")
        yield "signature: beyond n", other(beyond)
        yield "signature: without its first byte", other(lambda key, d: key.sign(d)[1:])
