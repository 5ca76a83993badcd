//! OAuth clients.

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::insert_change;
use super::rows::timestamp;
use super::sessions::{authorize_staff, delete_client_sessions};
use super::transaction::Transaction;
use crate::domain::{
    ClientSettings, EventKind, OAuthClient, RedirectUri, Scopes, SigningAlgorithm,
};
use crate::store::{
    DeleteOAuthClient, NewOAuthClient, OAuthClientOutcome, OAuthClientStore, OAuthClientUpdate,
    RequestContext, RotateOAuthClientSecret, StoreError, StoreResult,
};

const COLUMNS: &str = "id, name, secret_hash, redirect_uris, post_logout_redirect_uris, scopes, \
                       requires_consent, id_token_alg, access_minutes, refresh_days, session_days, \
                       is_staff_only, requires_mfa, is_from_file, created_at, updated_at";

fn client(row: &Row<'_>) -> StoreResult<OAuthClient> {
    let algorithm = row.text(7)?;
    let id_token_alg = SigningAlgorithm::parse(algorithm).ok_or_else(|| {
        let text = format!("unknown algorithm {algorithm}");
        StoreError::failed(text)
    })?;
    Ok(OAuthClient {
        id: row.get(0)?,
        secret_hash: row.get(2)?,
        settings: ClientSettings {
            name: row.get(1)?,
            redirect_uris: uris(row, 3)?,
            post_logout_redirect_uris: uris(row, 4)?,
            scopes: Scopes::parse_known(row.text(5)?),
            requires_consent: row.get(6)?,
            id_token_alg,
            access_minutes: row.get(8)?,
            refresh_days: row.get(9)?,
            session_days: row.get(10)?,
            is_staff_only: row.get(11)?,
            requires_mfa: row.get(12)?,
        },
        is_from_file: row.get(13)?,
        created_at: timestamp(row, 14)?,
        updated_at: timestamp(row, 15)?,
    })
}

/// The URIs of a column, one a line. Those that this version would not accept are left out.
fn uris(row: &Row<'_>, column: usize) -> StoreResult<Vec<RedirectUri>> {
    let text = row.text(column)?;
    Ok(text.lines().flat_map(RedirectUri::parse).collect())
}

fn lines(uris: &[RedirectUri]) -> String {
    let texts: Vec<&str> = uris.iter().map(RedirectUri::as_str).collect();
    texts.join("\n")
}

/// Finds a client.
pub(super) fn find(connection: &dyn Connection, id: &str) -> StoreResult<Option<OAuthClient>> {
    connection.query_optional(
        &format!("SELECT {COLUMNS} FROM oauth_clients WHERE id = :id"),
        params! { ":id": id },
        client,
    )
}

fn list(connection: &dyn Connection) -> StoreResult<Vec<OAuthClient>> {
    connection.query_all(
        &format!("SELECT {COLUMNS} FROM oauth_clients ORDER BY id"),
        &[],
        client,
    )
}

fn create(transaction: &Transaction<'_>, new: &NewOAuthClient) -> StoreResult<OAuthClientOutcome> {
    authorize_staff(transaction, &new.context)?;
    let settings = &new.settings;
    let created = transaction.query_optional(
        &format!(
            "INSERT INTO oauth_clients ({COLUMNS}) VALUES (:id, :name, :secret_hash, \
             :redirect_uris, :post_logout_redirect_uris, :scopes, :requires_consent, \
             :id_token_alg, :access_minutes, :refresh_days, :session_days, :is_staff_only, \
             :requires_mfa, :is_from_file, :now, :now) ON CONFLICT (id) DO NOTHING RETURNING \
             {COLUMNS}"
        ),
        params! {
            ":id": new.id,
            ":name": settings.name,
            ":secret_hash": new.secret_hash,
            ":redirect_uris": lines(&settings.redirect_uris),
            ":post_logout_redirect_uris": lines(&settings.post_logout_redirect_uris),
            ":scopes": settings.scopes.to_string(),
            ":requires_consent": settings.requires_consent,
            ":id_token_alg": settings.id_token_alg.as_str(),
            ":access_minutes": settings.access_minutes,
            ":refresh_days": settings.refresh_days,
            ":session_days": settings.session_days,
            ":is_staff_only": settings.is_staff_only,
            ":requires_mfa": settings.requires_mfa,
            ":is_from_file": new.is_from_file,
            ":now": new.now.unix_millis(),
        },
        client,
    )?;
    let Some(created) = created else {
        return Ok(OAuthClientOutcome::Exists);
    };
    let kind = EventKind::ClientAdded;
    insert_change(transaction, kind, &new.id, &new.context, new.now)?;
    Ok(OAuthClientOutcome::Done(Box::new(created)))
}

/// The client to change, if the one who changes it may.
fn changeable(
    connection: &dyn Connection,
    id: &str,
    by_file: bool,
    context: &RequestContext,
) -> StoreResult<Result<OAuthClient, OAuthClientOutcome>> {
    authorize_staff(connection, context)?;
    Ok(match find(connection, id)? {
        None => Err(OAuthClientOutcome::NotFound),
        Some(found) if found.is_from_file != by_file => Err(OAuthClientOutcome::NotYours),
        Some(found) => Ok(found),
    })
}

