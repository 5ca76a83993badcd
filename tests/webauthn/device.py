"""An authenticator in software, which makes right answers and any kind of wrong ones."""

import base64
import dataclasses
import hashlib
import json
import os
import struct
from typing import Any, Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED, EXTENDED = 1, 4, 8, 16, 64, 128
ES256, EDDSA, RS256 = -7, -8, -257


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Raw(bytes):
    """Bytes that are CBOR already."""


def head(major, number):
    """The head of an item in its shortest form."""
    if number < 24:
        return bytes([major << 5 | number])
    for index, size in enumerate((1, 2, 4, 8)):
        if number < 1 << 8 * size:
            return bytes([major << 5 | 24 + index]) + number.to_bytes(size, "big")
    raise ValueError(number)


def cbor(value):
    """Encodes a value; a list of pairs is a map, in which labels may come twice."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    pairs = value.items() if isinstance(value, dict) else value
    return head(5, len(value)) + b"".join(cbor(k) + cbor(v) for k, v in pairs)


class Key:
    """A pair of keys of one of the algorithms. `private` is of the package cryptography."""

    def __init__(self, algorithm, private=None):
        self.algorithm = algorithm
        self.private = private or {
            ES256: lambda: ec.generate_private_key(ec.SECP256R1()),
            EDDSA: ed25519.Ed25519PrivateKey.generate,
            RS256: lambda: rsa.generate_private_key(65537, 2048),
        }[algorithm]()

    def members(self):
        """The COSE key."""
        public = self.private.public_key()
        if self.algorithm == EDDSA:
            return {1: 1, 3: EDDSA, -1: 6, -2: public.public_bytes_raw()}
        numbers = public.public_numbers()
        if self.algorithm == ES256:
            x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
            return {1: 2, 3: ES256, -1: 1, -2: x, -3: y}
        n, e = (i.to_bytes((i.bit_length() + 7) // 8, "big") for i in (numbers.n, numbers.e))
        return {1: 3, 3: RS256, -1: n, -2: e}

    def sign(self, data):
        if self.algorithm == ES256:
            return self.private.sign(data, ec.ECDSA(hashes.SHA256()))
        if self.algorithm == EDDSA:
            return self.private.sign(data)
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def same(value):
    return value


@dataclasses.dataclass
class Claims:
    """What goes into an answer. Functions change a part after it was made and before the next."""

    kind: str
    challenge: str
    origin: str
    key: Key
    credential_id: bytes
    user_handle: bytes | None = None
    rp_id: str = "localhost"
    flags: int = PRESENT | VERIFIED | ELIGIBLE | BACKED_UP
    counter: int = 0
    # Client data.
    type: str = ""
    client: dict = dataclasses.field(default_factory=dict)
    client_bytes: Callable = same
    sent_client_bytes: Callable = same
    # Authenticator data.
    aaguid: bytes = bytes(16)
    id_length: int | None = None
    public_key: Any = None
    extensions: Any = None
    trailer: bytes = b""
    data_bytes: Callable = same
    # Attestation object.
    format: Any = "none"
    statement: Any = None
    object: Callable = same
    object_bytes: Callable = same
    # Signature and JSON.
    signature: Callable = same
    signed: Callable = same
    credential: Callable = same

    def client_data(self):
        data = {"type": self.type, "challenge": self.challenge, "origin": self.origin}
        data |= {"crossOrigin": False} | self.client
        data = {name: value for name, value in data.items() if value is not ...}
        return self.client_bytes(json.dumps(data, separators=(",", ":")).encode())

    def authenticator_data(self):
        data = hashlib.sha256(self.rp_id.encode()).digest()
        data += struct.pack(">BI", self.flags, self.counter)
        if self.kind == "registration":
            length = len(self.credential_id) if self.id_length is None else self.id_length
            data += self.aaguid + struct.pack(">H", length) + self.credential_id
            key = self.key.members() if self.public_key is None else self.public_key
            data += key if isinstance(key, bytes) else cbor(key)
        if self.extensions is not None:
            data += cbor(self.extensions)
        return self.data_bytes(data + self.trailer)

    def answer(self):
        """The credential in its JSON form, as text."""
        client, data = self.client_data(), self.authenticator_data()
        signed = self.signed(data + hashlib.sha256(client).digest())
        sent = self.sent_client_bytes(client)
        response = {"clientDataJSON": b64(sent)}
        if self.kind == "registration":
            statement = self.statement
            if self.format == "packed" and statement is None:
                signature = self.signature(self.key.sign(signed))
                statement = {"alg": self.key.algorithm, "sig": signature}
            parts = {"fmt": self.format, "attStmt": statement or {}, "authData": data}
            if isinstance(statement, Raw):
                parts["attStmt"] = statement
            response["attestationObject"] = b64(self.object_bytes(cbor(self.object(parts))))
            response["transports"] = ["internal"]
        else:
            response["authenticatorData"] = b64(data)
            response["signature"] = b64(self.signature(self.key.sign(signed)))
            if self.user_handle is not None:
                response["userHandle"] = b64(self.user_handle)
        identifier = b64(self.credential_id)
        credential = self.credential({
            "id": identifier,
            "rawId": identifier,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        })
        return credential if isinstance(credential, str) else json.dumps(credential)


def registration(options, origin, key, **changes):
    """Claims for creation options."""
    claims = Claims("registration", options["challenge"], origin, key, os.urandom(16))
    claims.type = "webauthn.create"
    claims.flags |= ATTESTED
    for name, value in changes.items():
        setattr(claims, name, value)
    return claims


def assertion(options, origin, passkey):
    """Claims for request options, with a passkey: an object with key, id, handle and counter."""
    claims = Claims("assertion", options["challenge"], origin, passkey.key, passkey.id)
    claims.type = "webauthn.get"
    claims.user_handle = passkey.handle
    claims.counter = passkey.counter + 1 if passkey.counter else 0
    return claims
