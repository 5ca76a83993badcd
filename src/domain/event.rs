//! What is worth remembering: the kinds of entries of the audit log.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! events {
    ($( $(#[doc = $about:literal])+ $Kind:ident = $name:literal, )+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $( $(#[doc = $about])+ $Kind, )+
        }

        impl EventKind {
            /// All of them, in the order in which they are explained.
            pub const ALL: &[Self] = &[$( Self::$Kind, )+];

            /// The name under which it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Kind => $name, )+
                }
            }

            /// What it means, in one sentence.
            pub fn about(self) -> &'static str {
                match self {
                    $( Self::$Kind => concat!($($about),+).trim_ascii(), )+
                }
            }
        }
    };
}

events! {
    /// Somebody signed up with an address that nobody has confirmed.
    SignUp = "sign_up",
    /// The code of a sign-up came back: the account is confirmed and signed in.
    SignUpConfirmed = "sign_up_confirmed",
    /// Somebody signed in with the password.
    SignIn = "sign_in",
    /// A sign-in failed.
    SignInFailed = "sign_in_failed",
    /// A session ended because its owner signed out.
    SignOut = "sign_out",
    /// A session was ended in the list of sessions, or all others were.
    SessionsEnded = "sessions_ended",
    /// A refresh token was used twice, as a thief does; its session ended.
    TokenReused = "token_reused",
    /// A one-time password was wrong, expired or used.
    OtpFailed = "otp_failed",
    /// A code for choosing a new password was asked for.
    PasswordResetRequested = "password_reset_requested",
    /// A new password was chosen by such a code; all sessions ended.
    PasswordReset = "password_reset",
    /// The password was changed; other sessions ended.
    PasswordChanged = "password_changed",
    /// Somebody who is signed in gave a wrong password where it has to be shown once more.
    PasswordRefused = "password_refused",
    /// Fields of the profile were changed; the detail names them.
    ProfileChanged = "profile_changed",
    /// Another address was asked for, which waits for its code.
    EmailChangeRequested = "email_change_requested",
    /// The new address was confirmed by its code.
    EmailChanged = "email_changed",
    /// A change of the address was undone by the link that was sent to the former one; sessions ended.
    EmailChangeUndone = "email_change_undone",
    /// The account may sign in again.
    UserActivated = "user_activated",
    /// The account may not sign in any more; all sessions ended.
    UserDeactivated = "user_deactivated",
    /// The account was made staff.
    UserPromoted = "user_promoted",
    /// The account is staff no longer.
    UserDemoted = "user_demoted",
    /// The account was made by an administrator.
    UserCreated = "user_created",
    /// The account was deleted, with everything about it.
    UserDeleted = "user_deleted",
    /// Accounts were imported; the detail is their number.
    UsersImported = "users_imported",
    /// All accounts were exported; the detail says whether with password hashes.
    UsersExported = "users_exported",
    /// A command began a backup, which holds everything; the detail is where it goes.
    BackupBegun = "backup_begun",
    /// A backup took the place of the database; the detail says whether sessions ended. What came after the backup is gone.
    DatabaseRestored = "database_restored",
    /// A new key signs tokens from now on; the detail is its id.
    KeysRotated = "keys_rotated",
    /// A key was removed: what it has signed counts no more; the detail is its id.
    KeyRemoved = "key_removed",
    /// The secrets in the database were encrypted, encrypted anew or decrypted; the detail says which.
    KeysSealed = "keys_sealed",
}

impl EventKind {
    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Whether it is a try that failed. Anybody can cause those, so there is a bound to how many are written down.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::SignInFailed | Self::OtpFailed | Self::PasswordRefused
        )
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for (index, kind) in EventKind::ALL.iter().enumerate() {
            assert_eq!(EventKind::parse(kind.as_str()), Some(*kind));
            assert!(
                EventKind::ALL[..index]
                    .iter()
                    .all(|earlier| earlier.as_str() != kind.as_str()),
                "{kind}"
            );
            assert!(kind.about().ends_with('.'), "{kind}");
        }
        assert_eq!(EventKind::parse("SIGN_IN"), None);
    }
}
