"""What the server does where the libraries differ, and where it is stricter than all of them.

Names of cases, in which `*` stands for anything, with the verdict and the reason. The first that
fits counts. No rule accepts what all libraries refuse.
"""

ACCEPT, REFUSE = "accept", "refuse"

UNREAD = "what extensions say is not read"
LONG_FORM = "one value in more bytes; the bytes are kept and never encoded again"
NO_ATTESTATION = "no attestation is asked for, so a statement that others signed proves nothing"
TWICE = "which of the two counts depends on the reader"
CLIENT = "the form of client data is that of browsers, in UTF-8 and JSON"
EMBEDDED = "a page of another site embeds ours, or the form is not that of browsers"
BASE64 = "bytes are in base64url and nothing else"
BYTES = "bytes are text in base64url, never a list"
FORM = "the form of attestation objects is fixed, and nothing comes behind it"
DEFINITE = "CTAP2 has definite lengths only"
STATEMENT = "a statement of the new key itself is verified, and one of none is empty"
TYPES = "the members that identify a credential are there, in their types"
AGREE = "algorithm, type and curve of a key have to agree, and the algorithm has to be offered"
NUMBERS = "a key that can verify nothing, or too weak, is not stored"
BARE = "the specification allows no other members of text in the key, and members of one type"
CALLER = "the libraries leave the account to their caller"

