//! The names under which a file may have our fields: aliases, what the operator maps, and flags of
//! other programs whose meaning must not be lost.

use std::collections::BTreeSet;

use crate::accounts::IMPORTED_FIELDS;
use crate::domain::Input;

/// Most unknown names that are remembered.
const MOST_UNKNOWN: usize = 20;

/// Other names of fields, for files that do not have the field itself: those of Django and djoser.
const ALIASES: &[(&str, &str)] = &[
    ("created_at", "date_joined"),
    ("is_verified", "email_verified"),
];

/// Flags of other programs: their names, and what to map them to. A file with one of them and none
/// of ours would import everybody as verified, or as active.
const FOREIGN_FLAGS: &[(&[&str], &str, &[&str])] = &[
    (
        &[
            "emailVerified",
            "email_confirmed",
            "emailConfirmed",
            "is_email_verified",
            "verified",
        ],
        "is_verified",
        &["is_verified", "email_verified", "verified_at"],
    ),
    (
        &["email_confirmed_at", "confirmed_at", "email_verified_at"],
        "verified_at",
        &["is_verified", "email_verified", "verified_at"],
    ),
    (
        &[
            "disabled",
            "blocked",
            "banned",
            "is_banned",
            "isBanned",
            "suspended",
            "banned_until",
        ],
        "!is_active",
        &["is_active"],
    ),
    (
        &["enabled", "active", "isActive"],
        "is_active",
        &["is_active"],
    ),
];

/// `--map THEIRS=OURS`: a name in the file, and what it is for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    theirs: String,
    /// `None` to ignore it.
    ours: Option<&'static str>,
    is_negated: bool,
}

impl std::str::FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (theirs, ours) = text
            .split_once('=')
            .ok_or("expected THEIRS=OURS, such as emailVerified=is_verified")?;
        let theirs = theirs.trim().to_owned();
        let (is_negated, ours) = match ours.trim().strip_prefix('!') {
            Some(ours) => (true, ours),
            None => (false, ours.trim()),
        };
        if theirs.is_empty() {
            return Err("the name in the file is missing".into());
        }
        if ours.is_empty() && !is_negated {
            return Ok(Self {
                theirs,
                ours: None,
                is_negated,
            });
        }
        let known = IMPORTED_FIELDS.iter().find(|field| **field == ours);
        let ours = known.ok_or_else(|| {
            format!(
                "unknown field {ours:?}; known are {}",
                IMPORTED_FIELDS.join(", ")
            )
        })?;
        if is_negated && !["is_active", "is_staff", "is_verified"].contains(ours) {
            return Err(format!("{ours} is not yes or no, so it has no opposite"));
        }
        Ok(Self {
            theirs,
            ours: Some(*ours),
            is_negated,
        })
    }
}

/// A field's place in a file.
pub(super) struct Source<T> {
    pub(super) field: &'static str,
    pub(super) place: T,
    pub(super) is_negated: bool,
}

impl<T> Source<T> {
    /// What the value at the place means for the field.
    pub(super) fn value(&self, value: Input) -> Input {
        if self.is_negated {
            negated(value)
        } else {
            value
        }
    }
}

/// Finds our fields among the names of a file.
#[derive(Default)]
pub(super) struct Columns {
    mappings: Vec<Mapping>,
    unknown: BTreeSet<String>,
}

impl Columns {
    pub(super) fn new(mappings: Vec<Mapping>) -> Self {
        Self {
            mappings,
            unknown: BTreeSet::new(),
        }
    }

    /// Names that were ignored so far, up to some number of them.
    pub(super) fn unknown(&self) -> &BTreeSet<String> {
        &self.unknown
    }

    /// Names that a mapping has and that are not in `names`.
    pub(super) fn missing(&self, names: &[&str]) -> Option<&str> {
        self.mappings
            .iter()
            .map(|mapping| &*mapping.theirs)
            .find(|theirs| !names.iter().any(|name| name.eq_ignore_ascii_case(theirs)))
    }

    /// Our fields among these names, in the order of the fields, with the names' indices.
    ///
    /// # Errors
    /// When the file has a flag of another program and none of ours. The text is for the operator.
    pub(super) fn resolve(&self, names: &[&str]) -> Result<Vec<Source<usize>>, String> {
        let find = |wanted: &str| {
            names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(wanted))
        };
        let mapping_of = |name: &str| {
            self.mappings
                .iter()
                .find(|mapping| mapping.theirs.eq_ignore_ascii_case(name))
        };
        let mut sources = Vec::new();
        for field in IMPORTED_FIELDS {
            let mapped = self
                .mappings
                .iter()
                .filter(|mapping| mapping.ours == Some(*field))
                .find_map(|mapping| Some((find(&mapping.theirs)?, mapping.is_negated)));
            let own = || {
                names_of(field)
                    .filter(|name| mapping_of(name).is_none())
                    .find_map(|name| Some((find(name)?, false)))
            };
            if let Some((place, is_negated)) = mapped.or_else(own) {
                sources.push(Source {
                    field,
                    place,
                    is_negated,
                });
            }
        }
        for (theirs, hint, ours) in FOREIGN_FLAGS {
            let has_ours = sources.iter().any(|source| ours.contains(&source.field));
            let is_unmapped = |name: &&&str| {
                mapping_of(name).is_none()
                    && theirs.iter().any(|flag| name.eq_ignore_ascii_case(flag))
            };
            if !has_ours && let Some(name) = names.iter().find(is_unmapped) {
                return Err(format!(
                    "`{name}` is a flag of another program, which would be ignored: add \
                     --map {name}={hint} to import it, or --map {name}= to ignore it"
                ));
            }
        }
        Ok(sources)
    }

    /// Remembers the names that are ignored.
    pub(super) fn note_unknown(&mut self, names: &[&str]) {
        for name in names {
            let is_mapped = |mapping: &Mapping| mapping.theirs.eq_ignore_ascii_case(name);
            let is_new = self.unknown.len() < MOST_UNKNOWN && !self.unknown.contains(*name);
            if is_new && !is_known(name) && !self.mappings.iter().any(is_mapped) {
                self.unknown.insert(name.chars().take(80).collect());
            }
        }
    }
}

