//! What staff does to the accounts of others: one at a time or many, always with a reason.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::factors::reset_because;
use super::password_reset::mail_reset;
use super::profile::store_and_mail;
use super::{AccountError, Administrator, Caller, Client, delete_user, detached};
use crate::app::App;
use crate::domain::{EmailAddress, Fields, OtpPurpose, UserChanges, UserId};
use crate::store::{RequestContext, UserQuery};

/// Accounts that are read at a time.
const BATCH: u32 = 500;

/// Accounts that are changed at a time: they share commits, and leave room for others.
const AT_A_TIME: usize = 16;

/// What staff can do to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaffAction {
    /// Let it sign in again.
    Activate,
    /// Keep it from signing in; its sessions end.
    Deactivate,
    /// Make it staff.
    Promote,
    /// Take its staff rights.
    Demote,
    /// Mail it a code and a link for a new password.
    SendReset,
    /// End its sessions.
    EndSessions,
    /// Remove its second factors; its sessions end.
    ResetFactors,
    /// Delete it with everything about it.
    Delete,
}

impl StaffAction {
    /// All actions, in the order in which they are offered.
    pub const ALL: [Self; 8] = [
        Self::Activate,
        Self::Deactivate,
        Self::Promote,
        Self::Demote,
        Self::SendReset,
        Self::EndSessions,
        Self::ResetFactors,
        Self::Delete,
    ];

    /// Its name in forms.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Activate => "activate",
            Self::Deactivate => "deactivate",
            Self::Promote => "promote",
            Self::Demote => "demote",
            Self::SendReset => "send_reset",
            Self::EndSessions => "end_sessions",
            Self::ResetFactors => "reset_factors",
            Self::Delete => "delete",
        }
    }

    /// The action of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.as_str() == name)
    }

    /// What an action changes, if that is all it does.
    fn changes(self) -> Option<UserChanges> {
        let none = UserChanges::default();
        match self {
            Self::Activate | Self::Deactivate => Some(UserChanges {
                is_active: Some(self == Self::Activate),
                ..none
            }),
            Self::Promote | Self::Demote => Some(UserChanges {
                is_staff: Some(self == Self::Promote),
                ..none
            }),
            Self::SendReset | Self::EndSessions | Self::ResetFactors | Self::Delete => None,
        }
    }
}

/// The accounts of an action on many.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These.
    Ids(Vec<UserId>),
    /// Those that match a query; its order and page have no effect.
    Matching(UserQuery),
}

/// The outcome of an action on many accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BulkOutcome {
    /// Accounts it was done to.
    pub done: u64,
    /// Accounts it was impossible for: gone meanwhile, the last staff member, never verified,
    /// deactivated, throttled mails, or the caller's own.
    pub refused: u64,
}

/// Does something to an account, for the reason among the fields.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff;
/// [`AccountError::ReauthenticationRequired`]; [`AccountError::Fields`] without a reason
/// or for the promotion of a never-verified account; [`AccountError::UserNotFound`];
/// [`AccountError::LastStaffMember`]; for a reset [`AccountError::NoActiveAccount`] and
/// [`AccountError::Throttled`].
pub async fn act_on_user(
    app: &Arc<App>,
    caller: &Caller,
    client: &Client,
    id: UserId,
    action: StaffAction,
    fields: &Fields,
) -> Result<(), AccountError> {
    let by = Administrator::Staff(caller, client);
    let context = by.context_because(app, fields)?;
    by.require_recent(app).await?;
    let (app, client) = (Arc::clone(app), client.clone());
    detached(async move { act(&app, &client, id, action, context).await }).await?
}

/// Does something to many accounts, each in its own transaction. The caller's own is left alone.
///
/// It continues when the client disconnects.
///
/// # Errors
/// As [`act_on_user`], before the first account; afterwards only when the caller has lost the session
/// or the right, or by a fault of the store.
pub async fn act_on_users(
    app: &Arc<App>,
    caller: &Caller,
    client: &Client,
    selection: Selection,
    action: StaffAction,
    fields: &Fields,
) -> Result<BulkOutcome, AccountError> {
    let by = Administrator::Staff(caller, client);
    let context = by.context_because(app, fields)?;
    by.require_recent(app).await?;
    let run = Bulk {
        app: Arc::clone(app),
        client: client.clone(),
        own: caller.user.id,
        action,
        context,
        outcome: BulkOutcome::default(),
    };
    detached(run.over(selection)).await?
}

/// An action on many accounts under way.
struct Bulk {
    app: Arc<App>,
    client: Client,
    own: UserId,
    action: StaffAction,
    context: RequestContext,
    outcome: BulkOutcome,
}

