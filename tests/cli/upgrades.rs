//! Upgrades from every earlier schema version, with data stored by real servers: nothing is lost,
//! and a copy from before the migration is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::{Value as SqlValue, ValueRef};
use serde_json::json;

use crate::client::Client;
use crate::support::{PASSWORD, Running, finish, folder, names_in, program, run};

/// A refresh token issued by the server that stored the data. It expires in 2036.
const REFRESH: &str = "eyJ0eXAiOiJydCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6IkVCaGhxdTd0d2RoVnRTR1VicWxDdG1LSGlNRzc1cWZDSjBFSV9PV2FlVTgifQ.eyJpc3MiOiJhY2NvdW50cyIsInN1YiI6IjIiLCJ1c2VyX2lkIjoyLCJ0b2tlbl90eXBlIjoicmVmcmVzaCIsImp0aSI6IjZkZjZjOGRiYzAxNjQ0MDhjMWM0MGY2Nzk5YjFhMGMxIiwiaWF0IjoxNzk1NjM2OTE0LCJleHAiOjIxMTA5OTY5MTQsInNpZCI6IjBmMjkzNDJmZmUzNGRjMWJhZjljNWI3ZWJhOTczYzBjIn0.njrR_DZFJukzF5ADpKV-HkdcfL4Ry2C5XMC4CP_jQ107rGAvsokCPoRPTPvZs4DkxPhzi-y4ikm_u7yUWOh6Bw";

/// The code that was mailed to new@example.com.
const CODE: &str = "902866";

/// The secret that encrypts keys in the data of versions that support it.
const SECRET: &str = "the secret of the fixtures, 32 characters";

/// The first version with an audit log, and the first that can encrypt keys.
const WITH_EVENTS: i32 = 5;
const WITH_SECRET: i32 = 7;

/// Tables whose rows a migration changes: version 9 resets the mail counts of the last hour, as it
/// stores them under hashes; version 10 folds searched texts and counts failures by account.
const CHANGED: [&str; 3] = ["otp_mails", "search_blocks", "failure_counts"];

/// Kinds of audit log entries before and since version 10.
const RENAMED_KINDS: [(&str, &str); 4] = [
    ("backup_begun", "backup_started"),
    ("sessions_ended", "sessions_revoked"),
    ("password_refused", "password_check_failed"),
    ("keys_sealed", "key_encryption_changed"),
];

/// The photo of an account.
const PHOTO: &str = "21b3bf912f2887bd6406e0499ef8a44e.jpg";

const APPLICATION_ID: i32 = 0x6163_6373;

fn schemas() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas")
}

/// The earlier versions; each has a file with its schema and one with data.
fn former_versions() -> Vec<i32> {
    let mut versions: Vec<i32> = names_in(&schemas())
        .iter()
        .filter_map(|name| name.strip_suffix(".sql")?.parse().ok())
        .collect();
    versions.sort_unstable();
    versions
}

/// Creates a database in the state that a server of that version left.
fn make(dir: &Path, version: i32) {
    let connection = Connection::open(dir.join("users.db")).unwrap();
    for file in [format!("{version}.sql"), format!("{version}.data.sql")] {
        let statements = fs::read_to_string(schemas().join(file)).unwrap();
        connection.execute_batch(&statements).unwrap();
    }
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .unwrap();
    connection
        .pragma_update(None, "user_version", version)
        .unwrap();
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .unwrap();
    let photos = dir.join("users.db.media/photos");
    fs::create_dir_all(&photos).unwrap();
    fs::copy(schemas().join(PHOTO), photos.join(PHOTO)).unwrap();
}

/// Environment variables of a server of that version.
fn secret_of(version: i32) -> &'static [(&'static str, &'static str)] {
    match version >= WITH_SECRET {
        true => &[("ACCOUNTS_TOKENS_KEY_ENCRYPTION_SECRET", SECRET)],
        false => &[],
    }
}

type Rows = Vec<Vec<SqlValue>>;

/// All rows of the given columns: from table to columns to rows.
fn rows(database: &Path, tables: &BTreeMap<String, Vec<String>>) -> BTreeMap<String, Rows> {
    let connection = Connection::open(database).unwrap();
    let read = |table: &String, columns: &Vec<String>| {
        let columns = columns.join(", ");
        let mut statement = connection
            .prepare(&format!("SELECT {columns} FROM {table} ORDER BY {columns}"))
            .unwrap();
        let width = statement.column_count();
        // Texts are read as bytes, since packed search texts are not UTF-8.
        let rows = statement.query_map([], |row| {
            let value = |at| match row.get_ref(at)? {
                ValueRef::Text(bytes) => Ok(SqlValue::Blob(bytes.to_vec())),
                _ => row.get(at),
            };
            (0..width).map(value).collect()
        });
        rows.unwrap().map(Result::unwrap).collect()
    };
    tables
        .iter()
        .map(|(table, columns)| (table.clone(), read(table, columns)))
        .collect()
}

