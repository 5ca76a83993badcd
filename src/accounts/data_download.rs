//! Everything that is stored about an account, for its owner.

use std::io::Read;

use super::events::hide_others;
use super::photo::open_photo;
use super::{AccountError, Caller};
use crate::app::App;
use crate::store::{Event, Grant, Identity, PageRequest, Passkey, Session};

/// Entries of the audit log that are read at a time.
const PAGE_SIZE: u32 = 500;

/// What is stored about an account beside its profile.
pub struct AccountDownload {
    /// File name and content of the photo.
    pub photo: Option<(String, Vec<u8>)>,
    /// Where it is signed in.
    pub sessions: Vec<Session>,
    /// Its passkeys, oldest first.
    pub passkeys: Vec<Passkey>,
    /// Its identities at external providers, oldest first.
    pub identities: Vec<Identity>,
    /// The applications that may see something of it.
    pub applications: Vec<Grant>,
    /// Its audit log, newest first.
    pub events: Vec<Event>,
}

/// Collects what is stored about the caller.
///
/// # Errors
/// [`AccountError::Internal`] when the photo cannot be read; errors of the store.
pub async fn collect_download(app: &App, caller: &Caller) -> Result<AccountDownload, AccountError> {
    let user = &caller.user;
    let mut events = Vec::new();
    let mut number = 1;
    while let Some(page) = app
        .store
        .list_user_events(user.id, PageRequest::Number(number), PAGE_SIZE)
        .await?
    {
        let is_last = page.items.len() < PAGE_SIZE as usize;
        events.extend(page.items);
        if is_last {
            break;
        }
        number += 1;
    }
    for event in &mut events {
        hide_others(event, user.id);
    }
    Ok(AccountDownload {
        photo: read_photo(app, user.photo.as_deref()).await?,
        sessions: super::list_sessions(app, caller).await?,
        passkeys: super::list_passkeys(app, caller).await?,
        identities: super::list_identities(app, caller).await?,
        applications: super::list_grants(app, caller).await?,
        events,
    })
}

async fn read_photo(
    app: &App,
    name: Option<&str>,
) -> Result<Option<(String, Vec<u8>)>, AccountError> {
    let Some(name) = name else { return Ok(None) };
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| AccountError::Internal(e);
    let file = open_photo(app, name).await?;
    let Some(mut file) = file else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| failed(e.into()))?;
    Ok(Some((name.to_owned(), bytes)))
}
