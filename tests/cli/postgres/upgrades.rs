//! The schema that is created, migrated and left alone, and ids that are skipped after a restore.

use serde_json::json;

use super::create_user_over;
use crate::support::{Running, folder, names_in, run};
use crate::test_schema::TestSchema;

#[test]
fn check_leaves_an_empty_database_as_it_is() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let url = schema.url();
    for _ in 0..2 {
        let checked = run(dir.path(), &["--db", &url, "check"]);
        assert!(
            checked.stdout.contains("is empty; the first start creates"),
            "{checked:?}"
        );
    }
    let with_folder = ["--db", &url, "--media-dir", "photos", "check"];
    let refused = run(dir.path(), &with_folder);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let error = "error   photos: [media] dir is a folder of this machine";
    assert!(refused.stdout.contains(error), "{refused:?}");
    assert!(names_in(dir.path()).is_empty());
    let migrated = run(dir.path(), &["--db", &url, "migrate"]);
    assert!(migrated.stdout.contains("was empty"), "{migrated:?}");
    let again = run(dir.path(), &["--db", &url, "migrate"]);
    assert!(
        again.stdout.contains("is up to date: schema version 10"),
        "{again:?}"
    );
}

#[test]
fn servers_go_on_while_a_newer_one_has_migrated() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let url = schema.url();
    let running = Running::start_with(dir.path(), &["--db", &url]);
    create_user_over(dir.path(), &url, "ada@example.com");
    let token = running.sign_in("ada@example.com");
    let profile = |server: &Running| server.api("GET", "users/me/", Some(&token), &json!({})).0;
    assert_eq!(profile(&running), 200);
    // What a migration of the next version may do.
    schema.execute(
        "BEGIN; ALTER TABLE users ADD COLUMN nickname text NOT NULL DEFAULT '';
         ALTER TABLE sessions ADD COLUMN place text; CREATE TABLE places (name text);
         UPDATE schema_version SET version = 11, compatible_from = 10; COMMIT",
    );
    assert_eq!(profile(&running), 200);
    running.sign_in("ada@example.com");
    // One of the version before starts, too.
    let restarted = Running::start_with(dir.path(), &["--db", &url]);
    assert_eq!(profile(&restarted), 200);
    restarted.sign_in("ada@example.com");
    create_user_over(dir.path(), &url, "grace@example.com");
    let migrated = run(dir.path(), &["--db", &url, "migrate"]);
    assert!(
        migrated.stdout.contains("schema version 11, known is 10"),
        "{migrated:?}"
    );
    restarted.terminate();
    running.terminate();
}

#[test]
fn owner_migrates_for_a_server_that_may_not() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let url = schema.url();
    let role = Role::new();
    let name = &role.name;
    schema.execute(&format!(
        "GRANT USAGE ON SCHEMA {} TO {name}",
        schema.name()
    ));
    let limited = url.replace("options=", &format!("options=-c%20role%3D{name}%20"));
    run(dir.path(), &["--db", &limited, "migrate"]).assert_refused(
        1,
        &["permission denied", "run `migrate` once as one who has it"],
    );
    let migrated = run(dir.path(), &["--db", &url, "migrate"]);
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let in_schema = format!("IN SCHEMA {} TO {name}", schema.name());
    schema.execute(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES {in_schema};
         GRANT SELECT, UPDATE, USAGE ON ALL SEQUENCES {in_schema}"
    ));
    let server = Running::start_with(dir.path(), &["--db", &limited]);
    create_user_over(dir.path(), &limited, "ada@example.com");
    server.sign_in("ada@example.com");
    server.terminate();
    let raised = run(dir.path(), &["--db", &limited, "raise-ids", "--by", "10"]);
    assert_eq!(raised.code, Some(0), "{raised:?}");
}

#[test]
fn ids_are_skipped_after_a_restore() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let dir = folder();
    let url = schema.url();
    let first = create_user_over(dir.path(), &url, "ada@example.com");
    let raise = ["--db", &url, "raise-ids", "--by"];
    let raised = run(dir.path(), &[&raise[..], &["1000"]].concat());
    let line = format!("users: new ids are above {}\n", first + 1000);
    assert!(raised.stdout.contains(&line), "{raised:?}");
    // Tables that have assigned none may have assigned some before the restore.
    for line in [
        "invitations: new ids are above 1000",
        "deliveries: new ids are above 1000",
    ] {
        assert!(raised.stdout.contains(line), "{raised:?}");
    }
    let next = create_user_over(dir.path(), &url, "grace@example.com");
    assert!(next > first + 1000, "{next}");
    let log = run(dir.path(), &["--db", &url, "audit", "--json"]);
    assert!(log.stdout.contains("\"ids_raised\""), "{log:?}");
    assert_eq!(
        run(dir.path(), &[&raise[..], &["0"]].concat()).code,
        Some(2)
    );
}

/// A role without rights, which is removed with this.
struct Role {
    name: String,
    schema: TestSchema,
}

impl Role {
    fn new() -> Self {
        let schema = TestSchema::new().expect("the caller has one too");
        let name = format!("limited_{}", schema.name());
        schema.execute(&format!("CREATE ROLE {name}"));
        Self { name, schema }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let name = &self.name;
        self.schema
            .execute(&format!("DROP OWNED BY {name}; DROP ROLE {name}"));
    }
}
