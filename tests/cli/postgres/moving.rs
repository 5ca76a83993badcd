//! Accounts that move to PostgreSQL and back, several servers, and what only files can do.

use serde_json::json;

use super::create_user_over;
use crate::support::{Running, create_user, folder, names_in, run};
use crate::test_schema::TestSchema;

#[test]
fn accounts_move_there_and_back() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let url = schema.url();
    let dir = folder();
    let id = create_user(dir.path(), "ada@example.com", &["--staff"]);
    let server = Running::start(dir.path());
    let token = server.sign_in("ada@example.com");
    server.terminate();

    let copied = run(dir.path(), &["copy", "--from", "users.db", "--to", &url]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert!(copied.stderr.contains("copied 1 accounts"), "{copied:?}");
    // The source says where its accounts are.
    run(dir.path(), &["user", "list"]).assert_refused(1, &["have moved to postgres"]);
    // A second copy finds the target in use.
    let again = run(dir.path(), &["copy", "--from", "users.db", "--to", &url]);
    again.assert_refused(1, &["nothing was copied", "not empty"]);

    // The session goes on, and new accounts get new ids.
    let server = Running::start_with(dir.path(), &["--db", &url]);
    let path = format!("users/{id}/");
    let (status, profile) = server.api("GET", &path, Some(&token), &json!({}));
    assert_eq!(
        (status, &profile["email"]),
        (200, &json!("ada@example.com"))
    );
    let changed = server.api(
        "PATCH",
        &path,
        Some(&token),
        &json!({ "first_name": "Ada" }),
    );
    assert_eq!(changed.0, 200);
    assert!(create_user_over(dir.path(), &url, "grace@example.com") > id);
    server.terminate();

    let back = run(dir.path(), &["copy", "--from", &url, "--to", "back.db"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    let server = Running::start_with(dir.path(), &["--db", "back.db"]);
    let (status, profile) = server.api("GET", &path, Some(&token), &json!({}));
    assert_eq!((status, &profile["first_name"]), (200, &json!("Ada")));
    server.terminate();
}

#[test]
fn two_servers_see_each_others_sessions() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let url = schema.url();
    let dir = folder();
    let start = || Running::start_with(dir.path(), &["--db", &url]);
    let (first, second) = (start(), start());
    create_user_over(dir.path(), &url, "ada@example.com");
    let token = first.sign_in("ada@example.com");
    let me = "users/me/";
    assert_eq!(second.api("GET", me, Some(&token), &json!({})).0, 200);
    // What one ends, the other refuses at the next request.
    let sessions = "sessions/";
    let (_, listed) = second.api("GET", sessions, Some(&token), &json!({}));
    let session = listed[0]["id"]
        .as_str()
        .or(listed["results"][0]["id"].as_str());
    let path = format!("{sessions}{}/", session.unwrap());
    assert_eq!(second.api("DELETE", &path, Some(&token), &json!({})).0, 204);
    assert_eq!(first.api("GET", me, Some(&token), &json!({})).0, 401);
    first.terminate();
    second.terminate();
}

#[test]
fn what_only_files_can_do_is_refused() {
    let dir = folder();
    let url = "postgres://app:hidden@127.0.0.1:1/accounts";
    for (arguments, expected) in [
        (&["--db", url, "backup", "out.tar"][..], "pg_dump"),
        (&["--db", url, "restore", "out.tar"], "pg_restore"),
        (&["--db", url, "--dev", "--ephemeral"], "--ephemeral"),
        (&["copy", "--from", "a.db", "--to", "b.db"], "check --from"),
        (&["copy", "--from", url, "--to", url], "pg_dump"),
        (
            &["--db", "postgres://h/db", "user", "list"],
            "names no user",
        ),
        (
            &["--db", "postgres://u@h", "user", "list"],
            "names no database",
        ),
    ] {
        let refused = run(dir.path(), arguments);
        refused.assert_refused(1, &[expected]);
        assert!(!refused.stderr.contains("hidden"), "{refused:?}");
    }
    assert!(names_in(dir.path()).is_empty());
}

#[test]
fn unusable_databases_are_left_alone() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let url = schema.url();
    schema.execute("CREATE TABLE notes (text text)");
    run(dir.path(), &["--db", &url, "user", "list"])
        .assert_refused(1, &["tables of another program"]);
    schema.execute("DROP TABLE notes");
    assert_eq!(
        run(dir.path(), &["--db", &url, "user", "list"]).code,
        Some(0)
    );
    schema.execute("UPDATE schema_version SET version = 99, compatible_from = 11");
    for command in [
        &["user", "list"][..],
        &["migrate"],
        &["raise-ids", "--by", "1"],
    ] {
        let arguments = [&["--db", &url], command].concat();
        run(dir.path(), &arguments).assert_refused(1, &["schema version 99", "newer version"]);
    }
    schema.execute("UPDATE schema_version SET version = 10");
    let checked = run(dir.path(), &["--db", &url, "check"]);
    assert!(checked.stdout.contains("takes writes"), "{checked:?}");
    let wrong = url.replace("postgres@", "nobody_here:wrong@");
    run(dir.path(), &["--db", &wrong, "user", "list"]).assert_refused(1, &["nobody_here"]);
}
