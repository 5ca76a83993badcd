//! Apple (<https://developer.apple.com/documentation/signinwithapplerestapi>).

use serde_json::Value;

use super::openid::{Facts, UserClaims, exact_issuer, is_same_issuer};

pub(super) const FACTS: Facts = Facts {
    issuer: "https://appleid.apple.com",
    scopes: &["openid", "name", "email"],
    // Apple insists on it where name or address is asked for.
    parameters: &[("response_mode", "form_post")],
    force_login: &[],
    can_force_login: false,
    locale_parameter: None,
    wants_secret_in_body: true,
    uses_userinfo: false,
    is_document_issuer: is_same_issuer,
    token_issuer: exact_issuer,
    is_email_verified,
    needs_trust: false,
};

/// Apple writes this boolean as a text or as a boolean.
fn is_email_verified(claims: &UserClaims<'_>) -> bool {
    match claims.value("email_verified") {
        Some(Value::Bool(is_verified)) => *is_verified,
        Some(Value::String(text)) => text == "true",
        _ => false,
    }
}
