//! Why staff change something: a sentence for the audit log.

use super::{AccountError, unread};
use crate::domain::{FieldReader, Fields, printable};

/// Longest reason, in characters.
const LENGTH: usize = 200;

/// The field of a reason.
const REASON: &str = "reason";

/// Reads the reason that a change by staff needs.
///
/// # Errors
/// [`AccountError::Fields`] when there is none, or it is too long.
pub(super) fn read_reason(fields: &Fields) -> Result<String, AccountError> {
    let mut reader = FieldReader::new(fields);
    let reason = reader.required_text(REASON, Some(LENGTH));
    reader.finish()?;
    let reason = reason.ok_or_else(unread)?;
    // Line breaks would look like further entries in a listing of the log.
    Ok(printable(&reason).into_owned())
}
