//! Microsoft Entra ID and personal accounts
//! (<https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc>).
//!
//! The issuer of a token has the id of its tenant. The metadata for several tenants (`common`,
//! `organizations`, `consumers`) name the issuer as a template with `{tenantid}`, those of one tenant
//! name its id. A tenant decides itself which addresses its accounts have, so an address counts only
//! with `xms_edov` (email domain owner verified).

use serde_json::Value;

use super::discovery::Metadata;
use super::openid::{Facts, UserClaims};
use crate::crypto::tokens::external::Claims;

/// The place of the tenant in a template.
const TENANT: &str = "{tenantid}";

/// The tenant of all personal accounts.
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// The authority for work and school accounts alone.
const ORGANIZATIONS: &str = "organizations";

pub(super) const FACTS: Facts = Facts {
    issuer: "https://login.microsoftonline.com/common/v2.0",
    scopes: &["openid", "email", "profile"],
    parameters: &[],
    force_login: &[("prompt", "login"), ("max_age", "0")],
    can_force_login: true,
    locale_parameter: Some("ui_locales"),
    wants_secret_in_body: true,
    uses_userinfo: false,
    is_document_issuer,
    token_issuer,
    is_email_verified,
    needs_trust: false,
};

/// The parts around the tenant: `https://login.microsoftonline.com` and `v2.0`.
fn parts(issuer: &str) -> Option<(&str, &str, &str)> {
    let (front, version) = issuer.rsplit_once('/')?;
    let (authority, tenant) = front.rsplit_once('/')?;
    Some((authority, tenant, version))
}

fn is_document_issuer(configured: &str, found: &str) -> bool {
    let (Some(configured), Some(found)) = (parts(configured), parts(found)) else {
        return false;
    };
    let (authority, named, version) = configured;
    let is_tenant = match named {
        "common" | ORGANIZATIONS => found.1 == TENANT,
        // That of personal accounts, or a tenant by its domain, is named by its id.
        _ if !is_tenant_id(named) => is_tenant_id(found.1),
        _ => found.1.eq_ignore_ascii_case(named),
    };
    found.0 == authority && found.2 == version && is_tenant
}

fn token_issuer(metadata: &Metadata, claims: &Claims) -> Option<String> {
    let tenant = claims.text("tid").filter(|tenant| is_tenant_id(tenant))?;
    let issuer = claims.text("iss")?;
    let is_expected = |template: &str| template.replace(TENANT, tenant) == issuer;
    let is_right = is_expected(&metadata.issuer) && claims.key_issuer().is_none_or(is_expected);
    let is_for_organizations = metadata
        .authorization_endpoint
        .as_str()
        .contains(&format!("/{ORGANIZATIONS}/"));
    let is_excluded = is_for_organizations && tenant == PERSONAL;
    (is_right && !is_excluded).then(|| issuer.to_owned())
}

/// Whether a text is a UUID, as ids of tenants are.
fn is_tenant_id(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let groups: Vec<&str> = text.split('-').collect();
    groups.len() == lengths.len()
        && groups.iter().zip(lengths).all(|(group, length)| {
            group.len() == length && group.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

/// The claim is documented as a boolean, and was seen as a number and as a text.
fn is_email_verified(claims: &UserClaims<'_>) -> bool {
    match claims.value("xms_edov") {
        Some(Value::Bool(is_verified)) => *is_verified,
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        Some(Value::String(text)) => matches!(text.as_str(), "1" | "true"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT_ID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    #[test]
    fn metadata_belong_to_their_authority() {
        let at = |tenant: &str| format!("https://login.microsoftonline.com/{tenant}/v2.0");
        for (configured, found, is_right) in [
            (at("common"), at(TENANT), true),
            (at("organizations"), at(TENANT), true),
            (at("consumers"), at(PERSONAL), true),
            (at(TENANT_ID), at(TENANT_ID), true),
            (at("contoso.onmicrosoft.com"), at(TENANT_ID), true),
            (at(TENANT_ID), at(PERSONAL), false),
            (at(TENANT_ID), at(TENANT), false),
            (at("common"), at("evil"), false),
            (
                at("common"),
                format!("https://evil.example/{TENANT}/v2.0"),
                false,
            ),
            (at("common"), at(TENANT).replace("v2.0", "v1.0"), false),
            (at("common"), "https:".to_owned(), false),
        ] {
            assert_eq!(
                is_document_issuer(&configured, &found),
                is_right,
                "{configured} {found}"
            );
        }
    }
}
