//! Accounts.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::differences::{changed_fields, changes_of_state};
use super::email_change::{
    EmailStep, drop_unconfirmed_claims, find_email_undo, undo_email_change, update_email,
};
use super::engine::{Database, Engine};
use super::events::{Actor, forget_person, insert_event, note_profile_change};
use super::import;
use super::lock::Keys;
use super::mails::insert_mail;
use super::notices::notify_of_deletion;
use super::photos::{forget_photo, note_photo};
use super::rows::{
    USER_COLUMN_COUNT, USER_COLUMNS, profile_columns, profile_params, profile_replaced,
    profile_values, user,
};
use super::sessions::{authorize, delete_sessions};
use super::sign_ups::{create_sign_up, delete_sign_ups};
use super::transaction::Transaction;
use crate::domain::{EventKind, Timestamp, User, UserId};
use crate::store::{
    Credentials, DeleteOutcome, DeleteUser, EmailUndo, ImportSource, NewSignUp, NewUser, Page,
    RequestContext, SealTotp, SignUpOutcome, StoreResult, StoredUser, UndoEmailChange, UndoOutcome,
    UpdateOutcome, UserQuery, UserStore, UserUpdate,
};

/// Finds the account with this id.
pub(in crate::store) fn find_by_id(
    connection: &dyn Connection,
    id: UserId,
) -> StoreResult<Option<User>> {
    connection.query_optional(
        &format!("SELECT {USER_COLUMNS} FROM users WHERE id = :id"),
        params! { ":id": id },
        user,
    )
}

/// Whether a verified account other than `except` has the address.
pub(super) fn is_taken(
    connection: &dyn Connection,
    email_key: &str,
    except: Option<UserId>,
    now: Timestamp,
) -> StoreResult<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE email_key = :email_key AND verified_at IS NOT \
         NULL AND id IS DISTINCT FROM :except) OR EXISTS (SELECT 1 FROM email_undos WHERE \
         email_key = :email_key AND expires_at > :now AND user_id IS DISTINCT FROM :except)",
        params! {
            ":email_key": email_key, ":except": except, ":now": now.unix_millis(),
        },
        |row| row.get(0),
    )
}

/// Stores a verified account; `None` when another one has the address.
pub(super) fn create_verified_user(
    connection: &Transaction<'_>,
    new: &NewUser,
) -> StoreResult<Option<UserId>> {
    authorize(connection, &new.context, 0, true)?;
    let Some(user_id) = insert_verified_user(connection, new)? else {
        return Ok(None);
    };
    insert_event(
        connection,
        EventKind::UserCreated,
        Some(user_id),
        Actor::FromContext,
        &new.context,
        if new.is_staff { "staff" } else { "" },
        new.now,
    )?;
    Ok(Some(user_id))
}

/// Inserts a verified account. `None` when a verified account has the address; an unverified one is
/// replaced under its id.
pub(super) fn insert_verified_user(
    connection: &dyn Connection,
    new: &NewUser,
) -> StoreResult<Option<UserId>> {
    let email_key = new.email.key();
    if is_taken(connection, email_key, None, new.now)? {
        return Ok(None);
    }
    drop_unconfirmed_claims(connection, email_key, new.now)?;
    let user_id: UserId = connection.query_row(
        concat!(
            "INSERT INTO users (email, email_key, password_hash, ",
            profile_columns!(),
            ", is_staff, verified_at, password_version, created_at, updated_at) VALUES (:email, \
             :email_key, :password_hash, ",
            profile_values!(),
            ", :is_staff, :now, 1, :now, :now) ON CONFLICT (email_key) DO UPDATE SET email = \
             excluded.email, password_hash = excluded.password_hash, ",
            profile_replaced!(),
            ", is_staff = excluded.is_staff, is_active = TRUE, is_contested = FALSE, \
             password_version = users.password_version + 1, verified_at = excluded.verified_at, \
             created_at = excluded.created_at, updated_at = excluded.updated_at RETURNING id"
        ),
        &profile_params(
            &new.profile,
            params! {
                ":email": new.email.as_str(),
                ":email_key": email_key,
                ":password_hash": new.password_hash,
                ":is_staff": new.is_staff,
                ":now": new.now.unix_millis(),
            },
        ),
        |row| row.get(0),
    )?;
    delete_sign_ups(connection, user_id)?;
    Ok(Some(user_id))
}

