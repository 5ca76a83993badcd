//! `check`, `healthcheck`, `completions` and `man`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::client::{Client, picture};
use crate::smtp::SmtpSink;
use crate::support::{Outcome, Running, create_user, enroll_app, folder, names_in, run};

/// Settings without any finding, except for the mail server.
const VALID: &[&str] = &[
    "--db",
    "users.db",
    "--server-public-url",
    "https://accounts.example.com",
    "--server-trusted-proxies",
    "127.0.0.1",
    "--mail-from",
    "accounts@example.com",
    "--backup-dir",
    "backups",
];

fn check(dir: &Path, more: &[&str]) -> Outcome {
    run(dir, &[VALID, &["check"], more].concat())
}

/// Asserts a line that begins with a level and a subject and goes on with a text.
#[track_caller]
fn assert_line(outcome: &Outcome, start: &str, text: &str) {
    let found = outcome.stdout.lines().any(|line| {
        line.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .starts_with(start)
            && line.contains(text)
    });
    assert!(found, "no line {start:?} with {text:?}: {outcome:?}");
}

#[test]
fn healthy_installation_has_only_ok_lines() {
    let dir = folder();
    let sink = SmtpSink::start();
    let mail = ["--mail-smtp-url", &sink.url()];
    let outcome = check(dir.path(), &mail);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_line(&outcome, "ok database:", "the server creates it");
    assert_eq!(
        names_in(dir.path()),
        Vec::<String>::new(),
        "nothing was created"
    );

    let server = Running::start_with(dir.path(), &[VALID, &mail].concat());
    server.wait_for_log("backed up");
    create_user(dir.path(), "root@example.com", &["--staff"]);
    let outcome = check(dir.path(), &mail);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for (start, text) in [
        ("ok database:", "in use by a server"),
        ("ok keys:", "one key"),
        ("ok mail:", "answers"),
        ("ok backups:", "the newest"),
        ("ok public_url:", "https://accounts.example.com"),
        (
            "warning staff:",
            "one staff account, without a second factor",
        ),
        ("ok pages:", "in all languages"),
        ("ok clock:", "Z"),
    ] {
        assert_line(&outcome, start, text);
    }
    // The disk of a build machine may be nearly full.
    let unexpected: Vec<_> = outcome
        .stdout
        .lines()
        .filter(|line| !line.starts_with("ok ") && !line.contains(" disk: "))
        .filter(|line| !line.starts_with("warning staff: "))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert!(sink.mails().is_empty(), "no mail is sent");

    let outcome = check(dir.path(), &[&mail[..], &["--json"]].concat());
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(report["ok"], json!(true));
    let first = &report["findings"][0];
    assert!(
        first["level"].is_string() && first["subject"].is_string() && first["text"].is_string(),
        "{report}"
    );
}