impl Bulk {
    async fn over(mut self, selection: Selection) -> Result<BulkOutcome, AccountError> {
        match selection {
            Selection::Ids(mut ids) => {
                ids.sort_unstable();
                ids.dedup();
                self.act_on(&ids).await?;
            }
            Selection::Matching(query) => {
                let mut after = 0;
                loop {
                    let query = query.clone();
                    let users = self.app.store.list_matching_users(query, after, BATCH);
                    let ids: Vec<UserId> = users.await?.iter().map(|user| user.id).collect();
                    let Some(last) = ids.last() else { break };
                    after = *last;
                    self.act_on(&ids).await?;
                }
            }
        }
        let BulkOutcome { done, refused } = self.outcome;
        let action = self.action.as_str();
        log::info!(
            "user {}: {action} for {done} users, refused for {refused}",
            self.own
        );
        Ok(self.outcome)
    }

    async fn act_on(&mut self, ids: &[UserId]) -> Result<(), AccountError> {
        let mut outcomes = stream::iter(ids.iter().copied())
            .map(|id| self.act_on_one(id))
            .buffer_unordered(AT_A_TIME)
            .collect::<Vec<_>>()
            .await
            .into_iter();
        let outcome = outcomes.try_fold(self.outcome, |outcome, next| {
            let is_done = next?;
            Ok::<_, AccountError>(BulkOutcome {
                done: outcome.done + u64::from(is_done),
                refused: outcome.refused + u64::from(!is_done),
            })
        })?;
        self.outcome = outcome;
        Ok(())
    }

    /// Whether it was possible.
    async fn act_on_one(&self, id: UserId) -> Result<bool, AccountError> {
        if id == self.own {
            return Ok(false);
        }
        let context = self.context.clone();
        match act(&self.app, &self.client, id, self.action, context).await {
            Ok(()) => Ok(true),
            Err(
                AccountError::UserNotFound
                | AccountError::LastStaffMember
                | AccountError::NoActiveAccount
                | AccountError::Throttled(_)
                | AccountError::Fields(_),
            ) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// Does it. The store checks in the same transaction that the caller is still staff.
async fn act(
    app: &Arc<App>,
    client: &Client,
    id: UserId,
    action: StaffAction,
    context: RequestContext,
) -> Result<(), AccountError> {
    let now = app.clock.now();
    match action {
        StaffAction::Delete => return delete_user(app, id, true, true, context).await,
        StaffAction::SendReset => send_reset(app, client, id, context).await?,
        StaffAction::EndSessions => end_sessions(app, id, context).await?,
        StaffAction::ResetFactors => {
            return reset_because(app, id, &client.otp_request(now), context).await;
        }
        StaffAction::Activate
        | StaffAction::Deactivate
        | StaffAction::Promote
        | StaffAction::Demote => {
            let changes = action.changes().unwrap_or_default();
            store_and_mail(app, id, changes, client, (context, now)).await?;
        }
    }
    log::info!("user {id}: {} by staff", action.as_str());
    Ok(())
}

async fn send_reset(
    app: &Arc<App>,
    client: &Client,
    id: UserId,
    context: RequestContext,
) -> Result<(), AccountError> {
    let user = app.store.find_user(id).await?;
    let user = user.ok_or(AccountError::UserNotFound)?;
    let email = EmailAddress::parse(&user.email)
        .map_err(|_| AccountError::Internal("the address of an account is invalid".into()))?;
    if !user.is_active {
        return Err(AccountError::NoActiveAccount);
    }
    let now = app.clock.now();
    let (address, mailbox) = (
        app.codes.hash_address(email.key()),
        app.codes.hash_mailbox(email.key()),
    );
    let purpose = OtpPurpose::PasswordReset;
    let (network, limits) = (client.network(), app.codes.limits());
    let pause = app
        .store
        .find_mail_pause(&address, &mailbox, purpose, network, now, limits)
        .await?;
    if let Some(until) = pause {
        return Err(AccountError::Throttled(until.since(now)));
    }
    match mail_reset(app, &email, client, context).await? {
        Some(_) => Ok(()),
        // Deactivated, deleted or mailed to in this moment.
        None => Err(AccountError::NoActiveAccount),
    }
}

/// Ends the sessions of an account; of the caller's own all but this one.
async fn end_sessions(app: &App, id: UserId, context: RequestContext) -> Result<(), AccountError> {
    if app.store.find_user(id).await?.is_none() {
        return Err(AccountError::UserNotFound);
    }
    let keep = context.session_id.clone().unwrap_or_default();
    let now = app.clock.now();
    app.store
        .delete_other_sessions(id, &keep, context, now)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_a_name_of_its_own() {
        for action in StaffAction::ALL {
            assert_eq!(StaffAction::parse(action.as_str()), Some(action));
        }
        assert_eq!(StaffAction::parse("Delete"), None);
    }
}
