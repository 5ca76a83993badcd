//! The numbered migrations from older schemas to `schema.sql`.
//!
//! To change the schema: edit `schema.sql`, raise [`SCHEMA_VERSION`], add the migration to
//! [`MIGRATIONS`]. A test checks that both ways give the same schema.

/// The whole current schema, for a new file.
pub(super) const SCHEMA: &str = include_str!("../../../schema.sql");

/// The `PRAGMA user_version` of the current schema.
pub(super) const SCHEMA_VERSION: i32 = 10;

/// `(version, statements)`: migrates a file from the previous version to this one.
pub(super) const MIGRATIONS: &[(i32, &str)] = &[
    (
        2,
        "CREATE INDEX users_by_staff ON users (id) WHERE is_staff;
     CREATE TABLE unused_photos (
         name     TEXT    PRIMARY KEY,
         noted_at INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE email_undos (
         token_hash BLOB    PRIMARY KEY,
         user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
         email      TEXT    NOT NULL,
         expires_at INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX email_undos_by_user ON email_undos (user_id);
     CREATE INDEX email_undos_by_expiry ON email_undos (expires_at);",
    ),
    (
        3,
        "ALTER TABLE users ADD COLUMN language TEXT NOT NULL DEFAULT '';
     ALTER TABLE sign_ups ADD COLUMN language TEXT NOT NULL DEFAULT '';
     CREATE TABLE mails (
         id          INTEGER PRIMARY KEY AUTOINCREMENT,
         message_id  BLOB    NOT NULL UNIQUE,
         user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
         otp_id      INTEGER REFERENCES otps (id) ON DELETE CASCADE,
         email       TEXT    NOT NULL,
         language    TEXT    NOT NULL,
         content     BLOB    NOT NULL,
         created_at  INTEGER NOT NULL,
         expires_at  INTEGER NOT NULL,
         tries       INTEGER NOT NULL DEFAULT 0,
         next_try_at INTEGER NOT NULL,
         claimed     INTEGER NOT NULL DEFAULT 0 CHECK (claimed IN (0, 1))
     ) STRICT;
     CREATE INDEX mails_by_user ON mails (user_id);
     CREATE INDEX mails_by_otp ON mails (otp_id);
     CREATE INDEX mails_by_next_try ON mails (next_try_at);
     CREATE INDEX mails_by_expiry ON mails (expires_at);",
    ),
    (
        4,
        "ALTER TABLE otp_failures RENAME TO former_otp_failures;
     DROP INDEX otp_failures_by_user;
     DROP INDEX otp_failures_by_time;
     CREATE TABLE otp_failures (
         id           INTEGER PRIMARY KEY,
         user_id      INTEGER NOT NULL,
         address_hash BLOB    NOT NULL,
         failed_at    INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX otp_failures_by_user ON otp_failures (user_id, failed_at);
     CREATE INDEX otp_failures_by_address ON otp_failures (address_hash, failed_at);
     CREATE INDEX otp_failures_by_time ON otp_failures (failed_at);
     INSERT INTO otp_failures (id, user_id, address_hash, failed_at)
         SELECT id, user_id, x'', failed_at FROM former_otp_failures;
     DROP TABLE former_otp_failures;
     CREATE TABLE password_failures (
         id           INTEGER PRIMARY KEY AUTOINCREMENT,
         account_hash BLOB    NOT NULL,
         source       TEXT    NOT NULL,
         failed_at    INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX password_failures_by_account ON password_failures (account_hash, failed_at, source);
     CREATE INDEX password_failures_by_time ON password_failures (failed_at);
     CREATE TABLE known_networks (
         user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
         network       TEXT    NOT NULL,
         first_seen_at INTEGER NOT NULL,
         last_seen_at  INTEGER NOT NULL,
         PRIMARY KEY (user_id, network)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX known_networks_by_time ON known_networks (last_seen_at);
     INSERT INTO known_networks (user_id, network, first_seen_at, last_seen_at)
         SELECT user_id, ip, min(created_at), max(last_used_at) FROM sessions WHERE ip NOT LIKE '%:%' GROUP BY user_id, ip;
     CREATE TABLE decoys (
         id         INTEGER PRIMARY KEY CHECK (id = 1),
         written_at INTEGER NOT NULL
     ) STRICT;",
    ),
    (
        5,
        "CREATE TABLE events (
         id          INTEGER PRIMARY KEY AUTOINCREMENT,
         happened_at INTEGER NOT NULL,
         event       TEXT    NOT NULL,
         user_id     INTEGER,
         actor_id    INTEGER,
         operator    TEXT    NOT NULL,
         ip          TEXT    NOT NULL,
         user_agent  TEXT    NOT NULL,
         detail      TEXT    NOT NULL
     ) STRICT;
     CREATE INDEX events_by_user ON events (user_id) WHERE user_id IS NOT NULL;
     CREATE INDEX events_by_other_actor ON events (actor_id) WHERE actor_id IS NOT user_id;
     CREATE TABLE failure_counts (
         hour       INTEGER NOT NULL,
         is_account INTEGER NOT NULL CHECK (is_account IN (0, 1)),
         failures   INTEGER NOT NULL,
         listed     INTEGER NOT NULL,
         PRIMARY KEY (hour, is_account)
     ) STRICT, WITHOUT ROWID;",
    ),
    (6, include_str!("migrations/list.sql")),
    (
        7,
        "ALTER TABLE signing_keys ADD COLUMN is_sealed INTEGER NOT NULL DEFAULT 0 CHECK (is_sealed IN (0, 1));
     ALTER TABLE secrets ADD COLUMN is_sealed INTEGER NOT NULL DEFAULT 0 CHECK (is_sealed IN (0, 1));",
    ),
    (
        8,
        "CREATE TABLE marks (
         name     TEXT    PRIMARY KEY,
         noted_at INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;",
    ),
    // The hashes need a key that SQL does not have, so the counts of the last hour restart.
    (
        9,
        "DROP TABLE otp_mails;
     CREATE TABLE otp_mails (
         id           INTEGER PRIMARY KEY,
         address_hash BLOB    NOT NULL,
         purpose      TEXT    NOT NULL,
         sent_at      INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX otp_mails_by_address ON otp_mails (address_hash, purpose, sent_at);
     CREATE INDEX otp_mails_by_time ON otp_mails (sent_at);",
    ),
    (10, include_str!("migrations/10.sql")),
];

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::search_records::add_functions;
    use super::*;

    /// The schemas of earlier versions.
    const FORMER: &[(i32, &str)] = &[
        (1, include_str!("../../../tests/schemas/1.sql")),
        (2, include_str!("../../../tests/schemas/2.sql")),
        (3, include_str!("../../../tests/schemas/3.sql")),
        (4, include_str!("../../../tests/schemas/4.sql")),
        (5, include_str!("../../../tests/schemas/5.sql")),
        (6, include_str!("../../../tests/schemas/6.sql")),
        (7, include_str!("../../../tests/schemas/7.sql")),
        (8, include_str!("../../../tests/schemas/8.sql")),
        (9, include_str!("../../../tests/schemas/9.sql")),
    ];

    fn shape(connection: &Connection) -> Vec<(String, String, String)> {
        connection
            .prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
            .unwrap()
            .query_map([], |row| {
                let sql: String = row.get(2)?;
                // The two schemas may differ only in white space.
                let sql = sql.split_whitespace().collect::<String>();
                Ok((row.get(0)?, row.get(1)?, sql))
            })
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }

    #[test]
    fn both_roads_lead_to_the_same_schema() {
        let new = Connection::open_in_memory().unwrap();
        new.execute_batch(SCHEMA).unwrap();
        for (version, schema) in FORMER {
            let old = Connection::open_in_memory().unwrap();
            add_functions(&old).unwrap();
            old.execute_batch(schema).unwrap();
            for (_, statements) in MIGRATIONS.iter().filter(|(number, _)| number > version) {
                old.execute_batch(statements).unwrap();
            }
            assert_eq!(shape(&old), shape(&new), "from version {version}");
        }
    }

    #[test]
    fn every_version_has_its_step() {
        let steps: Vec<i32> = MIGRATIONS.iter().map(|(number, _)| *number).collect();
        assert_eq!(steps, (2..=SCHEMA_VERSION).collect::<Vec<_>>());
        assert_eq!(FORMER.len(), MIGRATIONS.len());
    }
}