fn update_user(connection: &Transaction<'_>, update: &UserUpdate) -> StoreResult<UpdateOutcome> {
    let needs_staff = update.changes.is_active.is_some() || update.changes.is_staff.is_some();
    authorize(connection, &update.context, update.user_id, needs_staff)?;
    let Some(before) = find_by_id(connection, update.user_id)? else {
        return Ok(UpdateOutcome::NotFound);
    };
    let becomes_powerless =
        update.changes.is_active == Some(false) || update.changes.is_staff == Some(false);
    if update.keep_last_staff && becomes_powerless && is_last_staff_member(connection, &before)? {
        return Ok(UpdateOutcome::LastStaffMember);
    }
    if update.changes.is_staff == Some(true) && !before.is_staff && !before.is_verified() {
        return Ok(UpdateOutcome::NotVerified);
    }
    let mut mail = None;
    if let (Some(email), Some(change)) = (&update.changes.email, &update.email_change) {
        match update_email(connection, &before, email, change, update)? {
            EmailStep::Done(due) => mail = due,
            EmailStep::Stop(outcome) => return Ok(outcome),
        }
    }
    let changes = &update.changes;
    // One statement for any subset of the fields; `updated_at` changes only when one of them does.
    let after = connection.query_row(
        &format!(
            "UPDATE users SET first_name = coalesce(:first_name, first_name), last_name = \
             coalesce(:last_name, last_name), phone = coalesce(:phone, phone), address = \
             coalesce(:address, address), gender = coalesce(:gender, gender), country = \
             coalesce(:country, country), birthday = CASE WHEN :set_birthday THEN :birthday ELSE \
             birthday END, photo = CASE WHEN :set_photo THEN :photo ELSE photo END, is_active = \
             coalesce(:is_active, is_active), is_staff = coalesce(:is_staff, is_staff), updated_at \
             = CASE WHEN :first_name <> first_name OR :last_name <> last_name OR :phone <> phone \
             OR :address <> address OR :gender <> gender OR :country <> country OR :is_active <> \
             is_active OR :is_staff <> is_staff OR (:set_birthday AND birthday IS DISTINCT FROM \
             :birthday) OR (:set_photo AND photo IS DISTINCT FROM :photo) THEN :now ELSE \
             updated_at END WHERE id = :id RETURNING {USER_COLUMNS}"
        ),
        params! {
            ":id": update.user_id,
            ":first_name": changes.first_name,
            ":last_name": changes.last_name,
            ":phone": changes.phone,
            ":address": changes.address,
            ":gender": changes.gender,
            ":country": changes.country,
            ":set_birthday": changes.birthday.is_some(),
            ":birthday": changes.birthday.flatten().map(|date| date.to_string()),
            ":set_photo": changes.photo.is_some(),
            ":photo": changes.photo.clone().flatten(),
            ":is_active": changes.is_active,
            ":is_staff": changes.is_staff,
            ":now": update.now.unix_millis(),
        },
        user,
    )?;
    if before.is_active && !after.is_active {
        // Revoked sessions stay revoked when the account is activated again.
        delete_sessions(connection, after.id, None, (&update.context, update.now))?;
    }
    if let (false, true, Some(notice)) = (before.is_staff, after.is_staff, &update.promotion_notice)
    {
        insert_mail(connection, after.id, None, &after.email, notice, update.now)?;
    }
    note_changes(connection, &before, &after, update)?;
    if let Some(Some(photo)) = &changes.photo {
        forget_photo(connection, photo)?;
    }
    let old_photo = before.photo.filter(|old| after.photo.as_ref() != Some(old));
    if let Some(photo) = &old_photo {
        note_photo(connection, photo, update.now)?;
    }
    Ok(UpdateOutcome::Updated {
        user: Box::new(after),
        mail,
        old_photo,
    })
}