#[test]
fn warnings_are_reported_with_exit_status_zero() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    fs::set_permissions(
        dir.path().join("users.db"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let photos = dir.path().join("users.db.media/photos");
    fs::create_dir_all(&photos).unwrap();
    fs::write(photos.join("stray.jpg"), "").unwrap();
    let arguments = [
        "--db",
        "users.db",
        "--passwords-bcrypt-cost",
        "4",
        "--rate-limits-enabled=false",
        "--server-public-url",
        "http://accounts.example.com",
        "check",
    ];
    let outcome = run(dir.path(), &arguments);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for (start, text) in [
        ("warning settings:", "bcrypt_cost"),
        ("warning settings:", "rate_limits"),
        ("warning public_url:", "not encrypted"),
        ("warning permissions:", "chmod 600"),
        ("warning photos:", "1 files"),
        ("warning backups:", "[backup] dir"),
        ("warning mail:", "smtp_url"),
    ] {
        assert_line(&outcome, start, text);
    }
    let proxied = run(
        dir.path(),
        &[
            "--db",
            "users.db",
            "--server-public-url",
            "https://accounts.example.com",
            "check",
        ],
    );
    assert_line(&proxied, "warning trusted_proxies:", "127.0.0.1");
    assert_line(
        &run(dir.path(), &["--db", "users.db", "--dev", "check"]),
        "warning settings:",
        "--dev",
    );
}

#[test]
fn staff_without_second_factor_is_reported() {
    let dir = folder();
    create_user(dir.path(), "root@example.com", &["--staff"]);
    create_user(dir.path(), "other@example.com", &["--staff"]);
    create_user(dir.path(), "user@example.com", &[]);
    let report = || check(dir.path(), &[]);
    let without = "2 staff accounts, without a second factor; set one up on /account/security/";
    assert_line(&report(), "warning staff:", without);
    enroll_app(dir.path(), 1);
    let some = "2 staff accounts, 1 of them without a second factor";
    assert_line(&report(), "warning staff:", some);
    enroll_app(dir.path(), 2);
    assert_line(
        &report(),
        "ok staff:",
        "2 staff accounts, with second factors",
    );
}

#[test]
fn passkeys_of_another_domain_are_reported() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let add = |id: &str, domain: &str| {
        Connection::open(dir.path().join("users.db"))
            .unwrap()
            .execute(
                "INSERT INTO passkeys (id, credential_id, user_id, name, rp_id, public_key, \
                 sign_count, aaguid, transports, is_backup_eligible, is_backed_up, created_at) \
                 VALUES (?1, CAST(?1 AS BLOB), 1, 'Phone', ?2, x'00', 0, zeroblob(16), '', 0, 0, 0)",
                [id, domain],
            )
            .unwrap();
    };
    add("a", "accounts.example.com");
    let quiet = check(dir.path(), &[]);
    assert!(!quiet.stdout.contains("passkeys:"), "{quiet:?}");
    add("b", "old.example");
    add("c", "old.example");
    let moved = check(dir.path(), &[]);
    assert_eq!(moved.stdout.matches("passkeys:").count(), 1, "{moved:?}");
    assert_line(
        &moved,
        "warning passkeys: 2 passkeys are bound to old.example and cannot sign in at accounts.example.com:",
        "set [passkeys] rp_id to old.example",
    );
    // The domain is that of the settings, where they name one.
    let named = check(dir.path(), &["--passkeys-rp-id", "example.com"]);
    assert_line(
        &named,
        "warning passkeys: 1 passkey is bound to accounts.example.com",
        "add new ones on /account/security/",
    );
}

#[test]
fn undelivered_mails_are_reported() {
    let dir = folder();
    let server = Running::start(dir.path());
    for name in ["one", "two"] {
        assert_eq!(server.sign_up(&format!("{name}@example.com")).0, 201);
        server.next_mail();
    }
    drop(server);
    // Mails that were tried once and twice, as a mail server that refuses them leaves them.
    let connection = Connection::open(dir.path().join("users.db")).unwrap();
    let queue = |tries: u32| {
        connection
            .execute(
                "INSERT INTO deliveries (message_id, user_id, email, language, content, created_at, \
                 expires_at, tries, next_try_at) SELECT randomblob(16), min(id), 'a@example.com', \
                 'en', x'00', 1767225600000, 1767312000000, ?, 0 FROM users",
                [tries],
            )
            .unwrap();
    };
    queue(1);
    let outcome = check(dir.path(), &[]);
    assert!(
        !outcome.stdout.contains("could not be delivered"),
        "{outcome:?}"
    );
    queue(2);
    let outcome = check(dir.path(), &[]);
    assert_line(
        &outcome,
        "warning mail: 1 emails could not be delivered yet",
        "2026-01-01T00:00:00Z",
    );
    // The reason is in the database, so `check` says it without the log.
    connection
        .execute(
            "UPDATE deliveries SET problem = 'Sender address rejected; set [mail] from'",
            [],
        )
        .unwrap();
    let outcome = check(dir.path(), &[]);
    assert_line(
        &outcome,
        "warning mail: 1 emails could not be delivered yet",
        "the last attempt failed because: Sender address rejected; set [mail] from",
    );
}

