//! Operations on accounts, one file each.
//!
//! An operation validates raw fields ([`crate::domain::Fields`]), calls one store operation and
//! returns its outcome. It knows nothing of HTTP, warp, SQL or URLs, so the command line calls the
//! same functions.

mod administration;
mod authorization;
mod backups;
mod browser_session;
mod client_tokens;
mod confirm;
mod create_user;
mod data_download;
mod deletion;
mod detached;
mod email_undo;
mod error;
mod events;
mod expiry;
mod external;
mod factors;
pub mod forms;
pub(crate) mod import;
mod invitations;
mod keys;
mod mailbox_proof;
mod mails;
mod new_password;
mod oauth_clients;
mod overview;
mod password_change;
mod password_check;
mod password_reset;
mod password_tries;
mod photo;
mod profile;
mod reauthenticate;
mod recent;
mod refresh;
mod sessions;
mod setup;
mod sign_in;
mod sign_up;
mod staff;
mod staff_actions;
mod user_export;
mod webhooks;

use std::net::IpAddr;
use std::time::Duration;

pub use administration::{
    UserFilter, find_user, list_users_after, remove_user, set_active, set_staff,
};
pub use authorization::{
    Answered, AuthorizationRequest, ClientAnswer, Issued, OAuthError, Parameters, Purpose,
    Question, RequestError, RequestFault, ResponseMode, SignOutRequest, SignOutStep, Step,
    WaitingRequest, decide, decide_sign_out, find_waiting_request, issue_code, keep_request,
    list_grants, read_authorization_request, read_sign_out_request, revoke_grant,
    sign_out_of_client,
};
pub use backups::{BackupList, BackupOutcome, list_backups, make_backup};
use browser_session::StartingSession;
pub use browser_session::{BrowserSession, Signed, find_browser_session, sign_out};
pub use client_tokens::{
    ClientAccess, ClientTokens, CodeExchange, GrantError, Introspection, authenticate_client,
    exchange_code, find_client_access, identify_client, introspect_client_token, is_client_origin,
    refresh_client_tokens, revoke_client_token, user_info,
};
pub use confirm::{Confirmed, confirm, resend};
pub use create_user::{create_user, create_user_as_staff};
pub use data_download::{AccountDownload, collect_download};
pub use deletion::{delete, delete_user};
use detached::detached;
pub use email_undo::{find_undo, undo};
pub use error::{AccountError, Cause};
pub use events::{EventExport, list_event_page, list_events, list_user_events, record_command};
pub use expiry::clear_expired;
use external::site_ways;
pub use external::{
    BrowserOutcome, BrowserPurpose, BrowserRequest, Callback, ExternalSignedIn, FinishedBrowser,
    can_reauthenticate, connect_identity, disconnect_identity, finish_in_browser, list_identities,
    list_user_identities, receive_answer, redeem_id_token, redeem_provider_code, start_connection,
    start_external_sign_in, start_in_browser,
};
pub use factors::passkeys::{
    AddedPasskey, PasskeyRequest, add_passkey, delete_passkey, find_passkey, is_current,
    list_passkeys, rename_passkey, sign_in_with_passkey, start_passkey, start_passkey_sign_in,
};
pub use factors::{
    Enrolment, ExportedFactors, ExportedTotp, FactorStatus, activate_totp, complete_sign_in,
    deactivate_totp, export_factors, factor_status, factor_status_of, regenerate_recovery_codes,
    require_setup, reset_factors, reset_factors_of, resume_totp, start_second_step, start_totp,
    user_factor_status,
};
pub use import::{
    IMPORTED_FIELDS, import_users, next_user_id, parse_moment, read_imported_user, refused,
};
pub use invitations::{
    accept_invitation, find_invitation, invite, list_invitations, revoke_invitation,
};
pub use keys::{
    KeyInfo, list_keys, published_keys, remove_key, remove_old_keys, reseal_keys, rotate_keys,
    signing_for_client, verify_client_token, verify_id_token_hint,
};
pub(crate) use keys::{create_key, reseal};
pub use mails::{discard_mail, list_mails, retry_mail};
pub use oauth_clients::{
    ClientWithSecret, OAUTH_CLIENT_FIELDS, RegisteredClient, apply_file_clients,
    check_file_clients, count_oauth_client_sessions, create_oauth_client, delete_oauth_client,
    find_oauth_client, is_client_secret_right, list_oauth_clients, read_file_client,
    rotate_oauth_client_secret, update_oauth_client,
};
pub use overview::read_overview;
pub use password_change::{change_password, set_password};
pub use password_check::has_password;
pub use password_reset::{confirm_reset, request_reset};
pub use photo::{open_photo, remove_photos_left_behind, remove_unused_photos};
pub use profile::{Updated, retrieve, update};
pub use reauthenticate::{reauthenticate, reauthenticate_browser, request_reauthentication};
pub use recent::{ReauthenticationMethod, is_recent, reauthentication_methods, require_recent};
pub use refresh::{Caller, authenticate, blacklist, check_token, refresh};
pub use sessions::{
    end_other_sessions, end_session, end_user_session, list_sessions, list_user_sessions,
};
pub use setup::{find_setup_state, is_setup_open, set_up, start_setup};
pub use sign_in::sign_in;
pub use sign_up::{SignUpResult, sign_up};
pub use staff::{Administrator, REASON_LENGTH, list_users};
pub use staff_actions::{BulkOutcome, Selection, StaffAction, act_on_user, act_on_users};
pub use user_export::UserExport;
pub use webhooks::{
    FileEndpoint, WEBHOOK_DESCRIPTION_LENGTH, WebhookInfo, WebhookWithSecret, apply_file_webhooks,
    create_webhook, delete_webhook, find_webhook, list_webhook_deliveries, list_webhooks,
    recover_webhook, replay_webhook_delivery, rotate_webhook_secret, test_webhook, update_webhook,
};

