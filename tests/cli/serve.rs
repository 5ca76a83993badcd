//! `serve`: start, account lifecycle, shutdown, crash.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::support::{
    PASSWORD, Running, claims, code_in, create_user, folder, names_in, program, run,
};

#[test]
fn setup_link_is_printed_until_there_is_a_staff_account() {
    let dir = folder();
    let server = Running::start(dir.path());
    let line = server.next_output();
    let (start, url) = line.split_once(": ").unwrap();
    assert_eq!(start, "create the first administrator within an hour");
    let path = url
        .strip_prefix(&format!("http://{}", server.address))
        .unwrap();
    // Programs that look for the digits of a code on standard output find none here.
    assert!(!path.contains(|c: char| c.is_ascii_digit()), "{path}");
    let (status, page) = server.request("GET", path, None, &json!({}));
    assert_eq!(status, 200, "{page}");
    assert!(
        page.as_str().unwrap().contains("confirm_password"),
        "{page}"
    );
    let checked = run(dir.path(), &["--db", "users.db", "check"]);
    assert!(
        checked
            .stdout
            .contains("warning staff: there is no staff account"),
        "{checked:?}"
    );
    // An account made by the command line ends it at once, without a restart.
    create_user(dir.path(), "root@example.com", &["--staff"]);
    let (status, page) = server.request("GET", path, None, &json!({}));
    assert_eq!(
        (status, page.to_string().contains("confirm_password")),
        (200, false),
        "{page}"
    );
    let checked = run(dir.path(), &["--db", "users.db", "check"]);
    assert!(
        checked
            .stdout
            .contains("warning staff: one staff account, without a second factor"),
        "{checked:?}"
    );
    let stopped = server.terminate();
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let server = Running::start(dir.path());
    let outcome = server.terminate();
    assert!(!outcome.stdout.contains("administrator"), "{outcome:?}");
}

#[test]
fn account_lifecycle() {
    let dir = folder();
    let server = Running::start_with(dir.path(), &["--db", "users.db"]);
    let warning = server.wait_for_log("WARN");
    assert!(
        warning.contains("mail") && warning.contains("standard output"),
        "{warning}"
    );

    let (status, answer) = server.sign_up("User@example.com");
    assert_eq!(
        (status, &answer["data"]["id"], &answer["data"]["email"]),
        (201, &json!(1), &json!("User@example.com"))
    );
    let mail = server.next_mail();
    assert!(mail.contains("\nTo: User@example.com\n"), "{mail}");
    let otp = code_in(&mail);
    let (status, answer) = server.post(
        "otp/verify/",
        &json!({"email": "user@example.com", "otp": otp}),
    );
    assert_eq!(
        (status, &answer["msg"]),
        (200, &json!("Email verified successfully!")),
        "{answer}"
    );

    let access = server.sign_in("user@example.com");
    let (status, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!(
        (status, &profile["id"], &profile["first_name"]),
        (200, &json!(1), &json!(""))
    );
    let (status, changed) = server.api(
        "PATCH",
        "users/1/",
        Some(&access),
        &json!({"first_name": "John"}),
    );
    assert_eq!((status, &changed["first_name"]), (200, &json!("John")));

    let outcome = server.terminate();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for secret in [
        &otp,
        PASSWORD,
        "user@example.com",
        "User@example.com",
        &access,
    ] {
        assert!(
            !outcome.stderr.contains(secret),
            "{secret} is in the log: {}",
            outcome.stderr
        );
    }

    // All of it survives a restart.
    let server = Running::start_with(dir.path(), &["serve", "--db", "users.db"]);
    let (status, profile) = server.api("GET", "users/me/", Some(&access), &json!({}));
    assert_eq!((status, &profile["first_name"]), (200, &json!("John")));
}

#[test]
fn development_mode_has_inbox_and_no_warnings() {
    let dir = folder();
    let server = Running::start_with(dir.path(), &["--db", "users.db", "--dev"]);
    for _ in 0..2 {
        assert_eq!(
            server.sign_up("user@example.com").0,
            201,
            "no pause between mails"
        );
    }
    let (status, mails) = server.request("GET", "/dev/mail/?to=USER@example.com", None, &json!({}));
    assert_eq!((status, mails.as_array().unwrap().len()), (200, 2));
    let printed = [server.next_mail(), server.next_mail()];
    assert!(printed[1].contains("To: user@example.com"), "{printed:?}");
    let body = json!({"email": "user@example.com", "otp": mails[0]["otp"]});
    let (status, answer) = server.post("otp/verify/", &body);
    assert_eq!(status, 200, "{answer}");
    let outcome = server.terminate();
    assert_eq!(outcome.code, Some(0));
    assert!(!outcome.stderr.contains("WARN"), "{}", outcome.stderr);

    let server = Running::start(dir.path());
    let (status, answer) = server.request("GET", "/dev/mail/", None, &json!({}));
    assert_eq!((status, answer), (404, json!({"detail": "Not found."})));
}

#[test]
fn both_signals_shut_down_gracefully() {
    for signal in ["TERM", "INT"] {
        let dir = folder();
        let server = Running::start(dir.path());
        assert_eq!(server.sign_up("user@example.com").0, 201);
        server.signal(signal);
        let outcome = server.wait();
        assert_eq!(outcome.code, Some(0), "{signal}: {outcome:?}");
        assert!(
            outcome.stdout.contains("To: user@example.com"),
            "queued mail is delivered: {outcome:?}"
        );
    }
}

#[test]
fn in_flight_requests_finish_before_shutdown() {
    let dir = folder();
    // A hash of the default cost takes far longer than a shutdown without waiting.
    let server = Running::start_with(dir.path(), &["--db", "users.db"]);
    let body =
        json!({"email": "user@example.com", "password": PASSWORD, "confirm_password": PASSWORD})
            .to_string();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_mins(1)))
        .unwrap();
    let head = format!(
        "POST /api/v1/accounts/users/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
         application/json\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    server.signal("TERM");
    server.wait_for_log("stopping");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let outcome = server.wait();
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(
        outcome.stdout.contains("To: user@example.com"),
        "{outcome:?}"
    );
}

