//! Requests to providers.

use super::connection::{Connection, Row, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::lock::Keys;
use super::rows::timestamp;
use crate::domain::Timestamp;
use crate::store::{
    NewProviderRequest, ProviderClient, ProviderPurpose, ProviderRequest, ProviderRequestStore,
    ReleaseAnswer, StoreResult,
};

/// The columns that [`request`] reads.
const COLUMNS: &str = "provider, purpose, session_id, redirect_uri, app_state, code_challenge, \
                       cookie_hash, next_path, answer, created_at, (SELECT user_id FROM sessions \
                       WHERE sessions.id = provider_requests.session_id)";

fn request(row: &Row<'_>) -> StoreResult<ProviderRequest> {
    let session_id = row.get::<Option<String>>(2)?.unwrap_or_default();
    let purpose = match row.text(1)? {
        "connection" => ProviderPurpose::Connection(session_id),
        "reauthentication" => ProviderPurpose::Reauthentication(session_id),
        _ => ProviderPurpose::SignIn,
    };
    let client = match row.get(3)? {
        Some(redirect_uri) => ProviderClient::App {
            redirect_uri,
            state: row.get(4)?,
            code_challenge: row.get(5)?,
        },
        None => ProviderClient::Browser {
            cookie_hash: row.get(6)?,
            next_path: row.get(7)?,
        },
    };
    Ok(ProviderRequest {
        provider: row.get(0)?,
        purpose,
        client,
        answer: row.get(8)?,
        created_at: timestamp(row, 9)?,
        user_id: row.get(10)?,
    })
}

/// Stores a request. Expired ones go, so that the table holds those of a few minutes.
fn create(connection: &dyn Connection, new: &NewProviderRequest) -> StoreResult<()> {
    connection.run(
        "DELETE FROM provider_requests WHERE expires_at <= :now",
        params! { ":now": new.created_at.unix_millis() },
    )?;
    let (app, browser) = match &new.client {
        ProviderClient::App {
            redirect_uri,
            state,
            code_challenge,
        } => (Some((redirect_uri, state, code_challenge)), None),
        ProviderClient::Browser {
            cookie_hash,
            next_path,
        } => (None, Some((cookie_hash, next_path))),
    };
    connection.run(
        "INSERT INTO provider_requests (state_hash, provider, purpose, session_id, redirect_uri, \
         app_state, code_challenge, cookie_hash, next_path, created_at, expires_at) VALUES \
         (:state_hash, :provider, :purpose, :session_id, :redirect_uri, :app_state, \
         :code_challenge, :cookie_hash, :next_path, :created_at, :expires_at)",
        params! {
            ":state_hash": new.state_hash,
            ":provider": new.provider,
            ":purpose": new.purpose.as_str(),
            ":session_id": new.purpose.session_id(),
            ":redirect_uri": app.map(|(redirect_uri, _, _)| redirect_uri),
            ":app_state": app.and_then(|(_, state, _)| state.as_ref()),
            ":code_challenge": app.map(|(_, _, challenge)| challenge),
            ":cookie_hash": browser.map(|(cookie_hash, _)| cookie_hash),
            ":next_path": browser.map_or("", |(_, next_path)| next_path.as_str()),
            ":created_at": new.created_at.unix_millis(),
            ":expires_at": new.expires_at.unix_millis(),
        },
    )
}

/// Stores an answer, in one statement: of two answers the first counts.
fn answer(
    connection: &dyn Connection,
    state_hash: &[u8],
    answer: &[u8],
    now: Timestamp,
) -> StoreResult<bool> {
    connection
        .execute(
            "UPDATE provider_requests SET answer = :answer WHERE state_hash = :state_hash AND \
             answer IS NULL AND expires_at > :now",
            params! {
                ":state_hash": state_hash, ":answer": answer, ":now": now.unix_millis(),
            },
        )
        .map(|changed| changed > 0)
}

/// Releases an answer, in one statement: it gets one code.
fn release(connection: &dyn Connection, release: &ReleaseAnswer) -> StoreResult<bool> {
    connection
        .execute(
            "UPDATE provider_requests SET answer = :answer, code_hash = :code_hash, expires_at = \
             :expires_at WHERE state_hash = :state_hash AND answer IS NOT NULL AND code_hash IS \
             NULL AND expires_at > :now",
            params! {
                ":state_hash": release.state_hash,
                ":answer": release.answer,
                ":code_hash": release.code_hash,
                ":expires_at": release.expires_at.unix_millis(),
                ":now": release.now.unix_millis(),
            },
        )
        .map(|changed| changed > 0)
}

/// Uses up a request, by its state or its code: of two uses one finds it.
fn use_up(
    connection: &dyn Connection,
    condition: &str,
    (hash, cookie_hash): (&[u8], Option<&[u8]>),
    now: Timestamp,
) -> StoreResult<Option<ProviderRequest>> {
    connection.query_optional(
        &format!(
            "DELETE FROM provider_requests WHERE {condition} AND cookie_hash IS NOT DISTINCT FROM \
             :cookie_hash AND answer IS NOT NULL AND expires_at > :now RETURNING {COLUMNS}"
        ),
        params! {
            ":hash": hash, ":cookie_hash": cookie_hash, ":now": now.unix_millis(),
        },
        request,
    )
}

#[async_trait]
impl<E: Engine> ProviderRequestStore for Database<E> {
    async fn create_provider_request(&self, request: NewProviderRequest) -> StoreResult<()> {
        self.engine
            .write_for(Keys::none(), move |connection| create(connection, &request))
            .await
    }

    async fn find_provider_request(
        &self,
        state_hash: &[u8],
        provider: &str,
        now: Timestamp,
    ) -> StoreResult<Option<ProviderRequest>> {
        let state_hash = state_hash.to_vec();
        let provider = provider.to_owned();
        self.engine
            .read(move |connection| {
                connection.query_optional(
                    &format!(
                        "SELECT {COLUMNS} FROM provider_requests WHERE state_hash = :state_hash \
                         AND provider = :provider AND expires_at > :now"
                    ),
                    params! {
                        ":state_hash": state_hash, ":provider": provider, ":now": now.unix_millis(),
                    },
                    request,
                )
            })
            .await
    }

    async fn answer_provider_request(
        &self,
        state_hash: &[u8],
        content: Vec<u8>,
        now: Timestamp,
    ) -> StoreResult<bool> {
        let state_hash = state_hash.to_owned();
        self.engine
            .write_for(Keys::none(), move |connection| {
                answer(connection, &state_hash, &content, now)
            })
            .await
    }

    async fn release_provider_answer(&self, request: ReleaseAnswer) -> StoreResult<bool> {
        self.engine
            .write_for(Keys::none(), move |connection| {
                release(connection, &request)
            })
            .await
    }

    async fn use_provider_code(
        &self,
        code_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<ProviderRequest>> {
        let hash = code_hash.to_owned();
        self.engine
            .write_for(Keys::none(), move |connection| {
                use_up(connection, "code_hash = :hash", (&hash, None), now)
            })
            .await
    }

    async fn use_provider_request(
        &self,
        state_hash: &[u8],
        cookie_hash: Option<&[u8]>,
        now: Timestamp,
    ) -> StoreResult<Option<ProviderRequest>> {
        let (hash, cookie) = (state_hash.to_owned(), cookie_hash.map(<[u8]>::to_owned));
        self.engine
            .write_for(Keys::none(), move |connection| {
                let hashes = (hash.as_slice(), cookie.as_deref());
                use_up(connection, "state_hash = :hash", hashes, now)
            })
            .await
    }
}
