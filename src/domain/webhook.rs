//! Events of webhooks: their types, selections of them, and how much of an account is shown.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! event_types {
    ($( $(#[doc = $about:literal])+ $Type:ident = $name:literal, )+) => {
        /// The type of an event of webhooks.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum WebhookEventType {
            $( $(#[doc = $about])+ $Type, )+
        }

        impl WebhookEventType {
            /// All types, in the order of the documentation.
            pub const ALL: &[Self] = &[$( Self::$Type, )+];

            /// The name that receivers see.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Type => $name, )+
                }
            }

            /// One sentence that explains it.
            pub fn about(self) -> &'static str {
                match self {
                    $( Self::$Type => concat!($($about),+).trim_ascii(), )+
                }
            }
        }
    };
}

event_types! {
    /// An account was created: by a sign-up, an invitation, staff, a command or an import.
    UserCreated = "user.created",
    /// The address of a sign-up was confirmed.
    UserConfirmed = "user.confirmed",
    /// The profile was changed, or a new address was requested.
    UserUpdated = "user.updated",
    /// A new address was confirmed, or a change of it undone.
    UserEmailChanged = "user.email_changed",
    /// The account was activated.
    UserActivated = "user.activated",
    /// The account was deactivated.
    UserDeactivated = "user.deactivated",
    /// The account was made staff.
    UserPromoted = "user.promoted",
    /// The account was demoted from staff.
    UserDemoted = "user.demoted",
    /// The account was deleted.
    UserDeleted = "user.deleted",
    /// A session was started.
    SessionCreated = "session.created",
    /// A session was ended by its owner, by staff, or by a change that revokes sessions.
    SessionEnded = "session.ended",
    /// Reuse of a refresh token was detected; its session was revoked.
    SessionReuseDetected = "session.reuse_detected",
    /// The password was changed.
    PasswordChanged = "password.changed",
    /// The password was reset by a mailed code or link.
    PasswordReset = "password.reset",
    /// A second factor was enrolled.
    MfaEnabled = "mfa.enabled",
    /// A second factor was removed.
    MfaDisabled = "mfa.disabled",
    /// Staff or an administrator removed all second factors.
    MfaReset = "mfa.reset",
    /// An identity of another provider was linked.
    IdentityLinked = "identity.linked",
    /// An identity of another provider was unlinked.
    IdentityUnlinked = "identity.unlinked",
}

impl WebhookEventType {
    /// The type with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// The part of the name before the dot.
    fn resource(self) -> &'static str {
        let name = self.as_str();
        name.split_once('.').map_or(name, |(resource, _)| resource)
    }

    /// Whether it is about one session: such events are enqueued where the session is known.
    pub fn is_about_session(self) -> bool {
        self.resource() == "session"
    }

    /// Whether it is about an identity.
    pub fn is_about_identity(self) -> bool {
        self.resource() == "identity"
    }

    /// Whether its data is the whole account.
    pub fn is_about_user(self) -> bool {
        self.resource() == "user" && self != Self::UserDeleted
    }
}

impl fmt::Display for WebhookEventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for WebhookEventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The type of the event that tests an endpoint; none selects it.
pub const WEBHOOK_TEST: &str = "webhook.test";

/// Every event type.
const EVERYTHING: &str = "*";

/// The event types that an endpoint gets: names, `user.*` for all of a resource, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSelection(Vec<String>);

impl EventSelection {
    /// Reads a selection. A repeated entry counts once.
    ///
    /// # Errors
    /// The first entry that selects nothing.
    pub fn parse<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let mut selection = Self(Vec::new());
        for entry in entries {
            let entry = entry.as_ref();
            if !WebhookEventType::ALL
                .iter()
                .any(|event| selects(entry, *event))
            {
                return Err(entry.to_owned());
            }
            if !selection.0.iter().any(|earlier| earlier == entry) {
                selection.0.push(entry.to_owned());
            }
        }
        Ok(selection)
    }

    /// Reads what [`EventSelection::as_text`] writes. Entries that only a newer program knows stay.
    pub fn from_text(text: &str) -> Self {
        Self(text.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// The entries, separated by spaces.
    pub fn as_text(&self) -> String {
        self.0.join(" ")
    }

    /// The entries as they were given.
    pub fn entries(&self) -> &[String] {
        &self.0
    }

    /// Whether nothing is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this event type is selected.
    pub fn contains(&self, event: WebhookEventType) -> bool {
        self.0.iter().any(|entry| selects(entry, event))
    }
}

fn selects(entry: &str, event: WebhookEventType) -> bool {
    entry == EVERYTHING
        || entry == event.as_str()
        || entry.strip_suffix(".*") == Some(event.resource())
}

/// How much of an account an endpoint gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebhookPayload {
    /// The account as it was, or what belongs to the event.
    #[default]
    Full,
    /// Ids alone.
    Thin,
}

impl WebhookPayload {
    /// All choices.
    pub const ALL: [Self; 2] = [Self::Full, Self::Thin];

    /// The name that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Thin => "thin",
        }
    }

    /// The choice with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == name)
    }
}

impl Serialize for WebhookPayload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why an endpoint gets no deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookDisabled {
    /// Staff or an administrator disabled it.
    Staff,
    /// It answered 410 Gone.
    Gone,
    /// It failed for days.
    Failing,
}

impl WebhookDisabled {
    const ALL: [Self; 3] = [Self::Staff, Self::Gone, Self::Failing];

    /// The name that is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staff => "staff",
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }

    /// The reason with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl Serialize for WebhookDisabled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What has become of a delivery to an endpoint so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// It waits for its first attempt, or one is under way.
    Pending,
    /// The endpoint has accepted it.
    Delivered,
    /// The last attempt failed; it is tried again.
    Failed,
    /// It is not tried any more, but can be replayed.
    Dead,
}

impl DeliveryStatus {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Failed, Self::Dead];

    /// The name that clients see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }

    /// The state with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

impl fmt::Display for DeliveryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for DeliveryStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_name_of_its_own() {
        for (index, event) in WebhookEventType::ALL.iter().enumerate() {
            assert_eq!(WebhookEventType::parse(event.as_str()), Some(*event));
            let earlier = &WebhookEventType::ALL[..index];
            assert!(earlier.iter().all(|other| other.as_str() != event.as_str()));
            assert!(event.about().ends_with('.'), "{event}");
        }
    }

    #[test]
    fn selection_takes_names_resources_and_everything() {
        let selection = EventSelection::parse(["user.*", "session.ended", "user.*"]).unwrap();
        assert_eq!(selection.as_text(), "user.* session.ended");
        assert_eq!(EventSelection::from_text("user.* session.ended"), selection);
        for (event, is_selected) in [
            (WebhookEventType::UserDeleted, true),
            (WebhookEventType::SessionEnded, true),
            (WebhookEventType::SessionCreated, false),
            (WebhookEventType::PasswordReset, false),
        ] {
            assert_eq!(selection.contains(event), is_selected, "{event}");
        }
        let everything = EventSelection::parse(["*"]).unwrap();
        assert!(
            WebhookEventType::ALL
                .iter()
                .all(|event| everything.contains(*event))
        );
        for unknown in [
            "",
            "user",
            "user.",
            "user.*.*",
            ".*",
            "users.*",
            "user.born",
            WEBHOOK_TEST,
        ] {
            assert_eq!(EventSelection::parse([unknown]), Err(unknown.to_owned()));
        }
    }
}
