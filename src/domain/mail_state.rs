//! The states of a queued mail.

use std::fmt;

use serde::{Serialize, Serializer};

/// What has become of a mail so far. A delivered one is no longer in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailState {
    /// It waits for its next attempt.
    Waiting,
    /// An attempt is under way.
    Sending,
    /// It was refused for good.
    Failed,
    /// It was not delivered in time.
    Expired,
}

impl MailState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Sending, Self::Failed, Self::Expired];

    /// The name that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    /// The state with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for MailState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MailState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
