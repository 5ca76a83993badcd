//! How often one network may do what attackers do often.

use accounts_server::store::sqlite::add_functions;
use serde_json::json;

use crate::contract::EMAIL_TAKEN;
use crate::support::{Answer, PASSWORD, TestServer, User, sign_up_body};

fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
}

fn from(server: &TestServer, address: &str, path: &str, body: &serde_json::Value) -> Answer {
    server.request(
        "POST",
        &format!("/api/v1/accounts/{path}"),
        &[
            ("content-type", "application/json"),
            ("x-forwarded-for", address),
        ],
        body.to_string(),
    )
}

#[track_caller]
fn assert_throttled(answer: &Answer, seconds: u64) {
    let text = format!("Request was throttled. Expected available in {seconds} seconds.");
    answer.assert_json(429, &json!({ "detail": text }));
    assert_eq!(
        answer.header("retry-after"),
        Some(seconds.to_string().as_str())
    );
}

#[test]
fn failed_sign_ins_are_limited_and_others_are_not() {
    let server = server();
    server.user("user@example.com");
    let wrong = json!({"email": "user@example.com", "password": "wrong"});
    let right = json!({"email": "user@example.com", "password": PASSWORD});
    for _ in 0..30 {
        assert_eq!(from(&server, "192.0.2.1", "token/", &right).status, 200);
    }
    for number in 0..20 {
        let email = format!("user{}@example.com", number / 4);
        let wrong = json!({"email": email, "password": "wrong"});
        assert_eq!(from(&server, "192.0.2.1", "token/", &wrong).status, 401);
    }
    assert_throttled(&from(&server, "192.0.2.1", "token/", &wrong), 300);
    // The owner somewhere else is not held up, and the guesser's network only for a while.
    assert_eq!(from(&server, "192.0.2.2", "token/", &right).status, 200);
    server.advance_seconds(300);
    assert_eq!(from(&server, "192.0.2.1", "token/", &right).status, 200);
}

#[test]
fn sign_ups_codes_and_resets_are_limited() {
    let server = server();
    for (path, most, seconds, status) in [
        ("users/", 20, 3600, 201),
        ("otp/verify/", 30, 600, 400),
        ("password/reset/", 20, 600, 200),
    ] {
        for number in 0..=most {
            let mut body = sign_up_body(&format!("user{number}@example.com"));
            body["otp"] = json!("000000");
            // Addresses of one IPv6 network count as one.
            let answer = from(&server, &format!("2001:db8::{number}"), path, &body);
            if number < most {
                assert_eq!(answer.status, status, "{path} {number}: {}", answer.body);
            } else {
                assert_throttled(&answer, seconds);
            }
        }
        let body = sign_up_body("other@example.com");
        let mut body = body;
        body["otp"] = json!("000000");
        let answer = from(&server, "2001:db8:0:1::1", path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
    }
}

#[test]
fn refused_sign_up_is_not_counted() {
    let server = server();
    for _ in 0..30 {
        let answer = from(&server, "192.0.2.1", "users/", &json!({}));
        assert_eq!(answer.status, 400);
    }
    let body = sign_up_body("user@example.com");
    assert_eq!(from(&server, "192.0.2.1", "users/", &body).status, 201);
}

#[test]
fn account_enumeration_is_limited() {
    let server = server();
    server.user("taken@example.com");
    let requester = server.user("requester@example.com");
    // A wrong password does not avoid the limit: it is reported together with the address.
    let mut body = sign_up_body("taken@example.com");
    body["password"] = json!("short");
    for number in 0..19 {
        let answer = from(&server, "192.0.2.1", "users/", &body);
        assert_eq!(answer.status, 400, "{number}: {}", answer.body);
        assert!(answer.body.contains("already exists"), "{}", answer.body);
    }
    // Sign-ups have a count of their own, and a full one keeps nobody from another address.
    for number in 0..20 {
        let body = sign_up_body(&format!("new{number}@example.com"));
        assert_eq!(from(&server, "192.0.2.1", "users/", &body).status, 201);
    }
    let body = sign_up_body("one-more@example.com");
    assert_throttled(&from(&server, "192.0.2.1", "users/", &body), 3600);
    // Neither is an account of one's own.
    let change = |email: &str| {
        let token = format!("Bearer {}", requester.access);
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", "192.0.2.1"),
            ("authorization", &token),
        ];
        let body = json!({ "email": email }).to_string();
        server.request("PATCH", "/api/v1/accounts/users/me/", &headers, body)
    };
    assert_eq!(change("moved@example.com").status, 200);
    change("taken@example.com").assert(400, EMAIL_TAKEN);
    for email in ["taken@example.com", "free@example.com"] {
        let body = sign_up_body(email);
        assert_throttled(&from(&server, "192.0.2.1", "users/", &body), 3600);
        assert_throttled(&change(email), 3600);
    }
    assert_eq!(
        from(
            &server,
            "192.0.2.2",
            "users/",
            &sign_up_body("free@example.com")
        )
        .status,
        201
    );
    server.advance_seconds(3600);
    assert_eq!(
        change("new@example.com").status,
        401,
        "the token has expired"
    );
    let body = sign_up_body("other@example.com");
    assert_eq!(from(&server, "192.0.2.1", "users/", &body).status, 201);
}

