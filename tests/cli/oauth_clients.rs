//! `client`: the command line, the clients of the configuration file, and the keys of clients.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::support::{Outcome, Running, folder, run};

const URI: &str = "https://app.example.com/cb";

fn client(dir: &Path, arguments: &[&str]) -> Outcome {
    let all = [&["--db", "users.db", "--dev", "client"], arguments].concat();
    run(dir, &all)
}

fn keys(dir: &Path, arguments: &[&str]) -> Outcome {
    let all = [&["--db", "users.db", "--dev", "keys"], arguments].concat();
    run(dir, &all)
}

/// A database with a client of this id and its secret.
fn database(id: &str) -> (tempfile::TempDir, String) {
    let dir = folder();
    let invite = [
        "--db",
        "users.db",
        "--dev",
        "user",
        "invite",
        "ann@example.com",
    ];
    assert_eq!(run(dir.path(), &invite).code, Some(0));
    let add = [
        "add",
        "--id",
        id,
        "--name",
        "App",
        "--redirect-uris",
        URI,
        "--id-token-alg",
        "ES256",
    ];
    let added = client(dir.path(), &add);
    assert_eq!(added.code, Some(0), "{added:?}");
    let secret = added.stdout.lines().last().unwrap();
    let secret = secret.strip_prefix("secret ").unwrap().to_owned();
    (dir, secret)
}

