//! `mail list`, `mail retry`, `mail drop`, and invitations by command.

use serde_json::{Value, json};

use crate::smtp::{Fault, SmtpSink};
use crate::support::{Outcome, Running, create_user, folder, run};

fn start(dir: &std::path::Path, sink: &SmtpSink) -> Running {
    Running::start_with(
        dir,
        &[
            "--db",
            "users.db",
            "--passwords-bcrypt-cost",
            "4",
            "--mail-smtp-url",
            &sink.url(),
        ],
    )
}

fn command(dir: &std::path::Path, arguments: &[&str]) -> Outcome {
    run(dir, &[&["--db", "users.db"], arguments].concat())
}

fn records(outcome: &Outcome) -> Vec<Value> {
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn refused_mails_are_listed_and_sent_once_the_cause_is_gone() {
    let dir = folder();
    let sink = SmtpSink::start();
    for name in ["ann", "bob", "eve"] {
        let refusal = Fault::Say("RCPT", "550 5.1.1 mailbox unavailable");
        sink.fail(&format!("{name}@example.com"), 1, refusal);
    }
    let server = start(dir.path(), &sink);
    for name in ["ann", "bob", "eve"] {
        assert_eq!(server.sign_up(&format!("{name}@example.com")).0, 201);
        server.wait_for_log("given up");
    }
    let mails = records(&command(dir.path(), &["mail", "list", "--json"]));
    assert_eq!(mails.len(), 3);
    assert_eq!(
        (
            &mails[2]["recipient"],
            &mails[2]["kind"],
            &mails[2]["state"],
            &mails[2]["tries"]
        ),
        (
            &json!("ann@example.com"),
            &json!("sign_up"),
            &json!("failed"),
            &json!(1)
        )
    );
    assert!(
        mails[2]["reason"]
            .as_str()
            .unwrap()
            .contains("mailbox unavailable"),
        "{mails:?}"
    );
    let found = command(
        dir.path(),
        &["mail", "list", "--state", "failed", "--search", "bob@"],
    );
    assert_eq!(
        found.stdout.lines().count(),
        2,
        "a heading and a line: {found:?}"
    );
    assert!(found.stdout.contains("mailbox unavailable"), "{found:?}");
    let none = command(
        dir.path(),
        &["mail", "list", "--state", "waiting", "--json"],
    );
    none.assert_done("");

    let id = |name: usize| mails[2 - name]["id"].to_string();
    command(dir.path(), &["mail", "drop", &id(2)]).assert_done("1 mail is discarded\n");
    command(dir.path(), &["mail", "drop", &id(2)]).assert_refused(1, &["there is no mail"]);
    command(dir.path(), &["mail", "retry", &id(0)]).assert_done("1 mail is due now\n");
    sink.wait_for_mail_to("ann@example.com");
    command(dir.path(), &["mail", "retry", "--all"]).assert_done("1 mail is due now\n");
    sink.wait_for_mail_to("bob@example.com");
    command(dir.path(), &["mail", "retry"]).assert_refused(2, &["ID"]);
    assert!(sink.mails_to("eve@example.com").is_empty());
    // Commands on the queue are in the audit log, under both of its names.
    let events = command(dir.path(), &["events", "--json", "--event", "mail_retried"]);
    let events = records(&events);
    assert_eq!(events.len(), 2);
    assert_eq!(
        (&events[0]["detail"], &events[0]["user_id"]),
        (&json!("sign_up"), &json!(1))
    );
    assert_ne!(events[0]["operator"], "");
}

#[test]
fn invitation_by_command_is_mailed_listed_and_revoked() {
    let dir = folder();
    let sink = SmtpSink::start();
    let server = start(dir.path(), &sink);
    create_user(dir.path(), "old@example.com", &[]);
    let outcome = command(
        dir.path(),
        &["user", "invite", "ann@example.com", "--language", "fr"],
    );
    outcome.assert_done("1\n");
    let mail = sink.wait_for_mail_to("ann@example.com");
    assert!(mail.message.contains("invitation"), "{}", mail.message);
    command(dir.path(), &["user", "invite", "ann@example.com"])
        .assert_refused(1, &["invited just now"]);
    command(dir.path(), &["user", "invite", "old@example.com"])
        .assert_refused(1, &["this address already has an account"]);
    command(dir.path(), &["user", "invite", "nonsense"]).assert_refused(1, &["valid email"]);
    let listed = records(&command(dir.path(), &["user", "invitations", "--json"]));
    assert_eq!(
        (
            &listed[0]["email"],
            &listed[0]["language"],
            &listed[0]["state"],
            &listed[0]["invited_by"]
        ),
        (
            &json!("ann@example.com"),
            &json!("fr"),
            &json!("pending"),
            &Value::Null
        )
    );
    command(dir.path(), &["user", "revoke-invitation", "1"]).assert_done("");
    command(dir.path(), &["user", "revoke-invitation", "1"])
        .assert_refused(1, &["there is no invitation 1"]);
    command(dir.path(), &["user", "invitations", "--json"]).assert_done("");
    drop(server);
}

#[test]
fn audit_log_is_filtered_by_actor_and_time() {
    let dir = folder();
    let staff = create_user(dir.path(), "staff@example.com", &["--staff"]);
    let server = Running::start(dir.path());
    let token = server.sign_in("staff@example.com");
    let user = create_user(dir.path(), "user@example.com", &[]);
    let (status, _) = server.api(
        "PATCH",
        &format!("users/{user}/"),
        Some(&token),
        &json!({"is_active": false}),
    );
    assert_eq!(status, 200);
    let by = |more: &[&str]| {
        let arguments = [&["audit", "--json", "--actor", "staff@example.com"], more].concat();
        records(&command(dir.path(), &arguments))
    };
    let all = by(&[]);
    assert_eq!(
        (&all[0]["event"], &all[1]["event"], &all[1]["user_id"]),
        (&json!("sign_in"), &json!("user_deactivated"), &json!(user))
    );
    assert_eq!(all[1]["actor_id"], staff);
    assert_eq!(all.len(), 2);
    assert!(by(&["--until", "1d"]).is_empty());
    assert_eq!(by(&["--since", "1d"]).len(), 2);
    command(dir.path(), &["audit", "--until", "soon"]).assert_refused(1, &["--until soon"]);
}