#[test]
fn acknowledged_writes_survive_crash() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    let mut access = None;
    let mut expected = json!("");
    for round in 0..5 {
        let server = Running::start(dir.path());
        let token = access
            .get_or_insert_with(|| server.sign_in("user@example.com"))
            .clone();
        let (status, profile) = server.api("GET", "users/me/", Some(&token), &json!({}));
        assert_eq!(
            (status, &profile["first_name"]),
            (200, &expected),
            "round {round}: {profile}"
        );
        expected = json!(format!("Number {round}"));
        let (status, _) = server.api(
            "PATCH",
            "users/me/",
            Some(&token),
            &json!({"first_name": expected}),
        );
        assert_eq!(status, 200);
        server.kill();
    }
    let server = Running::start(dir.path());
    let (_, profile) = server.api("GET", "users/me/", access.as_deref(), &json!({}));
    assert_eq!(profile["first_name"], "Number 4");
}

#[test]
fn sign_up_survives_crash() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let otp = code_in(&server.next_mail());
    server.kill();
    let server = Running::start(dir.path());
    let (status, answer) = server.post(
        "otp/verify/",
        &json!({"email": "user@example.com", "otp": otp}),
    );
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn second_server_on_the_same_file_is_refused() {
    let dir = folder();
    let server = Running::start(dir.path());
    let whole = dir.path().join("users.db");
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&whole, &link).unwrap();
    for path in ["users.db", "./users.db", whole.to_str().unwrap(), "link.db"] {
        let outcome = run(dir.path(), &["--db", path, "--listen", "127.0.0.1:0"]);
        outcome.assert_refused(1, &["another accounts-server", path]);
    }
    assert_eq!(
        server.sign_up("user@example.com").0,
        201,
        "the first server keeps running"
    );
    // Another file is independent, and a killed server releases its lock.
    let other = Running::start_with(dir.path(), &["--db", "other.db", "--dev"]);
    assert_eq!(other.sign_up("user@example.com").0, 201);
    server.kill();
    let server = Running::start(dir.path());
    assert_eq!(server.request("GET", "/healthz", None, &json!({})).0, 200);
}

#[test]
fn port_in_use_is_reported() {
    let dir = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = run(dir.path(), &["--db", "users.db", "--listen", &address]);
    outcome.assert_refused(1, &["cannot listen on", &address, "--listen"]);
}