#[test]
fn address_changes_are_limited() {
    let server = server();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let change = |user: &User, address: &str, body: serde_json::Value| {
        let token = format!("Bearer {}", user.access);
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", address),
            ("authorization", &token),
        ];
        let path = "/api/v1/accounts/users/me/";
        server.request("PATCH", path, &headers, body.to_string())
    };
    for number in 0..20 {
        // What is refused mails nobody, and is not counted.
        let wrong = json!({"email": "stranger@example.com", "gender": "X"});
        assert_eq!(change(&user, "192.0.2.1", wrong).status, 400);
        let email = format!("stranger{number}@example.com");
        let answer = change(&user, "192.0.2.1", json!({ "email": email }));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // Another account does not avoid the limit.
    for user in [&user, &other] {
        let body = json!({"email": "stranger@example.com"});
        assert_throttled(&change(user, "192.0.2.1", body), 3600);
    }
    assert!(server.mails("stranger@example.com").is_empty());
    // Changes that send no mail are not limited: back to the confirmed address, other fields.
    for body in [
        json!({"email": "user@example.com", "first_name": "Ada"}),
        json!({"last_name": "King"}),
    ] {
        assert_eq!(change(&user, "192.0.2.1", body).status, 200);
    }
    let body = json!({"email": "stranger@example.com"});
    assert_eq!(change(&other, "192.0.2.2", body).status, 200);
    // Staff sets addresses for others.
    let staff = server.staff("root@example.com");
    for number in 0..30 {
        let email = format!("root{number}@example.com");
        let answer = change(&staff, "192.0.2.3", json!({ "email": email }));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[test]
fn address_taken_meanwhile_is_counted() {
    const RACERS: usize = 8;
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.sign_ups = 8;
        config.database.busy_timeout_ms = 60_000;
        // So that each operation but one waits in the queue, where it is seen.
        config.database.writes_per_commit = 1;
    });
    let requester = server.user("requester@example.com");
    let rival = server.user("rival@example.com");
    let change = |email: &str| server.patch("users/me/", &requester, &json!({ "email": email }));
    // The check whether the address is free waits behind a writer that takes it.
    let other = rusqlite::Connection::open(server.dir().join("users.db")).unwrap();
    add_functions(&other).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|scope| {
        let (change, server) = (&change, &server);
        let racers: Vec<_> = (0..RACERS)
            .map(|number| {
                scope.spawn(move || match number % 2 {
                    0 => server.sign_up("coveted@example.com"),
                    _ => change("coveted@example.com"),
                })
            })
            .collect();
        // The server's own work may be among those that wait.
        while server.metric("accounts_database_queue_length ") < 6 {}
        let taken = other
            .execute(
                "UPDATE users SET email = 'coveted@example.com', email_key = 'coveted@example.com' WHERE id = ?",
                [rival.id],
            )
            .unwrap();
        assert_eq!(taken, 1);
        other.execute_batch("COMMIT").unwrap();
        for racer in racers {
            racer.join().unwrap().assert(400, EMAIL_TAKEN);
        }
    });
    assert_throttled(&change("free@example.com"), 3600);
    assert_throttled(&server.sign_up("free@example.com"), 3600);
}

