//! Issuing authorization codes.

use std::time::Duration;

use super::decision::{Question, Step};
use super::request::{AuthorizationRequest, ClientAnswer};
use super::waiting::Purpose;
use crate::accounts::browser_session::hash;
use crate::accounts::{AccountError, BrowserSession, Client};
use crate::app::App;
use crate::crypto::random;
use crate::store::{Consent, IssueCode, IssueOutcome};

/// Lifetime of a code. RFC 6749, section 4.1.2, allows ten minutes; a client needs seconds.
const CODE_LIFETIME: Duration = Duration::from_mins(1);

/// The outcome of [`issue_code`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issued {
    /// The answer with the code.
    Answer(Box<ClientAnswer>),
    /// Something changed meanwhile: this has to happen first.
    Not(Step),
    /// The request that waited was answered before: a request gets one code.
    Used,
}

/// Issues a code to the client of a request; `id` is that of a request that waited, which it uses up.
///
/// # Errors
/// Only store errors.
pub async fn issue_code(
    app: &App,
    request: &AuthorizationRequest,
    id: Option<&str>,
    session: &BrowserSession,
    consent: Consent,
    client: &Client,
) -> Result<Issued, AccountError> {
    let (caller, now) = (&session.caller, app.clock.now());
    let code = random::secret();
    let wanted = IssueCode {
        code_hash: hash(&code),
        request_hash: id.map(|id| Purpose::Authorization.hash(id)),
        client_id: request.client.id.clone(),
        session: caller.session().clone(),
        client_session_id: random::id(),
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        nonce: request.nonce.clone(),
        scopes: request.scopes.clone(),
        consent,
        needs_factor: app.config.mfa.required_for.concerns(caller.user.is_staff),
        now,
        expires_at: now.plus(CODE_LIFETIME),
        context: client.context(Some(caller)),
    };
    let step = match app.store.issue_code(wanted).await? {
        IssueOutcome::Issued => {
            let (user, client) = (caller.user.id, &request.client.id);
            log::info!("user {user}: code for client {client} issued");
            return Ok(Issued::Answer(Box::new(request.answer_code(code))));
        }
        IssueOutcome::RequestUsed => return Ok(Issued::Used),
        IssueOutcome::SessionEnded => Step::SignIn,
        IssueOutcome::FactorRequired if caller.user.has_factor => Step::Reauthenticate,
        IssueOutcome::FactorRequired => Step::SetUpFactor,
        IssueOutcome::ConsentRequired => Step::Ask(Question::Consent),
        IssueOutcome::NotStaff => Step::Refuse(super::decision::STAFF_ONLY),
        IssueOutcome::NoClient => Step::Refuse(super::decision::CLIENT_GONE),
    };
    Ok(Issued::Not(step))
}
