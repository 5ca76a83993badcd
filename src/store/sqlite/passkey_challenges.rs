//! Challenges of passkeys in SQLite.

use rusqlite::{Connection, named_params};

use crate::domain::Timestamp;
use crate::store::{ChallengeSubject, NewChallenge};

/// Stores a challenge. Expired ones go, so that the table holds those of a few minutes.
pub(super) fn insert_challenge(
    connection: &Connection,
    challenge: &NewChallenge,
    now: Timestamp,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM passkey_challenges WHERE expires_at <= :now")?
        .execute(named_params! { ":now": now.unix_millis() })?;
    connection
        .prepare_cached(
            "INSERT INTO passkey_challenges (challenge_hash, purpose, subject, expires_at) \
             VALUES (:challenge_hash, :purpose, :subject, :expires_at)",
        )?
        .execute(named_params! {
            ":challenge_hash": challenge.challenge_hash,
            ":purpose": challenge.subject.purpose.as_str(),
            ":subject": challenge.subject.subject,
            ":expires_at": challenge.expires_at.unix_millis(),
        })
        .map(drop)
}

/// Uses up a challenge, in one statement: of two answers one finds it.
pub(super) fn use_challenge(
    connection: &Connection,
    challenge_hash: &[u8],
    subject: &ChallengeSubject,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let used = connection
        .prepare_cached(
            "DELETE FROM passkey_challenges WHERE challenge_hash = :challenge_hash \
             AND purpose = :purpose AND subject = :subject AND expires_at > :now",
        )?
        .execute(named_params! {
            ":challenge_hash": challenge_hash,
            ":purpose": subject.purpose.as_str(),
            ":subject": subject.subject,
            ":now": now.unix_millis(),
        })?;
    Ok(used > 0)
}
