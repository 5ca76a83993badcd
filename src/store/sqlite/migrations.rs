//! The numbered steps that bring an older file to the shape of `schema.sql`.
//!
//! To change the schema: edit `schema.sql`, raise [`SCHEMA_VERSION`], add the step to [`MIGRATIONS`]. A test checks that
//! both roads end at the same schema.

/// The whole current schema, for a new file.
pub(super) const SCHEMA: &str = include_str!("../../../schema.sql");

/// The number in `PRAGMA user_version` of a file in the current shape.
pub(super) const SCHEMA_VERSION: i32 = 1;

/// `(version, statements)`: what takes a file from the version before to this one.
pub(super) const MIGRATIONS: &[(i32, &str)] = &[];
