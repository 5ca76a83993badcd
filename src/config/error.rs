//! The errors of the configuration and their texts.
//!
//! Each text names the place (file and line, environment variable or flag), the setting, and what is
//! expected. Does not know how files are read, and never receives the value of a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::settings::{in_section, sections};

/// All problems of the configuration; `Display` writes one per line.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// An error of at least one problem.
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        assert!(!problems.is_empty(), "an error has at least one problem");
        Self { problems }
    }

    /// The problems, at least one; those of the file come first.
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

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The configuration file.
    File {
        /// The line of the key.
        at: FileLine,
        /// Its section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// An environment variable.
    Environment(String),
    /// A flag, without its dashes.
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

/// One problem of the configuration.
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
    /// The file is not valid TOML.
    Syntax {
        /// Where the parser stopped.
        at: FileLine,
        /// Its column, counted from 1 in characters.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// The file has an unknown section.
    UnknownSection {
        /// The line of its name.
        at: FileLine,
        /// Its name.
        section: String,
        /// The name that was probably meant.
        meant: Option<&'static str>,
    },
    /// The file has an unknown setting.
    UnknownSetting {
        /// The line of the key.
        at: FileLine,
        /// Its section.
        section: &'static str,
        /// The key.
        key: String,
        /// Section and key of the setting that was probably meant.
        meant: Option<(&'static str, &'static str)>,
    },
    /// The file has a setting outside any section.
    NoSection {
        /// The line of the key.
        at: FileLine,
        /// The key.
        key: String,
        /// Section and key of the setting that was probably meant.
        meant: Option<(&'static str, &'static str)>,
    },
    /// The file has a plain value with the name of a section.
    NotASection {
        /// The line of the key.
        at: FileLine,
        /// The section.
        section: &'static str,
    },
    /// A value is invalid.
    InvalidValue {
        /// Where it was set.
        place: Place,
        /// What is expected.
        expected: String,
        /// What was found; `None` when it must not be shown.
        got: Option<String>,
    },
    /// An environment variable is not UTF-8.
    NotUtf8 {
        /// Its name.
        variable: String,
    },
    /// An item of a list is wrong; the text says how, and what to change.
    Item {
        /// The line of the item or of its wrong key.
        at: FileLine,
        /// The list.
        list: &'static str,
        /// What is wrong.
        text: String,
    },
    /// Settings that are valid on their own but conflict; the text says what to change.
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
            } => write!(f, "{at}:{column}: not valid TOML: {message}"),
            Self::UnknownSection { at, section, meant } => {
                write!(f, "{at}: unknown section [{}]", section.escape_debug())?;
                if let Some(meant) = meant {
                    return write!(f, "; did you mean [{meant}]?");
                }
                let sections: Vec<_> = sections().collect();
                write!(f, "; known sections: [{}]", sections.join("], ["))
            }
            Self::UnknownSetting {
                at,
                section,
                key,
                meant,
            } => {
                write!(f, "{at}: unknown setting {key:?} in [{section}]")?;
                match meant {
                    Some((other, meant)) if other == section => {
                        write!(f, "; did you mean {meant:?}?")
                    }
                    Some((other, meant)) => write!(f, "; did you mean {meant:?} in [{other}]?"),
                    None => {
                        let keys: Vec<_> = in_section(section).map(|known| known.key).collect();
                        write!(f, "; known settings: {}", keys.join(", "))
                    }
                }
            }
            Self::NoSection { at, key, meant } => {
                write!(f, "{at}: setting {key:?} is outside any section")?;
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
            Self::InvalidValue {
                place,
                expected,
                got,
            } => {
                write!(f, "{place}: expected {expected}, got ")?;
                match got {
                    Some(got) => f.write_str(got),
                    None => f.write_str("something else (not shown, as it may contain a secret)"),
                }
            }
            Self::NotUtf8 { variable } => {
                write!(
                    f,
                    "environment variable {variable}: expected UTF-8, got other bytes"
                )
            }
            Self::Item { at, list, text } => write!(f, "{at}: [[{list}]]: {text}"),
            Self::Conflict(sentence) => f.write_str(sentence),
        }
    }
}
