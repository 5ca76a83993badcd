"""Makes the database of a Django project with users who have second factors of every kind.

Prints the secrets of their authenticator apps in base 32, by user name.
"""

import base64
import json
import os

os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"

import django  # noqa: E402

django.setup()

import pyotp  # noqa: E402
from allauth.account.models import EmailAddress  # noqa: E402
from allauth.mfa.models import Authenticator  # noqa: E402
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes  # noqa: E402
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django_otp.plugins.otp_static.models import StaticDevice  # noqa: E402
from django_otp.plugins.otp_totp.models import TOTPDevice  # noqa: E402
from two_factor.plugins.phonenumber.models import PhoneDevice  # noqa: E402

PASSWORD = "river-Boat-2291"

call_command("migrate", verbosity=0)


def user(name):
    return get_user_model().objects.create_user(name, f"{name}@example.com", PASSWORD)


def base32(device):
    return base64.b32encode(device.bin_key).decode()


secrets = {}

# django-otp: a device that has been used, one that was never confirmed, and backup tokens.
ada = user("ada")
device = TOTPDevice.objects.create(user=ada, name="phone")
secrets["ada"] = base32(device)
used = pyotp.TOTP(secrets["ada"]).now()
assert device.verify_token(used)
TOTPDevice.objects.create(user=ada, name="abandoned", confirmed=False)
StaticDevice.objects.create(user=ada, name="backup").token_set.create(token="abcdefgh")

# django-two-factor-auth: an app named as its wizard names it, and a phone as a second method.
bea = user("bea")
secrets["bea"] = base32(TOTPDevice.objects.create(user=bea, name="default"))
PhoneDevice.objects.create(user=bea, name="backup", number="+31101234567", method="sms")

# Codes by text message alone, and codes of eight digits.
cem = user("cem")
PhoneDevice.objects.create(user=cem, name="default", number="+31101234568", method="sms")
dan = user("dan")
TOTPDevice.objects.create(user=dan, name="token", digits=8)

# allauth: an app with recovery codes, and an address that is not verified.
eva = user("eva")
EmailAddress.objects.create(user=eva, email="eva@example.com", primary=True, verified=True)
secrets["eva"] = generate_totp_secret()
TOTP.activate(eva, secrets["eva"])
RecoveryCodes.activate(eva)
fay = user("fay")
EmailAddress.objects.create(user=fay, email="fay@example.com", primary=True, verified=False)
Authenticator.objects.create(user=fay, type=Authenticator.Type.WEBAUTHN, data={"name": "key"})

user("gus")
print(json.dumps({"secrets": secrets, "used": used}))
