"""Sign-up, confirmation, sign-in and profile with a client that was generated from the OpenAPI document."""

import sys
from datetime import date

from accounts_client import AuthenticatedClient, Client
from accounts_client.api.development import list_mails
from accounts_client.api.sign_up import create_user, verify_otp
from accounts_client.api.tokens import sign_in
from accounts_client.api.users import retrieve_user, update_user
from accounts_client.models import (
    CreateUserErrors,
    CreateUserRequest,
    SignInRequest,
    UpdateUserRequest,
    VerifyOtpRequest,
    VerifyResponse,
)

server = sys.argv[1]
email, password = "ada@example.com", "securepassword123"
anonymous = Client(base_url=server)

wrong = CreateUserRequest(email="nobody", password=password, confirm_password=password)
refused = create_user.sync(client=anonymous, body=wrong)
assert isinstance(refused, CreateUserErrors) and refused.email == ["Enter a valid email address."], refused

body = CreateUserRequest(email=email, password=password, confirm_password=password, first_name="Ada", country="GB")
signed_up = create_user.sync(client=anonymous, body=body)
assert signed_up.data.first_name == "Ada", signed_up

otp = list_mails.sync(client=anonymous, to=email)[0].otp
verified = verify_otp.sync(client=anonymous, body=VerifyOtpRequest(email=email, otp=otp))
assert isinstance(verified, VerifyResponse), verified

pair = sign_in.sync(client=anonymous, body=SignInRequest(email=email, password=password))
alice = AuthenticatedClient(base_url=server, token=pair.access)
changed = update_user.sync("me", client=alice, body=UpdateUserRequest(birthday=date(1990, 12, 10)))
assert changed.birthday == date(1990, 12, 10), changed
user = retrieve_user.sync("me", client=alice)
assert (user.email, user.photo) == (email, None), user
others = retrieve_user.sync_detailed(user.id + 1, client=alice)
assert others.status_code == 403, others

print(f"Python: {user.first_name} has signed up, signed in and read the profile")
