//! The kinds of audit log entries.

use std::fmt;

use serde::{Serialize, Serializer};

use super::WebhookEventType;

macro_rules! events {
    ($( $(#[doc = $about:literal])+ $Kind:ident = $name:literal, )+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $( $(#[doc = $about])+ $Kind, )+
        }

        impl EventKind {
            /// All kinds, in the order of the documentation.
            pub const ALL: &[Self] = &[$( Self::$Kind, )+];

            /// The name that is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Kind => $name, )+
                }
            }

            /// One sentence that explains it.
            pub fn about(self) -> &'static str {
                match self {
                    $( Self::$Kind => concat!($($about),+).trim_ascii(), )+
                }
            }
        }
    };
}

events! {
    /// Somebody signed up with an unconfirmed address.
    SignUp = "sign_up",
    /// A pending sign-up was removed because another account claimed its address.
    SignUpDisplaced = "sign_up_displaced",
    /// The address of a sign-up was confirmed; the account is signed in.
    SignUpConfirmed = "sign_up_confirmed",
    /// Somebody signed in, with the password, a passkey or an identity of a provider.
    SignIn = "sign_in",
    /// A sign-in failed.
    SignInFailed = "sign_in_failed",
    /// A signed-in client confirmed the password, a second factor, a mailed code or an identity.
    Reauthenticated = "reauthenticated",
    /// The code or passkey of a second factor was wrong, or was used before.
    SecondFactorFailed = "second_factor_failed",
    /// An authenticator app was enrolled.
    TotpActivated = "totp_activated",
    /// The authenticator app was removed.
    TotpDeactivated = "totp_deactivated",
    /// A passkey was added; the detail is its name.
    PasskeyAdded = "passkey_added",
    /// A passkey was removed; the detail is its name.
    PasskeyRemoved = "passkey_removed",
    /// The signature counter of a passkey did not rise, so it may have been copied; the detail is its name.
    PasskeyCounterRefused = "passkey_counter_refused",
    /// An identity at a provider was connected; the detail is the provider.
    IdentityConnected = "identity_connected",
    /// An identity was disconnected; the detail is the provider.
    IdentityDisconnected = "identity_disconnected",
    /// A recovery code was used up.
    RecoveryCodeUsed = "recovery_code_used",
    /// The recovery codes were replaced.
    RecoveryCodesRegenerated = "recovery_codes_regenerated",
    /// Staff or an administrator removed all second factors.
    FactorsReset = "factors_reset",
    /// A session ended because its owner signed out.
    SignOut = "sign_out",
    /// Sessions were revoked from the list of sessions, or evicted; the detail is their number.
    SessionsRevoked = "sessions_revoked",
    /// Reuse of a refresh token was detected, or of a client's authorization code; its session was revoked.
    TokenReused = "token_reused",
    /// The owner allowed an application to see something; the detail is the client's id.
    ConsentGranted = "consent_granted",
    /// The owner or staff revoked what an application may see, and its sessions; the detail is the client's id.
    ConsentRevoked = "consent_revoked",
    /// Somebody signed in to an application with the account; the detail is the client's id.
    ClientSignedIn = "client_signed_in",
    /// A one-time password was wrong, expired or used already.
    OtpFailed = "otp_failed",
    /// A password reset was requested.
    PasswordResetRequested = "password_reset_requested",
    /// The password was reset by a mailed code or link; all sessions were revoked.
    PasswordReset = "password_reset",
    /// The password was changed; all earlier sessions were revoked.
    PasswordChanged = "password_changed",
    /// A signed-in client failed to confirm the password.
    PasswordCheckFailed = "password_check_failed",
    /// Fields of the profile were changed; the detail names them.
    ProfileChanged = "profile_changed",
    /// A new address was requested and is pending confirmation.
    EmailChangeRequested = "email_change_requested",
    /// The new address was confirmed.
    EmailChanged = "email_changed",
    /// An address change was undone by the link in its notice; all sessions were revoked.
    EmailChangeUndone = "email_change_undone",
    /// The account was activated.
    UserActivated = "user_activated",
    /// The account was deactivated; all sessions were revoked.
    UserDeactivated = "user_deactivated",
    /// The account was made staff.
    UserPromoted = "user_promoted",
    /// The account was demoted from staff.
    UserDemoted = "user_demoted",
    /// An administrator created the account.
    UserCreated = "user_created",
    /// The account was deleted, with everything about it.
    UserDeleted = "user_deleted",
    /// Staff invited somebody; the detail is the number of the invitation.
    UserInvited = "user_invited",
    /// An invitation was revoked; the detail is its number.
    InvitationRevoked = "invitation_revoked",
    /// An invitation was accepted, which created the account; the detail is its number.
    InvitationAccepted = "invitation_accepted",
    /// A mail was made due at once; the detail is its kind.
    MailRetried = "mail_retried",
    /// A mail was discarded; the detail is its kind.
    MailDiscarded = "mail_discarded",
    /// Accounts were imported; the detail is their number.
    UsersImported = "users_imported",
    /// All accounts were exported; the detail says whether with password hashes.
    UsersExported = "users_exported",
    /// The audit log was exported by staff.
    EventsExported = "events_exported",
    /// A command or a member of the staff started a backup; the detail is its destination.
    BackupStarted = "backup_started",
    /// The database was restored from a backup; the detail says whether sessions were revoked. Entries written after the backup are gone.
    DatabaseRestored = "database_restored",
    /// Ids were skipped after a restore; the detail is their number in each table.
    IdsRaised = "ids_raised",
    /// The signing keys were rotated; the detail is the id of the new key, and the reason of staff.
    KeysRotated = "keys_rotated",
    /// A signing key was removed, which revokes its tokens; the detail is its id.
    KeyRemoved = "key_removed",
    /// The secrets in the database were encrypted, re-encrypted or decrypted; the detail says which.
    KeyEncryptionChanged = "key_encryption_changed",
    /// A webhook was added; the detail is its number.
    WebhookCreated = "webhook_created",
    /// A webhook was changed; the detail is its number.
    WebhookChanged = "webhook_changed",
    /// The secrets of a webhook were rotated; the detail is its number.
    WebhookSecretRotated = "webhook_secret_rotated",
    /// A webhook was disabled because it was gone or failed for days; the detail is its number.
    WebhookDisabled = "webhook_disabled",
    /// Deliveries of a webhook were made due again; the detail is its number and theirs.
    WebhookReplayed = "webhook_replayed",
    /// A webhook was removed; the detail is its number.
    WebhookDeleted = "webhook_deleted",
    /// An OAuth client was added; the detail is its id.
    ClientAdded = "client_added",
    /// An OAuth client was changed; the detail is its id.
    ClientChanged = "client_changed",
    /// The secret of an OAuth client was rotated; the detail is its id.
    ClientSecretRotated = "client_secret_rotated",
    /// An OAuth client was removed, which ended its sessions; the detail is its id.
    ClientRemoved = "client_removed",
}