#[test]
fn in_memory_database_leaves_no_files() {
    let dir = folder();
    let server = Running::start_with(dir.path(), &["--db", ":memory:", "--dev"]);
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let body = json!({"email": "user@example.com", "otp": code_in(&server.next_mail())});
    let (status, pair) = server.post("otp/verify/", &body);
    assert_eq!(status, 200, "{pair}");
    let access = pair["access"].as_str();
    let (status, changed) =
        server.api("PATCH", "users/me/", access, &json!({"first_name": "John"}));
    assert_eq!((status, &changed["first_name"]), (200, &json!("John")));
    // Two servers with databases in memory share nothing.
    let other = Running::start_with(dir.path(), &["--db", ":memory:", "--dev"]);
    assert_eq!(other.api("GET", "users/me/", access, &json!({})).0, 401);
    assert_eq!(server.terminate().code, Some(0));
    drop(other);
    assert_eq!(names_in(dir.path()), Vec::<String>::new());
}

#[test]
fn closed_standard_output_does_not_stop_server() {
    let dir = folder();
    let address = free_address();
    let mut command = program(
        dir.path(),
        &["--db", "users.db", "--dev", "--listen", &address],
    );
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Nobody reads after the first line.
    let mut line = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"accounts-server ");
    for n in 0..3 {
        let body = json!({"email": format!("user{n}@example.com"), "password": PASSWORD, "confirm_password": PASSWORD});
        let status = ureq::post(format!("http://{address}/api/v1/accounts/users/"))
            .send_json(&body)
            .unwrap()
            .status();
        assert_eq!(status.as_u16(), 201);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// An address that is free at this moment.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

#[test]
fn help_and_version() {
    let dir = folder();
    for flag in ["--help", "-h", "help"] {
        let outcome = run(dir.path(), &[flag]);
        assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""), "{flag}");
        for text in [
            "--db",
            "--listen",
            "--config",
            "--dev",
            "user",
            "serve",
            "ACCOUNTS_",
            "users.db",
        ] {
            assert!(outcome.stdout.contains(text), "{flag}: {text} is missing");
        }
    }
    let long = run(dir.path(), &["--help"]).stdout;
    for text in [
        "--tokens-access-minutes",
        "--mail-smtp-url",
        "ACCOUNTS_PASSWORDS_BCRYPT_COST",
        "config.toml.example",
        "Exit status",
    ] {
        assert!(long.contains(text), "{text} is missing in {long}");
    }
    let users = run(dir.path(), &["user", "create", "--help"]);
    assert_eq!(users.code, Some(0));
    for text in ["--staff", "--password-stdin", "EMAIL", "--db", "--config"] {
        assert!(
            users.stdout.contains(text),
            "{text} is missing in {}",
            users.stdout
        );
    }
    // Settings of the server are listed only for `serve`; other commands show their own help.
    let backup = run(dir.path(), &["backup", "--help"]).stdout;
    let missing = run(dir.path(), &["user"]).stderr;
    for text in [&users.stdout, &backup, &missing] {
        assert!(!text.contains("--tokens-access-minutes"), "{text}");
        assert!(text.contains("`accounts-server --help` explains"), "{text}");
        assert!(text.lines().count() < 60, "{text}");
    }
    assert!(backup.contains("Examples:"), "{backup}");
    let serve = run(dir.path(), &["serve", "--help"]).stdout;
    assert!(serve.contains("--tokens-access-minutes"), "{serve}");
    let version = format!("accounts-server {}\n", env!("CARGO_PKG_VERSION"));
    run(dir.path(), &["--version"]).assert_done(&version);
    assert_eq!(
        names_in(dir.path()),
        Vec::<String>::new(),
        "help creates no files"
    );
}

#[test]
fn wrong_usage_is_reported() {
    let dir = folder();
    for (arguments, text) in [
        (&["--bogus"][..], "--bogus"),
        (&["--db"], "--db"),
        (&["sreve"], "sreve"),
        (&["user"], "create"),
        (&["user", "create"], "EMAIL"),
        (
            &["user", "create", "a@example.com", "b@example.com"],
            "b@example.com",
        ),
        (&["user", "creat", "a@example.com"], "creat"),
        (&["--dev=maybe"], "--dev"),
    ] {
        run(dir.path(), arguments).assert_refused(2, &[text]);
    }
    assert_eq!(names_in(dir.path()), Vec::<String>::new());
}

#[test]
fn token_issuer_is_the_bound_address() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    let server = Running::start(dir.path());
    let claims = claims(&server.sign_in("user@example.com"));
    assert_eq!(claims["iss"], format!("http://{}", server.address));
}
