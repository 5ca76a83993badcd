//! Sources of settings, and error messages for invalid ones.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Running, create_user, finish, folder, names_in, program, run};

/// The line of the sign-up email with the lifetime of its code.
fn code_lifetime(server: &Running) -> String {
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let (_, mails) = server.request("GET", "/dev/mail/", None, &json!({}));
    let text = mails[0]["text"].as_str().unwrap().to_owned();
    text.lines()
        .find(|line| line.contains("minute"))
        .unwrap()
        .to_owned()
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let file = "[otp]\nminutes = 7\n";
    let by_file = ["--config", "accounts.toml"];
    let by_environment = ("ACCOUNTS_OTP_MINUTES", "8");
    let by_flag = ["--otp-minutes", "9"];
    for (arguments, environment, minutes) in [
        (vec![], vec![], "10 minutes"),
        (by_file.to_vec(), vec![], "7 minutes"),
        (
            vec![],
            vec![("ACCOUNTS_CONFIG", "accounts.toml")],
            "7 minutes",
        ),
        (vec![], vec![by_environment], "8 minutes"),
        (by_flag.to_vec(), vec![], "9 minutes"),
        (by_file.to_vec(), vec![by_environment], "8 minutes"),
        ([by_flag, by_file].concat(), vec![], "9 minutes"),
        (by_flag.to_vec(), vec![by_environment], "9 minutes"),
        (
            [by_file, by_flag].concat(),
            vec![by_environment],
            "9 minutes",
        ),
        (
            by_file.to_vec(),
            vec![("ACCOUNTS_OTP_MINUTES", "")],
            "7 minutes",
        ),
        (vec!["--otp-minutes=1"], vec![], "1 minute "),
    ] {
        let dir = folder();
        fs::write(dir.path().join("accounts.toml"), file).unwrap();
        let arguments = [&["--db", "users.db", "--dev"][..], &arguments].concat();
        let server = Running::start_in_environment(dir.path(), &arguments, &environment);
        let line = code_lifetime(&server);
        assert!(
            line.contains(minutes),
            "{arguments:?} {environment:?}: {line}"
        );
    }
}

#[test]
fn environment_variable_names_are_stable() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    let server = Running::start_in_environment(
        dir.path(),
        &[],
        &[
            ("ACCOUNTS_DATABASE_PATH", "users.db"),
            (
                "ACCOUNTS_SERVER_PUBLIC_URL",
                "https://accounts.example.com/",
            ),
            ("ACCOUNTS_PASSWORDS_BCRYPT_COST", "4"),
            ("ACCOUNTS_RATE_LIMITS_ENABLED", "false"),
            ("ACCOUNTS_TOKENS_ACCESS_MINUTES", "3"),
            ("ACCOUNTS_OTP_RESEND_SECONDS", "0"),
            ("ACCOUNTS_MAIL_FROM", "Accounts <accounts@example.com>"),
            ("ACCOUNTS_DEV", "true"),
        ],
    );
    let claims = claims(&server.sign_in("user@example.com"));
    assert_eq!(claims["iss"], "https://accounts.example.com");
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        180
    );
    for _ in 0..2 {
        assert_eq!(server.sign_up("new@example.com").0, 201);
    }
    let mail = server.next_mail();
    assert!(
        mail.contains("From: Accounts <accounts@example.com>"),
        "{mail}"
    );
}

