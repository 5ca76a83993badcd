"""Tests of a project that uses the server."""

import time

PASSWORD = "securepassword123"


def test_seeded_user_signs_in(accounts):
    access = accounts.sign_in("alice@example.com")
    status, me = accounts.request("GET", "users/me/", access=access)
    assert (status, me["first_name"]) == (200, "Alice")


def test_sign_up_is_confirmed_with_mailed_code(accounts):
    body = {"email": "bob@example.com", "password": PASSWORD, "confirm_password": PASSWORD}
    assert accounts.request("POST", "users/", body)[0] == 201
    code = {"email": "bob@example.com", "otp": accounts.otp("bob@example.com")}
    assert accounts.request("POST", "otp/verify/", code)[0] == 200


def test_code_expires(accounts):
    body = {"email": "bob@example.com", "password": PASSWORD, "confirm_password": PASSWORD}
    assert accounts.request("POST", "users/", body)[0] == 201, "the reset removed the previous one"
    code = {"email": "bob@example.com", "otp": accounts.otp("bob@example.com")}
    accounts.advance(600)
    assert accounts.request("POST", "otp/verify/", code)[0] == 400


def test_staff_lists_users_and_deactivated_user_cannot_sign_in(accounts):
    staff = accounts.sign_in("root@example.com")
    _, page = accounts.request("GET", "users/", access=staff)
    assert page["count"] == 3
    body = {"email": "gone@example.com", "password": PASSWORD}
    assert accounts.request("POST", "token/", body)[0] == 401


def test_reset_takes_milliseconds(accounts):
    start = time.perf_counter()
    for _ in range(20):
        accounts.reset()
    assert (time.perf_counter() - start) / 20 < 0.5
