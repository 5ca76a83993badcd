//! Webhooks: where staff and administrators have events sent to.
//!
//! [`deliveries`] looks at what was sent and sends it again; [`file`] keeps the webhooks of the
//! configuration file as they are there. Every change is in the audit log, and is mailed to all
//! staff. Secrets are shown once, to those who make them.

mod deliveries;
mod file;

use super::{AccountError, Administrator, unread};
use crate::app::App;
use crate::domain::{
    EventSelection, FieldReader, Fields, Timestamp, WebhookDisabled, WebhookPayload, messages,
};
use crate::mail::{MailContent, WebhookChangeKind};
use crate::outbound::EndpointUrl;
use crate::store::{
    DeleteWebhook, NewMail, NewWebhook, RotateWebhookSecrets, StoreError, Webhook, WebhookOutcome,
    WebhookUpdate,
};
use crate::webhooks::shown_host;
use crate::webhooks::signature::SigningKeys;

pub(super) use deliveries::read_recovery;
pub use deliveries::{
    list_webhook_deliveries, recover_webhook, replay_webhook_delivery, test_webhook,
};
pub use file::{FileEndpoint, apply_file_webhooks};

/// Longest description, in characters.
pub const WEBHOOK_DESCRIPTION_LENGTH: usize = 200;

/// How long the former secret signs too.
const ROTATION: std::time::Duration = std::time::Duration::from_hours(24);

/// A webhook as it is shown: without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookInfo {
    /// Its number.
    pub id: i64,
    /// Where events are sent.
    pub url: String,
    /// The types of events that are sent.
    pub events: EventSelection,
    /// What it is for; the name of one of the configuration file.
    pub description: String,
    /// How much of an account is sent.
    pub payload: WebhookPayload,
    /// Whether the configuration file has it; it can be changed nowhere else then.
    pub is_from_file: bool,
    /// The key that verifies `v1a` signatures.
    pub public_key: String,
    /// Until when the former secret signs too.
    pub former_until: Option<Timestamp>,
    /// Since when and why nothing is sent.
    pub disabled: Option<(Timestamp, WebhookDisabled)>,
    /// Since when no attempt has succeeded.
    pub failing_since: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A webhook with a new secret, which is shown this once.
#[derive(Clone)]
pub struct WebhookWithSecret {
    /// The webhook.
    pub webhook: WebhookInfo,
    /// Its secret, `whsec_…`.
    pub secret: String,
}

/// The fields of a webhook; `None` for what is absent.
#[derive(Default)]
pub(super) struct WebhookFields {
    url: Option<String>,
    events: Option<EventSelection>,
    description: Option<String>,
    payload: Option<WebhookPayload>,
    is_enabled: Option<bool>,
}

/// Reads the fields of a new webhook.
pub(super) fn read_new(reader: &mut FieldReader<'_>) -> WebhookFields {
    WebhookFields {
        url: reader.required_url("url"),
        events: reader.required_events("events"),
        ..read_optional(reader)
    }
}

/// Reads the fields of a change.
pub(super) fn read_changes(reader: &mut FieldReader<'_>) -> WebhookFields {
    WebhookFields {
        url: reader.optional_url("url"),
        events: reader.optional_events("events"),
        ..read_optional(reader)
    }
}

fn read_optional(reader: &mut FieldReader<'_>) -> WebhookFields {
    WebhookFields {
        description: reader.optional_text("description", WEBHOOK_DESCRIPTION_LENGTH),
        payload: reader.optional_payload("payload"),
        is_enabled: reader.optional_bool("is_enabled"),
        ..WebhookFields::default()
    }
}

/// All webhooks in the order of their numbers.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn list_webhooks(
    app: &App,
    by: Administrator<'_>,
) -> Result<Vec<WebhookInfo>, AccountError> {
    by.context(app)?;
    let webhooks = app.store.list_webhooks().await?;
    webhooks.iter().map(|webhook| info(app, webhook)).collect()
}

