"""Changes of claims, from which cases are made."""

import random

from device import EDDSA, ES256, RS256, Key

ALGORITHMS = {"ES256": ES256, "EdDSA": EDDSA, "RS256": RS256}
# Keys of cases in which the key plays no part; those of RSA are slow to make.
KEYS = {algorithm: Key(algorithm) for algorithm in ALGORITHMS.values()}
RANDOM = random.Random(2026)


def put(**values):
    """Sets fields of the claims."""
    def change(claims):
        for name, value in values.items():
            setattr(claims, name, value)
    return change


def flags(add=0, remove=0):
    def change(claims):
        claims.flags = (claims.flags | add) & ~remove
    return change


def replaced(old, new):
    """Replaces bytes, which have to be there."""
    def change(data):
        assert old in data, (old, data)
        return data.replace(old, new, 1)
    return change


def outer(**values):
    """Sets members of the credential; `...` removes them."""
    def change(credential):
        credential |= values
        return {k: v for k, v in credential.items() if v is not ...}
    return put(credential=change)


def inner(**values):
    """Sets members of its response, or changes them by a function; `...` removes them."""
    def change(credential):
        response = credential["response"]
        for name, value in values.items():
            response[name] = value(response[name]) if callable(value) else value
        credential["response"] = {k: v for k, v in response.items() if v is not ...}
        return credential
    return put(credential=change)


def flipped(bit, start=0, end=None):
    """Flips a bit of these bytes."""
    def change(data):
        data = bytearray(data)
        places = range(len(data))[start:end]
        data[places[bit // 8 % len(places)]] ^= 1 << bit % 8
        return bytes(data)
    return change


def in_base64(text):
    """The text in base64, which has other characters than base64url."""
    assert "-" in text or "_" in text, text
    return text.replace("-", "+").replace("_", "/")


def padded(text):
    return text + "=" * (-len(text) % 4)


def other_trailing_bits(text):
    """The same bytes in base64url, with bits set that the last character leaves over."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(text) % 4
    return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]
