//! Authenticating again within a session,.

use super::connection::{Connection, params};
use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::events::{Actor, insert_event};
use super::factors::prove;
use super::identities::{find_owner, note_use};
use super::otps::{Use, find_pause, insert_otp, use_otp};
use super::password_tries::forget_failures;
use super::sessions::{authorize, find_session};
use super::transaction::Transaction;
use crate::domain::{AuthMethod, Authentication, EventKind, OtpPurpose, Timestamp};
use crate::store::{
    Reauthentication, ReauthenticationOtp, ReauthenticationOutcome, ReauthenticationStore,
    Reauthenticator, StoreResult,
};

const PURPOSE: OtpPurpose = OtpPurpose::Reauthentication;

fn reauthenticate(
    connection: &Transaction<'_>,
    request: &Reauthentication,
) -> StoreResult<ReauthenticationOutcome> {
    let (session_id, user_id) = (&request.session.id, request.session.user_id);
    authorize(connection, &request.context, user_id, false)?;
    let now = request.now;
    let Some(session) = find_session(connection, session_id)? else {
        return Ok(ReauthenticationOutcome::Ended);
    };
    let authentication = match &request.shown {
        Reauthenticator::Password(tried) => {
            forget_failures(connection, tried)?;
            Authentication::by(AuthMethod::Password, now)
        }
        Reauthenticator::Otp(attempt) => {
            if use_otp(connection, PURPOSE, Some(user_id), attempt, Use::Up)?.is_none() {
                return Ok(ReauthenticationOutcome::InvalidOtp);
            }
            Authentication::by(AuthMethod::Otp, now)
        }
        Reauthenticator::Identity(proven) => {
            let owner = find_owner(connection, &proven.issuer, &proven.subject)?;
            if owner != Some(user_id) || session.user.has_factor {
                return Ok(ReauthenticationOutcome::WrongIdentity);
            }
            note_use(connection, proven, now)?;
            Authentication::by(AuthMethod::Federated, now)
        }
        Reauthenticator::Factor(tried) => match prove(connection, user_id, tried)? {
            Ok(factor) => session.authentication.with_factor(factor, now),
            Err(refusal) => return Ok(ReauthenticationOutcome::FactorRefused(refusal)),
        },
    };
    let (old_hash, new_hash) = request.secret_hashes.clone().unzip();
    let changed = connection.execute(
        "UPDATE sessions SET authenticated_at = :now, amr = :amr, last_used_at = \
         greatest(last_used_at, :now), secret_hash = :new_hash WHERE id = :id AND user_id = \
         :user_id AND secret_hash IS NOT DISTINCT FROM :old_hash",
        params! {
            ":id": session_id,
            ":user_id": user_id,
            ":old_hash": old_hash,
            ":new_hash": new_hash,
            ":amr": authentication.amr(),
            ":now": now.unix_millis(),
        },
    )?;
    if changed == 0 {
        return Ok(ReauthenticationOutcome::Ended);
    }
    insert_event(
        connection,
        EventKind::Reauthenticated,
        Some(user_id),
        Actor::Owner,
        &request.context,
        "",
        now,
    )?;
    Ok(ReauthenticationOutcome::Done {
        user: Box::new(session.user),
        created_at: session.created_at,
        authentication,
    })
}

fn create_otp(
    connection: &dyn Connection,
    request: &ReauthenticationOtp,
) -> StoreResult<Option<Timestamp>> {
    let (user_id, now) = (request.user_id, request.now);
    authorize(connection, &request.context, user_id, false)?;
    let account = (Some(user_id), None);
    let pause = find_pause(
        connection,
        &request.otp,
        PURPOSE,
        account,
        now,
        request.limits,
    )?;
    if pause.is_some() {
        return Ok(pause);
    }
    connection.run(
        "DELETE FROM otps WHERE user_id = :user_id AND purpose = :purpose",
        params! { ":user_id": user_id, ":purpose": PURPOSE.as_str() },
    )?;
    let (email_key, email) = &request.email;
    let address = (email_key.as_str(), email.as_str());
    insert_otp(
        connection,
        PURPOSE,
        user_id,
        None,
        address,
        &request.otp,
        now,
    )?;
    Ok(None)
}

#[async_trait]
impl<E: Engine> ReauthenticationStore for Database<E> {
    async fn reauthenticate(
        &self,
        request: Reauthentication,
    ) -> StoreResult<ReauthenticationOutcome> {
        self.engine
            .write(move |connection| reauthenticate(connection, &request))
            .await
    }

    async fn create_reauthentication_otp(
        &self,
        request: ReauthenticationOtp,
    ) -> StoreResult<Option<Timestamp>> {
        self.engine
            .write(move |connection| create_otp(connection, &request))
            .await
    }
}
