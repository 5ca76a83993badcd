//! The numbered migrations from older schemas to `schema.sql`.
//!
//! Servers of two versions run side by side while a deployment is upgraded, so a migration keeps the
//! version before it working: it adds what is new (a column with a default, a table, an index), and
//! removes only what the version before has stopped using. To change the schema: edit `schema.sql`, raise its version
//! and [`VERSIONS`], add the migration, and keep the former `schema.sql` as `tests/schemas/postgres-N.sql`.
//! Tests check that both ways give the same schema.

/// One step from a version to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Migration {
    /// The version that it leads to.
    pub(super) version: i64,
    /// The oldest version whose programs work with the result.
    pub(super) compatible_from: i64,
    /// Its statements, which run in a transaction.
    pub(super) statements: &'static str,
}

/// The schema of this program, and the ways to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Versions {
    /// The version of the schema.
    pub(super) newest: i64,
    /// The whole schema, for an empty database.
    pub(super) schema: &'static str,
    /// The migrations to it, in order and without gaps.
    pub(super) migrations: &'static [Migration],
}

/// Those of this program. The first version on PostgreSQL is 10: SQLite counts alike.
pub(super) const VERSIONS: Versions = Versions {
    newest: 10,
    schema: include_str!("schema.sql"),
    migrations: &[],
};

impl Versions {
    /// The migrations from a version to the newest one; `None` when its successor is missing.
    pub(super) fn after(&self, version: i64) -> Option<&'static [Migration]> {
        let first = self
            .migrations
            .iter()
            .position(|migration| migration.version == version + 1)?;
        Some(&self.migrations[first..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_its_step() {
        let mut version = 10;
        for step in VERSIONS.migrations {
            version += 1;
            assert_eq!(step.version, version);
        }
        assert_eq!(version, VERSIONS.newest);
        // What a version adds to must go on working with it.
        for step in VERSIONS.migrations {
            assert!(step.compatible_from < step.version, "{}", step.version);
        }
        let newest = VERSIONS.newest;
        let compatible_from = VERSIONS
            .migrations
            .last()
            .map_or(newest, |step| step.compatible_from);
        let row = format!("VALUES ({newest}, {compatible_from}, 'accounts-server')");
        assert!(VERSIONS.schema.contains(&row), "{row}");
    }
}
