//! Any other provider with OpenID Connect Discovery 1.0.

use super::openid::{Facts, exact_issuer, is_same_issuer};

pub(super) const FACTS: Facts = Facts {
    // The settings always name one.
    issuer: "",
    scopes: &["openid", "email", "profile"],
    parameters: &[],
    // `auth_time` is required in answers to `max_age` (OpenID Connect Core 1.0, section 3.1.2.1).
    force_login: &[("prompt", "login"), ("max_age", "0")],
    can_force_login: true,
    locale_parameter: Some("ui_locales"),
    wants_secret_in_body: false,
    uses_userinfo: true,
    is_document_issuer: is_same_issuer,
    token_issuer: exact_issuer,
    is_email_verified: |claims| claims.is_true("email_verified"),
    needs_trust: true,
};
