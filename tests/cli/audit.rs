//! `audit`: the audit log as text and as JSON.

use serde_json::{Value, json};

use crate::support::{Outcome, Running, create_user, folder, run, run_with_input};

fn records(outcome: &Outcome) -> Vec<Value> {
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn names(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["event"].as_str().unwrap())
        .collect()
}

#[test]
fn commands_and_requests_are_in_one_log() {
    let dir = folder();
    let id = create_user(dir.path(), "user@example.com", &["--staff"]);
    let server = Running::start(dir.path());
    server.sign_in("user@example.com");
    for name in ["deactivate", "activate", "demote", "promote"] {
        run(
            dir.path(),
            &["--db", "users.db", "user", name, "user@example.com"],
        )
        .assert_done("");
    }
    server.post(
        "token/",
        &json!({"email": "nobody@example.com", "password": "wrong"}),
    );
    run(dir.path(), &["--db", "users.db", "export", "users.jsonl"]).assert_done("");
    run_with_input(
        dir.path(),
        &["--db", "users.db", "import", "-"],
        "{\"email\": \"other@example.com\"}\n",
    );
    let all = records(&run(dir.path(), &["--db", "users.db", "audit", "--json"]));
    assert_eq!(
        names(&all),
        [
            "user_created",
            "sign_in",
            "user_deactivated",
            "user_activated",
            "user_demoted",
            "user_promoted",
            "sign_in_failed",
            "users_exported",
            "users_imported",
        ]
    );
    assert_eq!(
        (&all[0]["user_id"], &all[0]["actor_id"], &all[0]["ip"]),
        (&json!(id), &Value::Null, &json!(""))
    );
    assert_ne!(all[0]["operator"], "", "a command was given by somebody");
    assert_eq!(
        (&all[1]["actor_id"], &all[1]["ip"], &all[1]["operator"]),
        (&json!(id), &json!("127.0.0.1"), &json!(""))
    );
    assert_eq!(
        (&all[6]["user_id"], &all[8]["detail"]),
        (&Value::Null, &json!("1"))
    );

    let text = run(
        dir.path(),
        &["--db", "users.db", "audit", "--event", "sign_in"],
    );
    assert_eq!(text.stdout.lines().count(), 1, "{text:?}");
    assert!(text.stdout.contains("  user 1  from 127.0.0.1"), "{text:?}");
}

#[test]
fn what_takes_the_data_out_or_back_is_in_it() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    let audit = || records(&run(dir.path(), &["--db", "users.db", "audit", "--json"]));
    let server = Running::start(dir.path());
    for target in ["one.tar", "-"] {
        // A tar file on standard output is binary, so it is discarded.
        let status = crate::support::program(dir.path(), &["--db", "users.db", "backup", target])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
    let all = audit();
    assert_eq!(
        names(&all),
        ["user_created", "backup_started", "backup_started"]
    );
    assert_eq!(
        (&all[1]["detail"], &all[2]["detail"]),
        (&json!("one.tar"), &json!("standard output"))
    );
    assert_ne!(all[1]["operator"], "");
    assert_eq!(server.terminate().code, Some(0));

    // Only the entry about the backup itself remains from the time after it.
    let restore = ["--db", "users.db", "restore", "one.tar", "--force"];
    assert_eq!(run(dir.path(), &restore).code, Some(0));
    let all = audit();
    assert_eq!(
        names(&all),
        ["user_created", "backup_started", "database_restored"]
    );
    assert_eq!(
        all[2]["detail"],
        "all sessions ended, signing keys replaced"
    );
    assert_ne!(all[2]["operator"], "");
}

#[test]
fn filters_narrow_it_down() {
    let dir = folder();
    create_user(dir.path(), "one@example.com", &[]);
    create_user(dir.path(), "two@example.com", &[]);
    for name in ["deactivate", "activate"] {
        run(
            dir.path(),
            &["--db", "users.db", "user", name, "two@example.com"],
        )
        .assert_done("");
    }
    let audit = |more: &[&str]| {
        let arguments = [&["--db", "users.db", "audit", "--json"], more].concat();
        records(&run(dir.path(), &arguments))
    };
    assert_eq!(
        names(&audit(&["--user", "two@example.com"])),
        ["user_created", "user_deactivated", "user_activated"]
    );
    assert_eq!(names(&audit(&["--user", "1"])), ["user_created"]);
    assert_eq!(
        names(&audit(&[
            "--event",
            "user_activated",
            "--event",
            "user_created"
        ])),
        ["user_created", "user_created", "user_activated"]
    );
    assert_eq!(names(&audit(&["--limit", "1"])), ["user_activated"]);
    assert_eq!(audit(&["--since", "1h"]).len(), 4);
    assert_eq!(audit(&["--since", "2100-01-01"]).len(), 0);
    // A deleted account is found by its id.
    run(dir.path(), &["--db", "users.db", "user", "delete", "2"]).assert_done("");
    assert_eq!(audit(&["--user", "2"]).len(), 4);
}

#[test]
fn wrong_wishes_are_told() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    run(
        dir.path(),
        &["--db", "users.db", "audit", "--event", "nonsense"],
    )
    .assert_refused(2, &["audit --kinds"]);
    run(
        dir.path(),
        &["--db", "users.db", "audit", "--since", "soon"],
    )
    .assert_refused(1, &["--since soon", "12h"]);
    run(
        dir.path(),
        &["--db", "users.db", "audit", "--user", "nobody@example.com"],
    )
    .assert_refused(1, &["user not found"]);
    run(dir.path(), &["--db", "other.db", "audit"])
        .assert_refused(1, &["there is no database other.db"]);
    let kinds = run(dir.path(), &["audit", "--kinds"]);
    assert!(kinds.stdout.contains("sign_in_failed"), "{kinds:?}");
}

#[test]
fn it_can_be_followed() {
    let dir = folder();
    create_user(dir.path(), "user@example.com", &[]);
    let follower = crate::support::Follower::start(
        dir.path(),
        &["--db", "users.db", "audit", "--follow", "--json"],
    );
    assert!(follower.next_line().contains("user_created"));
    run(dir.path(), &["--db", "users.db", "user", "promote", "1"]).assert_done("");
    assert!(follower.next_line().contains("user_promoted"));
}