#[test]
fn floods_are_reported() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("one@example.com").0, 201);
    server.next_mail();
    drop(server);
    let ceiling = |most: &str| {
        check(
            dir.path(),
            &["--rate-limits-new-address-mails-an-hour", most],
        )
    };
    let quiet = ceiling("1");
    assert!(!quiet.stdout.contains("rate_limits"), "{quiet:?}");
    // One mail more than expected, in the last hour and before.
    let connection = Connection::open(dir.path().join("users.db")).unwrap();
    let add = |before: &str| {
        let statement = format!(
            "INSERT INTO otp_mails (address_hash, purpose, sent_at) \
             SELECT x'00', 'email_change', max(sent_at) - {before} FROM otp_mails"
        );
        connection.execute(&statement, []).unwrap();
    };
    add("3600000");
    let quiet = ceiling("1");
    assert!(!quiet.stdout.contains("rate_limits"), "{quiet:?}");
    add("1000");
    assert_line(
        &ceiling("1"),
        "warning rate_limits: 2 mails to addresses without an account",
        "new_address_mails_an_hour (1)",
    );
    let none = ceiling("0");
    assert!(!none.stdout.contains("rate_limits"), "{none:?}");
}

#[test]
fn errors_are_reported_with_exit_status_one() {
    let dir = folder();
    create_user(dir.path(), "ada@example.com", &[]);
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outcome = check(
        dir.path(),
        &["--mail-smtp-url", &format!("smtp://{nobody}")],
    );
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_line(&outcome, "error mail:", "refused");
    assert!(outcome.stderr.contains("1 error was found"), "{outcome:?}");

    let outcome = run(
        dir.path(),
        &["--db", "users.db", "--listen", "0.0.0.0:8000", "check"],
    );
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_line(&outcome, "error public_url:", "nobody can reach");

    let server = Running::start(dir.path());
    let access = server.sign_in("ada@example.com");
    let client = Client::new(server.address);
    assert_eq!(client.upload(&access, &picture(1)).unwrap().0, 200);
    drop(server);
    let photos = dir.path().join("users.db.media/photos");
    let photo = photos.join(&names_in(&photos)[0]);
    fs::remove_file(&photo).unwrap();
    assert_line(
        &check(dir.path(), &[]),
        "error photos:",
        "1 of 1 are missing",
    );

    let make = |statements: &str| {
        Connection::open(dir.path().join("users.db"))
            .unwrap()
            .execute_batch(statements)
            .unwrap();
    };
    make("UPDATE users SET updated_at = 32503680000000");
    assert_line(&check(dir.path(), &[]), "error clock:", "3000-01-01");
    fs::create_dir(dir.path().join("backups")).unwrap();
    fs::write(dir.path().join("backups/users.db-20260101T000000Z.tar"), "").unwrap();
    assert_line(
        &check(dir.path(), &[]),
        "error backups:",
        "2026-01-01T00:00:00Z",
    );
    let sound = fs::read(dir.path().join("users.db")).unwrap();
    make("PRAGMA user_version = 999");
    assert_line(
        &check(dir.path(), &[]),
        "error database:",
        "newer accounts-server",
    );

    let mut bytes = sound;
    bytes[4096 * 2..4096 * 5].fill(0xff);
    fs::write(dir.path().join("users.db"), bytes).unwrap();
    let outcome = check(dir.path(), &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_line(&outcome, "error database:", "damaged");
}

#[test]
fn healthcheck_reports_readiness() {
    let dir = folder();
    let server = Running::start_with(
        dir.path(),
        &["--db", "users.db", "--database-busy-timeout-ms", "1"],
    );
    let address = server.address.to_string();
    let port = server.address.port();
    for listen in [
        address.clone(),
        format!("0.0.0.0:{port}"),
        format!("localhost:{port}"),
    ] {
        run(dir.path(), &["--listen", &listen, "healthcheck"]).assert_done("");
    }
    // A server that cannot write is not ready.
    let other = Connection::open(dir.path().join("users.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The result of the last write is cached for a second.
    let ask = || run(dir.path(), &["--listen", &address, "healthcheck"]);
    let refused = loop {
        let outcome = ask();
        if outcome.code != Some(0) {
            break outcome;
        }
    };
    refused.assert_refused(1, &["/readyz answers 503"]);
    other.execute_batch("ROLLBACK").unwrap();
    ask().assert_done("");
    drop(server);
    run(dir.path(), &["--listen", &address, "healthcheck"])
        .assert_refused(1, &["/readyz does not answer"]);
    run(dir.path(), &["--listen", "127.0.0.1:0", "healthcheck"]).assert_refused(1, &["port 0"]);
}

/// An address that accepts connections and never answers.
fn silent_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The thread ends with the test process.
    std::thread::spawn(move || listener.incoming().for_each(drop));
    address.to_string()
}

#[test]
fn healthcheck_asks_api_and_metrics_listeners() {
    let dir = folder();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let metrics_address = free.local_addr().unwrap().to_string();
    drop(free);
    let metrics = ["--metrics-listen", &metrics_address];
    let server = Running::start_with(dir.path(), &[&["--db", "users.db"][..], &metrics].concat());
    let main = server.address.to_string();
    let ask = |listen: &str, metrics: &str| {
        let addresses = ["--listen", listen, "--metrics-listen", metrics];
        run(dir.path(), &[&addresses[..], &["healthcheck"]].concat())
    };
    ask(&main, &metrics_address).assert_done("");
    let silent = silent_address();
    ask(&silent, &metrics_address).assert_refused(1, &[&silent, "does not answer"]);
    ask(&main, &silent).assert_refused(1, &[&silent, "does not answer"]);
    // The main socket may be passed by systemd, whatever the settings say.
    ask("127.0.0.1:0", &metrics_address).assert_done("");
    drop(server);
    ask("127.0.0.1:0", &metrics_address).assert_refused(1, &[&metrics_address, "does not answer"]);
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let dir = folder();
    let bash = run(dir.path(), &["completions", "bash"]);
    assert_eq!(bash.code, Some(0), "{bash:?}");
    fs::write(dir.path().join("completions.bash"), &bash.stdout).unwrap();
    let script = "source completions.bash; COMP_WORDS=(accounts-server back); COMP_CWORD=1; \
                  complete=$(complete -p accounts-server); complete=${complete#*-F }; \
                  ${complete%% *} accounts-server back accounts-server; echo ${COMPREPLY[@]}";
    let output = Command::new("bash")
        .args(["-c", script])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "backup\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let outcome = run(dir.path(), &["completions", shell]);
        assert!(
            outcome.code == Some(0) && outcome.stdout.contains("accounts-server"),
            "{shell}"
        );
    }
    run(dir.path(), &["completions", "dash"]).assert_refused(2, &["dash", "bash"]);
    let page = run(dir.path(), &["man"]);
    assert_eq!(page.code, Some(0));
    for text in [
        ".TH accounts-server 1",
        "backup",
        "tokens\\-access\\-minutes",
    ] {
        assert!(page.stdout.contains(text), "{text}");
    }
    run(dir.path(), &["man", "--dir", "pages"]).assert_done("");
    let pages = names_in(&dir.path().join("pages"));
    for page in [
        "accounts-server.1",
        "accounts-server-backup.1",
        "accounts-server-user-create.1",
    ] {
        assert!(pages.contains(&page.to_owned()), "{pages:?}");
    }
}

#[test]
fn certificate_is_checked_and_healthcheck_uses_tls() {
    let dir = folder();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["accounts.example.com".to_owned()];
    let cert = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    fs::write(dir.path().join("cert.pem"), cert.pem()).unwrap();
    fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
    let tls = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let server = ["--db", "users.db", "--dev", "--listen", &address];
    let mut child = crate::support::program(dir.path(), &[&server[..], &tls].concat())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(child.stdout.as_mut().unwrap()),
        &mut line,
    )
    .unwrap();
    assert!(line.contains("https://"), "{line}");
    let health = run(
        dir.path(),
        &[&["--listen", &address, "healthcheck"][..], &tls].concat(),
    );
    let outcome = run(
        dir.path(),
        &[&["--db", "users.db", "check"][..], &tls].concat(),
    );
    child.kill().unwrap();
    child.wait().unwrap();
    health.assert_done("");
    assert_line(&outcome, "ok tls:", "cert.pem");
    let wrong = ["--tls-cert", "cert.pem", "--tls-key", "none.pem", "check"];
    let outcome = run(dir.path(), &wrong);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert_line(&outcome, "error tls:", "none.pem");
}