#[test]
fn sign_up_limit_comes_before_any_lookup() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("pwned.txt");
    std::fs::write(&list, "0000000000000000000000000000000000000001:7\n").unwrap();
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.sign_ups = 1;
        config.passwords.breached_list = Some(list.clone());
    });
    let sign_up = |email: &str| server.post("users/", &sign_up_body(email));
    assert_eq!(sign_up("one@example.com").status, 201);
    // A list that cannot be read any more is an error of the server, and who is refused does not get as far as that.
    std::fs::File::options()
        .write(true)
        .open(&list)
        .unwrap()
        .set_len(3)
        .unwrap();
    assert_eq!(sign_up("two@example.com").status, 429);
    server.advance_seconds(3600);
    assert_eq!(sign_up("two@example.com").status, 500);
}

#[test]
fn back_off_grows_for_the_guessing_network_only() {
    let server = server();
    server.user("user@example.com");
    // An address that nobody has is counted in the same way: the limit does not tell who has an account.
    for email in ["nobody@example.com", "user@example.com"] {
        let wrong = json!({"email": email, "password": "wrong"});
        for _ in 0..5 {
            assert_eq!(from(&server, "192.0.2.1", "token/", &wrong).status, 401);
        }
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let pause: u64 = {
                let answer = from(&server, "192.0.2.1", "token/", &wrong);
                assert_eq!(answer.status, 429, "{}", answer.body);
                answer.header("retry-after").unwrap().parse().unwrap()
            };
            pauses.push(pause);
            server.advance_seconds(pause);
            assert_eq!(from(&server, "192.0.2.1", "token/", &wrong).status, 401);
        }
        assert_eq!(
            pauses,
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900],
            "{email}"
        );
    }
    let right = json!({"email": "user@example.com", "password": PASSWORD});
    // During the pause a right password is not confirmed; from another network it is.
    assert_eq!(from(&server, "192.0.2.1", "token/", &right).status, 429);
    assert_eq!(from(&server, "192.0.2.2", "token/", &right).status, 200);
    server.advance_seconds(900);
    assert_eq!(from(&server, "192.0.2.1", "token/", &right).status, 200);
    // The right password ends the count.
    let wrong = json!({"email": "user@example.com", "password": "wrong"});
    for _ in 0..5 {
        assert_eq!(from(&server, "192.0.2.1", "token/", &wrong).status, 401);
    }
    assert_eq!(from(&server, "192.0.2.1", "token/", &wrong).status, 429);
}

#[test]
fn flood_of_guesses_leaves_known_networks_alone() {
    let mut server = server();
    server.user("user@example.com");
    let right = json!({"email": "user@example.com", "password": PASSWORD});
    assert_eq!(from(&server, "192.0.2.200", "token/", &right).status, 200);
    for email in ["user@example.com", "nobody@example.com"] {
        let wrong = json!({"email": email, "password": "wrong"});
        for number in 0..100 {
            let address = format!("198.51.100.{number}");
            assert_eq!(from(&server, &address, "token/", &wrong).status, 401);
        }
        assert_throttled(&from(&server, "192.0.2.77", "token/", &wrong), 3600);
    }
    // It is in the store: a restart changes nothing.
    server.restart();
    assert_throttled(&from(&server, "192.0.2.77", "token/", &right), 3600);
    assert_eq!(from(&server, "192.0.2.200", "token/", &right).status, 200);
    // Somewhere new the mailbox lets the owner in: a reset makes the network known.
    let reset = json!({"email": "user@example.com"});
    assert_eq!(
        from(&server, "192.0.2.77", "password/reset/", &reset).status,
        200
    );
    let confirm = json!({
        "email": "user@example.com", "otp": server.otp("user@example.com"),
        "password": "another-pass-77", "confirm_password": "another-pass-77",
    });
    let answer = from(&server, "192.0.2.77", "password/reset/confirm/", &confirm);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let renewed = json!({"email": "user@example.com", "password": "another-pass-77"});
    assert_eq!(from(&server, "192.0.2.77", "token/", &renewed).status, 200);
    assert_eq!(from(&server, "192.0.2.78", "token/", &renewed).status, 429);
    server.advance_seconds(3600);
    assert_eq!(from(&server, "192.0.2.78", "token/", &renewed).status, 200);
}