RULES = {
    # Laxer than some library.
    "*: challenge with padding": (ACCEPT, "the challenge is compared as bytes"),
    "*: id and rawId with padding": (ACCEPT, "some clients pad base64url, and the bytes are one"),
    "*: unknown attachment": (ACCEPT, "a hint for pages, which may get new values"),
    "*: tokenBinding without a status": (ACCEPT, "level 3 has no token binding; it is not read"),
    "*: client data that is not UTF-8": (
        ACCEPT, "the specification replaces such bytes, here in a member that is not read"),
    "*: extensions with a name twice": (ACCEPT, UNREAD),
    "*: extensions with a number of 16 bits": (ACCEPT, UNREAD),
    "*: extensions with a length in long form": (ACCEPT, LONG_FORM),
    "registration: *: a length in long form": (ACCEPT, LONG_FORM),
    "registration: * key with a length in long form*": (ACCEPT, LONG_FORM),
    "registration: * key with kty in long form*": (ACCEPT, LONG_FORM),
    "registration: *: fmt in capitals": (ACCEPT, NO_ATTESTATION),
    "registration: unknown format": (ACCEPT, NO_ATTESTATION),
    "registration: empty format": (ACCEPT, NO_ATTESTATION),
    "registration: packed: an empty x5c": (ACCEPT, NO_ATTESTATION),
    "registration: packed: x5c of rubbish": (ACCEPT, NO_ATTESTATION),
    # Client data.
    "*: crossOrigin twice": (REFUSE, TWICE),
    "*: crossOrigin*": (REFUSE, EMBEDDED),
    "*: topOrigin*": (REFUSE, EMBEDDED),
    "*: type twice": (REFUSE, TWICE),
    "*: challenge twice": (REFUSE, TWICE),
    "*: origin twice": (REFUSE, TWICE),
    "*: challenge with *": (REFUSE, BASE64),
    "*: NaN in the client data": (REFUSE, CLIENT),
    "*: client data with a byte order mark": (REFUSE, CLIENT),
    "*: client data in UTF-16": (REFUSE, CLIENT),
    # Authenticator data.
    "*: backed up, not eligible": (REFUSE, "section 6.1.3 has no such state"),
    "*: extensions with a break for a value": (REFUSE, "a break ends indefinite lengths only"),
    "*: extensions that are text": (REFUSE, "extensions are a map"),
    "*: extensions that are a list": (REFUSE, "extensions are a map"),
    "registration: no credential id": (REFUSE, "it could never be asked for"),
    "registration: id of * bytes": (REFUSE, "the specification allows 1023 bytes"),
    "assertion: counter that *": (REFUSE, "the passkey may have been copied"),
    # The JSON form.
    "*: no id": (REFUSE, TYPES),
    "*: no type of credential": (REFUSE, TYPES),
    "*: another type of credential": (REFUSE, TYPES),
    "*: type of credential *": (REFUSE, TYPES),
    "registration: another id and rawId": (REFUSE, "not that of the authenticator data"),
    "*: empty id and rawId": (REFUSE, "not that of a passkey"),
    "*: id and rawId *": (REFUSE, BASE64),
    "*: clientDataJSON a list": (REFUSE, BYTES),
    "*: attestationObject a list": (REFUSE, BYTES),
    "*: authenticatorData a list": (REFUSE, BYTES),
    "assertion: signature a list": (REFUSE, BYTES),
    "*: clientDataJSON *": (REFUSE, BASE64),
    "registration: attestationObject *": (REFUSE, BASE64),
    "assertion: authenticatorData *": (REFUSE, BASE64),
    "assertion: signature with *": (REFUSE, BASE64),
    "registration: transports that are *": (REFUSE, "transports are a list of names"),
    # Attestation objects.
    "registration: *: of indefinite length": (REFUSE, DEFINITE),
    "registration: *: authData in chunks": (REFUSE, DEFINITE),
    "registration: *: fmt in chunks": (REFUSE, DEFINITE),
    "registration: none: an empty statement of indefinite length": (REFUSE, DEFINITE),
    "registration: *: an unknown member *": (REFUSE, DEFINITE),
    "registration: *: * twice": (REFUSE, TWICE),
    "registration: *: a label that is a number": (REFUSE, FORM),
    "registration: *: attStmt *": (REFUSE, FORM),
    "registration: *: fmt in bytes": (REFUSE, FORM),
    "registration: none: no attStmt": (REFUSE, FORM),
    "registration: *: bytes behind": (REFUSE, FORM),
    "registration: *: cut": (REFUSE, FORM),
    "registration: cut *": (REFUSE, FORM),
    "registration: none: a statement*": (REFUSE, STATEMENT),
    "registration: packed: *": (REFUSE, STATEMENT),
    "registration: bit flip *": (REFUSE, STATEMENT),
    # Public keys.
    "registration: * key that says *": (REFUSE, AGREE),
    "registration: * key of type *": (REFUSE, AGREE),
    "registration: * key of curve *": (REFUSE, AGREE),
    "registration: * key without *": (REFUSE, AGREE),
    "registration: * key with alg twice*": (REFUSE, TWICE),
    "registration: * key with another alg first*": (REFUSE, TWICE),
    "registration: * key with -2 twice*": (REFUSE, TWICE),
    "registration: * key with a label of text*": (REFUSE, BARE),
    "registration: * key with * of text*": (REFUSE, BARE),
    "registration: * key with a tagged -2*": (REFUSE, BARE),
    "registration: ES256 key with a sign for y*": (REFUSE, "points are not compressed"),
    "registration: ES256 key with y false*": (REFUSE, "points are not compressed"),
    "registration: * key that breaks off*": (REFUSE, "the map is not whole"),
    "registration: RS256 key with a zero before *": (REFUSE, "RFC 8230 has the shortest form"),
    "registration: * key with an empty -2*": (REFUSE, NUMBERS),
    "registration: ES256 key *": (REFUSE, NUMBERS),
    "registration: EdDSA key *": (REFUSE, NUMBERS),
    "registration: RS256 key *": (REFUSE, NUMBERS),
    # Signatures and accounts.
    "assertion: ES256 signature: *": (REFUSE, "DER has one form"),
    "assertion: another id and rawId": (REFUSE, CALLER),
    "assertion: passkey *": (REFUSE, CALLER),
    "assertion: userHandle *": (REFUSE, CALLER),
}
