//! The database: a file of SQLite, or the URL of a PostgreSQL database.

use std::path::PathBuf;

use super::Config;

/// The path of a database in memory.
const IN_MEMORY: &str = ":memory:";

impl Config {
    /// Whether the database is in memory.
    pub fn is_in_memory(&self) -> bool {
        self.database.path == IN_MEMORY
    }

    /// Whether the database is one of PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        let path = &self.database.path;
        path.starts_with("postgres://") || path.starts_with("postgresql://")
    }

    /// The path of the file, if the database is a file.
    pub fn database_file(&self) -> Option<PathBuf> {
        (!self.is_in_memory() && !self.is_postgres()).then(|| PathBuf::from(&self.database.path))
    }

    /// The database for messages, without the password of its URL.
    pub fn shown_database(&self) -> String {
        without_password(&self.database.path)
    }
}

/// A URL without its password; any other path stays as it is.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = match rest.find(['/', '?']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    let authority = match authority.rsplit_once('@') {
        Some((user, hosts)) => {
            let name = user.split_once(':').map_or(user, |(name, _)| name);
            format!("{name}@{hosts}")
        }
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let kept: Vec<&str> = query
                .split('&')
                .filter(|pair| !pair.starts_with("password="))
                .collect();
            match kept.is_empty() {
                true => path.to_owned(),
                false => format!("{path}?{}", kept.join("&")),
            }
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("postgres://u:p@h:1/db", "postgres://u@h:1/db"),
            (
                "postgres://u:p@a,b/db?x=1&password=q",
                "postgres://u@a,b/db?x=1",
            ),
            ("postgres://u@h/db?password=q", "postgres://u@h/db"),
            ("postgres://h/db", "postgres://h/db"),
            ("users.db", "users.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
