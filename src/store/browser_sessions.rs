//! Sessions of browsers: carried on by a cookie instead of tokens.

use async_trait::async_trait;

use super::StoreResult;
use crate::domain::{Authentication, Timestamp, User};

/// A browser session and the account behind it.
#[derive(Clone, Debug)]
pub struct BrowserSessionRecord {
    /// The id of the session, as in the list of sessions. It is not a secret.
    pub session_id: String,
    /// The account as it is now.
    pub user: User,
    /// BCP 47 tag of the language of its mails; empty for the default.
    pub language: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the precision of [`BrowserSessionStore::touch_browser_session`].
    pub last_used_at: Timestamp,
    /// How and when its owner last authenticated.
    pub authentication: Authentication,
}

/// Operations on browser sessions. They end as all sessions do, by [`super::SessionStore`].
#[async_trait]
pub trait BrowserSessionStore {
    /// The live session with this hash of its secret, if its account is active.
    async fn find_browser_session(
        &self,
        secret_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<BrowserSessionRecord>>;

    /// Notes that a session is in use, and lets it live until `expires_at` at least.
    async fn touch_browser_session(
        &self,
        session_id: &str,
        now: Timestamp,
        expires_at: Timestamp,
        ip: &str,
    ) -> StoreResult<()>;
}