impl EventKind {
    /// The kind with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// Whether the store counts it by day.
    pub fn is_counted_by_day(self) -> bool {
        matches!(
            self,
            Self::SignUp | Self::SignUpConfirmed | Self::SignIn | Self::SignInFailed
        )
    }

    /// Whether repeats of one client share an entry.
    pub fn is_folded(self) -> bool {
        self.is_failure()
            || matches!(
                self,
                Self::SignIn
                    | Self::ClientSignedIn
                    | Self::SignOut
                    | Self::SessionsRevoked
                    | Self::Reauthenticated
                    | Self::PasswordResetRequested
            )
    }

    /// The event of webhooks that belongs to this entry, if any.
    ///
    /// Events about sessions are enqueued where the store creates or deletes the session, since one entry
    /// may be about several.
    pub const fn webhook_event(self) -> Option<WebhookEventType> {
        match self {
            Self::SignUp | Self::UserCreated | Self::InvitationAccepted => {
                Some(WebhookEventType::UserCreated)
            }
            Self::SignUpConfirmed => Some(WebhookEventType::UserConfirmed),
            Self::ProfileChanged | Self::EmailChangeRequested => {
                Some(WebhookEventType::UserUpdated)
            }
            Self::EmailChanged | Self::EmailChangeUndone => {
                Some(WebhookEventType::UserEmailChanged)
            }
            Self::UserActivated => Some(WebhookEventType::UserActivated),
            Self::UserDeactivated => Some(WebhookEventType::UserDeactivated),
            Self::UserPromoted => Some(WebhookEventType::UserPromoted),
            Self::UserDemoted => Some(WebhookEventType::UserDemoted),
            Self::UserDeleted | Self::SignUpDisplaced => Some(WebhookEventType::UserDeleted),
            Self::SignIn | Self::ClientSignedIn => Some(WebhookEventType::SessionCreated),
            Self::SignOut | Self::SessionsRevoked => Some(WebhookEventType::SessionEnded),
            Self::TokenReused => Some(WebhookEventType::SessionReuseDetected),
            Self::PasswordChanged => Some(WebhookEventType::PasswordChanged),
            Self::PasswordReset => Some(WebhookEventType::PasswordReset),
            Self::TotpActivated | Self::PasskeyAdded => Some(WebhookEventType::MfaEnabled),
            Self::TotpDeactivated | Self::PasskeyRemoved => Some(WebhookEventType::MfaDisabled),
            Self::FactorsReset => Some(WebhookEventType::MfaReset),
            Self::IdentityConnected => Some(WebhookEventType::IdentityLinked),
            Self::IdentityDisconnected => Some(WebhookEventType::IdentityUnlinked),
            // An import notifies of each account, unless it was asked not to.
            Self::UsersImported
            | Self::SignInFailed
            | Self::Reauthenticated
            | Self::SecondFactorFailed
            | Self::PasskeyCounterRefused
            | Self::RecoveryCodeUsed
            | Self::RecoveryCodesRegenerated
            | Self::OtpFailed
            | Self::PasswordResetRequested
            | Self::PasswordCheckFailed
            | Self::ConsentGranted
            | Self::ConsentRevoked
            | Self::UserInvited
            | Self::InvitationRevoked
            | Self::MailRetried
            | Self::MailDiscarded
            | Self::UsersExported
            | Self::EventsExported
            | Self::BackupStarted
            | Self::DatabaseRestored
            | Self::IdsRaised
            | Self::KeysRotated
            | Self::KeyRemoved
            | Self::KeyEncryptionChanged
            | Self::WebhookCreated
            | Self::WebhookChanged
            | Self::WebhookSecretRotated
            | Self::WebhookDisabled
            | Self::WebhookReplayed
            | Self::WebhookDeleted
            | Self::ClientAdded
            | Self::ClientChanged
            | Self::ClientSecretRotated
            | Self::ClientRemoved => None,
        }
    }

    /// Whether it is a failed attempt. Anybody can cause those, so the log bounds their number.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::SignInFailed
                | Self::OtpFailed
                | Self::PasswordCheckFailed
                | Self::SecondFactorFailed
                | Self::PasskeyCounterRefused
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
