//! Databases that cannot be used: each is refused with a sentence that says why, and left alone.

use super::cluster::Cluster;
use crate::support::{Running, folder, run};

#[test]
fn unusable_databases_are_named() {
    let Some(cluster) = Cluster::start("", |_| {}) else {
        return;
    };
    let in_encoding = |name: &str, encoding: &str| {
        format!("CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    };
    let statements = [
        &*in_encoding("ascii", "SQL_ASCII"),
        &in_encoding("latin", "LATIN1"),
        "CREATE DATABASE accounts",
        "CREATE DATABASE prepared",
        "CREATE ROLE app LOGIN PASSWORD 'right'",
    ];
    cluster.execute("postgres", &statements);
    let rights = [
        "REVOKE CREATE ON SCHEMA public FROM public",
        "CREATE SCHEMA hidden",
    ];
    cluster.execute("accounts", &rights);
    let dir = folder();
    let hidden = format!(
        "{}?options=-c%20search_path%3Dhidden",
        cluster.url("app:right", "accounts")
    );
    let encrypted = format!("{}?sslmode=require", cluster.url("postgres", "accounts"));
    for (url, expected) in [
        (
            cluster.url("postgres", "ascii"),
            &["encoding SQL_ASCII", "CREATE DATABASE"][..],
        ),
        (
            cluster.url("postgres", "latin"),
            &["encoding LATIN1", "ENCODING 'UTF8'"],
        ),
        (
            cluster.url("postgres", "absent"),
            &["database \"absent\" does not exist"],
        ),
        (
            cluster.url("app:wrong", "accounts"),
            &["password authentication failed for user \"app\""],
        ),
        (cluster.url("app", "accounts"), &["password missing"]),
        (
            cluster.url("nobody:right", "accounts"),
            &["password authentication failed for user \"nobody\""],
        ),
        (
            cluster.url("app:right", "accounts"),
            &["permission denied for schema public", "needs CREATE"],
        ),
        (hidden, &["search_path", "grant USAGE"]),
        (encrypted, &["server does not support TLS"]),
    ] {
        let refused = run(dir.path(), &["--db", &url, "user", "list"]);
        refused.assert_refused(1, expected);
        let secrets = ["right", "wrong"].map(|password| format!(":{password}"));
        for secret in secrets {
            assert!(!refused.stderr.contains(&secret), "{refused:?}");
        }
        assert!(!refused.stderr.contains("trying for"), "{refused:?}");
    }

    // With the schema there, the rights to its rows are enough.
    let url = cluster.url("postgres", "prepared");
    assert_eq!(
        run(dir.path(), &["--db", &url, "user", "list"]).code,
        Some(0)
    );
    let url = cluster.url("app:right", "prepared");
    let refused = run(dir.path(), &["--db", &url, "user", "list"]);
    refused.assert_refused(1, &["permission denied for table"]);
    let rights = [
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app",
        "GRANT USAGE, UPDATE, SELECT ON ALL SEQUENCES IN SCHEMA public TO app",
    ];
    cluster.execute("prepared", &rights);
    let server = Running::start_with(dir.path(), &["--db", &url]);
    let (status, _) = server.sign_up("ada@example.com");
    assert_eq!(status, 201);
    server.terminate();
}

#[test]
fn standby_is_refused_until_it_is_promoted() {
    let Some(primary) = Cluster::start("", |_| {}) else {
        return;
    };
    primary.execute("postgres", &["CREATE DATABASE accounts"]);
    let standby = primary.standby();
    let dir = folder();
    // Both are named: the one that takes writes is found.
    let (port, other) = (primary.port, standby.port);
    let both = format!("postgres://postgres@127.0.0.1:{other},127.0.0.1:{port}/accounts");
    assert_eq!(
        run(dir.path(), &["--db", &both, "user", "list"]).code,
        Some(0)
    );

    // A standby alone may become the primary, so it is waited for.
    let url = standby.url("postgres", "accounts");
    let mut command = crate::support::program(dir.path(), &["--db", &url]);
    command.args(["--listen", "127.0.0.1:0"]);
    let waiting = super::start::Waiting::spawn(command);
    let line = waiting.wait_for_log("trying for 30 s");
    assert!(line.contains(&format!("127.0.0.1:{other}")), "{line}");
    assert!(line.contains("read-only, as a standby is"), "{line}");
    standby.execute("postgres", &["SELECT pg_promote()"]);
    waiting.wait_until_it_listens();
}
