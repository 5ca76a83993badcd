//! Tests where `ACCOUNTS_TEST_POSTGRES` names a database, with migrations of their own.

use std::sync::{Arc, Barrier};
use std::thread;

use super::super::PostgresUrl;
use super::super::migrations::VERSIONS;
use super::*;

#[path = "../../../../tests/support/test_schema.rs"]
mod test_schema;

use test_schema::TestSchema;

/// The schemas of earlier versions.
const FORMER: &[(i64, &str)] = &[];

/// The first schema of a program that has had three.
const FIRST: &str = "CREATE TABLE notes (id bigint PRIMARY KEY); \
    CREATE TABLE schema_version (version bigint NOT NULL, compatible_from bigint NOT NULL, \
    application text NOT NULL); INSERT INTO schema_version VALUES (1, 1, 'accounts-server')";

const SECOND: Migration = Migration {
    version: 2,
    compatible_from: 1,
    statements: "ALTER TABLE notes ADD COLUMN text text NOT NULL DEFAULT ''; \
        CREATE INDEX notes_by_text ON notes (text)",
};

const THIRD: Migration = Migration {
    version: 3,
    compatible_from: 2,
    statements: "ALTER TABLE notes ADD COLUMN noted_at bigint",
};

const FAILING: Migration = Migration {
    version: 3,
    compatible_from: 2,
    statements: "ALTER TABLE notes ADD COLUMN noted_at bigint; ALTER TABLE nothing ADD COLUMN a int",
};

/// The program at its first, second and third version.
const V1: Versions = Versions {
    newest: 1,
    schema: FIRST,
    migrations: &[],
};
const V2: Versions = Versions {
    newest: 2,
    schema: "",
    migrations: &[SECOND],
};
const V3: Versions = Versions {
    newest: 3,
    schema: "CREATE TABLE notes (id bigint PRIMARY KEY, noted_at bigint, text text NOT NULL DEFAULT ''); \
        CREATE INDEX notes_by_text ON notes (text); \
        CREATE TABLE schema_version (version bigint NOT NULL, compatible_from bigint NOT NULL, \
        application text NOT NULL); INSERT INTO schema_version VALUES (3, 2, 'accounts-server')",
    migrations: &[SECOND, THIRD],
};

fn connect(schema: &TestSchema) -> Client {
    let url = PostgresUrl::parse(&schema.url(), None).unwrap();
    Client::connect(&url.servers[0], None, None).unwrap()
}

/// Everything in the schema that its statements made.
fn shape(client: &Client) -> Vec<String> {
    client.begin(None);
    let connection: &dyn Connection = client;
    connection
        .query_all(
            "WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema()) \
             SELECT concat_ws(' ', relname, attname, format_type(atttypid, atttypmod), collname, \
             attnotnull, attidentity, pg_get_expr(adbin, adrelid)) AS line \
             FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid AND relkind = 'r' \
             LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum \
             LEFT JOIN pg_collation ON pg_collation.oid = attcollation \
             WHERE relnamespace IN (SELECT oid FROM ours) AND attnum > 0 AND NOT attisdropped \
             UNION ALL SELECT pg_get_indexdef(pg_class.oid) FROM pg_class \
             WHERE relkind = 'i' AND relnamespace IN (SELECT oid FROM ours) \
             UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(oid)) FROM pg_constraint \
             WHERE connamespace IN (SELECT oid FROM ours) \
             UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc \
             WHERE pronamespace IN (SELECT oid FROM ours) AND prokind = 'f' \
             UNION ALL SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger \
             JOIN pg_class ON pg_class.oid = tgrelid \
             WHERE relnamespace IN (SELECT oid FROM ours) AND NOT tgisinternal \
             UNION ALL SELECT concat_ws(' ', 'version', version, compatible_from) FROM schema_version \
             ORDER BY line",
            &[],
            |row| row.get::<String>(0),
        )
        .unwrap()
        .into_iter()
        // The names of schemas differ.
        .map(|line| {
            let mut parts = line.split("test_");
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| {
                text + part.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_')
            })
        })
        .collect()
}

#[test]
fn older_schema_is_migrated_step_by_step() {
    let (Some(schema), Some(other)) = (TestSchema::new(), TestSchema::new()) else {
        return;
    };
    let client = connect(&schema);
    assert_eq!(examine(&client, None, &V1), Ok(SchemaState::Missing));
    assert_eq!(prepare(&client, None, &V1), Ok(SchemaState::Missing));
    assert_eq!(prepare(&client, None, &V1), Ok(SchemaState::Current));
    schema.execute("INSERT INTO notes VALUES (1)");
    assert_eq!(examine(&client, None, &V3), Ok(SchemaState::Older(1)));
    assert_eq!(prepare(&client, None, &V3), Ok(SchemaState::Older(1)));
    assert_eq!(prepare(&client, None, &V3), Ok(SchemaState::Current));
    let fresh = connect(&other);
    assert_eq!(prepare(&fresh, None, &V3), Ok(SchemaState::Missing));
    assert_eq!(shape(&client), shape(&fresh));
    assert!(shape(&fresh).contains(&"version 3 2".to_owned()));
}

