//! `webhook`: the command line, and the webhooks of the configuration file.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Outcome, folder, run};

/// A receiver that --dev allows. Nothing has to listen there.
const URL: &str = "http://127.0.0.1:9/hook";

fn webhook(dir: &Path, arguments: &[&str]) -> Outcome {
    let all = [&["--db", "users.db", "--dev", "webhook"], arguments].concat();
    run(dir, &all)
}

/// A database with an account.
fn database() -> tempfile::TempDir {
    let dir = folder();
    let create = [
        "--db",
        "users.db",
        "--dev",
        "user",
        "invite",
        "ann@example.com",
    ];
    assert_eq!(run(dir.path(), &create).code, Some(0));
    dir
}

fn listed(dir: &Path) -> Vec<Value> {
    let outcome = webhook(dir, &["list", "--json"]);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn webhook_lives_on_the_command_line() {
    let dir = database();
    let dir = dir.path();
    let added = webhook(dir, &["add", URL, "--events", "user.*, session.created"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    let (first, second) = added.stdout.split_once('\n').unwrap();
    assert_eq!(first, "webhook 1");
    let secret = second.trim().strip_prefix("secret ").unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");
    let second = webhook(dir, &["add", URL, "--json", "--payload", "thin"]);
    let second: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!(
        (&second["id"], &second["events"]),
        (&json!(2), &json!(["*"]))
    );
    assert!(second["secret"].as_str().unwrap().starts_with("whsec_"));
    let list = listed(dir);
    assert_eq!(list[0]["events"], json!(["user.*", "session.created"]));
    assert_eq!(list[1]["payload"], "thin");
    let table = webhook(dir, &["list"]).stdout;
    assert!(table.contains("user.*, session.created"), "{table}");
    for output in [&table, &list[0].to_string()] {
        assert!(!output.contains("whsec_"), "{output}");
    }
    let rotated = webhook(dir, &["rotate-secret", "1"]).stdout;
    assert!(
        rotated.starts_with("whsec_") && rotated.trim() != secret,
        "{rotated}"
    );
    let test = webhook(dir, &["test", "1"]);
    assert_eq!(test.code, Some(0), "{test:?}");
    let shown = webhook(dir, &["show", "1", "--json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let delivery = &shown["deliveries"][0];
    assert_eq!(
        (&delivery["event"], &delivery["status"]),
        (&json!("webhook.test"), &json!("pending"))
    );
    assert_eq!(delivery["id"].to_string(), test.stdout.trim());
    let table = webhook(dir, &["show", "1"]).stdout;
    assert!(
        table.contains("webhook.test") && table.contains("whpk_"),
        "{table}"
    );
    let dead = webhook(dir, &["show", "1", "--json", "--status", "dead"]).stdout;
    assert!(dead.contains("\"deliveries\":[]"), "{dead}");
    webhook(dir, &["replay", "1", test.stdout.trim()]).assert_done("1 event is due now\n");
    // What waits is due anyway.
    webhook(dir, &["replay", "1", "--since", "2020-01-01"]).assert_done("0 events are due now\n");
    webhook(dir, &["disable", "1"]).assert_done("");
    assert_eq!(listed(dir)[0]["disabled_reason"], "staff");
    webhook(dir, &["enable", "1"]).assert_done("");
    webhook(dir, &["remove", "1"]).assert_done("");
    assert_eq!(listed(dir).len(), 1);
}

#[test]
fn errors_say_what_to_do() {
    let dir = database();
    let dir = dir.path();
    for (arguments, expected) in [
        (&["add", "crm"][..], "url: Enter a valid URL."),
        (
            &["add", "https://10.0.0.1/"],
            "url: This address is not reachable from here.",
        ),
        (
            &["add", URL, "--events", "user.born"],
            "events: \"user.born\" is not a valid choice.",
        ),
        (
            &["show", "7"],
            "there is no webhook 7; `webhook list` shows all",
        ),
        (&["test", "7"], "there is no webhook 7"),
        (&["rotate-secret", "7"], "there is no webhook 7"),
        (&["enable", "7"], "there is no webhook 7"),
        (&["remove", "7"], "there is no webhook 7"),
        (&["replay", "7", "1"], "webhook 7 has no delivery 1"),
        (
            &["replay", "7", "--since", "2020-01-01"],
            "there is no webhook 7",
        ),
    ] {
        let outcome = webhook(dir, arguments);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{outcome:?}");
    }
    webhook(dir, &["add", URL]);
    webhook(dir, &["disable", "1"]);
    let outcome = webhook(dir, &["test", "1"]);
    assert!(
        outcome.stderr.contains("`webhook enable 1` enables it"),
        "{outcome:?}"
    );
    let outcome = webhook(dir, &["replay", "1", "--since", "soon"]);
    assert!(
        outcome.stderr.contains("since: Datetime has wrong format."),
        "{outcome:?}"
    );
    for usage in [
        &["add"][..],
        &["replay", "1"],
        &["add", URL, "--payload", "fat"],
    ] {
        assert_eq!(webhook(dir, usage).code, Some(2), "{usage:?}");
    }
    let help = webhook(dir, &["add", "--help"]).stdout;
    assert!(
        help.contains("Examples:") && help.contains("docs/WEBHOOKS.md"),
        "{help}"
    );
}

#[test]
fn check_reads_the_webhooks_of_the_file() {
    let dir = database();
    let dir = dir.path();
    let check = |secret: &str| {
        let file = format!(
            "[[webhooks]]\nname = \"crm\"\nurl = \"{URL}\"\nevents = [\"*\"]\nsecret = \"{secret}\"\n"
        );
        fs::write(dir.join("config.toml"), file).unwrap();
        run(
            dir,
            &[
                "--config",
                "config.toml",
                "--db",
                "users.db",
                "--dev",
                "check",
            ],
        )
        .stdout
    };
    let good = check(&format!("whsec_{}=", "A".repeat(43)));
    assert!(good.contains("ok      webhooks: "), "{good}");
    let bad = check("hunter2");
    assert!(
        bad.contains("error   webhooks: [[webhooks]] \"crm\": secret: expected"),
        "{bad}"
    );
    assert!(!bad.contains("hunter2"), "{bad}");
}
