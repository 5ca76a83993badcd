//! Signing in.

use std::sync::Arc;

use super::factors::{
    self, Shown, accepted, factor_try, new_ticket, read_optional_code, refused_at_sign_in,
};
use super::password_tries::{PasswordTries, key_of};
use super::{AccountError, Client, Signed, unread};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{AuthMethod, FieldReader, Fields, SecondFactor};
use crate::observability::request_id;
use crate::store::{Credentials, SignIn, SignInOutcome};

/// How often a password is checked when its hash changes meanwhile.
const ATTEMPTS: u32 = 3;

/// Checks address and password and starts a session.
///
/// # Errors
/// [`AccountError::NoActiveAccount`] for unknown addresses and wrong passwords alike, after the
/// work of one hash (an imported hash of another scheme takes its own time until it is rehashed);
/// [`AccountError::EmailNotVerified`] when the password is right but the address was never
/// confirmed; [`AccountError::SecondFactorRequired`] with a ticket for
/// [`super::complete_sign_in`], unless the code of a second factor came along.
pub async fn sign_in(
    app: &Arc<App>,
    fields: &Fields,
    client: &Client,
) -> Result<Signed, AccountError> {
    let mut reader = FieldReader::new(fields);
    let (email, password) = read(&mut reader);
    let code = read_optional_code(&mut reader);
    reader.finish()?;
    let (Some(email), Some(password)) = (email, password) else {
        return Err(unread());
    };
    // A domain has several spellings; a text that is not an address is looked up as it is.
    let key = key_of(&email);
    let mut attempts = 0;
    loop {
        let found = app.store.find_credentials(&key).await?;
        let hash = found.as_ref().map(|found| found.password_hash.as_str());
        let tries = PasswordTries::of_sign_in(client, &key, found.as_ref());
        tries.check(app).await?;
        // Networks known to the owner do not queue behind a flood of strangers.
        let is_known = match &found {
            Some(found) => {
                let network = client.network().to_string();
                app.store.is_network_known(found.user_id, &network).await?
            }
            None => false,
        };
        let is_right = app
            .passwords
            .asked_by(client.requester(is_known))
            .verify(password.clone(), hash)
            .await?;
        // The right password of an inactive account counts as a failure, so counts leak nothing.
        let Some(found) = found.filter(|found| is_right && found.is_active) else {
            tries.failed(app).await?;
            return Err(AccountError::NoActiveAccount);
        };
        // Checked again after the work: parallel guesses are not answered beyond the limit.
        tries.check(app).await?;
        if !found.is_verified {
            return Err(AccountError::EmailNotVerified);
        }
        if let Some(signed) = start_session(app, &found, &tries, code.as_deref()).await? {
            if app.passwords.is_outdated(&found.password_hash) {
                let rehash = rehash(Arc::clone(app), found, password);
                tokio::spawn(request_id::carried(rehash));
            }
            return Ok(signed);
        }
        // The password was changed or rehashed meanwhile: the current hash decides.
        attempts += 1;
        if attempts == ATTEMPTS {
            return Err(AccountError::NoActiveAccount);
        }
    }
}

/// The fields of [`sign_in`]; `code` is for accounts with a second factor.
pub(super) fn read_all(reader: &mut FieldReader<'_>) {
    read(reader);
    read_optional_code(reader);
}

/// Reads an address of any form and a password.
fn read(reader: &mut FieldReader<'_>) -> (Option<String>, Option<String>) {
    (
        reader.required_login("email"),
        reader.required_secret("password", None),
    )
}

/// Starts a session, unless the password was changed or the account deactivated meanwhile.
async fn start_session(
    app: &App,
    found: &Credentials,
    tries: &PasswordTries<'_>,
    code: Option<&str>,
) -> Result<Option<Signed>, AccountError> {
    let now = app.clock.now();
    let factor = match code {
        Some(code) => {
            let factors = app.store.find_factors(found.user_id).await?;
            let account = (found.user_id, &factors);
            let shown = Shown::Code(code.to_owned());
            Some(factor_try(app, (tries.client(), None), account, shown, None).await?)
        }
        None => None,
    };
    let kind = factor.as_ref().map(|tried| tried.proof.factor());
    let (token, ticket) = new_ticket(app, AuthMethod::Password, now);
    let mut starting = tries.client().new_session(app, now, AuthMethod::Password);
    let sign_in = SignIn {
        user_id: found.user_id,
        password_hash: found.password_hash.clone(),
        tried: tries.next(app),
        session: starting.session.clone(),
        notice: tries.client().sign_in_notice(app, now),
        factor,
        ticket,
    };
    let (user, authentication) = match app.store.create_session(sign_in).await? {
        SignInOutcome::Started {
            user,
            authentication,
        } => (user, authentication),
        SignInOutcome::SecondFactorRequired { factors } => {
            return Err(AccountError::SecondFactorRequired {
                ticket: token,
                methods: factors::methods(app, &factors),
            });
        }
        SignInOutcome::FactorRefused(refusal) => {
            let kind = kind.unwrap_or(SecondFactor::Totp);
            return Err(refused_at_sign_in(app, tries, (kind, refusal)).await);
        }
        SignInOutcome::Changed => return Ok(None),
        SignInOutcome::Throttled { until } => {
            return Err(AccountError::Throttled(until.since(now)));
        }
    };
    // The code of an account without a factor is ignored.
    if let Some(kind) = kind.filter(|_| authentication.has_factor()) {
        accepted(app, kind);
    }
    log::info!("user {}: signed in", user.id);
    if app.config.sends_sign_in_notices() {
        app.outbox.wake().await;
    }
    starting.session.authentication = authentication;
    Ok(Some(starting.signed(app, &user).await?))
}

/// Rehashes a password with the current scheme, in the background. If the queue is full, the next
/// sign-in retries.
async fn rehash(app: Arc<App>, found: Credentials, password: String) {
    let rehashed = async {
        let new_hash = app.passwords.hash(password, random::bytes()).await?;
        app.store
            .rehash_password(found.user_id, &found.password_hash, &new_hash)
            .await
            .map_err(AccountError::from)
    };
    match rehashed.await {
        Ok(true) => log::info!("user {}: password rehashed", found.user_id),
        Ok(false) => {}
        Err(e) => log::info!("user {}: password not rehashed: {e}", found.user_id),
    }
}