use crate::app::App;
use crate::crypto::random;
use crate::crypto::tokens::{TokenPair, TokenSubject};
use crate::delivery::NOTICE_LIFETIME;
use crate::domain::{AuthMethod, Authentication, ClientNetwork, SessionLifetimes, Timestamp, User};
use crate::limits::Limited;
use crate::mail::MailContent;
use crate::otp_codes::OtpRequest;
use crate::passwords::Requester;
use crate::store::{NewMail, NewSession, RequestContext};

/// The error for a required field that was neither read nor refused: a bug.
fn unread() -> AccountError {
    AccountError::Internal("a required field was neither read nor refused".into())
}

/// Who runs a command on this machine, for the audit log.
fn operator(app: &App) -> RequestContext {
    operator_because(app, "")
}

/// Who runs a command on this machine, and why, for the audit log.
fn operator_because(app: &App, reason: &str) -> RequestContext {
    let context = RequestContext {
        operator: app.operator.clone(),
        ..RequestContext::default()
    };
    context.because(reason)
}

/// The maximum age of sessions, as configured.
fn session_lifetimes(app: &App) -> SessionLifetimes {
    let hours = |hours: u32| (hours > 0).then(|| Duration::from_hours(hours.into()));
    let tokens = &app.config.tokens;
    SessionLifetimes {
        user: hours(24 * tokens.session_days),
        staff: hours(tokens.staff_session_hours),
    }
}

/// Signs the token pair of a session that was created now.
async fn first_pair(
    app: &App,
    user: &User,
    session: &NewSession,
) -> Result<TokenPair, AccountError> {
    let subject = TokenSubject {
        user,
        session_id: &session.id,
        authentication: &session.authentication,
        session_end: session.lifetimes.end(session.now, user.is_staff),
    };
    let tokens = keys::signing(app).await?;
    let access_id = random::id();
    Ok(tokens.issue(subject, &access_id, &session.refresh_id, session.now)?)
}