/// One webhook.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::NotFound`].
pub async fn find_webhook(
    app: &App,
    by: Administrator<'_>,
    id: i64,
) -> Result<WebhookInfo, AccountError> {
    by.context(app)?;
    let webhook = app.store.find_webhook(id).await?;
    info(app, &webhook.ok_or(AccountError::NotFound)?)
}

/// Adds a webhook, and makes its secret.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::Fields`].
pub async fn create_webhook(
    app: &App,
    by: Administrator<'_>,
    fields: &Fields,
) -> Result<WebhookWithSecret, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let mut reader = FieldReader::new(fields);
    let read = read_new(&mut reader);
    let url = check_url(app, &mut reader, read.url.as_deref()).await;
    reader.finish()?;
    let (url, events) = url.zip(read.events).ok_or_else(unread)?;
    let keys = SigningKeys::generate();
    let new = NewWebhook {
        url: url.as_str().to_owned(),
        events,
        description: read.description.unwrap_or_default(),
        payload: read.payload.unwrap_or_default(),
        secrets: app.webhooks.seal_secrets(&keys.to_bytes()),
        is_from_file: false,
        notices: notices(app, by, WebhookChangeKind::Added, url.as_str()).await?,
        now: app.clock.now(),
        context,
    };
    let webhook = app.store.create_webhook(new).await?;
    app.outbox.wake().await;
    log::info!("webhook {}: added", webhook.id);
    with_secret(app, &webhook, &keys)
}

/// Changes a webhook.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::WebhookFromFile`]; [`AccountError::Fields`].
pub async fn update_webhook(
    app: &App,
    by: Administrator<'_>,
    id: i64,
    fields: &Fields,
) -> Result<WebhookInfo, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let before = find_own(app, id).await?;
    let mut reader = FieldReader::new(fields);
    let read = read_changes(&mut reader);
    // An unchanged address is not looked up again: a receiver that is down can be changed too.
    let text = read.url.as_deref().filter(|url| **url != before.url);
    let url = check_url(app, &mut reader, text).await;
    reader.finish()?;
    let is_unchanged = url.is_none()
        && read
            .events
            .as_ref()
            .is_none_or(|events| *events == before.events)
        && read
            .description
            .as_ref()
            .is_none_or(|text| *text == before.description)
        && read.payload.is_none_or(|payload| payload == before.payload)
        && read
            .is_enabled
            .is_none_or(|is| is == before.disabled.is_none());
    if is_unchanged {
        return info(app, &before);
    }
    let shown_url = url
        .as_ref()
        .map_or(before.url.as_str(), EndpointUrl::as_str);
    let update = WebhookUpdate {
        id,
        notices: notices(app, by, WebhookChangeKind::Changed, shown_url).await?,
        url: url.as_ref().map(|url| url.as_str().to_owned()),
        events: read.events,
        description: read.description,
        payload: read.payload,
        is_enabled: read.is_enabled,
        is_from_file: false,
        now: app.clock.now(),
        context,
    };
    let webhook = done(app.store.update_webhook(update).await?)?;
    app.outbox.wake().await;
    app.webhooks.wake().notify_one();
    log::info!("webhook {id}: changed");
    info(app, &webhook)
}

/// Replaces the secret of a webhook. The former one signs too for 24 hours.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::WebhookFromFile`].
pub async fn rotate_webhook_secret(
    app: &App,
    by: Administrator<'_>,
    id: i64,
) -> Result<WebhookWithSecret, AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let before = find_own(app, id).await?;
    let keys = SigningKeys::generate();
    let now = app.clock.now();
    let rotation = RotateWebhookSecrets {
        id,
        secrets: app.webhooks.seal_secrets(&keys.to_bytes()),
        former_until: now.plus(ROTATION),
        is_from_file: false,
        notices: notices(app, by, WebhookChangeKind::SecretRotated, &before.url).await?,
        now,
        context,
    };
    let webhook = done(app.store.rotate_webhook_secrets(rotation).await?)?;
    app.outbox.wake().await;
    log::info!("webhook {id}: secret rotated");
    with_secret(app, &webhook, &keys)
}

