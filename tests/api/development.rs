//! What `--dev` gives the tests of other projects over HTTP: codes that are known, a clock to move, the way back.

use accounts_server::config::Config;
use accounts_server::testing;
use serde_json::{Value, json};

use crate::contract::NOT_FOUND;
use crate::support::{PASSWORD, TestServer, sign_up_with};

fn fixed(config: &mut Config) {
    let fixed = &mut config.development.fixed_otp;
    fixed.insert("Alice@Example.com".into(), "123456".into());
}

#[test]
fn chosen_addresses_get_the_codes_that_were_chosen() {
    let server = TestServer::start_with(fixed);
    server.sign_up("alice@example.com");
    assert_eq!(server.otp("alice@example.com"), "123456");
    server.sign_up("bob@example.com");
    let wrong = server.post(
        "otp/verify/",
        &json!({"email": "bob@example.com", "otp": "123456"}),
    );
    assert_eq!(wrong.status, 400, "chosen for Alice alone");

    // Asked for again it is the same, and of two sign-ups it is that of the newer one.
    let body = json!({"email": "alice@example.com"});
    assert_eq!(server.post("otp/resend/", &body).status, 200);
    let again = sign_up_with("alice@example.com", &json!({"first_name": "Second"}));
    assert_eq!(server.post("users/", &again).status, 201);
    let confirmed = server.confirm("alice@example.com");
    let access = confirmed.text("access");
    let profile = server.get("users/me/", Some(&access));
    assert_eq!(profile.text("first_name"), "Second");

    // It works once, like any other.
    assert_eq!(server.confirm("alice@example.com").status, 400);
    for _ in 0..2 {
        assert_eq!(server.post("password/reset/", &body).status, 200);
        let new = json!({"email": "alice@example.com", "otp": "123456", "password": PASSWORD,
                         "confirm_password": PASSWORD});
        assert_eq!(server.post("password/reset/confirm/", &new).status, 200);
        assert_eq!(server.post("password/reset/confirm/", &new).status, 400);
    }
}

