//! What can be wrong with the configuration, and the sentence that says so.
//!
//! Owns the wording: every problem names the place (file and line, environment variable or flag), the key and what would
//! be right. Deliberately knows nothing of reading files, and never gets to see the value of a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::settings::{in_section, sections};

/// Everything that is wrong with the configuration; `Display` writes one problem a line.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// # Panics
    /// When there is no problem.
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        assert!(!problems.is_empty(), "an error has a reason");
        Self { problems }
    }

    /// The problems, at least one, those of the file first.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::new(vec![problem])
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problems.iter().find_map(|problem| match problem {
            Problem::Unreadable { source, .. } => Some(source as _),
            _ => None,
        })
    }
}

/// A line of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLine {
    /// The file as it was named.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
}

impl fmt::Display for FileLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file.
    File {
        /// The line of the key.
        at: FileLine,
        /// Its section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// In the environment variable of this name.
    Environment(String),
    /// By the flag of this name, without dashes before it.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { at, section, key } => write!(f, "{at}: [{section}] {key}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The file is missing or cannot be read.
    Unreadable {
        /// The file as it was named.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is no TOML.
    Syntax {
        /// Where the parser gave up.
        at: FileLine,
        /// Its column, counted from 1 in characters.
        column: usize,
        /// The parser's complaint.
        message: String,
    },
    /// The file has a section that does not exist.
    UnknownSection {
        /// The line of its name.
        at: FileLine,
        /// Its name.
        section: String,
        /// The name that may have been meant.
        meant: Option<&'static str>,
    },
    /// The file has a key that its section does not know.
    UnknownKey {
        /// The line of the key.
        at: FileLine,
        /// Its section.
        section: &'static str,
        /// The key.
        key: String,
        /// The section and key that may have been meant.
        meant: Option<(&'static str, &'static str)>,
    },
    /// The file has a key outside any section.
    NoSection {
        /// The line of the key.
        at: FileLine,
        /// The key.
        key: String,
        /// The section and key that may have been meant.
        meant: Option<(&'static str, &'static str)>,
    },
    /// The file gives a plain value the name of a section.
    NotASection {
        /// The line of the key.
        at: FileLine,
        /// The section.
        section: &'static str,
    },
    /// A value has the wrong form.
    WrongValue {
        /// Where it was given.
        place: Place,
        /// What would be right.
        expected: String,
        /// What was found, `None` when it must not be shown.
        got: Option<String>,
    },
    /// An environment variable is not UTF-8.
    NotUtf8 {
        /// Its name.
        variable: String,
    },
    /// Settings that are right by themselves and do not go together; a whole sentence that says what to change.
    Conflict(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => {
                write!(f, "{}: cannot be read: {source}", file.display())
            }
            Self::Syntax {
                at,
                column,
                message,
            } => write!(f, "{at}:{column}: no valid TOML: {message}"),
            Self::UnknownSection { at, section, meant } => {
                write!(f, "{at}: unknown section [{}]", section.escape_debug())?;
                if let Some(meant) = meant {
                    write!(f, "; did you mean [{meant}]?")?;
                } else {
                    f.write_str(".")?;
                }
                let sections: Vec<_> = sections().collect();
                write!(f, " Sections: [{}]", sections.join("], ["))
            }
            Self::UnknownKey {
                at,
                section,
                key,
                meant,
            } => {
                write!(f, "{at}: unknown key {key:?} in [{section}]")?;
                match meant {
                    Some((other, meant)) if other == section => {
                        write!(f, "; did you mean {meant:?}?")?;
                    }
                    Some((other, meant)) => write!(f, "; did you mean {meant:?} in [{other}]?")?,
                    None => f.write_str(".")?,
                }
                let keys: Vec<_> = in_section(section).map(|setting| setting.key).collect();
                write!(f, " Keys of [{section}]: {}", keys.join(", "))
            }
            Self::NoSection { at, key, meant } => {
                write!(f, "{at}: key {key:?} outside any section")?;
                match meant {
                    Some((section, meant)) => write!(f, "; did you mean {meant:?} in [{section}]?"),
                    None => Ok(()),
                }
            }
            Self::NotASection { at, section } => {
                write!(
                    f,
                    "{at}: {section}: expected the section [{section}], got a value"
                )
            }
            Self::WrongValue {
                place,
                expected,
                got,
            } => {
                write!(f, "{place}: expected {expected}, got ")?;
                match got {
                    Some(got) => f.write_str(got),
                    None => f.write_str("something else (not shown, as it may hold a secret)"),
                }
            }
            Self::NotUtf8 { variable } => {
                write!(
                    f,
                    "environment variable {variable}: expected UTF-8, got other bytes"
                )
            }
            Self::Conflict(sentence) => f.write_str(sentence),
        }
    }
}
