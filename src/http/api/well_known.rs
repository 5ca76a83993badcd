//! `/.well-known/`: what browsers, phones and password managers look up about passkeys and
//! passwords.

use http::StatusCode;
use http::header::{CACHE_CONTROL, HeaderValue, LOCATION};
use schemars::JsonSchema;
use serde::Serialize;
use warp::reply::Response;

use crate::app::SharedApp;
use crate::config::AppleApp;
use crate::http::error::ApiError;
use crate::http::operation::{Operation, Outcome, Refusal, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// Settings change seldom, and a wrong one should not stay for long.
const FIVE_MINUTES: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// What an Android app may do with the site's passkeys and passwords.
const RELATIONS: [&str; 2] = [
    "delegate_permission/common.handle_all_urls",
    "delegate_permission/common.get_login_creds",
];

const NO_APPS: Refusal = Refusal {
    when: "no app is configured",
    error: || ApiError::NotFound,
};

fn cached(body: &impl Serialize) -> Response {
    let mut response = reply::json(StatusCode::OK, body);
    response.headers_mut().insert(CACHE_CONTROL, FIVE_MINUTES);
    response
}

/// Related origins (section 5.11 of Web Authentication level 3).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RelatedOrigins")]
struct Origins {
    origins: Vec<String>,
}

/// `GET /.well-known/webauthn`
pub(crate) const WEBAUTHN: Operation = Operation {
    id: "retrieveRelatedOrigins",
    tag: Tag::Service,
    summary: "Origins with passkeys",
    description: "The websites that may use the passkeys of this server's domain, for browsers \
                  (related origin requests).",
    answers: &[Outcome::json::<Origins>(
        200,
        "the origins",
        r#"{"origins": ["https://accounts.example.com"]}"#,
    )],
    ..Operation::NEW
};

/// `GET /.well-known/webauthn`
pub(crate) async fn webauthn(app: &SharedApp, _: &mut Request) -> HandlerResult {
    Ok(cached(&Origins {
        origins: app.config.passkey_web_origins(&app.public_url),
    }))
}

/// A statement of Digital Asset Links.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AssetLink")]
struct AssetLink<'a> {
    relation: [&'static str; 2],
    target: AssetTarget<'a>,
}

#[derive(Serialize, JsonSchema)]
struct AssetTarget<'a> {
    namespace: &'static str,
    package_name: &'a str,
    sha256_cert_fingerprints: [String; 1],
}

/// `GET /.well-known/assetlinks.json`
pub(crate) const ASSET_LINKS: Operation = Operation {
    id: "retrieveAssetLinks",
    tag: Tag::Service,
    summary: "Android apps",
    description: "The Android apps of `[passkeys] android_apps`, for the system (Digital Asset \
                  Links).",
    answers: &[Outcome::json::<Vec<AssetLink<'_>>>(
        200,
        "the apps",
        r#"[{"relation": ["delegate_permission/common.handle_all_urls", "delegate_permission/common.get_login_creds"], "target": {"namespace": "android_app", "package_name": "com.example.app", "sha256_cert_fingerprints": ["14:6D:E9"]}}]"#,
    )],
    refusals: &[NO_APPS],
    ..Operation::NEW
};

/// `GET /.well-known/assetlinks.json`
pub(crate) async fn asset_links(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let apps = &app.config.passkeys.android_apps;
    if apps.is_empty() {
        return Err(ApiError::NotFound);
    }
    let links: Vec<_> = apps
        .iter()
        .map(|app| AssetLink {
            relation: RELATIONS,
            target: AssetTarget {
                namespace: "android_app",
                package_name: app.package(),
                sha256_cert_fingerprints: [app.fingerprint()],
            },
        })
        .collect();
    Ok(cached(&links))
}

/// The apps of a site, as Apple's systems look them up.
#[derive(Serialize, JsonSchema)]
struct AppleAppSiteAssociation<'a> {
    webcredentials: AppleApps<'a>,
}

#[derive(Serialize, JsonSchema)]
struct AppleApps<'a> {
    apps: Vec<&'a str>,
}

/// `GET /.well-known/apple-app-site-association`
pub(crate) const APPLE_APPS: Operation = Operation {
    id: "retrieveAppleApps",
    tag: Tag::Service,
    summary: "Apps of Apple's systems",
    description: "The apps of `[passkeys] apple_apps`, for the system (associated domains).",
    answers: &[Outcome::json::<AppleAppSiteAssociation<'_>>(
        200,
        "the apps",
        r#"{"webcredentials": {"apps": ["ABCDE12345.com.example.app"]}}"#,
    )],
    refusals: &[NO_APPS],
    ..Operation::NEW
};

/// `GET /.well-known/apple-app-site-association`
pub(crate) async fn apple_apps(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let apps = &app.config.passkeys.apple_apps;
    if apps.is_empty() {
        return Err(ApiError::NotFound);
    }
    Ok(cached(&AppleAppSiteAssociation {
        webcredentials: AppleApps {
            apps: apps.iter().map(AppleApp::as_str).collect(),
        },
    }))
}

/// `GET /.well-known/change-password`: to the page that changes the password (a well-known URL of
/// password managers).
pub(crate) async fn change_password(app: &SharedApp, _: &mut Request) -> HandlerResult {
    let page = format!("{}/account/password/", app.public_url);
    let location = HeaderValue::try_from(page)
        .map_err(|_| ApiError::internal("the public URL is not a header value"))?;
    let mut response = reply::no_content();
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