fn claims(token: &str) -> Value {
    use base64::Engine;
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(claims)
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn development_changes_defaults_only() {
    let dir = folder();
    fs::write(
        dir.path().join("accounts.toml"),
        "[otp]\nresend_seconds = 60\n",
    )
    .unwrap();
    let arguments = ["--db", "users.db", "--dev", "--config", "accounts.toml"];
    let server = Running::start_with(dir.path(), &arguments);
    assert_eq!(server.sign_up("user@example.com").0, 201);
    assert_eq!(
        server.sign_up("user@example.com").0,
        429,
        "the file wins over the defaults of --dev"
    );
}

#[test]
fn resend_limit_applies_without_development() {
    let dir = folder();
    let server = Running::start(dir.path());
    assert_eq!(server.sign_up("user@example.com").0, 201);
    let (status, answer) = server.sign_up("user@example.com");
    assert_eq!(status, 429);
    let detail = answer["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("Request was throttled. Expected available in "),
        "{detail}"
    );
}

#[test]
fn example_file_is_valid() {
    let dir = folder();
    fs::write(
        dir.path().join("accounts.toml"),
        include_str!("../../config.toml.example"),
    )
    .unwrap();
    let server = Running::start_with(dir.path(), &["--config", "accounts.toml"]);
    assert_eq!(server.request("GET", "/healthz", None, &json!({})).0, 200);
    assert!(names_in(dir.path()).contains(&"users.db".to_owned()));
}

#[test]
fn file_errors_name_file_and_key() {
    for (text, complaints) in [
        (
            "[tokens]\nacess_minutes = 5\n",
            &["acess_minutes", "access_minutes", "[tokens]"][..],
        ),
        (
            "[tokens]\naccess_minutes = \"soon\"\n",
            &["access_minutes", "soon", "whole number"],
        ),
        (
            "[tokens]\naccess_minutes = 0\n",
            &["access_minutes", "1 to 1440"],
        ),
        ("[tokens]\naccess_minutes = 5.0\n", &["access_minutes"]),
        ("[tokens]\naccess_minutes = \"5\"\n", &["access_minutes"]),
        ("[rate_limits]\nenabled = \"no\"\n", &["enabled"]),
        (
            "[server]\ntrusted_proxies = \"127.0.0.1\"\n",
            &["trusted_proxies"],
        ),
        (
            "[server]\ntrusted_proxies = [\"localhost\"]\n",
            &["trusted_proxies", "localhost"],
        ),
        (
            "[server]\npublic_url = \"accounts.example.com\"\n",
            &["public_url"],
        ),
        ("[server]\nlisten = \"8000\"\n", &["listen"]),
        (
            "[mail]\ntransport = \"pigeon\"\n",
            &["transport", "pigeon", "sendmail"],
        ),
        ("[mail]\ntransport = \"smtp\"\n", &["transport", "smtp_url"]),
        (
            "[passwords]\nbcrypt_cost = 3\n",
            &["bcrypt_cost", "4 to 16"],
        ),
        ("[token]\naccess_minutes = 5\n", &["[token]", "tokens"]),
        ("access_minutes = 5\n", &["access_minutes"]),
        ("[tokens]\naccess_minutes = \n", &["2"]),
        ("not TOML at all", &["1"]),
    ] {
        let dir = folder();
        fs::write(dir.path().join("accounts.toml"), text).unwrap();
        for command in [
            &[][..],
            &["user", "create", "user@example.com", "--password-stdin"],
        ] {
            let outcome = run(
                dir.path(),
                &[&["--db", "users.db", "--config", "accounts.toml"], command].concat(),
            );
            outcome.assert_refused(2, complaints);
            let conflict = text.contains("\"smtp\"");
            assert!(
                conflict || outcome.stderr.contains("accounts.toml"),
                "{text:?}: {outcome:?}"
            );
        }
        assert_eq!(
            names_in(dir.path()),
            ["accounts.toml"],
            "nothing is made: {text:?}"
        );
    }
}

#[test]
fn all_invalid_settings_are_reported() {
    let dir = folder();
    fs::write(
        dir.path().join("accounts.toml"),
        "[tokens]\nacess_minutes = 5\nrefresh_days = \"x\"\n",
    )
    .unwrap();
    let mut command = program(
        dir.path(),
        &["--config", "accounts.toml", "--otp-minutes", "never"],
    );
    command.env("ACCOUNTS_PASSWORDS_BCRYPT_COST", "cheap");
    finish(command, "").assert_refused(
        2,
        &[
            "acess_minutes",
            "refresh_days",
            "--otp-minutes",
            "never",
            "ACCOUNTS_PASSWORDS_BCRYPT_COST",
            "cheap",
        ],
    );
}

#[test]
fn invalid_flag_or_variable_is_named() {
    let dir = folder();
    for (arguments, texts) in [
        (&["--listen", "nowhere"][..], &["--listen", "nowhere"][..]),
        (&["--otp-minutes", "0"], &["--otp-minutes", "1 to 1440"]),
        (&["--otp-minutes", "-1"], &["-1"]),
        (
            &["--rate-limits-enabled=perhaps"],
            &["--rate-limits-enabled", "perhaps"],
        ),
        (&["--config", "missing.toml"], &["missing.toml"]),
    ] {
        run(dir.path(), arguments).assert_refused(2, texts);
    }
    for (name, value) in [
        ("ACCOUNTS_SERVER_LISTEN", "nowhere"),
        ("ACCOUNTS_TOKENS_REFRESH_DAYS", "x"),
        ("ACCOUNTS_DEV", "x"),
    ] {
        let mut command = program(dir.path(), &[]);
        command.env(name, value);
        finish(command, "").assert_refused(2, &[name, value]);
    }
    assert_eq!(names_in(dir.path()), Vec::<String>::new());
}

#[test]
fn unknown_variable_is_a_warning() {
    let dir = folder();
    let environment = [("ACCOUNTS_TOKENS_ACESS_MINUTES", "5")];
    let arguments = ["--db", "users.db", "--dev"];
    let server = Running::start_in_environment(dir.path(), &arguments, &environment);
    let warning = server.wait_for_log("WARN");
    for text in [
        "ACCOUNTS_TOKENS_ACESS_MINUTES",
        "ACCOUNTS_TOKENS_ACCESS_MINUTES",
    ] {
        assert!(warning.contains(text), "{warning}");
    }
}

#[test]
fn errors_do_not_repeat_secrets() {
    let dir = folder();
    let url = "http://user:hunter2@example.com";
    fs::write(
        dir.path().join("accounts.toml"),
        format!("[mail]\nsmtp_url = \"{url}\"\n"),
    )
    .unwrap();
    let mut by_environment = program(dir.path(), &["--db", "users.db"]);
    by_environment.env("ACCOUNTS_MAIL_SMTP_URL", url);
    for outcome in [
        run(dir.path(), &["--db", "users.db", "--mail-smtp-url", url]),
        run(
            dir.path(),
            &["--db", "users.db", "--config", "accounts.toml"],
        ),
        finish(by_environment, ""),
    ] {
        assert!(matches!(outcome.code, Some(1 | 2)), "{outcome:?}");
        assert!(outcome.stderr.contains("smtp"), "{outcome:?}");
        assert!(!outcome.stderr.contains("hunter2"), "{outcome:?}");
    }
}

#[test]
fn leaked_password_list_is_validated() {
    let dir = folder();
    std::fs::write(dir.path().join("list.txt"), "password\n123456\n").unwrap();
    let refused = |list: &str| {
        run(
            dir.path(),
            &[
                "--db",
                "users.db",
                "--listen",
                "127.0.0.1:0",
                "--passwords-breached-list",
                list,
            ],
        )
    };
    refused("list.txt").assert_refused(
        1,
        &["[passwords] breached_list", "list.txt", "no SHA-1 hash"],
    );
    refused("none.txt").assert_refused(1, &["[passwords] breached_list", "none.txt"]);
}

#[test]
fn config_show_is_a_configuration_file_with_sources() {
    let dir = folder();
    fs::write(
        dir.path().join("accounts.toml"),
        "[tokens]\naccess_minutes = 7\n[mail]\nsmtp_url = \"smtps://user:hunter2@mx.example\"\n",
    )
    .unwrap();
    let flags = [
        "--config",
        "accounts.toml",
        "--listen",
        "127.0.0.1:0",
        "config",
        "show",
    ];
    let mut command = program(dir.path(), &flags);
    command.env("ACCOUNTS_TOKENS_REFRESH_DAYS", "3");
    let shown = finish(command, "");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in [
        "access_minutes = 7  # accounts.toml:2: [tokens] access_minutes",
        "refresh_days = 3  # environment variable ACCOUNTS_TOKENS_REFRESH_DAYS",
        "listen = \"127.0.0.1:0\"  # --listen",
        "# smtp_url is set and not shown  # accounts.toml:4: [mail] smtp_url",
        "session_days = 90  # default",
    ] {
        assert!(
            shown.stdout.lines().any(|shown| shown == line),
            "{line}: {}",
            shown.stdout
        );
    }
    assert!(!shown.stdout.contains("hunter2"), "{}", shown.stdout);
    assert_eq!(
        names_in(dir.path()),
        ["accounts.toml"],
        "no database is made"
    );
    // It loads as a file, and only what was set can be asked for.
    fs::write(dir.path().join("effective.toml"), &shown.stdout).unwrap();
    let flags = [
        "--config",
        "effective.toml",
        "config",
        "show",
        "--changed",
        "--json",
    ];
    let again = run(dir.path(), &flags);
    assert_eq!(again.code, Some(0), "{again:?}");
    let records: Vec<serde_json::Value> = again
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(
        records.iter().all(|record| record["source"] == "file"),
        "{records:?}"
    );
    let minutes = records
        .iter()
        .find(|record| record["name"] == "tokens.access_minutes");
    assert_eq!(minutes.unwrap()["value"], "7");
}
