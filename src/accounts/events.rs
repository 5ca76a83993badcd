//! Reading the audit log, and entries for commands.

use std::sync::Arc;

use super::profile::check_right;
use super::{AccountError, Administrator, Caller, operator};
use crate::app::App;
use crate::domain::{EventKind, UserId};
use crate::store::{Event, EventFilter, EventQuery, NewEvent, Page, PageRequest};

/// A page of an account's audit log: users see their own, staff everyone's.
///
/// Users see what staff or an administrator did, but neither from where nor for which reason.
///
/// # Errors
/// [`AccountError::Forbidden`] for another user's id, existing or not;
/// [`AccountError::UserNotFound`] for staff; [`AccountError::InvalidPage`] past the end.
pub async fn list_user_events(
    app: &App,
    caller: &Caller,
    id: UserId,
    page: Option<PageRequest>,
    page_size: u32,
) -> Result<Page<Event>, AccountError> {
    check_right(caller, id)?;
    if caller.user.id != id && app.store.find_user(id).await?.is_none() {
        return Err(AccountError::UserNotFound);
    }
    let page = page.ok_or(AccountError::InvalidPage)?;
    let mut page = app
        .store
        .list_user_events(id, page, page_size)
        .await?
        .ok_or(AccountError::InvalidPage)?;
    if !caller.user.is_staff {
        for event in &mut page.items {
            hide_others(event, id);
        }
    }
    Ok(page)
}

/// Hides from the owner of an account from where others acted on it, and why: that is theirs.
pub(super) fn hide_others(event: &mut Event, owner: UserId) {
    let context = &mut event.context;
    context.reason.clear();
    if context.actor_id.is_some_and(|actor| actor != owner) {
        context.ip.clear();
        context.user_agent.clear();
    }
}

/// A page of the whole audit log, newest entry first.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff; [`AccountError::InvalidPage`] past the
/// end.
pub async fn list_event_page(
    app: &App,
    by: Administrator<'_>,
    filter: EventFilter,
    page: PageRequest,
    page_size: u32,
) -> Result<Page<Event>, AccountError> {
    by.context(app)?;
    let page = app.store.list_event_page(filter, page, page_size).await?;
    page.ok_or(AccountError::InvalidPage)
}

/// Entries of the whole audit log, and the number of failed tries that were counted but not listed.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn list_events(
    app: &App,
    by: Administrator<'_>,
    query: EventQuery,
) -> Result<(Vec<Event>, u64), AccountError> {
    by.context(app)?;
    let unlisted = app
        .store
        .count_unlisted_failures(query.filter.since)
        .await?;
    Ok((app.store.list_events(query).await?, unlisted))
}

/// Entries in a batch of an export.
const BATCH: u32 = 500;

/// An export of the audit log under way. Memory holds one batch at a time.
pub struct EventExport {
    app: Arc<App>,
    query: EventQuery,
}

impl EventExport {
    /// Begins an export of the entries that a filter selects, newest first. The log names it first.
    ///
    /// # Errors
    /// [`AccountError::Forbidden`] unless the caller is staff.
    pub async fn start(
        app: &Arc<App>,
        by: Administrator<'_>,
        filter: EventFilter,
    ) -> Result<Self, AccountError> {
        let event = NewEvent {
            kind: EventKind::EventsExported,
            user_id: None,
            context: by.context(app)?,
            detail: String::new(),
            now: app.clock.now(),
        };
        app.store.record_event(event).await?;
        Ok(Self {
            app: Arc::clone(app),
            query: EventQuery {
                filter,
                after: 0,
                below: None,
                limit: BATCH,
            },
        })
    }

    /// The next entries; none at the end.
    ///
    /// # Errors
    /// Only store errors.
    pub async fn next_batch(&mut self) -> Result<Vec<Event>, AccountError> {
        let mut events = self.app.store.list_events(self.query.clone()).await?;
        events.reverse();
        self.query.below = events.last().map(|last| last.id).or(self.query.below);
        Ok(events)
    }
}

/// Records a command that changes no account.
///
/// # Errors
/// Only store errors.
pub async fn record_command(app: &App, kind: EventKind, detail: &str) -> Result<(), AccountError> {
    let event = NewEvent {
        kind,
        user_id: None,
        context: operator(app),
        detail: detail.to_owned(),
        now: app.clock.now(),
    };
    Ok(app.store.record_event(event).await?)
}