#[test]
fn the_clock_can_be_moved() {
    let server = TestServer::start();
    let ask = |method, body: Value| {
        let headers = [("content-type", "application/json")];
        server.request(method, "/dev/clock/", &headers, body.to_string())
    };
    ask("GET", Value::Null).assert(200, r#"{"now":"2024-12-03T12:00:00Z"}"#);
    let alice = server.user("alice@example.com");
    server.sign_up("bob@example.com");
    ask("POST", json!({"advance_seconds": 299})).assert(200, r#"{"now":"2024-12-03T12:04:59Z"}"#);
    assert_eq!(server.get("users/me/", Some(&alice.access)).status, 200);
    // For JSON Schema an integer may have zeros behind its point.
    ask("POST", json!({"advance_seconds": 1.0})).assert(200, r#"{"now":"2024-12-03T12:05:00Z"}"#);
    ask("POST", json!({"advance_seconds": "300"})).assert(200, r#"{"now":"2024-12-03T12:10:00Z"}"#);
    assert_eq!(server.get("users/me/", Some(&alice.access)).status, 401);
    assert_eq!(server.confirm("bob@example.com").status, 400);

    for (value, message) in [
        (
            json!(-1),
            "Ensure this value is greater than or equal to 0.",
        ),
        (
            json!(4_000_000_000_u64),
            "Ensure this value is less than or equal to 3155760000.",
        ),
        (json!(1.5), "A valid integer is required."),
        (json!("soon"), "A valid integer is required."),
        (json!(true), "A valid integer is required."),
        (json!(null), "This field may not be null."),
    ] {
        ask("POST", json!({"advance_seconds": value}))
            .assert_json(400, &json!({"advance_seconds": [message]}));
    }
    ask("POST", json!({})).assert_json(
        400,
        &json!({"advance_seconds": ["This field is required."]}),
    );
}

#[test]
fn a_reset_goes_back_to_the_start() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = true);
    let reset = || {
        server
            .request("POST", "/dev/reset/", &[], "")
            .assert(204, "");
    };
    let staff = server.staff("root@example.com");
    reset();
    assert_eq!(server.get("users/me/", Some(&staff.access)).status, 401);
    for _ in 0..3 {
        let alice = server.user("alice@example.com");
        assert_eq!(alice.id, 1, "numbers restart");
        assert_eq!(server.mails("alice@example.com")[0].id, 1);
        for number in 0..19 {
            server.sign_up(&format!("user{number}@example.com"));
        }
        assert_eq!(server.sign_up("one-more@example.com").status, 429);
        reset();
        assert_eq!(server.get("users/me/", Some(&alice.access)).status, 401);
        assert_eq!(server.sign_in("alice@example.com", PASSWORD).status, 401);
        assert!(server.mails("alice@example.com").is_empty());
        assert_eq!(server.db_number("SELECT count(*) FROM users"), 0);
        assert_eq!(server.db_number("SELECT count(*) FROM deliveries"), 0);
    }
}

#[test]
fn a_database_with_very_many_accounts_is_served_and_not_brought_back() {
    let mut server = TestServer::start();
    let insert = |range: &str| {
        format!(
            "WITH RECURSIVE numbers (n) AS ({range}) INSERT INTO users \
             (email, email_key, password_hash, created_at, updated_at, verified_at) \
             SELECT 'user' || n || '@example.com', 'user' || n || '@example.com', '!', 0, 0, 0 FROM numbers"
        )
    };
    server.db_execute(&insert(
        "SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000",
    ));
    server.restart();
    let alice = server.user("alice@example.com");
    server
        .request("POST", "/dev/reset/", &[], "")
        .assert(204, "");
    assert_eq!(server.get("users/me/", Some(&alice.access)).status, 401);
    assert_eq!(server.db_number("SELECT count(*) FROM users"), 10_000);

    server.db_execute(&insert("SELECT 10001"));
    server.restart();
    let detail = "The database had more than 10000 accounts at the start, too many to restore. Start with --ephemeral \
                  and a --seed of at most 10000 accounts.";
    server
        .request("POST", "/dev/reset/", &[], "")
        .assert_json(400, &json!({ "detail": detail }));
    let alice = server.user("alice@example.com");
    assert_eq!(server.get("users/me/", Some(&alice.access)).status, 200);
}

#[test]
fn pages_of_other_origins_reach_none_of_it() {
    let server = TestServer::start();
    for (origin, status) in [
        ("https://evil.example", 404),
        ("http://localhost.evil.example:8000", 404),
        ("null", 404),
        ("http://localhost:5173", 204),
        ("http://127.0.0.1:3000", 204),
    ] {
        let answer = server.request("POST", "/dev/reset/", &[("origin", origin)], "");
        assert_eq!(answer.status, status, "{origin}");
    }
    let server = TestServer::start_with(|config| config.dev = false);
    for (method, path) in [
        ("GET", "/dev/clock/"),
        ("POST", "/dev/clock/"),
        ("POST", "/dev/reset/"),
        ("GET", "/dev/mail/"),
    ] {
        server.request(method, path, &[], "").assert(404, NOT_FOUND);
    }
}

#[test]
fn the_testing_module_gives_a_server_users_and_mails() {
    let server = testing::TestServer::start();
    let alice = server.user("alice@example.com");
    let root = server.staff("root@example.com");
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let status = |access: &str| {
        let url = format!("{}/api/v1/accounts/users/{}/", server.url(), alice.id);
        let request = agent
            .get(url)
            .header("authorization", format!("Bearer {access}"));
        request.call().unwrap().status().as_u16()
    };
    assert_eq!((status(&alice.access), status(&root.access)), (200, 200));

    let url = format!("{}/api/v1/accounts/users/", server.url());
    let body = json!({"email": "bob@example.com", "password": testing::PASSWORD,
                      "confirm_password": testing::PASSWORD});
    assert_eq!(agent.post(url).send_json(&body).unwrap().status(), 201);
    assert_eq!(server.otp("bob@example.com").len(), 6);

    server.advance(std::time::Duration::from_mins(5));
    assert_eq!(status(&alice.access), 401);
    server.reset();
    assert!(server.mails("bob@example.com").is_empty());
    assert_eq!(server.user("carol@example.com").id, 1);
}

#[tokio::test]
async fn the_testing_module_works_inside_a_runtime() {
    let server = testing::TestServer::start();
    assert_eq!(server.user("alice@example.com").id, 1);
}
