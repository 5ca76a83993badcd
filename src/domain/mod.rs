//! Value types and their rules.
//!
//! Knows the standard library, serde and calendars, and nothing of HTTP, SQL, files or the clock.

mod authentication;
mod client;
mod country;
mod date;
mod email;
mod event;
mod factor;
mod fields;
mod fold;
mod gender;
mod input;
mod key;
mod mail_state;
mod network;
mod network_scope;
pub mod otp;
mod passkey_domain;
mod phone;
mod provider;
mod session;
mod text;
mod timestamp;
pub mod user;
mod webhook;

pub use authentication::{AuthMethod, Authentication};
pub use client::{
    CLIENT_ID_LENGTH, CLIENT_NAME_LENGTH, ClientSettings, InvalidRedirectUri, MAX_ACCESS_MINUTES,
    MAX_CLIENT_REFRESH_DAYS, MAX_CLIENT_SECRET_LENGTH, MAX_CLIENT_SESSION_DAYS, MAX_REDIRECT_URIS,
    MIN_CLIENT_SECRET_LENGTH, OAuthClient, OWN_CLIENT_ID, RedirectUri, Scope, Scopes, is_client_id,
    is_client_secret,
};
pub use country::Country;
pub use date::{BirthDate, InvalidDate};
pub use email::{EmailAddress, InvalidEmail, mailbox_key};
pub use event::EventKind;
pub use factor::{RECOVERY_CODES, RecoveryCode, SecondFactor};
pub use fields::{FieldErrors, FieldKind, FieldReader, FieldRule, messages};
pub use fold::folded;
pub use gender::Gender;
pub use input::{BodyError, Fields, Input, UploadedFile, parse_json_object};
pub use key::{SigningAlgorithm, StoredKey, StoredSecret};
pub use mail_state::MailState;
pub use network::ClientNetwork;
pub use network_scope::NetworkScope;
pub use otp::{OtpCode, OtpPurpose};
pub use passkey_domain::is_passkey_domain;
pub use phone::{InvalidPhone, PhoneNumber};
pub use provider::{IdTokenAlgorithm, ProviderKind};
pub use session::{SessionLifetimes, SessionRef};
pub use text::{printable, trim};
pub use timestamp::Timestamp;
pub use user::{Profile, User, UserChanges, UserId};
pub use webhook::{
    DeliveryStatus, EventSelection, WEBHOOK_TEST, WebhookDisabled, WebhookEventType, WebhookPayload,
};
