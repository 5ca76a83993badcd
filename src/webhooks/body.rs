//! The bodies of events: composed in the transaction of the operation, encrypted in the queue, and
//! opened for each attempt.
//!
//! Only the data of an event is stored. Its type, time and sequence are columns of the queue, and so is
//! the id of the account, which is all that is left after a deletion.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Notify;

use crate::crypto::random;
use crate::crypto::sealing::{self, KEY_BYTES};
use crate::domain::{BirthDate, Timestamp, User, UserId, WebhookPayload};
use crate::store::{
    EventSealer, EventSubject, QueuedEvent, SealedEvent, SessionSubject, WebhookEvent,
};

/// What secrets of endpoints are bound to; a message id is of another length.
const SECRETS: &[u8] = b"webhook secrets";

/// Composes, encrypts and opens the bodies of events, and encrypts the secrets of endpoints.
#[derive(Clone)]
pub struct EventBodies {
    key: [u8; KEY_BYTES],
    /// Where photos are served.
    public_url: Arc<str>,
    /// Notified of new events.
    wake: Arc<Notify>,
}

/// The account in an event: as the API shows it, with its last confirmed address.
#[derive(Serialize)]
struct UserData<'a> {
    id: UserId,
    email: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    phone: &'a str,
    photo: Option<String>,
    address: &'a str,
    gender: &'a str,
    country: &'a str,
    birthday: Option<BirthDate>,
    has_initial_profile: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
    pending_email: Option<&'a str>,
    is_verified: bool,
    is_active: bool,
    is_staff: bool,
    external_id: &'a str,
}

/// The session in an event.
#[derive(Serialize)]
struct SessionData<'a> {
    id: UserId,
    session_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amr: Option<Vec<&'a str>>,
}

/// The identity in an event.
#[derive(Serialize)]
struct IdentityData<'a> {
    id: UserId,
    provider: &'a str,
}

/// The data of an event that is an id alone.
#[derive(Serialize)]
struct IdData {
    id: i64,
}

/// The body of a delivery.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: Timestamp,
    sequence: i64,
    data: &'a RawValue,
}

impl EventBodies {
    /// Name of the key in the store.
    pub const SECRET: &str = "webhook_key";

    /// Uses a key of the store.
    pub fn new(key: [u8; KEY_BYTES], public_url: Arc<str>) -> Self {
        Self {
            key,
            public_url,
            wake: Arc::default(),
        }
    }

    /// The same key with another public URL, after a reload.
    #[must_use]
    pub fn with_public_url(&self, public_url: Arc<str>) -> Self {
        Self {
            key: self.key,
            public_url,
            wake: self.wake(),
        }
    }

    /// Notified when events are due.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Encrypts the secrets of an endpoint for the store.
    pub fn seal_secrets(&self, secrets: &[u8]) -> Vec<u8> {
        sealing::seal(&self.key, SECRETS, secrets, random::bytes())
    }

    /// Decrypts the secrets of an endpoint. `None` when they were encrypted under another key.
    pub fn open_secrets(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        sealing::open(&self.key, SECRETS, sealed)
    }

    /// The body of an event; the same at each attempt until the account is deleted. `None` when it was
    /// encrypted under the key of another database.
    pub fn open(&self, event: &QueuedEvent) -> Option<Vec<u8>> {
        let data = if event.content.is_empty() {
            let id = event.user_id.unwrap_or_default();
            to_raw_value(&IdData { id })
        } else {
            let opened = sealing::open(&self.key, &event.message_id, &event.content)?;
            serde_json::from_slice(&opened)
        };
        let body = Body {
            r#type: &event.event,
            timestamp: event.created_at,
            sequence: event.sequence,
            data: &data.ok()?,
        };
        serde_json::to_vec(&body).ok()
    }

    fn user_data<'a>(&self, user: &'a User) -> UserData<'a> {
        let photo = user.photo.as_ref();
        let profile = &user.profile;
        UserData {
            id: user.id,
            email: &user.email,
            first_name: &profile.first_name,
            last_name: &profile.last_name,
            phone: &profile.phone,
            photo: photo.map(|name| format!("{}/media/photos/{name}", self.public_url)),
            address: &profile.address,
            gender: &profile.gender,
            country: &profile.country,
            birthday: profile.birthday,
            has_initial_profile: user.has_initial_profile(),
            created_at: user.created_at,
            updated_at: user.updated_at,
            pending_email: user.new_email.as_deref(),
            is_verified: user.is_verified(),
            is_active: user.is_active,
            is_staff: user.is_staff,
            external_id: user.external_id.as_deref().unwrap_or_default(),
        }
    }
}

fn session_data<'a>(
    user_id: UserId,
    session: &SessionSubject<'a>,
    payload: WebhookPayload,
) -> SessionData<'a> {
    let is_full = payload == WebhookPayload::Full;
    SessionData {
        id: user_id,
        session_id: session.id,
        ip: is_full.then_some(session.ip),
        user_agent: is_full.then_some(session.user_agent),
        amr: is_full.then(|| session.amr.split_ascii_whitespace().collect()),
    }
}

