//! The webhooks of the configuration file: the store follows the file at each start and reload.

use std::collections::BTreeSet;

use super::{ROTATION, done, open_keys};
use crate::accounts::{AccountError, operator};
use crate::app::App;
use crate::domain::{EventSelection, WebhookPayload};
use crate::mail::{MailContent, WebhookChangeKind};
use crate::outbound::EndpointUrl;
use crate::store::{
    DeleteWebhook, NewMail, NewWebhook, RotateWebhookSecrets, StoreError, Webhook, WebhookUpdate,
};
use crate::webhooks::shown_host;
use crate::webhooks::signature::SigningKeys;

/// Who makes the changes, in the notices for staff.
const AUTHOR: &str = "[[webhooks]]";

/// A webhook of the configuration file, checked.
#[derive(Clone, Debug)]
pub struct FileEndpoint {
    /// Its name, which is kept as its description: a webhook of that name is the same.
    pub name: String,
    /// Where events are sent.
    pub url: EndpointUrl,
    /// The types of events that are sent.
    pub events: EventSelection,
    /// How much of an account is sent.
    pub payload: WebhookPayload,
    /// New keys with the secret of the file.
    pub keys: SigningKeys,
}

/// Adds, changes and removes the webhooks of the configuration file until they are these. A webhook
/// that the server had disabled is enabled again.
///
/// # Errors
/// Only by a fault of the store.
pub async fn apply_file_webhooks(app: &App, list: &[FileEndpoint]) -> Result<(), AccountError> {
    let mut stored = app.store.list_webhooks().await?;
    stored.retain(|webhook| webhook.is_from_file);
    let names: BTreeSet<&str> = list.iter().map(|endpoint| &*endpoint.name).collect();
    for webhook in &stored {
        if !names.contains(&*webhook.description) {
            remove(app, webhook).await?;
        }
    }
    for endpoint in list {
        let known = stored
            .iter()
            .find(|webhook| webhook.description == endpoint.name);
        match known {
            None => add(app, endpoint).await?,
            Some(webhook) => {
                change(app, webhook, endpoint).await?;
                rotate(app, webhook, endpoint).await?;
            }
        }
    }
    app.outbox.wake().await;
    Ok(())
}

async fn add(app: &App, endpoint: &FileEndpoint) -> Result<(), AccountError> {
    let url = endpoint.url.as_str();
    let new = NewWebhook {
        url: url.to_owned(),
        events: endpoint.events.clone(),
        description: endpoint.name.clone(),
        payload: endpoint.payload,
        secrets: app.webhooks.seal_secrets(&endpoint.keys.to_bytes()),
        is_from_file: true,
        notices: notices(app, WebhookChangeKind::Added, url).await?,
        now: app.clock.now(),
        context: operator(app),
    };
    let webhook = app.store.create_webhook(new).await?;
    log::info!(
        "webhook {} ({}): added by the file",
        webhook.id,
        endpoint.name
    );
    Ok(())
}

async fn change(app: &App, webhook: &Webhook, endpoint: &FileEndpoint) -> Result<(), AccountError> {
    let url = endpoint.url.as_str();
    let url_change = (webhook.url != url).then(|| url.to_owned());
    let events = (webhook.events != endpoint.events).then(|| endpoint.events.clone());
    let payload = (webhook.payload != endpoint.payload).then_some(endpoint.payload);
    let is_enabled = webhook.disabled.map(|_| true);
    if url_change.is_none() && events.is_none() && payload.is_none() && is_enabled.is_none() {
        return Ok(());
    }
    let update = WebhookUpdate {
        id: webhook.id,
        url: url_change,
        events,
        description: None,
        payload,
        is_enabled,
        is_from_file: true,
        notices: notices(app, WebhookChangeKind::Changed, url).await?,
        now: app.clock.now(),
        context: operator(app),
    };
    done(app.store.update_webhook(update).await?)?;
    log::info!(
        "webhook {} ({}): changed by the file",
        webhook.id,
        endpoint.name
    );
    Ok(())
}

async fn rotate(app: &App, webhook: &Webhook, endpoint: &FileEndpoint) -> Result<(), AccountError> {
    if open_keys(app, webhook)?.secret() == endpoint.keys.secret() {
        return Ok(());
    }
    let now = app.clock.now();
    let rotation = RotateWebhookSecrets {
        id: webhook.id,
        secrets: app.webhooks.seal_secrets(&endpoint.keys.to_bytes()),
        former_until: now.plus(ROTATION),
        is_from_file: true,
        notices: notices(app, WebhookChangeKind::SecretRotated, endpoint.url.as_str()).await?,
        now,
        context: operator(app),
    };
    done(app.store.rotate_webhook_secrets(rotation).await?)?;
    log::info!(
        "webhook {} ({}): the file has another secret",
        webhook.id,
        endpoint.name
    );
    Ok(())
}

async fn remove(app: &App, webhook: &Webhook) -> Result<(), AccountError> {
    let removal = DeleteWebhook {
        id: webhook.id,
        is_from_file: true,
        notices: notices(app, WebhookChangeKind::Removed, &webhook.url).await?,
        now: app.clock.now(),
        context: operator(app),
    };
    done(app.store.delete_webhook(removal).await?)?;
    log::info!(
        "webhook {} ({}): no longer in the file",
        webhook.id,
        webhook.description
    );
    Ok(())
}

async fn notices(
    app: &App,
    change: WebhookChangeKind,
    url: &str,
) -> Result<Vec<NewMail>, StoreError> {
    let content = MailContent::WebhookChanged {
        change,
        host: shown_host(url),
        by: AUTHOR.to_owned(),
        ip: None,
    };
    app.outbox.staff_notices(&content).await
}
