//! Administration of accounts by id or address: find, list, activate, promote, remove.
//!
//! Unlike [`super::update`] and [`super::delete`], nothing here checks permissions: a user who can
//! write to the database file can do all of it, also to the last active staff account. That is how
//! a server without one is recovered.

use std::sync::Arc;

use super::profile::promotion_notice;
use super::{AccountError, delete_user, operator_because};
use crate::app::App;
use crate::domain::{EmailAddress, FieldErrors, User, UserChanges, UserId, folded, messages};
use crate::store::{StoredUser, UpdateOutcome, UserUpdate};

/// A filter for accounts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFilter {
    words: Vec<String>,
    /// Only active or only inactive accounts.
    pub is_active: Option<bool>,
    /// Only verified or only unverified accounts.
    pub is_verified: Option<bool>,
    /// Only staff or only other accounts.
    pub is_staff: Option<bool>,
    /// Only accounts with or only those without a second factor.
    pub has_factor: Option<bool>,
}

impl UserFilter {
    /// Matches accounts that contain each word of `search` in an address, a name or the phone
    /// number, ignoring case and accents, as the staff user list does.
    pub fn searching(search: &str) -> Self {
        Self {
            words: search
                .split(|c: char| c.is_whitespace() || c == ',')
                .map(|word| folded(word).into_owned())
                .filter(|word| !word.is_empty())
                .collect(),
            ..Self::default()
        }
    }

    /// Whether the account matches.
    pub fn matches(&self, user: &User) -> bool {
        let fits = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        fits(self.is_active, user.is_active)
            && fits(self.is_verified, user.is_verified())
            && fits(self.is_staff, user.is_staff)
            && fits(self.has_factor, user.has_factor)
            && self.words.iter().all(|word| {
                let profile = &user.profile;
                [
                    user.email.as_str(),
                    user.new_email.as_deref().unwrap_or_default(),
                    &profile.first_name,
                    &profile.last_name,
                    &profile.phone,
                ]
                .iter()
                .any(|text| folded(text).contains(word))
            })
    }
}

/// Finds an account by id or address.
///
/// # Errors
/// [`AccountError::UserNotFound`].
pub async fn find_user(app: &App, id_or_email: &str) -> Result<User, AccountError> {
    let found = if let Ok(id) = id_or_email.parse() {
        app.store.find_user(id).await?
    } else if let Ok(email) = EmailAddress::parse(id_or_email) {
        app.store.find_user_by_email(email.key()).await?
    } else {
        None
    };
    found.ok_or(AccountError::UserNotFound)
}

/// Lists up to `limit` accounts with ids above `after` by id, with their password hashes.
///
/// # Errors
/// Only by a fault of the store.
pub async fn list_users_after(
    app: &App,
    after: UserId,
    limit: u32,
) -> Result<Vec<StoredUser>, AccountError> {
    Ok(app.store.list_users_after(after, limit).await?)
}

/// Activates or deactivates an account. Deactivation ends all its sessions.
///
/// Returns whether no active staff account remains.
///
/// # Errors
/// [`AccountError::UserNotFound`].
pub async fn set_active(
    app: &App,
    id: UserId,
    is_active: bool,
    reason: &str,
) -> Result<bool, AccountError> {
    let changes = UserChanges {
        is_active: Some(is_active),
        ..UserChanges::default()
    };
    let left_none = change(app, id, &changes, reason).await?;
    if is_active {
        log::info!("user {id}: activated");
    } else {
        log::info!("user {id}: deactivated, all sessions ended");
    }
    Ok(left_none)
}

/// Promotes an account to staff or demotes it. Returns whether no active staff account remains.
///
/// # Errors
/// [`AccountError::UserNotFound`].
pub async fn set_staff(
    app: &App,
    id: UserId,
    is_staff: bool,
    reason: &str,
) -> Result<bool, AccountError> {
    let changes = UserChanges {
        is_staff: Some(is_staff),
        ..UserChanges::default()
    };
    let left_none = change(app, id, &changes, reason).await?;
    log::info!(
        "user {id}: {}",
        if is_staff { "promoted" } else { "demoted" }
    );
    Ok(left_none)
}