/// The client of a request.
#[derive(Clone, Debug)]
pub struct Client {
    /// Address of the client itself, behind trusted proxies.
    pub ip: IpAddr,
    /// The `User-Agent` header; empty without one.
    pub user_agent: String,
    /// The `Accept-Language` header (RFC 9110, section 12.5.4); empty without one.
    pub accept_language: String,
    /// What carries on a session that this request starts.
    pub session_kind: SessionKind,
}

/// What carries on a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionKind {
    /// A pair of tokens.
    #[default]
    Tokens,
    /// A secret in the cookie of a browser.
    Browser,
}

/// Longest stored `User-Agent`, in characters.
const USER_AGENT_LENGTH: usize = 256;

impl Client {
    /// The client's address as mails and logs show it.
    fn shown_ip(&self) -> String {
        self.ip.to_canonical().to_string()
    }

    /// The network that rate limits count.
    pub fn network(&self) -> ClientNetwork {
        ClientNetwork::from(self.ip)
    }

    /// Who makes the request and from where, for the audit log.
    fn context(&self, caller: Option<&Caller>) -> RequestContext {
        RequestContext {
            actor_id: caller.map(|caller| caller.user.id),
            session_id: caller.map(|caller| caller.session_id().to_owned()),
            operator: String::new(),
            ip: self.ip.to_canonical().to_string(),
            user_agent: self.short_user_agent(),
            reason: String::new(),
        }
    }

    /// Counts an action of this client's network, within its rate limit.
    fn count(&self, app: &App, what: Limited) -> Result<(), AccountError> {
        app.limits
            .count(what, self.network(), app.clock.now())
            .map_err(AccountError::Throttled)
    }

    /// Checks the rate limit of this client's network without counting.
    fn check_limit(&self, app: &App, what: Limited) -> Result<(), AccountError> {
        app.limits
            .check(what, self.network(), app.clock.now())
            .map_err(AccountError::Throttled)
    }

    /// Whose turn in the hashing queue this client's passwords take. `is_known`: the account's
    /// owner has signed in from this network before.
    fn requester(&self, is_known: bool) -> Requester {
        Requester::Network {
            network: self.network(),
            is_known,
        }
    }

    /// The request that a one-time password is mailed for.
    fn otp_request(&self, now: Timestamp) -> OtpRequest {
        OtpRequest {
            now,
            network: self.network(),
            ip: Some(self.ip.to_canonical().to_string()),
            requested_at: None,
        }
    }

    fn short_user_agent(&self) -> String {
        self.user_agent.chars().take(USER_AGENT_LENGTH).collect()
    }

    /// The same client, whose new sessions are carried on by a cookie.
    #[must_use]
    pub fn browser(&self) -> Self {
        Self {
            session_kind: SessionKind::Browser,
            ..self.clone()
        }
    }

    /// The notice of a sign-in by this client, which is sent if its network is new to the account.
    fn sign_in_notice(&self, app: &App, now: Timestamp) -> Option<NewMail> {
        let content = MailContent::NewSignIn {
            ip: self.shown_ip(),
        };
        let is_sent = app.config.sends_sign_in_notices();
        is_sent.then(|| app.outbox.new_mail(&content, now.plus(NOTICE_LIFETIME)))
    }

    /// A new session of this client, whose owner has just authenticated.
    fn new_session(&self, app: &App, now: Timestamp, method: AuthMethod) -> StartingSession {
        let secret = (self.session_kind == SessionKind::Browser).then(random::secret);
        let session = NewSession {
            id: random::id(),
            refresh_id: random::id(),
            now,
            authentication: Authentication::by(method, now),
            expires_at: now.plus(app.keys.refresh_life()),
            lifetimes: session_lifetimes(app),
            access_lifetime: Duration::from_secs(60 * u64::from(app.config.tokens.access_minutes)),
            ip: self.ip.to_canonical().to_string(),
            network: self.network().to_string(),
            user_agent: self.short_user_agent(),
            secret_hash: secret.as_deref().map(browser_session::hash),
        };
        StartingSession { session, secret }
    }
}
