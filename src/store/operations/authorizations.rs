//! Authorization requests and codes.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::lock::Keys;
use super::sessions::find_session;
use super::transaction::Transaction;
use crate::domain::{Authentication, EventKind, Scopes, Timestamp, User, UserId};
use crate::store::{
    AuthorizationStore, Consent, IssueCode, IssueOutcome, NewAuthorizationRequest, StoreResult,
};

/// What a client demands of those who sign in there.
pub(super) struct Demands {
    requires_consent: bool,
    is_staff_only: bool,
    requires_mfa: bool,
}

impl Demands {
    /// Those of a client; `None` when it is gone.
    pub(super) fn find(connection: &dyn Connection, client_id: &str) -> StoreResult<Option<Self>> {
        connection.query_optional(
            "SELECT requires_consent, is_staff_only, requires_mfa FROM oauth_clients WHERE id = \
             :id",
            params! { ":id": client_id },
            |row| {
                Ok(Self {
                    requires_consent: row.get(0)?,
                    is_staff_only: row.get(1)?,
                    requires_mfa: row.get(2)?,
                })
            },
        )
    }

    /// Why an account that authenticated like this may not sign in there.
    pub(super) fn refuse(
        &self,
        user: &User,
        authentication: &Authentication,
    ) -> Option<IssueOutcome> {
        if self.is_staff_only && !user.is_staff {
            return Some(IssueOutcome::NotStaff);
        }
        let has_factor = user.has_factor && authentication.has_factor();
        (self.requires_mfa && !has_factor).then_some(IssueOutcome::FactorRequired)
    }

    /// Whether the client may see these scopes of an account.
    pub(super) fn has_consent(
        &self,
        connection: &dyn Connection,
        (user_id, client_id): (UserId, &str),
        scopes: &Scopes,
    ) -> StoreResult<bool> {
        if !self.requires_consent {
            return Ok(true);
        }
        let allowed = find_allowed_scopes(connection, user_id, client_id)?;
        Ok(allowed.is_some_and(|allowed| scopes.is_within(&allowed)))
    }
}

fn find_allowed_scopes(
    connection: &dyn Connection,
    user_id: UserId,
    client_id: &str,
) -> StoreResult<Option<Scopes>> {
    let scopes: Option<String> = connection.query_optional(
        "SELECT scopes FROM oauth_grants WHERE user_id = :user_id AND client_id = :client_id",
        params! { ":user_id": user_id, ":client_id": client_id },
        |row| row.get(0),
    )?;
    Ok(scopes.map(|scopes| Scopes::parse_known(&scopes)))
}

fn issue_code(connection: &Transaction<'_>, code: &IssueCode) -> StoreResult<IssueOutcome> {
    let Some(session) = find_session(connection, &code.session.id)? else {
        return Ok(IssueOutcome::SessionEnded);
    };
    let user = &session.user;
    if user.id != code.session.user_id {
        return Ok(IssueOutcome::SessionEnded);
    }
    let Some(demands) = Demands::find(connection, &code.client_id)? else {
        return Ok(IssueOutcome::NoClient);
    };
    if let Some(refusal) = demands.refuse(user, &session.authentication) {
        return Ok(refusal);
    }
    if code.needs_factor && !user.has_factor {
        return Ok(IssueOutcome::FactorRequired);
    }
    let grant = (user.id, code.client_id.as_str());
    if code.consent != Consent::Given {
        let is_remembered = code.consent == Consent::Remembered;
        let allowed = find_allowed_scopes(connection, user.id, &code.client_id)?;
        let is_allowed = allowed.is_some_and(|allowed| code.scopes.is_within(&allowed));
        if (is_remembered || demands.requires_consent) && !is_allowed {
            return Ok(IssueOutcome::ConsentRequired);
        }
    }
    if let Some(hash) = &code.request_hash
        && !use_request(connection, hash, code.now)?
    {
        return Ok(IssueOutcome::RequestUsed);
    }
    if code.consent == Consent::Given {
        remember_consent(connection, grant, code)?;
    }
    note_use(connection, grant, code.now)?;
    insert_code(connection, user.id, code)?;
    Ok(IssueOutcome::Issued)
}

/// Uses up a request that waits; false when it was answered before, or has expired.
fn use_request(connection: &dyn Connection, hash: &[u8], now: Timestamp) -> StoreResult<bool> {
    connection
        .execute(
            "DELETE FROM authorization_requests WHERE id_hash = :hash AND expires_at > :now",
            params! { ":hash": hash, ":now": now.unix_millis() },
        )
        .map(|used| used > 0)
}