/// Removes a webhook with its deliveries.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::NotFound`];
/// [`AccountError::WebhookFromFile`].
pub async fn delete_webhook(app: &App, by: Administrator<'_>, id: i64) -> Result<(), AccountError> {
    let context = by.context(app)?;
    by.require_recent(app).await?;
    let before = find_own(app, id).await?;
    let removal = DeleteWebhook {
        id,
        is_from_file: false,
        notices: notices(app, by, WebhookChangeKind::Removed, &before.url).await?,
        now: app.clock.now(),
        context,
    };
    done(app.store.delete_webhook(removal).await?)?;
    app.outbox.wake().await;
    log::info!("webhook {id}: removed");
    Ok(())
}

/// A webhook that is not of the configuration file.
async fn find_own(app: &App, id: i64) -> Result<Webhook, AccountError> {
    let webhook = app.store.find_webhook(id).await?;
    let webhook = webhook.ok_or(AccountError::NotFound)?;
    if webhook.is_from_file {
        return Err(AccountError::WebhookFromFile);
    }
    Ok(webhook)
}

/// Checks that a URL is one, and that deliveries may go there. The log says why not.
async fn check_url(
    app: &App,
    reader: &mut FieldReader<'_>,
    text: Option<&str>,
) -> Option<EndpointUrl> {
    let text = text?;
    let url = match EndpointUrl::parse(text) {
        Ok(url) => url,
        Err(problem) => {
            log::info!("the URL of a webhook is refused: {problem}");
            reader.reject("url", messages::INVALID_URL);
            return None;
        }
    };
    if let Err(problem) = app.webhook_sender.check(&url).await {
        let host = url.authority();
        log::info!("a webhook to {host} is refused: {problem}");
        reader.reject("url", messages::UNREACHABLE_URL);
        return None;
    }
    Some(url)
}

fn done(outcome: WebhookOutcome) -> Result<Webhook, AccountError> {
    match outcome {
        WebhookOutcome::Done(webhook) => Ok(*webhook),
        WebhookOutcome::NotFound => Err(AccountError::NotFound),
        WebhookOutcome::NotYours => Err(AccountError::WebhookFromFile),
    }
}

fn info(app: &App, webhook: &Webhook) -> Result<WebhookInfo, AccountError> {
    let keys = open_keys(app, webhook)?;
    let former = webhook.former_secrets.as_ref().map(|(_, until)| *until);
    Ok(WebhookInfo {
        id: webhook.id,
        url: webhook.url.clone(),
        events: webhook.events.clone(),
        description: webhook.description.clone(),
        payload: webhook.payload,
        is_from_file: webhook.is_from_file,
        public_key: keys.public_key(),
        former_until: former.filter(|until| *until > app.clock.now()),
        disabled: webhook.disabled,
        failing_since: webhook.failing_since,
        created_at: webhook.created_at,
        updated_at: webhook.updated_at,
    })
}

fn with_secret(
    app: &App,
    webhook: &Webhook,
    keys: &SigningKeys,
) -> Result<WebhookWithSecret, AccountError> {
    Ok(WebhookWithSecret {
        webhook: info(app, webhook)?,
        secret: keys.secret(),
    })
}

fn open_keys(app: &App, webhook: &Webhook) -> Result<SigningKeys, AccountError> {
    let opened = app.webhooks.open_secrets(&webhook.secrets);
    let keys = opened.and_then(|bytes| SigningKeys::from_bytes(&bytes));
    keys.ok_or_else(|| {
        let text = format!("webhook {}: its secret is of another database", webhook.id);
        AccountError::Internal(text.into())
    })
}

/// The notices of a change, one for each member of the staff.
async fn notices(
    app: &App,
    by: Administrator<'_>,
    change: WebhookChangeKind,
    url: &str,
) -> Result<Vec<NewMail>, StoreError> {
    let (who, ip) = match by {
        Administrator::Staff(caller, client) => {
            (caller.user.email.clone(), Some(client.shown_ip()))
        }
        Administrator::Operator => (app.operator.clone(), None),
    };
    let content = MailContent::WebhookChanged {
        change,
        host: shown_host(url),
        by: who,
        ip,
    };
    app.outbox.staff_notices(&content).await
}