fn update(
    transaction: &Transaction<'_>,
    update: &OAuthClientUpdate,
) -> StoreResult<OAuthClientOutcome> {
    let (id, context) = (&update.id, &update.context);
    if let Err(outcome) = changeable(transaction, id, update.is_from_file, context)? {
        return Ok(outcome);
    }
    let settings = &update.settings;
    let after = transaction.query_row(
        &format!(
            "UPDATE oauth_clients SET name = :name, redirect_uris = :redirect_uris, \
             post_logout_redirect_uris = :post_logout_redirect_uris, scopes = :scopes, \
             requires_consent = :requires_consent, id_token_alg = :id_token_alg, access_minutes = \
             :access_minutes, refresh_days = :refresh_days, session_days = :session_days, \
             is_staff_only = :is_staff_only, requires_mfa = :requires_mfa, updated_at = :now WHERE \
             id = :id RETURNING {COLUMNS}"
        ),
        params! {
            ":id": id,
            ":name": settings.name,
            ":redirect_uris": lines(&settings.redirect_uris),
            ":post_logout_redirect_uris": lines(&settings.post_logout_redirect_uris),
            ":scopes": settings.scopes.to_string(),
            ":requires_consent": settings.requires_consent,
            ":id_token_alg": settings.id_token_alg.as_str(),
            ":access_minutes": settings.access_minutes,
            ":refresh_days": settings.refresh_days,
            ":session_days": settings.session_days,
            ":is_staff_only": settings.is_staff_only,
            ":requires_mfa": settings.requires_mfa,
            ":now": update.now.unix_millis(),
        },
        client,
    )?;
    let kind = EventKind::ClientChanged;
    insert_change(transaction, kind, id, context, update.now)?;
    Ok(OAuthClientOutcome::Done(Box::new(after)))
}

fn rotate(
    transaction: &Transaction<'_>,
    rotation: &RotateOAuthClientSecret,
) -> StoreResult<OAuthClientOutcome> {
    let (id, context) = (&rotation.id, &rotation.context);
    if let Err(outcome) = changeable(transaction, id, rotation.is_from_file, context)? {
        return Ok(outcome);
    }
    let after = transaction.query_row(
        &format!(
            "UPDATE oauth_clients SET secret_hash = :secret_hash, updated_at = :now WHERE id = :id \
             RETURNING {COLUMNS}"
        ),
        params! {
            ":id": id,
            ":secret_hash": rotation.secret_hash,
            ":now": rotation.now.unix_millis(),
        },
        client,
    )?;
    let kind = EventKind::ClientSecretRotated;
    insert_change(transaction, kind, id, context, rotation.now)?;
    Ok(OAuthClientOutcome::Done(Box::new(after)))
}

fn delete(
    transaction: &Transaction<'_>,
    removal: &DeleteOAuthClient,
) -> StoreResult<OAuthClientOutcome> {
    let (id, context) = (&removal.id, &removal.context);
    let before = match changeable(transaction, id, removal.is_from_file, context)? {
        Ok(before) => before,
        Err(outcome) => return Ok(outcome),
    };
    delete_client_sessions(transaction, id, (context, removal.now))?;
    transaction.run(
        "DELETE FROM oauth_clients WHERE id = :id",
        params! { ":id": id },
    )?;
    let kind = EventKind::ClientRemoved;
    insert_change(transaction, kind, id, context, removal.now)?;
    Ok(OAuthClientOutcome::Done(Box::new(before)))
}

#[async_trait]
impl<E: Engine> OAuthClientStore for Database<E> {
    async fn list_oauth_clients(&self) -> StoreResult<Vec<OAuthClient>> {
        self.engine.read(list).await
    }

    async fn find_oauth_client(&self, id: &str) -> StoreResult<Option<OAuthClient>> {
        let id = id.to_owned();
        self.engine
            .read(move |connection| find(connection, &id))
            .await
    }

    async fn count_oauth_client_sessions(&self, id: &str) -> StoreResult<u64> {
        let id = id.to_owned();
        let count: i64 = self
            .engine
            .read(move |connection| {
                connection.query_row(
                    "SELECT count(*) FROM sessions WHERE client_id = :id",
                    params! { ":id": id },
                    |row| row.get(0),
                )
            })
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn create_oauth_client(&self, new: NewOAuthClient) -> StoreResult<OAuthClientOutcome> {
        self.engine
            .write(move |transaction| create(transaction, &new))
            .await
    }

    async fn update_oauth_client(
        &self,
        change: OAuthClientUpdate,
    ) -> StoreResult<OAuthClientOutcome> {
        self.engine
            .write(move |transaction| update(transaction, &change))
            .await
    }

    async fn rotate_oauth_client_secret(
        &self,
        rotation: RotateOAuthClientSecret,
    ) -> StoreResult<OAuthClientOutcome> {
        self.engine
            .write(move |transaction| rotate(transaction, &rotation))
            .await
    }

    async fn delete_oauth_client(
        &self,
        removal: DeleteOAuthClient,
    ) -> StoreResult<OAuthClientOutcome> {
        self.engine
            .write(move |transaction| delete(transaction, &removal))
            .await
    }
}