fn json_lines(outcome: &Outcome) -> Vec<Value> {
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The algorithms of the keys of clients that sign, each with the number of keys.
fn client_keys(dir: &Path) -> Vec<(String, bool)> {
    let mut keys: Vec<(String, bool)> = json_lines(&keys(dir, &["list", "--json"]))
        .iter()
        .filter(|key| key["usage"] == "clients")
        .map(|key| {
            let name = key["algorithm"].as_str().unwrap().to_owned();
            (name, key["retired_at"].is_null())
        })
        .collect();
    keys.sort();
    keys
}

#[test]
fn client_lives_on_the_command_line() {
    let (dir, secret) = database("app");
    let dir = dir.path();
    assert_eq!(secret.len(), 43, "256 random bits");
    let second = client(
        dir,
        &[
            "add",
            "--name",
            "Mobile",
            "--public",
            "--redirect-uris",
            "com.example.app:/cb",
            "--redirect-uris",
            "http://127.0.0.1/cb",
            "--post-logout-redirect-uris",
            "com.example.app:/bye",
            "--scopes",
            "offline_access,openid",
            "--consent",
            "false",
            "--id-token-alg",
            "EdDSA",
            "--access-minutes",
            "10",
            "--refresh-days",
            "7",
            "--session-days",
            "14",
            "--staff-only",
            "--require-mfa",
            "--json",
        ],
    );
    let second = &json_lines(&second)[0];
    assert_eq!(second["secret"], Value::Null);
    let expected = json!({
        "name": "Mobile", "public": true,
        "redirect_uris": ["com.example.app:/cb", "http://127.0.0.1/cb"],
        "post_logout_redirect_uris": ["com.example.app:/bye"],
        "scopes": ["openid", "offline_access"],
        // A scheme of its own asks in any case.
        "consent": true,
        "id_token_alg": "EdDSA", "access_minutes": 10, "refresh_days": 7, "session_days": 14,
        "staff_only": true, "require_mfa": true, "is_from_file": false,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&second[name], value, "{name}");
    }
    let id = second["id"].as_str().unwrap();
    assert_eq!(id.len(), 32, "{id}");
    let list = client(dir, &["list", "--json"]);
    assert_eq!(json_lines(&list).len(), 2);
    let table = client(dir, &["list"]).stdout;
    assert!(table.contains("app") && table.contains(URI), "{table}");
    let shown = client(dir, &["show", "app", "--json"]);
    let record = &json_lines(&shown)[0];
    assert_eq!(record["scopes"], json!(["openid", "profile", "email"]));
    assert_eq!(
        (&record["consent"], &record["sessions"]),
        (&json!(true), &json!(0))
    );
    let text = client(dir, &["show", "app"]).stdout;
    assert!(text.contains("algorithm      ES256"), "{text}");
    for output in [&list.stdout, &table, &shown.stdout, &text] {
        assert!(!output.contains(&secret), "{output}");
    }
    let rotated = client(dir, &["rotate-secret", "app"]).stdout;
    let rotated = rotated.lines().last().unwrap();
    assert!(
        rotated.starts_with("secret ") && !rotated.contains(&secret),
        "{rotated}"
    );
    fs::write(dir.join("secret"), format!("{}\n", "s".repeat(32))).unwrap();
    let chosen = client(
        dir,
        &["rotate-secret", "app", "--secret-file", "secret", "--json"],
    );
    assert_eq!(json_lines(&chosen)[0]["secret"], "s".repeat(32));
    // The database has none of them.
    let bytes = fs::read(dir.join("users.db")).unwrap();
    for secret in [secret.as_bytes(), "s".repeat(32).as_bytes()] {
        assert!(!bytes.windows(secret.len()).any(|part| part == secret));
    }
    client(dir, &["remove", "app"]).assert_done("");
    assert_eq!(json_lines(&client(dir, &["list", "--json"])).len(), 1);
    let log = run(dir, &["--db", "users.db", "audit", "--json"]).stdout;
    for kind in ["client_added", "client_secret_rotated", "client_removed"] {
        assert!(log.contains(kind), "{log}");
    }
}

#[test]
fn errors_say_what_to_do() {
    let (dir, _) = database("app");
    let dir = dir.path();
    fs::write(dir.join("short"), "hunter2\n").unwrap();
    let add = |more: &[&str]| {
        let all = [&["add", "--name", "Other"], more].concat();
        client(dir, &all)
    };
    for (arguments, expected) in [
        (
            &["--redirect-uris", "http://app.example.com/cb"][..],
            "redirect_uris: Redirect URI \"http://app.example.com/cb\" is not encrypted; use https",
        ),
        (
            &["--redirect-uris", "javascript:alert(1)"],
            "has a scheme that is not allowed",
        ),
        (
            &[
                "--redirect-uris",
                URI,
                "--post-logout-redirect-uris",
                "https://a.example/#x",
            ],
            "post_logout_redirect_uris: Redirect URI \"https://a.example/#x\" has a fragment",
        ),
        (
            &["--redirect-uris", URI, "--id", "app"],
            "id: There is a client with this id already.",
        ),
        (
            &["--redirect-uris", URI, "--id", "accounts-server"],
            "id: Choose 1 to 100 letters",
        ),
        (
            &["--redirect-uris", URI, "--secret-file", "short"],
            "secret: Choose 32 to 256 random ASCII characters",
        ),
        (
            &["--redirect-uris", URI, "--secret-file", "none"],
            "--secret-file: none",
        ),
        (
            &["--redirect-uris", URI, "--access-minutes", "1441"],
            "access_minutes: Ensure this value is less than or equal to 1440.",
        ),
        (
            &["--redirect-uris", URI, "--refresh-days", "0"],
            "refresh_days: Ensure this value is greater than or equal to 1.",
        ),
    ] {
        let outcome = add(arguments);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
        assert!(!outcome.stderr.contains("hunter2"), "{outcome:?}");
    }
    let public = ["--id", "public", "--public", "--redirect-uris", URI];
    assert_eq!(add(&public).code, Some(0));
    for (arguments, expected) in [
        (
            &["show", "x"][..],
            "there is no client x; `client list` shows all",
        ),
        (&["rotate-secret", "x"], "there is no client x"),
        (&["remove", "x"], "there is no client x"),
        (
            &["rotate-secret", "public"],
            "client public is public, so it has no secret",
        ),
    ] {
        let outcome = client(dir, arguments);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
    }
    for usage in [
        &["--redirect-uris", URI, "--public", "--secret-file", "short"][..],
        &["--redirect-uris", URI, "--scopes", "groups"],
        &["--redirect-uris", URI, "--id-token-alg", "HS256"],
        &[],
    ] {
        assert_eq!(add(usage).code, Some(2), "{usage:?}");
    }
    let help = client(dir, &["add", "--help"]).stdout;
    assert!(
        help.contains("Examples:") && help.contains("OPENID_PROVIDER.md"),
        "{help}"
    );
}

#[test]
fn keys_of_clients_are_made_once_and_rotated_with_the_others() {
    let (dir, _) = database("app");
    let dir = dir.path();
    assert_eq!(client_keys(dir), [("ES256".to_owned(), true)]);
    // Several processes that need the first key of an algorithm agree on one.
    let codes: BTreeSet<Option<i32>> = thread::scope(|scope| {
        let names = ["a", "b", "c", "d"];
        let processes = names.map(|id| {
            let add = ["add", "--id", id, "--name", "X", "--redirect-uris", URI];
            let all = [&add[..], &["--id-token-alg", "EdDSA"]].concat();
            scope.spawn(move || client(dir, &all).code)
        });
        processes
            .into_iter()
            .map(|process| process.join().unwrap())
            .collect()
    });
    assert_eq!(codes, BTreeSet::from([Some(0)]));
    assert_eq!(
        client_keys(dir),
        [("ES256".to_owned(), true), ("EdDSA".to_owned(), true)]
    );
    let rotated = keys(dir, &["rotate"]);
    assert_eq!(rotated.code, Some(0), "{rotated:?}");
    let all = client_keys(dir);
    for algorithm in ["ES256", "EdDSA"] {
        for signs in [true, false] {
            let key = (algorithm.to_owned(), signs);
            assert_eq!(
                all.iter().filter(|known| **known == key).count(),
                1,
                "{all:?}"
            );
        }
    }
    let table = keys(dir, &["list"]).stdout;
    assert!(
        table.contains("clients") && table.contains("accounts"),
        "{table}"
    );
    // The key of the account API is still the one that its setting and `keys rotate` choose.
    let own: Vec<Value> = json_lines(&keys(dir, &["list", "--json"]))
        .into_iter()
        .filter(|key| key["usage"] == "accounts" && key["retired_at"].is_null())
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(own[0]["algorithm"], "ES256");
    assert_eq!(rotated.stdout.trim(), own[0]["kid"]);
}

/// A configuration file with this client.
fn write_file(dir: &Path, client: &str) {
    fs::write(dir.join("config.toml"), client).unwrap();
}

const FILE: &str = "\
[[clients]]
id = \"grafana\"
name = \"Grafana\"
secret_file = \"secret\"
redirect_uris = [\"https://grafana.example.com/login/generic_oauth\"]
consent = false
id_token_alg = \"ES256\"
";

const CONFIG: [&str; 5] = ["--config", "config.toml", "--db", "users.db", "--dev"];

#[test]
fn clients_of_the_file_follow_the_file_alone() {
    let dir = folder();
    let dir = dir.path();
    fs::write(dir.join("secret"), "s".repeat(40)).unwrap();
    write_file(dir, FILE);
    let server = Running::start_with(dir, &CONFIG);
    let listed = || json_lines(&client(dir, &["list", "--json"]));
    let first = &listed()[0];
    assert_eq!(
        (&first["id"], &first["is_from_file"]),
        (&json!("grafana"), &json!(true))
    );
    assert_eq!(
        (&first["consent"], &first["public"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(client_keys(dir), [("ES256".to_owned(), true)]);
    for change in [&["rotate-secret", "grafana"], &["remove", "grafana"]] {
        let outcome = client(dir, change);
        let text = "client grafana is set in the configuration file; change it there";
        assert_eq!(outcome.code, Some(1));
        assert!(outcome.stderr.contains(text), "{outcome:?}");
    }
    // Another secret and name at a reload; then the client is gone.
    fs::write(dir.join("secret"), "t".repeat(40)).unwrap();
    write_file(dir, &FILE.replace("\"Grafana\"", "\"Boards\""));
    server.signal("HUP");
    server.wait_for_log("client grafana: changed by the file");
    server.wait_for_log("client grafana: the file has another secret");
    server.wait_for_log("reloaded");
    assert_eq!(listed()[0]["name"], "Boards");
    // A wrong file changes nothing.
    write_file(dir, &FILE.replace("https://", "http://"));
    server.signal("HUP");
    server.wait_for_log("[[clients]] \"grafana\": redirect_uris: Redirect URI");
    assert_eq!(listed()[0]["name"], "Boards");
    write_file(dir, "");
    server.signal("HUP");
    server.wait_for_log("client grafana: no longer in the file");
    server.wait_for_log("reloaded");
    assert!(listed().is_empty());
    // One of that id that was added elsewhere stays as it is.
    let add = [
        "add",
        "--id",
        "grafana",
        "--name",
        "Mine",
        "--redirect-uris",
        URI,
    ];
    assert_eq!(client(dir, &add).code, Some(0));
    write_file(dir, FILE);
    server.signal("HUP");
    server.wait_for_log("there is a client \"grafana\" that the file has not added");
    assert_eq!(listed()[0]["name"], "Mine");
    server.terminate();
}

#[test]
fn check_reads_the_clients_of_the_file() {
    let (dir, _) = database("app");
    let dir = dir.path();
    fs::write(dir.join("secret"), "s".repeat(40)).unwrap();
    let check = |file: &str| {
        write_file(dir, file);
        run(dir, &[&CONFIG[..], &["check"]].concat()).stdout
    };
    let good = check(FILE);
    assert!(good.contains("ok      clients: 1 in the file"), "{good}");
    assert!(good.contains("one key signs tokens"), "{good}");
    let native = check(&FILE.replace("https://grafana.example.com", "http://127.0.0.1"));
    let text = "warning clients: [[clients]] \"grafana\": consent = false has no effect";
    assert!(native.contains(text), "{native}");
    let issuer = check("[tokens]\nissuer = \"https://other.example\"\n");
    let text =
        "warning clients: [tokens] issuer is https://other.example, but tokens of OAuth clients";
    assert!(issuer.contains(text), "{issuer}");
    fs::write(dir.join("secret"), "hunter2").unwrap();
    let short = check(FILE);
    let text =
        "error   clients: [[clients]] \"grafana\": secret_file: Choose 32 to 256 random ASCII";
    assert!(
        short.contains(text) && !short.contains("hunter2"),
        "{short}"
    );
    fs::remove_file(dir.join("secret")).unwrap();
    let missing = check(FILE);
    let text = "error   clients: [[clients]] \"grafana\": secret_file: secret";
    assert!(missing.contains(text), "{missing}");
}
