//! What it means for accounts that a provider has proven who somebody is.

use std::sync::Arc;
use std::time::Duration;

use super::people::Person;
use crate::accounts::factors::{self, new_ticket};
use crate::accounts::new_password::notices;
use crate::accounts::profile::new_undo;
use crate::accounts::sign_up::PENDING_TIME;
use crate::accounts::{AccountError, Client, Signed, detached};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{
    AuthMethod, EmailAddress, FieldErrors, OtpCode, OtpPurpose, Timestamp, User, messages,
};
use crate::limits::{Ceiling, Limited};
use crate::mail::MailContent;
use crate::otp_codes::OtpRequest;
use crate::providers::Provider;
use crate::store::{
    ConnectionMails, IdentitySignIn, IdentitySignInOutcome, NewSignUp, Newcomer, ProvenIdentity,
    UsedIdToken,
};

/// How long the owner of an account may take to sign in and connect an identity to it.
const TICKET_LIFE: Duration = Duration::from_mins(10);

/// Somebody who is signed in.
pub struct ExternalSignedIn {
    /// The proof of the session.
    pub signed: Signed,
    /// Whether the account was created for it.
    pub is_new: bool,
}

/// Signs in the user who was proven.
///
/// # Errors
/// [`AccountError::SecondFactorRequired`], [`AccountError::AccountExists`],
/// [`AccountError::IdentityNotVerified`], each with a ticket; [`AccountError::NoActiveAccount`] when
/// the account may not sign in; [`AccountError::InvalidToken`] for a used ID token;
/// [`AccountError::Fields`] about `email` when the provider has none of somebody new;
/// [`AccountError::Throttled`].
pub(super) async fn sign_in(
    app: &Arc<App>,
    provider: &Provider,
    person: Person,
    used_token: Option<UsedIdToken>,
    client: &Client,
) -> Result<ExternalSignedIn, AccountError> {
    client.check_limit(app, Limited::FailedSignIn)?;
    let ProvenIdentity {
        issuer, subject, ..
    } = &person.proven;
    let known = app.store.find_identity_user(issuer, subject).await?;
    let newcomer = match known {
        Some(_) => None,
        None => Some(Arrival::new(app, provider, &person, client)?),
    };
    let attempt = Attempt {
        app: Arc::clone(app),
        client: client.clone(),
        proven: person.proven,
        used_token,
        newcomer,
    };
    // From here on a disconnect changes nothing: what is stored is mailed.
    detached(attempt.run()).await?
}

/// Somebody whose identity no account has.
struct Arrival {
    email: EmailAddress,
    is_trusted: bool,
    /// The name of the provider, if it connects identities without asking.
    connects: Option<String>,
    profile: crate::domain::Profile,
    language: String,
    ticket: String,
}

impl Arrival {
    fn new(
        app: &App,
        provider: &Provider,
        person: &Person,
        client: &Client,
    ) -> Result<Self, AccountError> {
        client.check_limit(app, Limited::SignUp)?;
        client.check_limit(app, Limited::TakenAddress)?;
        let Some(email) = person.email.clone() else {
            return Err(FieldErrors::one("email", messages::NO_PROVIDER_EMAIL).into());
        };
        let connects = person.is_trusted && provider.links_automatically();
        let composer = app.outbox.composer();
        Ok(Self {
            email,
            is_trusted: person.is_trusted,
            connects: connects.then(|| provider.name().to_owned()),
            profile: person.profile.clone(),
            language: composer.negotiate(&client.accept_language).to_owned(),
            ticket: random::secret(),
        })
    }
}

/// A sign-in with all that it takes, so that it goes on without its client.
struct Attempt {
    app: Arc<App>,
    client: Client,
    proven: ProvenIdentity,
    used_token: Option<UsedIdToken>,
    newcomer: Option<Arrival>,
}

impl Attempt {
    async fn run(self) -> Result<ExternalSignedIn, AccountError> {
        let (app, client) = (&self.app, &self.client);
        let now = app.clock.now();
        let starting = client.new_session(app, now, AuthMethod::Federated);
        let (ticket, factor_ticket) = new_ticket(app, AuthMethod::Federated, now);
        let otp_request = client.otp_request(now);
        let outcome = app
            .codes
            .draw(async |code| {
                let newcomer = self.newcomer.as_ref();
                let sign_in = IdentitySignIn {
                    proven: self.proven.clone(),
                    used_token: self.used_token.clone(),
                    new_id: random::id(),
                    session: starting.session.clone(),
                    notice: client.sign_in_notice(app, now),
                    ticket: factor_ticket.clone(),
                    newcomer: newcomer.map(|arrival| self.newcomer(arrival, &code, &otp_request)),
                    context: client.context(None),
                };
                app.store.sign_in_with_identity(sign_in).await
            })
            .await?;
        match outcome {
            IdentitySignInOutcome::Started { user, is_new } => {
                self.started(&user, is_new).await?;
                let signed = starting.signed(app, &user).await?;
                Ok(ExternalSignedIn { signed, is_new })
            }
            IdentitySignInOutcome::SecondFactorRequired { factors } => {
                Err(AccountError::SecondFactorRequired {
                    ticket,
                    methods: factors::methods(app, &factors),
                })
            }
            outcome => Err(self.refusal(outcome, now).await?),
        }
    }

