"""The answers that are compared: each case is a name, and what it changes in right claims."""

import json

from cryptography.hazmat.primitives.asymmetric import rsa

from changes import (
    ALGORITHMS, KEYS, RANDOM, flags, flipped, in_base64, inner, other_trailing_bits, outer, padded,
    put, replaced,
)
from device import (
    ATTESTED, BACKED_UP, EDDSA, ELIGIBLE, ES256, EXTENDED, PRESENT, RS256, VERIFIED, Key, Raw, b64,
    cbor, unb64,
)
from keys import signature_changes, wrong_keys


def spoilt_client_data(client_type, other):
    """Client data that was collected elsewhere, or not by a browser."""
    def json_bytes(function):
        def change(data):
            return function(json.loads(data))
        return put(client_bytes=change)

    def dump(data):
        return json.dumps(data).encode()
    yield "type of the other ceremony", put(type=other)
    yield "type in capitals", put(type=client_type.upper())
    yield "type with a space", put(type=client_type + " ")
    yield "empty type", put(type="")
    yield "no type", put(client={"type": ...})
    yield "type that is a list", put(client={"type": [client_type]})
    yield "type that is null", put(client={"type": None})
    yield "another challenge", put(challenge=b64(bytes(32)))
    yield "empty challenge", put(challenge="")
    yield "no challenge", put(client={"challenge": ...})
    yield "challenge that is a number", put(client={"challenge": 1})
    yield "challenge that is null", put(client={"challenge": None})
    for name, change in {
        "cut challenge": lambda text: text[:-1],
        "longer challenge": lambda text: b64(unb64(text) + b"\0"),
        "challenge with padding": padded,
        "challenge with other trailing bits": other_trailing_bits,
        "challenge with a line break": lambda text: text + "\n",
        "challenge of hexadecimal digits": lambda text: unb64(text).hex(),
        "challenge twice encoded": lambda text: b64(text.encode()),
    }.items():
        yield name, lambda claims, change=change: setattr(
            claims, "challenge", change(claims.challenge))
    for name, change in {
        "origin with a slash": lambda origin: origin + "/",
        "origin of another port": lambda origin: origin + "1",
        "origin of another scheme": lambda origin: origin.replace("http:", "https:"),
        "origin without a port": lambda origin: origin.rsplit(":", 1)[0],
        "origin in capitals": str.upper,
        "origin of a subdomain": lambda origin: origin.replace("//", "//a."),
        "origin of which ours is the beginning": lambda origin: origin + ".evil.example",
        "origin with a user": lambda origin: origin.replace("//", "//a@"),
        "origin of an address": lambda origin: origin.replace("localhost", "127.0.0.1"),
        "origin with a byte of zero": lambda origin: origin + "\0",
        "origin of an app": lambda _: "android:apk-key-hash:" + b64(bytes(32)),
        "origin null": lambda _: "null",
        "empty origin": lambda _: "",
    }.items():
        yield name, lambda claims, change=change: setattr(claims, "origin", change(claims.origin))
    yield "no origin", put(client={"origin": ...})
    yield "origin that is null", put(client={"origin": None})
    yield "origin that is a list", lambda claims: setattr(
        claims, "client", {"origin": [claims.origin]})
    yield "crossOrigin", put(client={"crossOrigin": True})
    yield "crossOrigin with a topOrigin", put(
        client={"crossOrigin": True, "topOrigin": "https://evil.example"})
    yield "topOrigin alone", put(client={"topOrigin": "https://evil.example"})
    yield "topOrigin that is empty", put(client={"topOrigin": ""})
    yield "topOrigin that is null", put(client={"topOrigin": None})
    yield "no crossOrigin", put(client={"crossOrigin": ...})
    yield "crossOrigin that is null", put(client={"crossOrigin": None})
    yield "crossOrigin that is text", put(client={"crossOrigin": "false"})
    yield "crossOrigin that is 0", put(client={"crossOrigin": 0})
    yield "member of the future", put(client={"other_keys_can_be_added_here": "do not compare"})
    yield "tokenBinding of before", put(client={"tokenBinding": {"status": "supported"}})
    yield "tokenBinding without a status", put(client={"tokenBinding": {}})
    yield "members in another order", json_bytes(
        lambda data: dump(dict(reversed(list(data.items())))))
    yield "spaces in the client data", json_bytes(lambda data: json.dumps(data, indent=1).encode())
    yield "escapes in the client data", put(client_bytes=replaced(b"webauthn", b"\\u0077ebauthn"))
    yield "names with escapes", put(client_bytes=replaced(b'"type"', b'"\\u0074ype"'))
    yield "names in capitals", put(client_bytes=replaced(b'"type"', b'"Type"'))
    yield "client data with a byte order mark", put(
        client_bytes=lambda data: b"\xef\xbb\xbf" + data)
    yield "client data in UTF-16", put(client_bytes=lambda data: data.decode().encode("utf-16"))
    yield "client data that is not UTF-8", put(
        client_bytes=replaced(b'"crossOrigin"', b'"a":"\xff","crossOrigin"'))
    yield "client data with more behind it", put(client_bytes=lambda data: data + b"{}")
    yield "client data with a zero behind it", put(client_bytes=lambda data: data + b"\0")
    yield "client data with a line break behind it", put(client_bytes=lambda data: data + b"\n")
    yield "client data that breaks off", put(client_bytes=lambda data: data[:-1])
    yield "client data with a comma too many", put(client_bytes=replaced(b"}", b",}"))
    yield "client data with a comment", put(client_bytes=lambda data: data + b"//")
    yield "client data in a list", put(client_bytes=lambda data: b"[" + data + b"]")
    yield "client data that is text", put(client_bytes=lambda data: dump(data.decode()))
    yield "empty client data", put(client_bytes=lambda _: b"")
    yield "client data null", put(client_bytes=lambda _: b"null")
    yield "NaN in the client data", put(client_bytes=replaced(b"{", b'{"a":NaN,'))
    # The right one comes last, which is what lenient readers take.
    yield "type twice", put(client_bytes=replaced(b"{", b'{"type":"%s",' % other.encode()))
    yield "challenge twice", put(client_bytes=replaced(b"{", b'{"challenge":"AAAA",'))
    yield "origin twice", put(client_bytes=replaced(b"{", b'{"origin":"https://evil.example",'))
    yield "crossOrigin twice", put(client_bytes=replaced(b"{", b'{"crossOrigin":true,'))
    yield "unknown member twice", put(client_bytes=replaced(b"{", b'{"a":1,"a":1,'))
    yield "deep client data", put(client_bytes=replaced(
        b"{", b'{"a":' + b"[" * 200 + b"]" * 200 + b","))


