//! Passkeys.

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::factors::{
    delete_left_codes, delete_tickets, find_factors, finish_enrolment, note_detail,
};
use super::lock::Keys;
use super::notices::notify_owner;
use super::passkey_challenges::{insert_challenge, use_challenge};
use super::rows::{optional_timestamp, timestamp};
use super::sessions::{authorize, complete_session};
use super::transaction::Transaction;
use super::ways_in::{Way, has_way_in};
use crate::domain::{EventKind, SecondFactor, Timestamp, User, UserId};
use crate::store::{
    AccountPasskeys, AddPasskey, AddPasskeyOutcome, ChallengeSubject, DeletePasskey,
    DeletePasskeyOutcome, ImportRefusal, NewChallenge, Passkey, PasskeyKey, PasskeyRegistration,
    PasskeySignIn, PasskeyStore, PasskeyUse, RequestContext, StartPasskey, StoreResult,
    StoredPasskey,
};

/// The columns that [`passkey`] reads.
const COLUMNS: &str =
    "id, name, credential_id, rp_id, transports, is_backed_up, created_at, last_used_at";

fn passkey(row: &Row<'_>) -> StoreResult<Passkey> {
    let transports: String = row.get(4)?;
    Ok(Passkey {
        id: row.get(0)?,
        name: row.get(1)?,
        credential_id: row.get(2)?,
        rp_id: row.get(3)?,
        transports: transports.split_whitespace().map(str::to_owned).collect(),
        is_backed_up: row.get(5)?,
        created_at: timestamp(row, 6)?,
        last_used_at: optional_timestamp(row, 7)?,
    })
}

/// The passkeys of an account, oldest first.
pub(super) fn list_passkeys(
    connection: &dyn Connection,
    user_id: UserId,
) -> StoreResult<Vec<Passkey>> {
    connection.query_all(
        &format!("SELECT {COLUMNS} FROM passkeys WHERE user_id = :user_id ORDER BY created_at, id"),
        params! { ":user_id": user_id },
        passkey,
    )
}

/// Removes all passkeys of an account.
pub(super) fn delete_passkeys(connection: &dyn Connection, user_id: UserId) -> StoreResult<()> {
    connection.run(
        "DELETE FROM passkeys WHERE user_id = :user_id",
        params! { ":user_id": user_id },
    )
}

/// Notes the use of a passkey, in one statement: false when its counter did not rise, which leaves
/// the stored one as it is and is recorded.
pub(super) fn use_passkey(
    connection: &Transaction<'_>,
    user_id: UserId,
    used: &PasskeyUse,
    (context, now): (&RequestContext, Timestamp),
) -> StoreResult<bool> {
    let name: Option<String> = connection.query_optional(
        "SELECT name FROM passkeys WHERE id = :id AND user_id = :user_id",
        params! { ":id": used.id, ":user_id": user_id },
        |row| row.get(0),
    )?;
    let Some(name) = name else {
        return Ok(false);
    };
    let changed = connection.execute(
        "UPDATE passkeys SET sign_count = :sign_count, is_backed_up = :is_backed_up, last_used_at \
         = :now WHERE id = :id AND (sign_count < :sign_count OR (sign_count = 0 AND :sign_count = \
         0))",
        params! {
            ":id": used.id,
            ":sign_count": used.sign_count,
            ":is_backed_up": used.is_backed_up,
            ":now": now.unix_millis(),
        },
    )?;
    if changed == 0 {
        let kind = EventKind::PasskeyCounterRefused;
        let actor = Actor::FromContext;
        insert_event(connection, kind, Some(user_id), actor, context, &name, now)?;
    }
    Ok(changed > 0)
}

fn start(connection: &dyn Connection, start: &StartPasskey) -> StoreResult<PasskeyRegistration> {
    authorize(connection, &start.context, start.user_id, false)?;
    connection.run(
        "INSERT INTO passkey_handles (user_id, handle) VALUES (:user_id, :handle) ON CONFLICT \
         (user_id) DO NOTHING",
        params! { ":user_id": start.user_id, ":handle": start.new_handle },
    )?;
    insert_challenge(connection, &start.challenge, start.now)?;
    let handle = connection.query_row(
        "SELECT handle FROM passkey_handles WHERE user_id = :user_id",
        params! { ":user_id": start.user_id },
        |row| row.get(0),
    )?;
    Ok(PasskeyRegistration {
        handle,
        passkeys: list_passkeys(connection, start.user_id)?,
    })
}