    /// What the store does with somebody new.
    fn newcomer(&self, arrival: &Arrival, code: &OtpCode, request: &OtpRequest) -> Newcomer {
        let (app, client, now) = (&self.app, &self.client, request.now);
        let ProvenIdentity {
            issuer, subject, ..
        } = &self.proven;
        let email = &arrival.email;
        let purpose = OtpPurpose::SignUp;
        let otp = app
            .codes
            .new_otp(&app.outbox, purpose, email.key(), code, request);
        let connection = arrival.connects.as_ref();
        Newcomer {
            sign_up: NewSignUp {
                email: email.clone(),
                password_hash: app.codes.identity_password(issuer, subject),
                profile: arrival.profile.clone(),
                language: arrival.language.clone(),
                otp,
                expires_at: now.plus(PENDING_TIME),
                network: client.network().to_string(),
                now,
                limits: app.codes.limits(),
                context: client.context(None),
            },
            is_trusted: arrival.is_trusted,
            connection: connection
                .map(|name| connection_mails(app, client, (name, &self.proven.email), now)),
            ticket_hash: app.codes.hash_identity_ticket(&arrival.ticket),
            ticket_expires_at: now.plus(TICKET_LIFE),
        }
    }

    /// Notes that a session has started.
    async fn started(&self, user: &User, is_new: bool) -> Result<(), AccountError> {
        let (app, provider) = (&self.app, &self.proven.provider);
        if is_new {
            self.client.count(app, Limited::SignUp).ok();
            log::info!("user {}: signed up with {provider}", user.id);
        } else {
            log::info!("user {}: signed in with {provider}", user.id);
        }
        if app.config.sends_sign_in_notices() || self.newcomer.is_some() {
            app.outbox.wake().await;
        }
        Ok(())
    }

    /// The error for an outcome without a session.
    async fn refusal(
        &self,
        outcome: IdentitySignInOutcome,
        now: Timestamp,
    ) -> Result<AccountError, AccountError> {
        let (app, client) = (&self.app, &self.client);
        let held = || {
            let arrival = self.newcomer.as_ref();
            let arrival = arrival.ok_or_else(|| {
                AccountError::Internal("a known identity counts as one of somebody new".into())
            })?;
            let email = arrival.email.as_str().to_owned();
            Ok::<_, AccountError>((arrival.ticket.clone(), email))
        };
        Ok(match outcome {
            IdentitySignInOutcome::AccountExists => {
                // It reveals that there is an account, as a sign-up does.
                client.count(app, Limited::TakenAddress)?;
                let (ticket, email) = held()?;
                AccountError::AccountExists { ticket, email }
            }
            IdentitySignInOutcome::NotVerified { user_id } => {
                client.count(app, Limited::SignUp)?;
                app.limits.note(Ceiling::NewAddressMails, now);
                app.outbox.wake().await;
                log::info!("user {user_id}: signed up with {}", self.proven.provider);
                let (ticket, email) = held()?;
                AccountError::IdentityNotVerified { ticket, email }
            }
            IdentitySignInOutcome::Throttled { until } => AccountError::Throttled(until.since(now)),
            IdentitySignInOutcome::Replayed => AccountError::InvalidToken,
            _ => {
                client.count(app, Limited::FailedSignIn)?;
                let ProvenIdentity {
                    issuer, subject, ..
                } = &self.proven;
                let user_id = app.store.find_identity_user(issuer, subject).await?;
                let context = client.context(None);
                app.store.note_failed_sign_in(user_id, context, now).await?;
                AccountError::NoActiveAccount
            }
        })
    }
}

/// The mails about an identity that is connected to an account.
pub(super) fn connection_mails(
    app: &App,
    client: &Client,
    (provider, email): (&str, &str),
    now: Timestamp,
) -> ConnectionMails {
    let content = |undo: Option<(String, u64)>| {
        let (link, days) = undo.unzip();
        MailContent::IdentityConnected {
            provider: provider.to_owned(),
            email: email.to_owned(),
            ip: client.shown_ip(),
            link,
            days,
        }
    };
    ConnectionMails {
        notices: notices(app, &content(None)),
        undo: new_undo(app, now, |link, days| content(Some((link, days)))),
    }
}