/// Adds the scopes to those that the user has allowed the client before.
fn remember_consent(
    connection: &Transaction<'_>,
    (user_id, client_id): (UserId, &str),
    code: &IssueCode,
) -> StoreResult<()> {
    let earlier = find_allowed_scopes(connection, user_id, client_id)?;
    let scopes: Scopes = earlier
        .iter()
        .flat_map(Scopes::iter)
        .chain(code.scopes.iter())
        .collect();
    connection.run(
        "INSERT INTO oauth_grants (user_id, client_id, scopes, created_at, last_used_at) VALUES \
         (:user_id, :client_id, :scopes, :now, :now) ON CONFLICT (user_id, client_id) DO UPDATE \
         SET scopes = excluded.scopes",
        params! {
            ":user_id": user_id,
            ":client_id": client_id,
            ":scopes": scopes.to_string(),
            ":now": code.now.unix_millis(),
        },
    )?;
    insert_event(
        connection,
        EventKind::ConsentGranted,
        Some(user_id),
        Actor::Owner,
        &code.context,
        client_id,
        code.now,
    )
}

/// Notes that somebody signs in to a client with an account.
fn note_use(
    connection: &dyn Connection,
    (user_id, client_id): (UserId, &str),
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "UPDATE oauth_grants SET last_used_at = greatest(last_used_at, :now) WHERE user_id = \
         :user_id AND client_id = :client_id",
        params! {
            ":user_id": user_id, ":client_id": client_id, ":now": now.unix_millis(),
        },
    )
}

fn insert_code(connection: &dyn Connection, user_id: UserId, code: &IssueCode) -> StoreResult<()> {
    // An account that asks for codes all day leaves few rows.
    connection.run(
        "DELETE FROM authorization_codes WHERE user_id = :user_id AND used_at IS NULL AND \
         expires_at <= :now",
        params! { ":user_id": user_id, ":now": code.now.unix_millis() },
    )?;
    connection.run(
        "INSERT INTO authorization_codes (code_hash, client_id, user_id, parent_id, session_id, \
         redirect_uri, code_challenge, nonce, scopes, expires_at) VALUES (:code_hash, :client_id, \
         :user_id, :parent_id, :session_id, :redirect_uri, :code_challenge, :nonce, :scopes, \
         :expires_at)",
        params! {
            ":code_hash": code.code_hash,
            ":client_id": code.client_id,
            ":user_id": user_id,
            ":parent_id": code.session.id,
            ":session_id": code.client_session_id,
            ":redirect_uri": code.redirect_uri,
            ":code_challenge": code.code_challenge,
            ":nonce": code.nonce,
            ":scopes": code.scopes.to_string(),
            ":expires_at": code.expires_at.unix_millis(),
        },
    )
}

#[async_trait]
impl<E: Engine> AuthorizationStore for Database<E> {
    async fn create_authorization_request(
        &self,
        request: NewAuthorizationRequest,
    ) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| {
                connection.run(
                    "INSERT INTO authorization_requests (id_hash, parameters, expires_at) VALUES \
                     (:id_hash, :parameters, :expires_at)",
                    params! {
                        ":id_hash": request.id_hash,
                        ":parameters": request.parameters,
                        ":expires_at": request.expires_at.unix_millis(),
                    },
                )
            })
            .await
    }

    async fn find_authorization_request(
        &self,
        id_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<String>> {
        let id_hash = id_hash.to_vec();
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    "SELECT parameters FROM authorization_requests WHERE id_hash = :id_hash AND \
                     expires_at > :now",
                    params! { ":id_hash": id_hash, ":now": now.unix_millis() },
                    |row| row.get(0),
                )
            })
            .await
    }

    async fn find_allowed_scopes(
        &self,
        user_id: UserId,
        client_id: &str,
    ) -> StoreResult<Option<Scopes>> {
        let client_id = client_id.to_owned();
        self.engine
            .read(move |connection| find_allowed_scopes(connection, user_id, &client_id))
            .await
    }

    async fn issue_code(&self, code: IssueCode) -> StoreResult<IssueOutcome> {
        self.engine
            .write_for(Keys::session(&code.session.id), move |connection| {
                issue_code(connection, &code)
            })
            .await
    }
}