def spoilt_authenticator_data(attested):
    """Authenticator data of another site, of nobody, or out of form; `attested` are its flags."""
    yield "another domain", put(rp_id="example.com")
    yield "a domain above", put(rp_id="host")
    yield "domain in capitals", put(rp_id="LOCALHOST")
    yield "origin instead of the domain", lambda claims: setattr(claims, "rp_id", claims.origin)
    yield "domain whose hash is cut", put(data_bytes=lambda data: data[1:])
    yield "nobody present", flags(remove=PRESENT)
    yield "nobody verified", flags(remove=VERIFIED)
    yield "neither present nor verified", flags(remove=PRESENT | VERIFIED)
    yield "no flags", put(flags=attested)
    yield "not backed up", flags(remove=BACKED_UP)
    yield "neither eligible nor backed up", flags(remove=BACKED_UP | ELIGIBLE)
    yield "backed up, not eligible", flags(remove=ELIGIBLE)
    yield "reserved flag 1", flags(add=2)
    yield "reserved flag 5", flags(add=32)
    yield "highest counter", put(counter=2**32 - 1)
    yield "zero behind the data", put(trailer=b"\0")
    yield "map behind the data", put(trailer=b"\xa0")
    yield "extensions", lambda claims: (
        flags(add=EXTENDED)(claims), put(extensions={"credProtect": 2})(claims))
    for name, data in {
        "extensions that are empty": b"\xa0",
        "extensions that are not there": b"",
        "extensions that are text": b"\x61a",
        "extensions that are a list": b"\x80",
        "extensions of indefinite length": b"\xbf\xff",
        "extensions with a list of indefinite length": b"\xa1\x61a\x9f\xff",
        "extensions with a name twice": b"\xa2\x61a\x01\x61a\x01",
        "extensions that break off": b"\xa1\x61a",
        "extensions with a break for a value": b"\xa1\x61a\xff",
        "extensions with text in chunks": b"\xa1\x61a\x7f\x61a\xff",
        "extensions with a map of indefinite length": b"\xa1\x61a\xbf\xff",
        "extensions with a length in long form": b"\xb8\x01\x61a\x01",
        "extensions that are tagged": b"\xc1\xa0",
        "extensions that claim 2^63 members": b"\xbb\x80" + bytes(7),
        "extensions with more behind them": b"\xa0\x00",
        "extensions with a name that is not UTF-8": b"\xa1\x61\xff\x01",
        "extensions in deep lists": b"\xa1\x61a" + b"\x81" * 200 + b"\x00",
        "extensions with a reserved head": b"\xa1\x61a\x1c",
        "extensions with a number of 16 bits": b"\xa1\x61a\xf9\x3c\x00",
        "extensions with a simple value": b"\xa1\x61a\xf6",
    }.items():
        yield name, lambda claims, data=data: (
            flags(add=EXTENDED)(claims), put(trailer=data)(claims))
    yield "extensions without their flag", put(extensions={"credProtect": 2})
    yield "empty data", put(data_bytes=lambda _: b"")
    for length in (1, 31, 32, 33, 36):
        yield f"data of {length} bytes", put(data_bytes=lambda data, n=length: data[:n])