fn add(connection: &Transaction<'_>, addition: &AddPasskey) -> StoreResult<AddPasskeyOutcome> {
    let enrolment = &addition.enrolment;
    let user_id = enrolment.session.user_id;
    authorize(connection, &enrolment.context, user_id, false)?;
    let before = find_factors(connection, user_id)?;
    if before.passkeys.len() >= addition.max {
        return Ok(AddPasskeyOutcome::TooMany);
    }
    if !insert(connection, user_id, &addition.passkey)? {
        return Ok(AddPasskeyOutcome::Taken);
    }
    let is_first = !before.is_enabled();
    let event = (
        EventKind::PasskeyAdded,
        addition.passkey.passkey.name.as_str(),
    );
    finish_enrolment(
        connection,
        enrolment,
        is_first,
        SecondFactor::Webauthn,
        event,
    )?;
    Ok(AddPasskeyOutcome::Added { is_first })
}

/// Stores a passkey; false when there is one with the id of its authenticator.
fn insert(
    connection: &dyn Connection,
    user_id: UserId,
    record: &StoredPasskey,
) -> StoreResult<bool> {
    let passkey = &record.passkey;
    let inserted = connection.execute(
        "INSERT INTO passkeys (id, credential_id, user_id, name, rp_id, public_key, sign_count, \
         aaguid, transports, is_backup_eligible, is_backed_up, created_at, last_used_at) VALUES \
         (:id, :credential_id, :user_id, :name, :rp_id, :public_key, :sign_count, :aaguid, \
         :transports, :is_backup_eligible, :is_backed_up, :created_at, :last_used_at) ON CONFLICT \
         (credential_id) DO NOTHING",
        params! {
            ":id": passkey.id,
            ":credential_id": passkey.credential_id,
            ":user_id": user_id,
            ":name": passkey.name,
            ":rp_id": passkey.rp_id,
            ":public_key": record.public_key,
            ":sign_count": record.sign_count,
            ":aaguid": record.aaguid,
            ":transports": passkey.transports.join(" "),
            ":is_backup_eligible": record.is_backup_eligible,
            ":is_backed_up": passkey.is_backed_up,
            ":created_at": passkey.created_at.unix_millis(),
            ":last_used_at": passkey.last_used_at.map(Timestamp::unix_millis),
        },
    )?;
    Ok(inserted > 0)
}

/// The passkeys of an account with all that is stored about them.
fn find_account_passkeys(
    connection: &dyn Connection,
    user_id: UserId,
) -> StoreResult<Option<AccountPasskeys>> {
    let user_handle = connection.query_optional(
        "SELECT handle FROM passkey_handles WHERE user_id = :user_id",
        params! { ":user_id": user_id },
        |row| row.get(0),
    )?;
    let passkeys: Vec<StoredPasskey> = connection.query_all(
        &format!(
            "SELECT {COLUMNS}, public_key, sign_count, aaguid, is_backup_eligible FROM passkeys \
             WHERE user_id = :user_id ORDER BY created_at, id"
        ),
        params! { ":user_id": user_id },
        |row| {
            Ok(StoredPasskey {
                passkey: passkey(row)?,
                public_key: row.get(8)?,
                sign_count: row.get(9)?,
                aaguid: row.get(10)?,
                is_backup_eligible: row.get(11)?,
            })
        },
    )?;
    Ok(user_handle
        .filter(|_| !passkeys.is_empty())
        .map(|user_handle| AccountPasskeys {
            user_handle,
            passkeys,
        }))
}

/// Why an account with these passkeys is not imported, if it is not.
pub(super) fn import_refusal(
    connection: &dyn Connection,
    imported: &AccountPasskeys,
) -> StoreResult<Option<ImportRefusal>> {
    let has_handle = connection.exists(
        "SELECT 1 FROM passkey_handles WHERE handle = :handle",
        params! { ":handle": imported.user_handle },
    )?;
    if has_handle {
        return Ok(Some(ImportRefusal::PasskeyHandleTaken));
    }
    for (number, stored) in (1..).zip(&imported.passkeys) {
        let id = &stored.passkey.credential_id;
        if connection.exists(
            "SELECT 1 FROM passkeys WHERE credential_id = :credential_id",
            params! { ":credential_id": id },
        )? {
            return Ok(Some(ImportRefusal::PasskeyTaken(number)));
        }
    }
    Ok(None)
}

/// Stores the passkeys of an imported account, which [`import_refusal`] had nothing against.
pub(super) fn import_passkeys(
    connection: &dyn Connection,
    user_id: UserId,
    imported: &AccountPasskeys,
) -> StoreResult<()> {
    connection.run(
        "INSERT INTO passkey_handles (user_id, handle) VALUES (:user_id, :handle)",
        params! { ":user_id": user_id, ":handle": imported.user_handle },
    )?;
    for passkey in &imported.passkeys {
        insert(connection, user_id, passkey)?;
    }
    Ok(())
}