/// Gives audit log entries of earlier versions the kinds that version 10 renamed.
fn rename_kinds(events: &mut Rows) {
    for value in events.iter_mut().flatten() {
        for (former, new) in RENAMED_KINDS {
            if *value == SqlValue::Blob(former.as_bytes().to_vec()) {
                *value = SqlValue::Blob(new.as_bytes().to_vec());
            }
        }
    }
}

/// The tables of a database with their columns.
fn tables(database: &Path) -> BTreeMap<String, Vec<String>> {
    let connection = Connection::open(database).unwrap();
    let mut tables = BTreeMap::<String, Vec<String>>::new();
    connection
        .prepare(
            "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'",
        )
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .for_each(|(table, column)| tables.entry(table).or_default().push(column));
    tables
}

/// Asserts that what [`CHANGED`] tables held is still there in its new form.
fn assert_changed_tables(database: &Path, before: &BTreeMap<String, Rows>) {
    let connection = Connection::open(database).unwrap();
    let number =
        |query: &str| -> i64 { connection.query_row(query, [], |row| row.get(0)).unwrap() };
    if let Some(counts) = before.get("failure_counts") {
        // Their columns are hour, kind of account, failures, listed ones.
        let sum = |column: usize| -> i64 {
            let column = counts.iter().map(|row| match row[column] {
                SqlValue::Integer(number) => number,
                _ => 0,
            });
            column.sum()
        };
        let after = |column: &str| number(&format!("SELECT sum({column}) FROM failure_counts"));
        assert_eq!((after("failures"), after("listed")), (sum(2), sum(3)));
    }
    // The record of every account begins with this byte and its id.
    let listed = "SELECT count(*) FROM users WHERE EXISTS (SELECT 1 FROM search_blocks \
                  WHERE instr(records, x'ff' || CAST(users.id AS BLOB)) > 0)";
    assert_eq!(number(listed), number("SELECT count(*) FROM users"));
}

