//! What each operation reads from the fields of a request, for whoever describes the API.
//!
//! Nothing is declared twice: a form is what the operation's own reading notes when it is given nothing to read.

use super::photo::PhotoChange;
use super::{confirm, deletion, password_change, password_reset, profile, refresh};
use crate::domain::{FieldErrors, FieldReader, FieldRule, Fields, Timestamp};

/// The fields of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The fields in the order in which they are read.
    pub rules: Vec<FieldRule>,
    /// What is said when none of them is there.
    pub complaints: FieldErrors,
}

/// What `read` asks for.
fn form<T>(read: impl FnOnce(&mut FieldReader<'_>) -> T) -> Form {
    let nothing = Fields::json();
    let mut reader = FieldReader::new(&nothing);
    read(&mut reader);
    Form {
        rules: reader.rules().to_vec(),
        complaints: reader.finish().err().unwrap_or_default(),
    }
}

/// Today, as far as an empty form is concerned.
const ANY_DAY: Timestamp = Timestamp::from_unix_millis(0);

/// Signing up.
pub fn sign_up() -> Form {
    form(|reader| super::sign_up::read(reader, ANY_DAY))
}

/// Changing an account.
pub fn update() -> Form {
    form(|reader| {
        let mut changes = profile::read_changes(reader, &PhotoChange::Absent, ANY_DAY);
        profile::read_staff_changes(reader, &mut changes);
    })
}

/// Deleting one's own account.
pub fn delete() -> Form {
    form(deletion::read)
}

/// Confirming an address.
pub fn confirmation() -> Form {
    form(confirm::read)
}

/// Asking for a code.
pub fn address() -> Form {
    form(confirm::read_address)
}

/// Signing in.
pub fn sign_in() -> Form {
    form(super::sign_in::read)
}

/// Showing a refresh token.
pub fn refresh_token() -> Form {
    form(|reader| refresh::read(reader, refresh::REFRESH))
}

/// Showing a token of either kind.
pub fn token() -> Form {
    form(|reader| refresh::read(reader, refresh::TOKEN))
}

/// Choosing a password with a code.
pub fn confirm_reset() -> Form {
    form(password_reset::read)
}

/// Moving the clock, in development.
pub fn advance_clock() -> Form {
    form(read_advance)
}

/// Most seconds that the clock can be moved at once, a hundred years.
const MOST_SECONDS: u64 = 3_155_760_000;

/// Reads how many seconds the clock is to be moved.
pub fn read_advance(reader: &mut FieldReader<'_>) -> Option<u64> {
    reader.required_whole("advance_seconds", MOST_SECONDS)
}

/// Choosing a password with the present one.
pub fn change_password() -> Form {
    form(password_change::read)
}
