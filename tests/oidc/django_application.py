"""A Django application that signs in with mozilla-django-oidc or django-allauth: ISSUER CLIENT_ID SECRET KIND."""

import os
import sys
import tempfile
from urllib.parse import urlencode
from wsgiref.simple_server import make_server

import django
import requests
from django.conf import settings
from django.http import HttpResponse
from django.urls import include, path

issuer, client_id, secret, kind = sys.argv[1:5]
metadata = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
folder = tempfile.TemporaryDirectory()
url = ""


def logout_url(request):
    """The end of the session at the provider, for mozilla-django-oidc."""
    query = {"id_token_hint": request.session["oidc_id_token"], "post_logout_redirect_uri": f"{url}/"}
    return f"{metadata['end_session_endpoint']}?{urlencode(query)}"


def home(request):
    if not request.user.is_authenticated:
        return HttpResponse("signed out")
    if kind == "mozilla":
        claims = request.session["claims"]
    else:
        claims = request.user.socialaccount_set.get().extra_data["userinfo"]
    return HttpResponse(f"sub={claims['sub']} {request.user.email}")


common = {
    "SECRET_KEY": os.urandom(32).hex(),
    "ALLOWED_HOSTS": ["127.0.0.1"],
    "ROOT_URLCONF": "__main__",
    "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder.name}/app.db"}},
    "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
        }
    ],
    "LOGIN_REDIRECT_URL": "/",
    "LOGOUT_REDIRECT_URL": "/",
    "INSTALLED_APPS": [
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django.contrib.messages",
    ],
    "MIDDLEWARE": [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
}
if kind == "mozilla":
    common["INSTALLED_APPS"] += ["mozilla_django_oidc"]
    own = {
        "AUTHENTICATION_BACKENDS": ["__main__.Backend"],
        "OIDC_RP_CLIENT_ID": client_id,
        "OIDC_RP_CLIENT_SECRET": secret,
        "OIDC_RP_SIGN_ALGO": "RS256",
        "OIDC_RP_SCOPES": "openid profile email",
        "OIDC_OP_AUTHORIZATION_ENDPOINT": metadata["authorization_endpoint"],
        "OIDC_OP_TOKEN_ENDPOINT": metadata["token_endpoint"],
        "OIDC_OP_USER_ENDPOINT": metadata["userinfo_endpoint"],
        "OIDC_OP_JWKS_ENDPOINT": metadata["jwks_uri"],
        "OIDC_OP_LOGOUT_URL_METHOD": "__main__.logout_url",
        "OIDC_USE_PKCE": True,
        "OIDC_STORE_ID_TOKEN": True,
        "ALLOW_LOGOUT_GET_METHOD": True,
    }
    prefix, urls = "oidc/", "mozilla_django_oidc.urls"
else:
    common["INSTALLED_APPS"] += [
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.openid_connect",
    ]
    common["MIDDLEWARE"] += ["allauth.account.middleware.AccountMiddleware"]
    own = {
        "AUTHENTICATION_BACKENDS": ["allauth.account.auth_backends.AuthenticationBackend"],
        "ACCOUNT_EMAIL_VERIFICATION": "none",
        "ACCOUNT_LOGOUT_ON_GET": True,
        "SOCIALACCOUNT_LOGIN_ON_GET": True,
        "SOCIALACCOUNT_PROVIDERS": {
            "openid_connect": {
                "OAUTH_PKCE_ENABLED": True,
                "APPS": [
                    {
                        "provider_id": "accounts",
                        "name": "Accounts",
                        "client_id": client_id,
                        "secret": secret,
                        "settings": {"server_url": issuer, "token_auth_method": "client_secret_basic"},
                    }
                ],
            }
        },
    }
    prefix, urls = "accounts/", "allauth.urls"

settings.configure(**common, **own)
django.setup()

if kind == "mozilla":
    from mozilla_django_oidc.auth import OIDCAuthenticationBackend

    class Backend(OIDCAuthenticationBackend):
        """Keeps the claims, to show them."""

        def verify_claims(self, claims):
            self.request.session["claims"] = claims
            return super().verify_claims(claims)


urlpatterns = [path("", home), path(prefix, include(urls))]

from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402

call_command("migrate", verbosity=0)
server = make_server("127.0.0.1", 0, get_wsgi_application())
url = f"http://127.0.0.1:{server.server_port}"
print(f"listening on {url}")
server.serve_forever()