fn version_of(database: &Path) -> i32 {
    Connection::open(database)
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn every_former_version_is_migrated_with_all_its_data() {
    let versions = former_versions();
    assert!(
        versions.starts_with(&[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        "{versions:?}"
    );
    for version in versions {
        let dir = folder();
        make(dir.path(), version);
        let database = dir.path().join("users.db");
        let tables = tables(&database);
        let before = rows(&database, &tables);
        for (table, rows) in &before {
            assert!(!rows.is_empty(), "{table} without a row proves nothing");
        }

        // A command migrates like a server, and changes nothing else.
        let mut list = program(dir.path(), &["--db", "users.db", "user", "list", "--json"]);
        list.envs(secret_of(version).iter().copied());
        let outcome = finish(list, "");
        assert_eq!(outcome.code, Some(0), "from version {version}: {outcome:?}");
        assert_eq!(outcome.stdout.lines().count(), 3, "{outcome:?}");
        let mut lasting = tables.clone();
        lasting.retain(|table, _| !CHANGED.contains(&table.as_str()));
        assert_changed_tables(&database, &before);
        // The queue of mails has got another name.
        if let Some(columns) = lasting.remove("mails") {
            lasting.insert("deliveries".to_owned(), columns);
        }
        for (table, after) in rows(&database, &lasting) {
            let former = match table.as_str() {
                "deliveries" => "mails",
                table => table,
            };
            let mut before = before[former].clone();
            if table == "events" {
                rename_kinds(&mut before);
            }
            // Secrets that a newer version adds are created when it first opens the file.
            let is_all = before.iter().all(|row| after.contains(row));
            assert!(
                is_all && (after.len() == before.len() || table == "secrets"),
                "from version {version}: {table} was {before:?} and is {after:?}"
            );
        }
        let newest = version_of(&database);
        assert!(newest > version);
        let kept = format!("users.db.before-v{newest}");
        for text in [
            format!("from schema version {version} to {newest}"),
            format!("kept in {kept}"),
        ] {
            assert!(outcome.stderr.contains(&text), "{text:?}: {outcome:?}");
        }
        let kept = dir.path().join(kept);
        assert_eq!(version_of(&kept), version);
        assert_eq!(
            rows(&kept, &tables),
            before,
            "the copy of version {version}"
        );
        let names = names_in(dir.path());

        works(dir.path(), version);
        let left: Vec<_> = names_in(dir.path())
            .into_iter()
            .filter(|name| !names.contains(name) && name.contains("before"))
            .collect();
        assert!(left.is_empty(), "only a migration makes a copy: {left:?}");
    }
}

/// Credentials and data from before the upgrade still work: password, session, code, photo.
fn works(dir: &Path, version: i32) {
    let arguments = ["--db", "users.db", "--tokens-issuer", "accounts", "--dev"];
    let server = Running::start_in_environment(dir, &arguments, secret_of(version));
    let sign_in = json!({"email": "grace@example.com", "password": PASSWORD});
    let (status, answer) = server.post("token/", &sign_in);
    assert_eq!(status, 200, "from version {version}: {answer}");
    let staff = answer["access"].as_str();
    let list = |path: &str| {
        let (status, page) = server.api("GET", path, staff, &json!({}));
        assert_eq!(status, 200, "from version {version}: {page}");
        page["count"].as_u64().unwrap()
    };
    assert_eq!(list("users/"), 3);
    assert_eq!(list("users/?search=lovelace"), 1);
    assert_eq!(list("users/?is_verified=false"), 1);
    let events = u64::from(version >= WITH_EVENTS);
    assert_eq!(list("users/2/events/"), events);
    let (status, pair) = server.post("token/refresh/", &json!({"refresh": REFRESH}));
    assert_eq!(status, 200, "from version {version}: {pair}");
    let access = pair["access"].as_str().unwrap();
    let (status, profile) = server.api("GET", "users/me/", Some(access), &json!({}));
    assert_eq!(
        (status, &profile["first_name"], &profile["birthday"]),
        (200, &json!("Ada"), &json!("1815-12-10")),
        "{profile}"
    );
    let code = json!({"email": "new@example.com", "otp": CODE});
    let (status, answer) = server.post("otp/verify/", &code);
    assert_eq!(status, 200, "from version {version}: {answer}");
    let client = Client::new(server.address);
    let path = format!("/media/photos/{PHOTO}");
    assert_eq!(client.send("GET", &path, None, "", b"").unwrap().0, 200);
}

#[test]
fn a_copy_that_is_there_already_is_kept_too() {
    let dir = folder();
    make(dir.path(), 1);
    let database = dir.path().join("users.db");
    let old = fs::read(&database).unwrap();
    let list = ["--db", "users.db", "user", "list"];
    assert_eq!(run(dir.path(), &list).code, Some(0));
    let newest = version_of(&database);
    // A downgrade to the earlier version, followed by another upgrade.
    fs::write(&database, old).unwrap();
    let outcome = run(dir.path(), &list);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let second = format!("users.db.before-v{newest}.2");
    assert!(outcome.stderr.contains(&second), "{outcome:?}");
    let names = names_in(dir.path());
    assert!(
        names.contains(&second) && names.contains(&format!("users.db.before-v{newest}")),
        "{names:?}"
    );
}

#[test]
fn a_damaged_database_is_not_migrated() {
    let dir = folder();
    make(dir.path(), 1);
    let database = dir.path().join("users.db");
    let mut bytes = fs::read(&database).unwrap();
    let page = 4096;
    // Skips the first page, which has the schema; some of these pages hold rows and indexes.
    for byte in &mut bytes[3 * page..6 * page] {
        *byte = 0xff;
    }
    fs::write(&database, &bytes).unwrap();
    let outcome = run(dir.path(), &["--db", "users.db", "user", "list"]);
    outcome.assert_refused(1, &["users.db", "restore a backup"]);
    assert!(fs::read(&database).unwrap() == bytes);
}

#[test]
fn file_is_migrated_by_the_command() {
    let dir = folder();
    let migrate = || run(dir.path(), &["--db", "users.db", "migrate"]);
    migrate().assert_refused(1, &["there is no database users.db"]);
    make(dir.path(), 9);
    let migrated = migrate();
    assert_eq!(migrated.code, Some(0), "{migrated:?}");
    let text = "users.db was migrated from schema version 9 to 10\n";
    assert_eq!(migrated.stdout, text);
    assert!(
        migrated.stderr.contains("users.db.before-v10"),
        "{migrated:?}"
    );
    assert!(dir.path().join("users.db.before-v10").is_file());
    let again = migrate();
    assert_eq!(again.stdout, "users.db is up to date: schema version 10\n");
    let environment = secret_of(9);
    let mut command = program(dir.path(), &["--db", "users.db", "user", "list"]);
    command.envs(environment.iter().copied());
    assert_eq!(finish(command, "").code, Some(0));
}

#[test]
fn file_of_a_running_server_is_not_migrated() {
    let dir = folder();
    let server = Running::start(dir.path());
    run(dir.path(), &["--db", "users.db", "migrate"])
        .assert_refused(1, &["another accounts-server is serving"]);
    server.terminate();
}
