"""A Django REST framework service with one view and `accounts_auth` as its authentication."""

import os

from django.conf import settings
from django.urls import path

settings.configure(
    SECRET_KEY="an example has no secrets",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DJANGO_DATABASE"],
        }
    },
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["accounts_auth.AccountsAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "UNAUTHENTICATED_USER": None,
    },
    ACCOUNTS_URL=os.environ.get("ACCOUNTS_URL", ""),
)

import django  # noqa: E402

django.setup()

from rest_framework.decorators import api_view  # noqa: E402
from rest_framework.response import Response  # noqa: E402


@api_view(["GET"])
def greeting(request):
    return Response({"hello": request.user.email, "staff": request.user.is_staff})


urlpatterns = [path("greeting/", greeting)]
