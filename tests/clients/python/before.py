"""A client that was generated before there were second factors: it signs in as before without one, can show why it is refused with
one, and needs only one field more."""

import sys

from client_before import AuthenticatedClient, Client
from client_before.api.tokens import refresh_tokens, sign_in
from client_before.api.users import retrieve_user
from client_before.models import RefreshTokensRequest, SignInRequest

server, code = sys.argv[1:]
password = "securepassword123"
anonymous = Client(base_url=server)


def ask(email, password=password, **more):
    body = SignInRequest(email=email, password=password)
    body.additional_properties.update(more)
    return sign_in.sync_detailed(client=anonymous, body=body)


assert ask("plain@example.com").status_code == 200, "an account without a factor signs in"
email = "factor@example.com"
asked = ask(email)
assert asked.status_code == 401, asked
assert asked.parsed.detail == "Two-factor authentication is required.", asked
wrong = ask(email, "wrong password")
assert wrong.parsed.detail == "No active account found with the given credentials", wrong
pair = ask(email, code=code)
assert pair.status_code == 200, pair
renewed = refresh_tokens.sync_detailed(client=anonymous, body=RefreshTokensRequest(refresh=pair.parsed.refresh))
assert renewed.status_code == 200, renewed
alice = AuthenticatedClient(base_url=server, token=pair.parsed.access)
assert retrieve_user.sync("me", client=alice).email == email

print("Python: a client of before second factors signs in without and with one")