def spoilt_json(names):
    """Credentials out of their JSON form; `names` are the members of bytes."""
    yield "no id", outer(id=...)
    yield "no rawId", outer(rawId=...)
    yield "no type of credential", outer(type=...)
    yield "another type of credential", outer(type="password")
    yield "type of credential in capitals", outer(type="PUBLIC-KEY")
    yield "type of credential null", outer(type=None)
    yield "no response", outer(response=...)
    yield "response null", outer(response=None)
    yield "response that is a list", outer(response=[])
    yield "another id", outer(id=b64(b"other"))
    yield "another rawId", outer(rawId=b64(b"other"))
    yield "another id and rawId", outer(id=b64(b"other"), rawId=b64(b"other"))
    yield "empty id and rawId", outer(id="", rawId="")
    yield "id with padding", put(credential=lambda c: c | {"id": padded(c["id"])})
    yield "id and rawId with padding", put(
        credential=lambda c: c | {"id": padded(c["id"]), "rawId": padded(c["rawId"])})
    yield "id and rawId with other trailing bits", put(credential=lambda c: c | {
        "id": other_trailing_bits(c["id"]), "rawId": other_trailing_bits(c["rawId"])})
    yield "id that is a number", outer(id=1)
    yield "id null", outer(id=None)
    yield "no extension results and attachment", outer(
        clientExtensionResults=..., authenticatorAttachment=...)
    yield "unknown attachment", outer(authenticatorAttachment="implant")
    yield "attachment null", outer(authenticatorAttachment=None)
    yield "extension results", outer(clientExtensionResults={"credProps": {"rk": True}})
    yield "unknown members", outer(more=1)
    yield "unknown members of the response", inner(more={"a": 1})
    for name in names:
        yield f"no {name}", inner(**{name: ...})
        yield f"{name} null", inner(**{name: None})
        yield f"{name} empty", inner(**{name: ""})
        yield f"{name} a number", inner(**{name: 1})
        yield f"{name} a list", inner(**{name: lambda text: list(unb64(text))})
        yield f"{name} with padding", inner(**{name: padded})
        yield f"{name} with too much padding", inner(**{name: lambda text: padded(text) + "===="})
        yield f"{name} with a space", inner(**{name: lambda text: text[:8] + " " + text[8:]})
        yield f"{name} with a line break", inner(**{name: lambda text: text + "\n"})
        yield f"{name} with a star", inner(**{name: lambda text: text[:8] + "*" + text[8:]})
        yield f"{name} with a letter beyond ASCII", inner(
            **{name: lambda text: text[:8] + "é" + text[9:]})
        yield f"{name} cut", inner(**{name: lambda text: text[:-2]})