fn sign_in(
    connection: &Transaction<'_>,
    sign_in: &PasskeySignIn,
) -> StoreResult<Option<Box<User>>> {
    let (user_id, now) = (sign_in.user_id, sign_in.session.now);
    let may_sign_in: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = :id AND is_active AND verified_at IS NOT \
         NULL)",
        params! { ":id": user_id },
        |row| row.get(0),
    )?;
    let context = &sign_in.context;
    if !may_sign_in || !use_passkey(connection, user_id, &sign_in.used, (context, now))? {
        return Ok(None);
    }
    let notice = sign_in.notice.as_ref();
    let user = complete_session(connection, user_id, &sign_in.session, context, notice)?;
    Ok(user.map(Box::new))
}

fn rename(
    connection: &dyn Connection,
    user_id: UserId,
    (id, name): (&str, &str),
    context: &RequestContext,
) -> StoreResult<Option<Passkey>> {
    authorize(connection, context, user_id, false)?;
    let renamed = connection.query_optional(
        &format!(
            "UPDATE passkeys SET name = :name WHERE id = :id AND user_id = :user_id RETURNING \
             {COLUMNS}"
        ),
        params! { ":id": id, ":user_id": user_id, ":name": name },
        passkey,
    )?;
    Ok(renamed)
}

fn delete(
    connection: &Transaction<'_>,
    deletion: &DeletePasskey,
) -> StoreResult<DeletePasskeyOutcome> {
    let (user_id, id, now) = (deletion.user_id, &deletion.id, deletion.now);
    authorize(connection, &deletion.context, user_id, false)?;
    let passkeys = list_passkeys(connection, user_id)?;
    let Some(passkey) = passkeys.iter().find(|passkey| passkey.id == *id) else {
        return Ok(DeletePasskeyOutcome::NotFound);
    };
    if !has_way_in(connection, user_id, &deletion.ways, Way::Passkey(id))? {
        return Ok(DeletePasskeyOutcome::LastWayIn);
    }
    connection.run(
        "DELETE FROM passkeys WHERE id = :id",
        params! {
            ":id": id,
        },
    )?;
    delete_left_codes(connection, user_id)?;
    delete_tickets(connection, user_id)?;
    notify_owner(connection, user_id, &deletion.notices, now)?;
    let event = (EventKind::PasskeyRemoved, passkey.name.as_str());
    note_detail(connection, event, user_id, &deletion.context, now)?;
    Ok(DeletePasskeyOutcome::Deleted)
}

#[async_trait]
impl<E: Engine> PasskeyStore for Database<E> {
    async fn create_challenge(&self, challenge: NewChallenge, now: Timestamp) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| {
                insert_challenge(connection, &challenge, now)
            })
            .await
    }

    async fn use_challenge(
        &self,
        challenge_hash: Vec<u8>,
        subject: ChallengeSubject,
        now: Timestamp,
    ) -> StoreResult<bool> {
        self.engine
            .write_for(Keys::none(), move |connection| {
                use_challenge(connection, &challenge_hash, &subject, now)
            })
            .await
    }

    async fn start_passkey(&self, request: StartPasskey) -> StoreResult<PasskeyRegistration> {
        self.engine
            .write(move |connection| start(connection, &request))
            .await
    }

    async fn add_passkey(&self, addition: AddPasskey) -> StoreResult<AddPasskeyOutcome> {
        self.engine
            .write(move |connection| add(connection, &addition))
            .await
    }

    async fn find_passkey_key(&self, credential_id: &[u8]) -> StoreResult<Option<PasskeyKey>> {
        let credential_id = credential_id.to_vec();
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    "SELECT passkeys.id, passkeys.user_id, handle, public_key FROM passkeys JOIN \
                     passkey_handles ON passkey_handles.user_id = passkeys.user_id WHERE \
                     credential_id = :credential_id",
                    params! { ":credential_id": credential_id },
                    |row| {
                        Ok(PasskeyKey {
                            id: row.get(0)?,
                            user_id: row.get(1)?,
                            user_handle: row.get(2)?,
                            public_key: row.get(3)?,
                        })
                    },
                )
            })
            .await
    }

    async fn find_account_passkeys(&self, user_id: UserId) -> StoreResult<Option<AccountPasskeys>> {
        self.engine
            .read(move |connection| find_account_passkeys(connection, user_id))
            .await
    }

    async fn sign_in_with_passkey(&self, request: PasskeySignIn) -> StoreResult<Option<Box<User>>> {
        self.engine
            .write_for(Keys::user(request.user_id), move |connection| {
                sign_in(connection, &request)
            })
            .await
    }

    async fn rename_passkey(
        &self,
        user_id: UserId,
        id: &str,
        name: &str,
        context: RequestContext,
    ) -> StoreResult<Option<Passkey>> {
        let (id, name) = (id.to_owned(), name.to_owned());
        self.engine
            .write(move |connection| rename(connection, user_id, (&id, &name), &context))
            .await
    }

    async fn delete_passkey(&self, deletion: DeletePasskey) -> StoreResult<DeletePasskeyOutcome> {
        self.engine
            .write(move |connection| delete(connection, &deletion))
            .await
    }
}