/// Removes an account with all its data. Returns whether no active staff account remains.
///
/// # Errors
/// [`AccountError::UserNotFound`].
pub async fn remove_user(app: &Arc<App>, id: UserId, reason: &str) -> Result<bool, AccountError> {
    let delete = |keep_last_staff| {
        delete_user(
            app,
            id,
            keep_last_staff,
            false,
            operator_because(app, reason),
        )
    };
    match delete(true).await {
        Err(AccountError::LastStaffMember) => delete(false).await.map(|()| true),
        outcome => outcome.map(|()| false),
    }
}

/// Changes an account without an address change.
///
/// The first attempt spares the last staff account: only its refusal proves that there is no other.
async fn change(
    app: &App,
    id: UserId,
    changes: &UserChanges,
    reason: &str,
) -> Result<bool, AccountError> {
    for keep_last_staff in [true, false] {
        let update = UserUpdate {
            user_id: id,
            changes: changes.clone(),
            email_change: None,
            promotion_notice: promotion_notice(app, changes),
            keep_last_staff,
            now: app.clock.now(),
            context: operator_because(app, reason),
        };
        match app.store.update_user(update).await? {
            UpdateOutcome::Updated { .. } => {
                app.outbox.wake().await;
                return Ok(!keep_last_staff);
            }
            UpdateOutcome::NotFound => return Err(AccountError::UserNotFound),
            UpdateOutcome::NotVerified => {
                return Err(FieldErrors::one("is_staff", messages::NOT_VERIFIED).into());
            }
            UpdateOutcome::LastStaffMember if keep_last_staff => {}
            outcome => {
                return Err(AccountError::Internal(
                    format!("a change without an address ended with {outcome:?}").into(),
                ));
            }
        }
    }
    Err(AccountError::LastStaffMember)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Profile, Timestamp};

    fn ada() -> User {
        User {
            id: 7,
            email: "Ada@example.com".into(),
            new_email: Some("countess@example.org".into()),
            profile: Profile {
                first_name: "Ada".into(),
                last_name: "King_Lovelace".into(),
                phone: "+441234".into(),
                address: "12 St James's Square".into(),
                ..Profile::default()
            },
            photo: None,
            is_active: true,
            is_staff: false,
            verified_at: Some(Timestamp::default()),
            last_login_at: None,
            external_id: None,
            has_factor: false,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
        }
    }

    #[test]
    fn search_matches_every_word() {
        for (search, fits) in [
            ("", true),
            ("ada", true),
            ("ADA example.com", true),
            ("countess lovelace", true),
            ("4412,king_", true),
            ("ada nobody", false),
            ("king%", false),
            ("james", false),
        ] {
            let filter = UserFilter::searching(search);
            assert_eq!(filter.matches(&ada()), fits, "{search:?}");
        }
    }

    #[test]
    fn filter_checks_only_what_is_set() {
        let filter = UserFilter::default();
        for (filter, fits) in [
            (filter.clone(), true),
            (
                UserFilter {
                    is_active: Some(true),
                    ..filter.clone()
                },
                true,
            ),
            (
                UserFilter {
                    is_active: Some(false),
                    ..filter.clone()
                },
                false,
            ),
            (
                UserFilter {
                    is_verified: Some(true),
                    ..filter.clone()
                },
                true,
            ),
            (
                UserFilter {
                    is_verified: Some(false),
                    ..filter.clone()
                },
                false,
            ),
            (
                UserFilter {
                    is_staff: Some(false),
                    ..filter.clone()
                },
                true,
            ),
            (
                UserFilter {
                    is_staff: Some(true),
                    ..filter.clone()
                },
                false,
            ),
        ] {
            assert_eq!(filter.matches(&ada()), fits, "{filter:?}");
        }
    }
}
