//! Statements as PostgreSQL reads them: numbered parameters in place of named ones.

/// A statement whose parameters are numbered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) sql: String,
    /// The names of the parameters, with their colons, in the order of their numbers.
    pub(super) names: Vec<String>,
}

/// Numbers the named parameters of a statement. The literal `x''` of SQLite, no bytes, becomes that of
/// PostgreSQL.
pub(super) fn number(sql: &str) -> Numbered {
    let mut numbered = String::with_capacity(sql.len());
    let mut names: Vec<String> = Vec::new();
    let mut rest = sql;
    while let Some(at) = rest.find([':', '\'']) {
        let (before, from) = rest.split_at(at);
        if let Some(quoted) = from.strip_prefix('\'') {
            let end = quoted.find('\'').map_or(quoted.len(), |end| end + 1);
            let (text, after) = quoted.split_at(end);
            if text == "'" && before.ends_with('x') && !ends_in_word(&before[..before.len() - 1]) {
                numbered.push_str(&before[..before.len() - 1]);
                numbered.push_str("''::bytea");
            } else {
                numbered.push_str(before);
                numbered.push('\'');
                numbered.push_str(text);
            }
            rest = after;
            continue;
        }
        numbered.push_str(before);
        let length = from[1..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(from.len(), |length| length + 1);
        if length == 1 {
            // Two colons are a cast.
            let colons = if from.starts_with("::") { 2 } else { 1 };
            numbered.push_str(&from[..colons]);
            rest = &from[colons..];
            continue;
        }
        let (name, after) = from.split_at(length);
        let index = names.iter().position(|known| known == name);
        let index = index.unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        numbered.push('$');
        numbered.push_str(&(index + 1).to_string());
        rest = after;
    }
    numbered.push_str(rest);
    Numbered {
        sql: numbered,
        names,
    }
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_by_their_first_use() {
        for (sql, expected, names) in [
            ("SELECT 1", "SELECT 1", &[][..]),
            (
                "SELECT a FROM t WHERE b = :b AND c = :other AND d = :b",
                "SELECT a FROM t WHERE b = $1 AND c = $2 AND d = $1",
                &[":b", ":other"],
            ),
            ("VALUES (:a,:b)", "VALUES ($1,$2)", &[":a", ":b"]),
            (":a", "$1", &[":a"]),
            ("a::bigint = :a", "a::bigint = $1", &[":a"]),
            ("a = ':a' AND b = :b", "a = ':a' AND b = $1", &[":b"]),
            ("a = 'it''s' AND b = :b", "a = 'it''s' AND b = $1", &[":b"]),
            ("a = '", "a = '", &[]),
        ] {
            let numbered = number(sql);
            assert_eq!(numbered.sql, expected);
            assert_eq!(numbered.names, names);
        }
    }

    #[test]
    fn no_bytes_are_written_as_postgresql_does() {
        for (sql, expected) in [
            (
                "SET a = x'' WHERE b <> x''",
                "SET a = ''::bytea WHERE b <> ''::bytea",
            ),
            ("a = '' AND max = ''", "a = '' AND max = ''"),
            ("ax''", "ax''"),
        ] {
            assert_eq!(number(sql).sql, expected);
        }
    }
}