#[test]
fn program_of_the_version_before_works_with_a_compatible_schema() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let client = connect(&schema);
    prepare(&client, None, &V1).unwrap();
    prepare(&client, None, &V2).unwrap();
    assert_eq!(prepare(&client, None, &V1), Ok(SchemaState::Newer(2)));
    prepare(&client, None, &V3).unwrap();
    assert_eq!(prepare(&client, None, &V2), Ok(SchemaState::Newer(3)));
    let refused = prepare(&client, None, &V1).unwrap_err();
    assert!(
        refused.contains("schema version 3, and this program knows 1"),
        "{refused}"
    );
    assert_eq!(examine(&client, None, &V1), Err(refused));
}

#[test]
fn servers_that_start_at_once_migrate_once() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    prepare(&connect(&schema), None, &V1).unwrap();
    for (versions, old) in [(V2, 1), (V3, 2)] {
        let together = Arc::new(Barrier::new(4));
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let (client, together) = (connect(&schema), Arc::clone(&together));
                thread::spawn(move || {
                    together.wait();
                    prepare(&client, None, &versions).unwrap()
                })
            })
            .collect();
        let mut found: Vec<_> = starts
            .into_iter()
            .map(|start| start.join().unwrap())
            .collect();
        found.sort_by_key(|found| *found == SchemaState::Current);
        assert_eq!(found[0], SchemaState::Older(old));
        assert_eq!(found[1..], [SchemaState::Current; 3]);
    }
}

#[test]
fn failed_migration_changes_nothing() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let client = connect(&schema);
    prepare(&client, None, &V1).unwrap();
    let before = shape(&client);
    let versions = Versions {
        migrations: &[SECOND, FAILING],
        ..V3
    };
    let problem = prepare(&client, None, &versions).unwrap_err();
    assert!(
        problem.contains("from schema version 1 to 3, and nothing was changed")
            && problem.contains("\"nothing\" does not exist"),
        "{problem}"
    );
    assert_eq!(shape(&client), before);
    // The next program that starts can do it.
    assert_eq!(prepare(&client, None, &V3), Ok(SchemaState::Older(1)));
}

#[test]
fn warning_of_a_statement_does_not_make_the_commit_doubtful() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let versions = Versions {
        schema: "DO $$ BEGIN RAISE WARNING 'an extension cannot be had'; END $$; \
            CREATE TABLE schema_version (version bigint, compatible_from bigint, application text); \
            INSERT INTO schema_version VALUES (1, 1, 'accounts-server')",
        ..V1
    };
    let client = connect(&schema);
    assert_eq!(prepare(&client, None, &versions), Ok(SchemaState::Missing));
}

#[test]
fn missing_step_is_named() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let client = connect(&schema);
    prepare(&client, None, &V1).unwrap();
    let versions = Versions {
        migrations: &[THIRD],
        ..V3
    };
    let problem = prepare(&client, None, &versions).unwrap_err();
    assert!(problem.contains("a version in between"), "{problem}");
}

#[test]
fn own_schema_is_examined_without_creating_it() {
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let client = connect(&schema);
    let name = Some("accounts_never_created");
    assert_eq!(examine(&client, name, &V1), Ok(SchemaState::Missing));
    assert_eq!(exists(&client, "accounts_never_created"), Ok(false));
}

#[test]
fn both_roads_lead_to_the_same_schema() {
    assert_eq!(FORMER.len(), VERSIONS.migrations.len());
    let Some(schema) = TestSchema::new() else {
        return;
    };
    let new = connect(&schema);
    assert_eq!(prepare(&new, None, &VERSIONS), Ok(SchemaState::Missing));
    assert_eq!(prepare(&new, None, &VERSIONS), Ok(SchemaState::Current));
    for (version, statements) in FORMER {
        let Some(schema) = TestSchema::new() else {
            return;
        };
        schema.execute(statements);
        let old = connect(&schema);
        assert_eq!(
            prepare(&old, None, &VERSIONS),
            Ok(SchemaState::Older(*version))
        );
        assert_eq!(shape(&old), shape(&new), "from version {version}");
    }
}
