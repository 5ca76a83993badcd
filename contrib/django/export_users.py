"""Writes the users of a Django project as JSON lines for `accounts-server import`.

    DJANGO_SETTINGS_MODULE=mysite.settings python export_users.py > users.jsonl

Run it in the folder of manage.py. It changes nothing. Beside the user model it reads the addresses
and authenticator apps of django-allauth, and the devices of django-otp and django-two-factor-auth,
as far as they are installed. The output has password hashes and secrets: keep it as you keep the
database. Standard error names what cannot move.
"""

import json
import os
import sys
from collections import defaultdict

sys.path.insert(0, os.getcwd())

import django  # noqa: E402

django.setup()

from django.apps import apps  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402

# Names of ours, and the attributes of a user model that may hold them.
ATTRIBUTES = {
    "first_name": ("first_name",),
    "last_name": ("last_name",),
    "phone": ("phone", "phone_number"),
    "is_active": ("is_active",),
    "is_staff": ("is_staff",),
    "created_at": ("date_joined", "created_at"),
    "last_login": ("last_login",),
}


def tell(text):
    print(text, file=sys.stderr)


def moment(value):
    return value.isoformat() if value else None


class Authenticators:
    """The authenticator app of each user, and what else is there."""

    def __init__(self):
        self.apps = {}
        self.skipped = defaultdict(set)

    def add(self, user_id, secret, created_at, last_used_at):
        """Keeps the app that was used last: an account has one."""
        before = self.apps.get(user_id)
        if before:
            self.skipped["further authenticator app"].add(user_id)
            if moment(last_used_at) is None or moment(last_used_at) < (before["totp_last_used_at"] or ""):
                return
        self.apps[user_id] = {
            **secret,
            "totp_created_at": moment(created_at),
            "totp_last_used_at": moment(last_used_at),
        }

    def read_django_otp(self):
        """django-otp and what is built on it, such as django-two-factor-auth."""
        if not apps.is_installed("django_otp"):
            return
        from django_otp.models import Device

        for model in apps.get_models():
            if not issubclass(model, Device):
                continue
            for device in model.objects.filter(confirmed=True).iterator():
                if model._meta.label == "otp_totp.TOTPDevice":
                    self.add_totp_device(device)
                else:
                    self.skipped[model._meta.verbose_name].add(device.user_id)

    def add_totp_device(self, device):
        if (device.digits, device.step, device.t0) != (6, 30, 0):
            self.skipped["authenticator app whose codes are not 6 digits every 30 seconds"].add(device.user_id)
            return
        secret = {"totp_secret_hex": device.key}
        created_at, last_used_at = (getattr(device, name, None) for name in ("created_at", "last_used_at"))
        self.add(device.user_id, secret, created_at, last_used_at)

    def read_allauth(self):
        if not apps.is_installed("allauth.mfa"):
            return
        from allauth.mfa import app_settings
        from allauth.mfa.models import Authenticator
        from allauth.mfa.utils import decrypt

        is_usual = (app_settings.TOTP_DIGITS, app_settings.TOTP_PERIOD) == (6, 30)
        for row in Authenticator.objects.order_by("pk").iterator():
            if row.type != Authenticator.Type.TOTP:
                self.skipped[f"{row.get_type_display()} (allauth)"].add(row.user_id)
            elif not is_usual:
                self.skipped["authenticator app whose codes are not 6 digits every 30 seconds"].add(row.user_id)
            else:
                secret = {"totp_secret": decrypt(row.data["secret"])}
                self.add(row.user_id, secret, row.created_at, row.last_used_at)

    def report(self):
        for kind, users in sorted(self.skipped.items()):
            some = ", ".join(str(user) for user in sorted(users)[:10])
            more = ", …" if len(users) > 10 else ""
            tell(f"not moved: {kind}, of {len(users)} users ({some}{more})")
        lost = set().union(*self.skipped.values()) - set(self.apps)
        if lost:
            some = ", ".join(str(user) for user in sorted(lost)[:100])
            more = ", …" if len(lost) > 100 else ""
            tell(f"{len(lost)} users sign in with the password alone until they set up an app: {some}{more}")


def addresses():
    """The primary address of each user of django-allauth, and whether it is verified."""
    if not apps.is_installed("allauth.account"):
        return {}
    from allauth.account.models import EmailAddress

    rows = EmailAddress.objects.filter(primary=True).values_list("user_id", "email", "verified")
    return {user_id: (email, verified) for user_id, email, verified in rows.iterator()}


def record(user, address, app):
    fields = {"email": getattr(user, type(user).get_email_field_name(), ""), "password": user.password}
    # Ids that are no numbers, such as UUIDs, are kept beside new ones.
    key = "id" if isinstance(user.pk, int) else "external_id"
    fields[key] = user.pk if key == "id" else str(user.pk)
    for ours, names in ATTRIBUTES.items():
        value = next((getattr(user, name) for name in names if hasattr(user, name)), None)
        if value is not None:
            fields[ours] = value if isinstance(value, (bool, str)) else moment_or_text(value)
    if address:
        fields["email"], fields["is_verified"] = address
    return {**fields, **(app or {})}


def moment_or_text(value):
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def main():
    authenticators = Authenticators()
    authenticators.read_django_otp()
    authenticators.read_allauth()
    primary = addresses()
    for user in get_user_model()._default_manager.order_by("pk").iterator():
        line = record(user, primary.get(user.pk), authenticators.apps.get(user.pk))
        print(json.dumps(line))
    authenticators.report()


main()
