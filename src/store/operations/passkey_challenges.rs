//! Challenges of passkeys.

use super::connection::{Connection, params};

use crate::domain::Timestamp;
use crate::store::{ChallengeSubject, NewChallenge, StoreResult};

/// Stores a challenge. Expired ones go, so that the table holds those of a few minutes.
pub(super) fn insert_challenge(
    connection: &dyn Connection,
    challenge: &NewChallenge,
    now: Timestamp,
) -> StoreResult<()> {
    connection.run(
        "DELETE FROM passkey_challenges WHERE expires_at <= :now",
        params! { ":now": now.unix_millis() },
    )?;
    connection.run(
        "INSERT INTO passkey_challenges (challenge_hash, purpose, subject, expires_at) VALUES \
         (:challenge_hash, :purpose, :subject, :expires_at)",
        params! {
            ":challenge_hash": challenge.challenge_hash,
            ":purpose": challenge.subject.purpose.as_str(),
            ":subject": challenge.subject.subject,
            ":expires_at": challenge.expires_at.unix_millis(),
        },
    )
}

/// Uses up a challenge, in one statement: of two answers one finds it.
pub(super) fn use_challenge(
    connection: &dyn Connection,
    challenge_hash: &[u8],
    subject: &ChallengeSubject,
    now: Timestamp,
) -> StoreResult<bool> {
    let used = connection.execute(
        "DELETE FROM passkey_challenges WHERE challenge_hash = :challenge_hash AND purpose = \
         :purpose AND subject = :subject AND expires_at > :now",
        params! {
            ":challenge_hash": challenge_hash,
            ":purpose": subject.purpose.as_str(),
            ":subject": subject.subject,
            ":now": now.unix_millis(),
        },
    )?;
    Ok(used > 0)
}
