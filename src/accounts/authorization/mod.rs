//! Signing in to applications: authorization requests of OAuth clients (RFC 6749, section 4.1; OpenID
//! Connect Core, section 3.1), and what users allowed them.
//!
//! ```text
//! parameters   of a request, decoded          codes      issuing them
//! request      read and checked               waiting    requests that wait for their user
//! decision     what has to happen next        grants     what users allowed
//! sign_out     signing out on behalf of a client (OpenID Connect RP-Initiated Logout)
//! ```

mod codes;
mod decision;
mod grants;
mod parameters;
mod request;
mod sign_out;
mod waiting;

pub use codes::{Issued, issue_code};
pub use decision::{Answered, Question, Step, decide};
pub use grants::{list_grants, revoke_grant};
pub use parameters::Parameters;
pub use request::{
    AuthorizationRequest, ClientAnswer, OAuthError, RequestError, RequestFault, ResponseMode,
    read_authorization_request,
};
pub use sign_out::{
    SignOutRequest, SignOutStep, decide_sign_out, read_sign_out_request, sign_out_of_client,
};
pub use waiting::{Purpose, WaitingRequest, find_waiting_request, keep_request};
