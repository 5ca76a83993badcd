//! End-to-end tests of another Rust program, with a server, a signed-in user and the mails.
//!
//! In your own `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! accounts-server = { git = "…", features = ["testing"] }
//! ```

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::time::Duration;

use accounts_server::testing::{PASSWORD, TestServer};
use serde_json::{Value, json};

#[test]
fn signed_in_user_is_greeted() {
    let server = TestServer::start();
    let alice = server.user("alice@example.com");
    assert_eq!(
        greeting(&server.url(), &alice.access),
        "Hello alice@example.com"
    );
    // Tokens expire when the test says so.
    server.advance(Duration::from_mins(5));
    assert_eq!(greeting(&server.url(), &alice.access), "Please sign in");
}

#[test]
fn sign_up_is_confirmed_with_mailed_code() {
    let server = TestServer::start();
    let api = format!("{}/api/v1/accounts", server.url());
    let body =
        json!({"email": "bob@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
    ureq::post(format!("{api}/users/")).send_json(body).unwrap();
    let body = json!({"email": "bob@example.com", "otp": server.otp("bob@example.com")});
    let answer = ureq::post(format!("{api}/otp/verify/")).send_json(body);
    assert_eq!(answer.unwrap().status(), 200);
}

/// The program under test, which asks the accounts server for the owner of a token.
fn greeting(accounts: &str, access: &str) -> String {
    let answer = ureq::get(format!("{accounts}/api/v1/accounts/users/me/"))
        .header("authorization", format!("Bearer {access}"))
        .call();
    match answer {
        Ok(mut user) => {
            let user: Value = user.body_mut().read_json().unwrap();
            format!("Hello {}", user["email"].as_str().unwrap())
        }
        Err(_) => "Please sign in".to_owned(),
    }
}