/// Logs the names of the changed fields, not their values.
fn note_changes(
    connection: &Transaction<'_>,
    before: &User,
    after: &User,
    update: &UserUpdate,
) -> StoreResult<()> {
    let changed = changed_fields(before, after);
    if !changed.is_empty() {
        note_profile_change(connection, after.id, &update.context, &changed, update.now)?;
    }
    for kind in changes_of_state(before, after) {
        insert_event(
            connection,
            kind,
            Some(after.id),
            Actor::FromContext,
            &update.context,
            "",
            update.now,
        )?;
    }
    Ok(())
}

/// Whether the account is the last staff member who can sign in.
fn is_last_staff_member(connection: &dyn Connection, user: &User) -> StoreResult<bool> {
    if !(user.is_active && user.is_staff) {
        return Ok(false);
    }
    connection.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM users WHERE is_staff AND is_active AND verified_at IS \
         NOT NULL AND id <> :id)",
        params! { ":id": user.id },
        |row| row.get(0),
    )
}

fn delete_user(connection: &Transaction<'_>, request: &DeleteUser) -> StoreResult<DeleteOutcome> {
    authorize(
        connection,
        &request.context,
        request.user_id,
        request.needs_staff,
    )?;
    let Some(user) = find_by_id(connection, request.user_id)? else {
        return Ok(DeleteOutcome::NotFound);
    };
    if request.keep_last_staff && is_last_staff_member(connection, &user)? {
        return Ok(DeleteOutcome::LastStaffMember);
    }
    notify_of_deletion(connection, user.id, &request.notices, request.now)?;
    connection.run(
        "DELETE FROM users WHERE id = :id",
        params! { ":id": user.id },
    )?;
    connection.run(
        "DELETE FROM password_failures WHERE account_hash = :address_hash",
        params! { ":address_hash": request.address_hash },
    )?;
    forget_person(connection, user.id)?;
    // Users who delete their own account are erased from the entry, including their network.
    let context = if request.context.actor_id == Some(user.id) {
        RequestContext {
            actor_id: request.context.actor_id,
            ..RequestContext::default()
        }
    } else {
        request.context.clone()
    };
    insert_event(
        connection,
        EventKind::UserDeleted,
        Some(user.id),
        Actor::FromContext,
        &context,
        "",
        request.now,
    )?;
    if let Some(photo) = &user.photo {
        note_photo(connection, photo, request.now)?;
    }
    Ok(DeleteOutcome::Deleted { photo: user.photo })
}

/// Lists up to `limit` accounts after an id, with their password hashes.
fn list_after(
    connection: &dyn Connection,
    after: UserId,
    limit: u32,
) -> StoreResult<Vec<StoredUser>> {
    connection.query_all(
        &format!(
            "SELECT {USER_COLUMNS}, users.password_hash, users.language FROM users WHERE id > \
             :after ORDER BY id LIMIT :limit"
        ),
        params! { ":after": after, ":limit": limit },
        |row| {
            Ok(StoredUser {
                user: user(row)?,
                password_hash: row.get(USER_COLUMN_COUNT)?,
                language: row.get(USER_COLUMN_COUNT + 1)?,
            })
        },
    )
}

/// The keys of a change: rights depend on those of others, and addresses on all that are taken.
fn keys_of_update(update: &UserUpdate) -> Keys {
    let changes = &update.changes;
    if changes.is_active.is_some() || changes.is_staff.is_some() || changes.email.is_some() {
        return Keys::all();
    }
    Keys::user(update.user_id)
}

#[async_trait]
impl<E: Engine> UserStore for Database<E> {
    async fn find_user(&self, id: UserId) -> StoreResult<Option<User>> {
        self.engine
            .read(move |connection| find_by_id(connection, id))
            .await
    }