#[test]
fn both_addresses_share_one_counter() {
    let server = server();
    let user = server.user("user@example.com");
    server.patch(&user.path(), &user, &json!({"email": "second@example.com"}));
    for number in 0..5 {
        let email = ["user@example.com", "second@example.com"][number % 2];
        let wrong = json!({"email": email, "password": "wrong"});
        assert_eq!(from(&server, "192.0.2.1", "token/", &wrong).status, 401);
    }
    for email in ["user@example.com", "SECOND@example.com"] {
        let right = json!({"email": email, "password": PASSWORD});
        assert_throttled_briefly(&from(&server, "192.0.2.1", "token/", &right));
    }
}

#[track_caller]
fn assert_throttled_briefly(answer: &Answer) {
    answer.assert_throttled(1);
}

#[test]
fn stolen_token_is_slowed_down_from_every_network() {
    let server = server();
    let user = server.user("user@example.com");
    let authorization = format!("Bearer {}", user.access);
    let guess = |address: &str, current: &str| {
        server.request(
            "POST",
            "/api/v1/accounts/password/change/",
            &[
                ("content-type", "application/json"),
                ("x-forwarded-for", address),
                ("authorization", &authorization),
            ],
            json!({
                "current_password": current, "password": "another-pass-77",
                "confirm_password": "another-pass-77",
            })
            .to_string(),
        )
    };
    for number in 0..5 {
        let answer = guess(&format!("198.51.100.{number}"), "wrong");
        answer.assert(400, r#"{"current_password":["Invalid password."]}"#);
    }
    // Whatever the network, it is the session that waits.
    assert_throttled_briefly(&guess("198.51.100.99", "wrong"));
    assert_throttled_briefly(&guess("198.51.100.98", PASSWORD));
    let right = json!({"email": "user@example.com", "password": PASSWORD});
    assert_eq!(from(&server, "198.51.100.1", "token/", &right).status, 200);
    server.advance_seconds(1);
    assert_eq!(guess("198.51.100.98", PASSWORD).status, 200);
}

#[test]
fn right_password_of_a_deactivated_account_is_a_failure() {
    let server = server();
    let staff = server.staff("staff@example.com");
    let user = server.user("user@example.com");
    server.patch(&user.path(), &staff, &json!({"is_active": false}));
    let right = json!({"email": "user@example.com", "password": PASSWORD});
    for _ in 0..5 {
        assert_eq!(from(&server, "192.0.2.1", "token/", &right).status, 401);
    }
    assert_throttled_briefly(&from(&server, "192.0.2.1", "token/", &right));
}

#[test]
fn limits_are_configurable() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.failed_sign_ins = 3;
        config.rate_limits.account_failures = 2;
        config.rate_limits.resends = 4;
    });
    let wrong = |email: &str| server.sign_in(email, "wrong");
    for _ in 0..2 {
        assert_eq!(wrong("one@example.com").status, 401);
    }
    assert_throttled_briefly(&wrong("one@example.com"));
    assert_eq!(wrong("two@example.com").status, 401);
    assert_throttled(&wrong("three@example.com"), 300);
    let resend = || server.post("otp/resend/", &json!({"email": "one@example.com"}));
    for _ in 0..4 {
        assert_eq!(resend().status, 200);
    }
    assert_throttled(&resend(), 600);
}

