//! Nobody learns from an answer, or from the time it takes, who has an account. (A sign-up tells, by contract, that an address
//! is taken; it is limited by network.)

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Answer, TestServer};

/// Times of each kind of request. Medians of more move less, and this is enough.
const ROUNDS: usize = 25;

/// Outside development, where nothing waits for the mails, and with hashes that take a while.
fn server() -> TestServer {
    TestServer::start_with(|config| {
        config.passwords.bcrypt_cost = 8;
        config.otp.resend_seconds = 60;
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Asks for a known and an unknown address in turn, and compares everything that can be seen.
#[track_caller]
fn assert_alike(server: &TestServer, path: &str, body: impl Fn(&str) -> Value) {
    let mut seen: Vec<Answer> = Vec::new();
    let [mut known, mut unknown] = [Vec::new(), Vec::new()];
    // The first requests open the connection and prepare the statements.
    for round in 0..=ROUNDS {
        // Which of the two comes first changes, so that neither always meets the work that the other has left behind.
        for turn in 0..2 {
            let is_known = (round + turn) % 2 == 0;
            let email = if is_known {
                "known@example.com".to_owned()
            } else {
                format!("unknown{round}@example.com")
            };
            let body = body(&email);
            #[expect(
                clippy::disallowed_methods,
                reason = "a test of the time that answers take"
            )]
            let begin = Instant::now();
            let answer = server.post(path, &body);
            let took = begin.elapsed();
            if round > 0 {
                if is_known { &mut known } else { &mut unknown }.push(took);
            }
            seen.push(answer);
        }
        server.advance_seconds(61);
    }
    for answer in &seen {
        assert_eq!(answer.status, seen[0].status, "{path}");
        assert_eq!(answer.body, seen[0].body, "{path}");
        let names = |answer: &Answer| {
            let mut names: Vec<String> = answer.headers.keys().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(answer), names(&seen[0]), "{path}");
    }
    let (known, unknown) = (median(known), median(unknown));
    let (less, more) = (known.min(unknown), known.max(unknown));
    assert!(
        more < 2 * less + Duration::from_millis(2),
        "{path}: {known:?} for a known address, {unknown:?} for an unknown one"
    );
}

#[test]
fn sign_in_reveals_no_account() {
    let server = server();
    server.user("known@example.com");
    assert_alike(
        &server,
        "token/",
        |email| json!({"email": email, "password": "wrong"}),
    );
}

#[test]
fn resend_reveals_no_account() {
    let server = server();
    server.sign_up("known@example.com");
    server.advance_seconds(61);
    assert_alike(&server, "otp/resend/", |email| json!({ "email": email }));
    // What makes the times equal: something is committed for an unknown address, too.
    let noted = "SELECT count(*) FROM otp_mails WHERE purpose = 'unknown_resend'";
    assert_eq!(
        server.db_number(noted),
        i64::try_from(ROUNDS + 1).unwrap(),
        "one for each"
    );
}

#[test]
fn reset_reveals_no_account() {
    let server = server();
    server.user("known@example.com");
    assert_alike(
        &server,
        "password/reset/",
        |email| json!({ "email": email }),
    );
    let noted = "SELECT count(*) FROM otp_mails WHERE purpose = 'unknown_reset'";
    assert_eq!(server.db_number(noted), i64::try_from(ROUNDS + 1).unwrap());
}

#[test]
fn wrong_code_reveals_no_account() {
    let server = server();
    server.sign_up("known@example.com");
    let before = server.db_number("SELECT count(*) FROM decoys");
    assert_alike(
        &server,
        "otp/verify/",
        |email| json!({"email": email, "otp": "abcdef"}),
    );
    assert_eq!(before, 0);
    assert_eq!(server.db_number("SELECT count(*) FROM decoys"), 1);
}

#[test]
fn a_resend_does_not_change_the_time_of_a_reset() {
    let server = server();
    server.user("known@example.com");
    for email in ["known@example.com", "unknown@example.com"] {
        for path in ["otp/resend/", "password/reset/"] {
            let answer = server.post(path, &json!({ "email": email }));
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
    }
    // Both requests write a row for both addresses: unknown ones have a counter for each.
    let counted = |purpose: &str| {
        server.db_number(&format!(
            "SELECT count(*) FROM otp_mails WHERE purpose = '{purpose}'"
        ))
    };
    assert_eq!(
        [
            counted("unknown_resend"),
            counted("unknown_reset"),
            counted("password_reset")
        ],
        [2, 1, 1]
    );
}
