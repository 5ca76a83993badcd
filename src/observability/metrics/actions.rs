//! What clients do with accounts, and the outcome.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use super::page::Page;

/// An operation on an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Signing up.
    SignUp,
    /// Confirming an address by its code.
    Confirmation,
    /// Signing in with a password.
    SignIn,
    /// Refreshing the pair of tokens.
    Refresh,
    /// Signing out.
    SignOut,
    /// Requesting a password reset.
    ResetRequest,
    /// Resetting the password.
    PasswordReset,
    /// Changing the password.
    PasswordChange,
    /// Authenticating again within a session.
    Reauthentication,
    /// Deleting an account.
    Deletion,
    /// An OAuth client's exchange of a code or a refresh token.
    ClientTokens,
    /// An OAuth client's revocation of a token.
    ClientRevocation,
}

impl Action {
    const ALL: [Self; 12] = [
        Self::SignUp,
        Self::Confirmation,
        Self::SignIn,
        Self::Refresh,
        Self::SignOut,
        Self::ResetRequest,
        Self::PasswordReset,
        Self::PasswordChange,
        Self::Reauthentication,
        Self::Deletion,
        Self::ClientTokens,
        Self::ClientRevocation,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::Confirmation => "confirmation",
            Self::SignIn => "sign_in",
            Self::Refresh => "refresh",
            Self::SignOut => "sign_out",
            Self::ResetRequest => "reset_request",
            Self::PasswordReset => "password_reset",
            Self::PasswordChange => "password_change",
            Self::Reauthentication => "reauthentication",
            Self::Deletion => "deletion",
            Self::ClientTokens => "client_tokens",
            Self::ClientRevocation => "client_revocation",
        }
    }
}

/// The outcome of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionOutcome {
    /// It succeeded.
    Done,
    /// The request was invalid.
    Invalid,
    /// A code was wrong or expired.
    WrongCode,
    /// Address and password do not match an active account, or the current password was wrong.
    WrongPassword,
    /// The password was right, but the address is not verified.
    NotVerified,
    /// A token was invalid.
    BadToken,
    /// The OAuth client was unknown, or its secret wrong.
    WrongClient,
    /// It was throttled.
    Throttled,
    /// The server was overloaded.
    Unavailable,
    /// An internal error.
    Failed,
}

impl ActionOutcome {
    const ALL: [Self; 10] = [
        Self::Done,
        Self::Invalid,
        Self::WrongCode,
        Self::WrongPassword,
        Self::NotVerified,
        Self::BadToken,
        Self::WrongClient,
        Self::Throttled,
        Self::Unavailable,
        Self::Failed,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Invalid => "invalid",
            Self::WrongCode => "wrong_code",
            Self::WrongPassword => "wrong_password",
            Self::NotVerified => "not_verified",
            Self::BadToken => "bad_token",
            Self::WrongClient => "wrong_client",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }

    /// Whether an action can have this outcome; the others need no series.
    const fn is_possible(self, action: Action) -> bool {
        match self {
            Self::WrongCode => matches!(
                action,
                Action::Confirmation | Action::PasswordReset | Action::Reauthentication
            ),
            Self::WrongPassword => matches!(
                action,
                Action::SignIn
                    | Action::PasswordChange
                    | Action::Reauthentication
                    | Action::Deletion
            ),
            Self::NotVerified => matches!(action, Action::SignIn),
            Self::BadToken => !matches!(
                action,
                Action::SignUp
                    | Action::SignIn
                    | Action::ResetRequest
                    | Action::PasswordReset
                    | Action::ClientRevocation
            ),
            Self::WrongClient => matches!(action, Action::ClientTokens | Action::ClientRevocation),
            _ => true,
        }
    }
}

/// Counts by action and outcome.
#[derive(Debug)]
pub(super) struct ActionCounts([[AtomicU64; ActionOutcome::ALL.len()]; Action::ALL.len()]);

impl Default for ActionCounts {
    fn default() -> Self {
        Self(array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl ActionCounts {
    pub(super) fn count(&self, action: Action, outcome: ActionOutcome) {
        self.0[action as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all possible series, also those at 0: a series that begins with its first failure has
    /// no rate.
    pub(super) fn write(&self, page: &mut Page) {
        let name = "accounts_actions_total";
        page.family(name, "counter", "Actions on accounts by outcome.");
        for action in Action::ALL {
            for outcome in ActionOutcome::ALL {
                let count = self.0[action as usize][outcome as usize].load(Ordering::Relaxed);
                if count > 0 || outcome.is_possible(action) {
                    let labels = format!(
                        "action=\"{}\",outcome=\"{}\"",
                        action.name(),
                        outcome.name()
                    );
                    page.sample(name, &labels, count);
                }
            }
        }
    }
}
