//! The OAuth clients of the configuration file, which are a list rather than settings.
//!
//! Owns their form. What a redirect URI or an id may be is not known here.

use std::path::PathBuf;

/// The name of the list.
pub(super) const LIST: &str = "clients";

/// An OAuth client of the configuration file, as it is written there: keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileClient {
    /// Its `client_id`.
    pub id: String,
    /// File with its secret; without one it is public.
    pub secret_file: Option<PathBuf>,
    /// The other keys that are set, with their values as texts; a list has several.
    pub values: Vec<(&'static str, Vec<String>)>,
}