def object_cases():
    """Attestation objects and statements."""
    for format in ("none", "packed"):
        def parts(change, format=format):
            return put(format=format, object=change)

        def raw(change, format=format):
            return put(format=format, object_bytes=change)

        yield f"{format}: no fmt", parts(lambda p: {k: p[k] for k in ("attStmt", "authData")})
        yield f"{format}: no attStmt", parts(lambda p: {k: p[k] for k in ("fmt", "authData")})
        yield f"{format}: no authData", parts(lambda p: {k: p[k] for k in ("fmt", "attStmt")})
        yield f"{format}: another order", parts(lambda p: list(p.items())[::-1])
        yield f"{format}: an unknown member", parts(lambda p: p | {"ep": True})
        yield f"{format}: an unknown member of indefinite length", parts(
            lambda p: p | {"ep": Raw(b"\x9f\xff")})
        yield f"{format}: an unknown member that is a break", parts(
            lambda p: p | {"ep": Raw(b"\xff")})
        yield f"{format}: a label that is a number", parts(lambda p: p | {1: 1})
        yield f"{format}: fmt twice", parts(lambda p: [("fmt", "tpm"), *p.items()])
        yield f"{format}: attStmt twice", parts(lambda p: [("attStmt", {}), *p.items()])
        yield f"{format}: authData twice", parts(lambda p: [("authData", b""), *p.items()])
        yield f"{format}: fmt in bytes", parts(lambda p: p | {"fmt": p["fmt"].encode()})
        yield f"{format}: authData in text", parts(lambda p: p | {"authData": "a"})
        yield f"{format}: attStmt null", parts(lambda p: p | {"attStmt": Raw(b"\xf6")})
        yield f"{format}: attStmt a list", parts(lambda p: p | {"attStmt": Raw(b"\x80")})
        yield f"{format}: attStmt in bytes", parts(lambda p: p | {"attStmt": b"\xa0"})
        yield f"{format}: fmt in capitals", parts(lambda p: p | {"fmt": p["fmt"].upper()})
        yield f"{format}: bytes behind", raw(lambda data: data + b"\0")
        yield f"{format}: cut", raw(lambda data: data[:-1])
        yield f"{format}: half of it", raw(lambda data: data[: len(data) // 2])
        yield f"{format}: empty", raw(lambda _: b"")
        yield f"{format}: one member too many announced", raw(lambda d: b"\xa4" + d[1:])
        yield f"{format}: one member too few announced", raw(lambda d: b"\xa2" + d[1:])
        yield f"{format}: of indefinite length", raw(lambda d: b"\xbf" + d[1:] + b"\xff")
        yield f"{format}: a length in long form", raw(lambda d: b"\xb8\x03" + d[1:])
        yield f"{format}: tagged", raw(lambda d: b"\xd9\xd9\xf7" + d)
        yield f"{format}: in a list", raw(lambda d: b"\x81" + d)
        yield f"{format}: authData in chunks", parts(
            lambda p: p | {"authData": Raw(b"\x5f" + cbor(p["authData"]) + b"\xff")})
        yield f"{format}: fmt in chunks", parts(
            lambda p: p | {"fmt": Raw(b"\x7f" + cbor(p["fmt"]) + b"\xff")})
        yield f"{format}: authData of 2^63 bytes", parts(
            lambda p: p | {"authData": Raw(b"\x5b\x7f" + b"\xff" * 7)})
    yield "none: a statement", put(statement={"sig": b"a"})
    yield "none: a statement of an unknown member", put(statement={"a": 1})
    yield "none: an empty statement of indefinite length", put(statement=Raw(b"\xbf\xff"))
    yield "packed: an empty statement", put(format="packed", statement=Raw(b"\xa0"))
    yield "packed: no sig", put(format="packed", statement={"alg": ES256})
    yield "packed: sig of another key", put(
        format="packed", statement={"alg": ES256, "sig": Key(ES256).sign(b"a")})
    yield "unknown format", put(format="unheard-of")
    yield "empty format", put(format="")

    def statement(change):
        return put(format="packed", object=lambda p: p | {"attStmt": change(p["attStmt"])})
    yield "packed: no alg", statement(lambda s: {"sig": s["sig"]})
    yield "packed: another alg", statement(lambda s: s | {"alg": RS256})
    yield "packed: alg that was not offered", statement(lambda s: s | {"alg": -35})
    yield "packed: alg of text", statement(lambda s: s | {"alg": "ES256"})
    yield "packed: sig of text", statement(lambda s: s | {"sig": "a"})
    yield "packed: an unknown member", statement(lambda s: s | {"more": 1})
    yield "packed: an empty x5c", statement(lambda s: s | {"x5c": Raw(b"\x80")})
    yield "packed: x5c of rubbish", statement(lambda s: s | {"x5c": Raw(b"\x81\x41a")})
    yield "packed: ecdaaKeyId", statement(lambda s: s | {"ecdaaKeyId": b"a"})
    yield "packed: alg twice", statement(lambda s: [("alg", RS256), *s.items()])
    yield "packed: sig twice", statement(lambda s: [("sig", b"a"), *s.items()])
    yield "packed: another order", statement(lambda s: list(s.items())[::-1])
    yield "packed: sig of other client data", put(format="packed", signed=lambda d: d[:-1] + b"a")
    yield "packed: client data swapped", put(
        format="packed", sent_client_bytes=replaced(b'"crossOrigin"', b'"a":1,"crossOrigin"'))


def registration_cases():
    """All registrations: a name, the key, and the change."""
    for name, algorithm in ALGORITHMS.items():
        for format in ("none", "packed"):
            yield f"right: {name}, {format}", Key(algorithm), put(format=format)
            yield f"right: {name}, {format}, with a counter", KEYS[algorithm], put(
                format=format, counter=7)
            yield f"right: {name}, {format}, an aaguid", KEYS[algorithm], put(
                format=format, aaguid=bytes(range(16)))
    yield "right: 4096 bits", Key(RS256, rsa.generate_private_key(65537, 4096)), put(
        format="packed")
    yield "right: e 3", Key(RS256, rsa.generate_private_key(3, 2048)), put(format="packed")
    key = KEYS[ES256]
    for length in (1, 15, 255, 1023, 1024, 4096):
        yield f"id of {length} bytes", key, put(credential_id=bytes([7]) * length)
    yield "no credential id", key, put(credential_id=b"")
    yield "id that is announced too short", key, put(id_length=15)
    yield "id that is announced too long", key, put(id_length=17)
    yield "id that is announced beyond the end", key, put(id_length=65535)
    yield "no attested data announced", key, flags(remove=ATTESTED)
    yield "no attested data", key, lambda claims: (
        flags(remove=ATTESTED)(claims), put(data_bytes=lambda d: d[:37])(claims))
    groups = (
        spoilt_client_data("webauthn.create", "webauthn.get"),
        spoilt_authenticator_data(ATTESTED),
        spoilt_json(["clientDataJSON", "attestationObject"]),
        object_cases(),
    )
    for cases in groups:
        for name, change in cases:
            yield name, key, change
    for name, value in {
        "transports that are text": "usb", "transports null": None,
        "transports that are numbers": [1], "unknown transports": ["pigeon"], "no transports": ...,
        "empty transports": [],
    }.items():
        yield name, key, inner(transports=value)
    for name, key, public_key in wrong_keys():
        yield name, key, put(public_key=public_key)
        yield f"{name}, packed", key, put(public_key=public_key, format="packed")
    yield "id and rawId in base64", key, put(
        credential_id=b"\xfb\xff" * 8,
        credential=lambda c: c | {"id": in_base64(c["id"]), "rawId": in_base64(c["rawId"])})
    yield "attestationObject in base64", key, lambda claims: (
        put(aaguid=b"\xfb\xff" * 8)(claims), inner(attestationObject=in_base64)(claims))
    # Behind the name of the format: other formats are cases of their own.
    for number in range(160):
        yield f"bit flip {number}", KEYS[EDDSA], put(
            format="packed", object_bytes=flipped(RANDOM.getrandbits(16), start=12))
    for number in range(40):
        length = RANDOM.randrange(1, 250)
        yield f"cut {number}", KEYS[EDDSA], put(
            format="packed", object_bytes=lambda data, n=length: data[:n])


def assertion_cases():
    """All assertions: a name, the algorithm of the passkey, whether it counts, and the change."""
    for name, algorithm in ALGORITHMS.items():
        for counts in (True, False):
            yield f"right: {name}, {counts=}", algorithm, counts, put()
        for what, change in signature_changes(algorithm):
            yield f"{name} {what}", algorithm, True, change
    groups = (
        spoilt_client_data("webauthn.get", "webauthn.create"),
        spoilt_authenticator_data(0),
        spoilt_json(["clientDataJSON", "authenticatorData", "signature"]),
    )
    for cases in groups:
        for name, change in cases:
            counts = "counter" in name
            yield name, ES256, counts, change

    def counter(function):
        return lambda claims: setattr(claims, "counter", function(claims.counter))
    yield "counter that stays", ES256, True, counter(lambda n: n - 1)
    yield "counter that falls", EDDSA, True, counter(lambda n: max(n - 2, 1))
    yield "counter that falls to 0", EDDSA, True, put(counter=0)
    yield "counter that rises by 1000", EDDSA, True, counter(lambda n: n + 1000)
    yield "attested data announced", ES256, False, flags(add=ATTESTED)
    yield "attested data", ES256, False, lambda claims: (
        flags(add=ATTESTED)(claims), put(trailer=bytes(16) + b"\0\x10" + claims.credential_id
            + cbor(claims.key.members()))(claims))
    yield "userHandle of somebody else", ES256, False, put(user_handle=bytes(64))
    yield "userHandle empty", ES256, False, put(user_handle=b"")
    yield "userHandle absent", ES256, False, put(user_handle=None)
    yield "userHandle null", ES256, False, inner(userHandle=None)
    yield "userHandle a number", ES256, False, inner(userHandle=1)
    yield "userHandle with padding", ES256, False, inner(userHandle=padded)
    yield "passkey that is unknown", ES256, False, put(credential_id=bytes(16))
    yield "passkey id of 1024 bytes", ES256, False, put(credential_id=bytes(1024))
    for number in range(60):
        yield f"bit flip of the data {number}", EDDSA, True, inner(
            authenticatorData=lambda t, n=RANDOM.getrandbits(16): b64(flipped(n)(unb64(t))))
        yield f"bit flip of the client data {number}", EDDSA, True, inner(
            clientDataJSON=lambda t, n=RANDOM.getrandbits(16): b64(flipped(n)(unb64(t))))
