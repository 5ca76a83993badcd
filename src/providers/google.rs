//! Google (<https://developers.google.com/identity/openid-connect/openid-connect>).

use super::discovery::Metadata;
use super::openid::{Facts, is_same_issuer};
use crate::crypto::tokens::external::Claims;

pub(super) const FACTS: Facts = Facts {
    issuer: "https://accounts.google.com",
    scopes: &["openid", "email", "profile"],
    parameters: &[],
    // Google has no `prompt=login`, and its ID tokens do not say when the user authenticated.
    force_login: &[("prompt", "select_account")],
    can_force_login: false,
    locale_parameter: Some("hl"),
    wants_secret_in_body: true,
    uses_userinfo: false,
    is_document_issuer: is_same_issuer,
    token_issuer,
    is_email_verified: |claims| claims.is_true("email_verified"),
    needs_trust: false,
};

/// Google's tokens name the issuer with or without its scheme. It is one and the same.
fn token_issuer(metadata: &Metadata, claims: &Claims) -> Option<String> {
    let issuer = claims.text("iss")?;
    let bare = metadata.issuer.split_once("://").map(|(_, bare)| bare);
    (issuer == metadata.issuer || Some(issuer) == bare).then(|| metadata.issuer.clone())
}
