//! The schema of a database, compared with the one that this program knows.

/// Where the schema of a database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// There is none yet: the database is empty.
    Missing,
    /// It is of this older version and can be migrated.
    Older(i64),
    /// It is the one that this program knows.
    Current,
    /// It is of this newer version, which says that this program works with it.
    Newer(i64),
}
