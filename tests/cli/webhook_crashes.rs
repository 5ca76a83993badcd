//! Events survive a crash: the server is killed again and again while an account changes.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::client::Client;
use crate::receiver::Receiver;
use crate::support::{Running, create_user, folder, run};

/// How often the server is killed.
const KILLS: u64 = 20;

const OPTIONS: [&str; 6] = [
    "--db",
    "users.db",
    "--passwords-bcrypt-cost",
    "4",
    "--webhooks-allow-networks",
    "127.0.0.0/8",
];

/// The name that the database has.
fn stored_name(dir: &Path) -> String {
    Connection::open(dir.join("users.db"))
        .unwrap()
        .query_row("SELECT first_name FROM users", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn crashes_lose_no_event_and_invent_none() {
    let dir = folder();
    create_user(dir.path(), "ann@example.com", &[]);
    let receiver = Receiver::accepting();
    let url = receiver.url("/hook");
    let add = ["webhook", "add", url.as_str(), "--events", "user.updated"];
    let added = run(dir.path(), &[&OPTIONS[..], &add].concat());
    assert_eq!(added.code, Some(0), "{added:?}");

    let mut committed = BTreeSet::new();
    for kill in 0..KILLS {
        let server = Running::start_with(dir.path(), &OPTIONS);
        let token = server.sign_in("ann@example.com");
        let client = Client::new(server.address);
        let (answers, counted) = channel();
        let names = thread::scope(|scope| {
            let sender = scope.spawn(move || {
                let mut names = Vec::new();
                for number in 0.. {
                    let name = format!("{kill} {number}");
                    let body = json!({"first_name": name});
                    let answer = client.api("PATCH", "users/me/", Some(&token), &body);
                    names.push(name);
                    match answer {
                        Some((status, _)) => assert_eq!(status, 200),
                        None => break,
                    }
                    // Nobody counts any more once the server is killed.
                    let _ = answers.send(());
                }
                names
            });
            let enough = 1 + usize::try_from(kill * 7 % 23).unwrap();
            counted.iter().take(enough).count();
            thread::sleep(Duration::from_micros(kill * 617 % 4000));
            server.kill();
            sender.join().unwrap()
        });
        // All but the last were answered; the last may have been committed or not.
        let (last, answered) = names.split_last().unwrap();
        committed.extend(answered.iter().cloned());
        if stored_name(dir.path()) == *last {
            committed.insert(last.clone());
        }
    }

    let server = Running::start_with(dir.path(), &OPTIONS);
    let name_of = |body: serde_json::Value| body["data"]["first_name"].as_str().unwrap().to_owned();
    let mut requests = committed.len();
    let delivered = loop {
        // Some arrive twice, since the server was killed before it had recorded the answer.
        let received = receiver.wait_for(requests);
        let delivered: BTreeSet<String> = received
            .iter()
            .map(|received| name_of(received.json()))
            .collect();
        if delivered.len() >= committed.len() {
            break delivered;
        }
        requests = received.len() + 1;
    };
    assert_eq!(delivered, committed);
    assert_eq!(server.terminate().code, Some(0));
}

#[test]
fn import_can_be_without_events() {
    let dir = folder();
    create_user(dir.path(), "ann@example.com", &[]);
    let add = [
        "webhook",
        "add",
        "http://127.0.0.1:9/",
        "--events",
        "user.created",
    ];
    let added = run(dir.path(), &[&OPTIONS[..], &add].concat());
    assert_eq!(added.code, Some(0), "{added:?}");
    for (email, more, events) in [
        ("a@example.com", &[][..], 1),
        ("b@example.com", &["--no-webhooks"], 1),
        ("c@example.com", &["--one-transaction"], 2),
        ("d@example.com", &["--dry-run"], 2),
    ] {
        let mut command = crate::support::program(
            dir.path(),
            &["--db", "users.db", "import", "--format=jsonl"],
        );
        command.args(more);
        let row = json!({"email": email}).to_string();
        let imported = crate::support::finish(command, &row);
        assert_eq!(imported.code, Some(0), "{imported:?}");
        let enqueued: i64 = Connection::open(dir.path().join("users.db"))
            .unwrap()
            .query_row(
                "SELECT count(*) FROM deliveries WHERE webhook_id IS NOT NULL",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(enqueued, events, "{email}");
    }
}