impl EventSealer for EventBodies {
    fn seal(&self, event: &WebhookEvent<'_>, payload: WebhookPayload) -> SealedEvent {
        let message_id = random::bytes();
        let data = match (event.subject, payload) {
            (EventSubject::User(user), WebhookPayload::Full) => {
                Some(serde_json::to_vec(&self.user_data(user)))
            }
            (EventSubject::Session(session), _) => Some(serde_json::to_vec(&session_data(
                event.user_id,
                &session,
                payload,
            ))),
            (EventSubject::Identity { provider }, WebhookPayload::Full) => {
                Some(serde_json::to_vec(&IdentityData {
                    id: event.user_id,
                    provider,
                }))
            }
            (EventSubject::Account | EventSubject::User(_) | EventSubject::Identity { .. }, _) => {
                None
            }
        };
        let content = data.map_or_else(Vec::new, |data| {
            let data = data.expect("the data of an event can be written as JSON");
            sealing::seal(&self.key, &message_id, &data, random::bytes())
        });
        SealedEvent {
            message_id,
            content,
        }
    }

    fn enqueued(&self) {
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Profile, WebhookEventType};

    fn bodies() -> EventBodies {
        EventBodies::new([7; KEY_BYTES], "https://accounts.example".into())
    }

    fn user() -> User {
        User {
            id: 7,
            email: "ann@example.com".to_owned(),
            new_email: Some("new@example.com".to_owned()),
            profile: Profile::default(),
            photo: Some("a.jpg".to_owned()),
            is_active: true,
            is_staff: false,
            verified_at: Some(Timestamp::from_unix_millis(0)),
            last_login_at: None,
            external_id: None,
            has_factor: false,
            created_at: Timestamp::from_unix_millis(0),
            updated_at: Timestamp::from_unix_millis(0),
        }
    }

    fn opened(
        event: WebhookEventType,
        subject: EventSubject<'_>,
        payload: WebhookPayload,
    ) -> serde_json::Value {
        let happened = WebhookEvent {
            event,
            user_id: 7,
            subject,
        };
        let sealed = bodies().seal(&happened, payload);
        let queued = QueuedEvent {
            id: 1,
            message_id: sealed.message_id,
            event: event.as_str().to_owned(),
            user_id: Some(7),
            sequence: 3,
            content: sealed.content,
            created_at: Timestamp::from_unix_millis(0),
            tries: 1,
        };
        serde_json::from_slice(&bodies().open(&queued).unwrap()).unwrap()
    }

    #[test]
    fn body_has_the_account_with_its_confirmed_address() {
        let user = user();
        let subject = EventSubject::User(&user);
        let body = opened(WebhookEventType::UserUpdated, subject, WebhookPayload::Full);
        assert_eq!(body["type"], "user.updated");
        assert_eq!(body["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(body["sequence"], 3);
        let data = &body["data"];
        assert_eq!(data["email"], "ann@example.com");
        assert_eq!(data["pending_email"], "new@example.com");
        assert_eq!(data["photo"], "https://accounts.example/media/photos/a.jpg");
        assert_eq!(data["external_id"], "");
        let thin = opened(WebhookEventType::UserUpdated, subject, WebhookPayload::Thin);
        assert_eq!(thin["data"], serde_json::json!({"id": 7}));
    }

    #[test]
    fn body_has_the_session() {
        let session = EventSubject::Session(SessionSubject {
            id: "s1",
            amr: "pwd mfa",
            ip: "203.0.113.7",
            user_agent: "curl",
        });
        let event = WebhookEventType::SessionCreated;
        assert_eq!(
            opened(event, session, WebhookPayload::Full)["data"],
            serde_json::json!({
                "id": 7, "session_id": "s1", "ip": "203.0.113.7", "user_agent": "curl",
                "amr": ["pwd", "mfa"],
            })
        );
        assert_eq!(
            opened(event, session, WebhookPayload::Thin)["data"],
            serde_json::json!({"id": 7, "session_id": "s1"})
        );
    }

    #[test]
    fn body_has_the_provider_of_an_identity() {
        let identity = EventSubject::Identity { provider: "google" };
        let event = WebhookEventType::IdentityLinked;
        assert_eq!(
            opened(event, identity, WebhookPayload::Full)["data"],
            serde_json::json!({"id": 7, "provider": "google"})
        );
        assert_eq!(
            opened(event, identity, WebhookPayload::Thin)["data"],
            serde_json::json!({"id": 7})
        );
    }

    #[test]
    fn secrets_open_with_their_key_alone() {
        let sealed = bodies().seal_secrets(b"secret");
        assert_eq!(
            bodies().open_secrets(&sealed).as_deref(),
            Some(&b"secret"[..])
        );
        let other = EventBodies::new([8; KEY_BYTES], "https://accounts.example".into());
        assert_eq!(other.open_secrets(&sealed), None);
    }

    #[test]
    fn emptied_event_has_the_id_alone_and_foreign_keys_open_nothing() {
        let event = WebhookEventType::PasswordChanged;
        let body = opened(event, EventSubject::Account, WebhookPayload::Full);
        assert_eq!(body["data"], serde_json::json!({"id": 7}));
        let queued = QueuedEvent {
            id: 1,
            message_id: [0; 16],
            event: event.as_str().to_owned(),
            user_id: Some(7),
            sequence: 3,
            content: vec![0; 60],
            created_at: Timestamp::from_unix_millis(0),
            tries: 1,
        };
        assert_eq!(bodies().open(&queued), None);
    }
}