/// The names under which a field may go, its own first.
pub(super) fn names_of(field: &str) -> impl Iterator<Item = &str> {
    let aliases = ALIASES
        .iter()
        .filter(move |(of, _)| *of == field)
        .map(|(_, alias)| *alias);
    std::iter::once(field).chain(aliases)
}

fn is_known(name: &str) -> bool {
    let aliases = ALIASES.iter().map(|(_, alias)| alias);
    IMPORTED_FIELDS
        .iter()
        .chain(aliases)
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// The opposite of a yes or no. No value means no; a date (such as that of a ban) means yes.
fn negated(value: Input) -> Input {
    match value {
        Input::Bool(value) => Input::Bool(!value),
        Input::Null => Input::Bool(true),
        Input::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "" | "f" | "n" | "no" | "false" | "off" | "0" => Input::Bool(true),
            "t" | "y" | "yes" | "true" | "on" | "1" => Input::Bool(false),
            _ if super::parse_moment(text.trim()).is_some() => Input::Bool(false),
            _ => Input::Text(text),
        },
        Input::Number(number) if number == "0" => Input::Bool(true),
        Input::Number(number) if number == "1" => Input::Bool(false),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_parsed_or_refused_with_the_reason() {
        let mapping = |text: &str| text.parse::<Mapping>();
        assert_eq!(
            mapping("localId=id"),
            Ok(Mapping {
                theirs: "localId".into(),
                ours: Some("id"),
                is_negated: false
            })
        );
        assert!(mapping("disabled=!is_active").is_ok_and(|mapping| mapping.is_negated));
        assert!(mapping("disabled=").is_ok_and(|mapping| mapping.ours.is_none()));
        for (text, reason) in [
            ("disabled", "expected THEIRS=OURS"),
            ("=id", "is missing"),
            (
                "a=nickname",
                "unknown field \"nickname\"; known are id, email",
            ),
            ("a=!email", "no opposite"),
            ("a=!", "unknown field \"\""),
        ] {
            let error = mapping(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn foreign_flag_is_refused_unless_ours_is_there() {
        let resolved = |mappings: &[&str], names: &[&str]| {
            let mappings = mappings.iter().map(|text| text.parse().unwrap()).collect();
            Columns::new(mappings).resolve(names).map(|sources| {
                let fields = sources.iter().map(|source| source.field);
                fields.collect::<Vec<_>>().join(" ")
            })
        };
        for flag in [
            "emailVerified",
            "EMAILVERIFIED",
            "verified",
            "email_confirmed_at",
        ] {
            assert!(resolved(&[], &["email", flag]).is_err(), "{flag}");
            for ours in ["is_verified", "email_verified", "verified_at"] {
                assert!(
                    resolved(&[], &["email", flag, ours]).is_ok(),
                    "{flag} {ours}"
                );
            }
        }
        for flag in ["disabled", "blocked", "banned_until", "enabled", "active"] {
            let error = resolved(&[], &["email", flag]).unwrap_err();
            assert!(error.contains(&format!("--map {flag}=")), "{error}");
            assert!(
                resolved(&[], &["email", flag, "is_active"]).is_ok(),
                "{flag}"
            );
            let ignored = format!("{flag}=");
            assert_eq!(resolved(&[&ignored], &["email", flag]).unwrap(), "email");
        }
        assert_eq!(
            resolved(&["blocked=!is_active"], &["email", "blocked"]).unwrap(),
            "email is_active"
        );
    }

    #[test]
    fn opposite_of_a_flag() {
        let text = |text: &str| Input::Text(text.into());
        for (value, expected) in [
            (Input::Bool(true), Input::Bool(false)),
            (Input::Null, Input::Bool(true)),
            (text(""), Input::Bool(true)),
            (text("T"), Input::Bool(false)),
            (text("0"), Input::Bool(true)),
            (text("2030-01-01 00:00:00+00"), Input::Bool(false)),
            (text("perhaps"), text("perhaps")),
            (Input::Number("1".into()), Input::Bool(false)),
        ] {
            assert_eq!(negated(value.clone()), expected, "{value:?}");
        }
    }
}