    async fn find_language(&self, id: UserId) -> StoreResult<String> {
        self.engine
            .read(move |connection| {
                let language = connection.query_optional(
                    "SELECT language FROM users WHERE id = :id",
                    params! { ":id": id },
                    |row| row.get(0),
                )?;
                Ok(language.unwrap_or_default())
            })
            .await
    }

    async fn find_credentials(&self, email_key: &str) -> StoreResult<Option<Credentials>> {
        let email_key = email_key.to_owned();
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    "SELECT id, password_hash, is_active, verified_at IS NOT NULL, email_key FROM \
                     users WHERE email_key = :email_key OR new_email_key = :email_key",
                    params! { ":email_key": email_key },
                    |row| {
                        Ok(Credentials {
                            user_id: row.get(0)?,
                            password_hash: row.get(1)?,
                            is_active: row.get(2)?,
                            is_verified: row.get(3)?,
                            email_key: row.get(4)?,
                        })
                    },
                )
            })
            .await
    }

    async fn is_email_taken(
        &self,
        email_key: &str,
        except: Option<UserId>,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let email_key = email_key.to_owned();
        self.engine
            .read(move |connection| is_taken(connection, &email_key, except, now))
            .await
    }

    async fn create_sign_up(&self, sign_up: NewSignUp) -> StoreResult<SignUpOutcome> {
        self.engine
            .write_for(Keys::address(sign_up.email.key()), move |connection| {
                create_sign_up(connection, &sign_up)
            })
            .await
    }

    async fn create_verified_user(&self, user: NewUser) -> StoreResult<Option<UserId>> {
        self.engine
            .write(move |connection| create_verified_user(connection, &user))
            .await
    }

    async fn update_user(&self, update: UserUpdate) -> StoreResult<UpdateOutcome> {
        self.engine
            .write_for(keys_of_update(&update), move |connection| {
                update_user(connection, &update)
            })
            .await
    }

    async fn find_user_by_email(&self, email_key: &str) -> StoreResult<Option<User>> {
        let email_key = email_key.to_owned();
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    &format!(
                        "SELECT {USER_COLUMNS} FROM users WHERE email_key = :email_key OR \
                         new_email_key = :email_key"
                    ),
                    params! { ":email_key": email_key },
                    user,
                )
            })
            .await
    }

    async fn list_users(&self, query: UserQuery) -> StoreResult<Option<Page<User>>> {
        self.engine.list_users(query).await
    }

    async fn list_matching_users(
        &self,
        query: UserQuery,
        after: UserId,
        limit: u32,
    ) -> StoreResult<Vec<User>> {
        self.engine.list_matching_users(query, after, limit).await
    }

    async fn list_users_after(&self, after: UserId, limit: u32) -> StoreResult<Vec<StoredUser>> {
        self.engine
            .read_long(move |connection| list_after(connection, after, limit))
            .await
    }

    async fn delete_user(&self, request: DeleteUser) -> StoreResult<DeleteOutcome> {
        let outcome = self
            .engine
            .write(move |connection| delete_user(connection, &request))
            .await?;
        if matches!(outcome, DeleteOutcome::Deleted { .. }) {
            self.engine.purge().await;
        }
        Ok(outcome)
    }

    async fn find_email_undo(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<EmailUndo>> {
        let token_hash = token_hash.to_vec();
        self.engine
            .read(move |connection| find_email_undo(connection, &token_hash, now))
            .await
    }

    async fn undo_email_change(&self, undo: UndoEmailChange) -> StoreResult<UndoOutcome> {
        self.engine
            .write(move |connection| undo_email_change(connection, &undo))
            .await
    }

    async fn next_user_id(&self) -> StoreResult<UserId> {
        self.engine
            .read(|connection| connection.next_user_id())
            .await
    }

    async fn import_users(
        &self,
        mut source: Box<dyn ImportSource>,
        seal_totp: SealTotp,
        free_from: UserId,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<()> {
        self.engine
            .write_or_discard(move |connection| {
                let source = source.as_mut();
                import::import_users(connection, source, &seal_totp, free_from, (&context, now))
            })
            .await
            .map(drop)
    }
}