#[test]
fn ipv6_site_is_limited_as_a_whole() {
    let server = server();
    let wrong = |network: u32| {
        let address = format!("2001:db8:1:{network:x}::1");
        let body = json!({"email": format!("u{network}@example.com"), "password": "wrong"});
        from(&server, &address, "token/", &body)
    };
    // One try each from the networks of a /56, which has four times the limit of one.
    for network in 0..80 {
        assert_eq!(wrong(network).status, 401, "{network}");
    }
    assert_throttled(&wrong(80), 300);
    // Another /56 goes on, and another /48.
    assert_eq!(wrong(0x100).status, 401);
    for network in 1..4 {
        for number in 0..80 {
            let network = (network << 8) + number;
            let status = wrong(network).status;
            assert!(status == 401 || network == 0x14f, "{network:x}: {status}");
        }
    }
    let body = json!({"email": "u@example.com", "password": "wrong"});
    let other = from(&server, "2001:db8:2::1", "token/", &body);
    assert_eq!(other.status, 401);
}

#[test]
fn flood_of_sign_ups_shrinks_what_networks_may_do() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.new_address_mails_an_hour = 10;
        config.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let sign_up = |client: &str, name: &str| {
        let body = sign_up_body(&format!("{name}@example.com"));
        from(&server, client, "users/", &body).status
    };
    // Forty networks send one mail each: four times the ceiling.
    for number in 0..40 {
        let client = format!("192.0.2.{number}");
        assert_eq!(sign_up(&client, &format!("flood{number}")), 201);
    }
    let series = |name: &str| server.metric(&format!("{name}{{ceiling=\"new_address_mails\"}}"));
    assert_eq!(series("accounts_ceiling_events"), 40);
    assert_eq!(series("accounts_ceiling_limit"), 10);
    // A network has a quarter of its twenty, and less with each mail more.
    let signed_up = (0..20).filter(|n| sign_up("198.51.100.1", &format!("a{n}")) == 201);
    assert_eq!(signed_up.count(), 4);
    // Nobody is shut out: two remain for each.
    for number in 40..120 {
        let client = format!("192.0.2.{number}");
        assert_eq!(sign_up(&client, &format!("flood{number}")), 201);
    }
    assert_eq!(sign_up("198.51.100.2", "b1"), 201);
    assert_eq!(sign_up("198.51.100.2", "b2"), 201);
    assert_eq!(sign_up("198.51.100.2", "b3"), 429);
    // An hour later it is over.
    server.advance_seconds(3660);
    let signed_up = (0..12).filter(|n| sign_up("198.51.100.3", &format!("c{n}")) == 201);
    assert_eq!(signed_up.count(), 12);
}

#[test]
fn flood_of_wrong_codes_shrinks_the_tries_of_networks() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.wrong_codes_an_hour = 10;
        config.server.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let guess = |client: &str| {
        let body = json!({"email": "user@example.com", "otp": "000000"});
        from(&server, client, "otp/verify/", &body).status
    };
    for number in 0..100 {
        assert_eq!(guess(&format!("192.0.2.{number}")), 400);
    }
    assert_eq!(
        server.metric("accounts_ceiling_events{ceiling=\"wrong_codes\"}"),
        100
    );
    // Five tries are what one code needs.
    let tried = (0..30).filter(|_| guess("198.51.100.1") == 400);
    assert_eq!(tried.count(), 5);
    // Right codes count for nothing.
    assert_eq!(server.sign_up("owner@example.com").status, 201);
    assert_eq!(server.confirm("owner@example.com").status, 200);
    assert_eq!(
        server.metric("accounts_ceiling_events{ceiling=\"wrong_codes\"}"),
        105
    );
}

#[test]
fn limits_can_be_disabled() {
    let server = TestServer::start();
    server.user("user@example.com");
    for _ in 0..120 {
        assert_eq!(server.sign_in("user@example.com", "wrong").status, 401);
    }
    assert_eq!(server.sign_in("user@example.com", PASSWORD).status, 200);
    assert_eq!(
        server.db_number("SELECT count(*) FROM password_failures"),
        0
    );
}
