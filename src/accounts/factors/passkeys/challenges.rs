//! Challenges: drawn here, kept as rows by their hash, and answered once.

use std::time::Duration;

use crate::accounts::{AccountError, Client};
use crate::app::App;
use crate::crypto::random;
use crate::crypto::webauthn::CHALLENGE_BYTES;
use crate::domain::{SessionRef, Timestamp};
use crate::limits::Limited;
use crate::store::{ChallengePurpose, ChallengeSubject, NewChallenge};

/// How long an authenticator may take.
const CHALLENGE_LIFE: Duration = Duration::from_mins(5);

/// The same in milliseconds, for authenticators.
pub(super) const TIMEOUT: u64 = CHALLENGE_LIFE.as_secs() * 1000;

/// A new challenge, and what the store keeps of it. It counts against the client's network.
pub(super) fn new_challenge(
    app: &App,
    client: &Client,
    subject: ChallengeSubject,
    now: Timestamp,
) -> Result<([u8; CHALLENGE_BYTES], NewChallenge), AccountError> {
    client.count(app, Limited::PasskeyChallenge)?;
    let challenge = random::bytes();
    let kept = NewChallenge {
        challenge_hash: app.codes.hash_challenge(&challenge),
        subject,
        expires_at: now.plus(CHALLENGE_LIFE),
    };
    Ok((challenge, kept))
}

/// Draws and stores a challenge.
pub(in crate::accounts::factors) async fn begin(
    app: &App,
    client: &Client,
    subject: ChallengeSubject,
) -> Result<[u8; CHALLENGE_BYTES], AccountError> {
    let now = app.clock.now();
    let (challenge, kept) = new_challenge(app, client, subject, now)?;
    app.store.create_challenge(kept, now).await?;
    Ok(challenge)
}

/// Uses up a challenge that an answer names; false when it is not one of ours for this subject.
pub(super) async fn use_up(
    app: &App,
    challenge: &[u8; CHALLENGE_BYTES],
    subject: ChallengeSubject,
) -> Result<bool, AccountError> {
    let hash = app.codes.hash_challenge(challenge);
    let now = app.clock.now();
    Ok(app.store.use_challenge(hash, subject, now).await?)
}

/// The registration of a passkey in a session.
pub(super) fn registration(session: &SessionRef) -> ChallengeSubject {
    ChallengeSubject {
        purpose: ChallengePurpose::Registration,
        subject: session.id.as_bytes().to_vec(),
    }
}

/// The sign-in with this id.
pub(in crate::accounts::factors) fn sign_in(app: &App, session_id: &str) -> ChallengeSubject {
    ChallengeSubject {
        purpose: ChallengePurpose::SignIn,
        subject: app.codes.hash_passkey_session(session_id),
    }
}

/// The second step of the sign-in with this ticket.
pub(in crate::accounts::factors) fn second_step(ticket_hash: &[u8]) -> ChallengeSubject {
    ChallengeSubject {
        purpose: ChallengePurpose::SecondStep,
        subject: ticket_hash.to_vec(),
    }
}
