//! The table of routes, and how a request finds its route.
//!
//! A path is matched first; token and method are judged afterwards, in the order of Django REST
//! framework (see [`super::answer`]). To add an endpoint, write its handler and, for an API
//! resource, its [`Operation`](super::operation::Operation), and add one line to [`ROUTES`].

use std::future::ready;
use std::sync::LazyLock;

use http::Method;

use super::api::{
    audit_log, dev, dev_webhooks, discovery, email_undo, events, external, health, identities,
    invitations, mails, metrics, mfa, otp, passkeys, passwords, photos, reauthenticate, sessions,
    staff, tokens, users, webhook_deliveries, webhooks, well_known,
};
use super::oauth::{self, introspection, revocation, token, userinfo};
use super::openapi::{self, docs};
use super::pages::account::{
    activity, confirm, connections, data, delete, email, external as external_pages, invitation,
    language, overview, passkeys as passkey_pages, password, profile,
    reauthenticate as confirm_identity, reset, second_factor, security, sessions as device_list,
    sign_in, sign_out, sign_up,
};
use super::pages::assets;
use super::pages::console::{
    backups, bulk, client as console_client, clients as console_clients, events as console_events,
    export, invitations as console_invitations, keys as console_keys, mails as console_mails,
    new_user, overview as console_overview, settings, setup, user, users as console_users,
    webhook as console_webhook, webhooks as console_webhooks,
};
use super::pages::oauth::{authorize, sign_out as client_sign_out};
use super::route::{Auth, ErrorFormat, Exposure, HandlerResult, Path, Route};
use crate::observability::metrics::{Action, MAX_ROUTES};

macro_rules! get {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::GET, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

macro_rules! post {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::POST, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

/// A page, by GET.
macro_rules! page {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::GET, $path, $name, |app, request| {
            Box::pin(async move { $function(app, request).await.or_else(HandlerResult::from) })
        })
    };
}

/// The form of a page, by POST.
macro_rules! form {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::POST, $path, $name, |app, request| {
            Box::pin(async move { $function(app, request).await.or_else(HandlerResult::from) })
        })
    };
}

/// An endpoint that OAuth clients ask, by this method.
macro_rules! oauth {
    ($method:ident, $path:expr, $name:literal, $function:path) => {
        Route::new(Method::$method, $path, $name, |app, request| {
            Box::pin(async move { oauth::answer($function(app, request).await, request) })
        })
        .oauth()
    };
}

macro_rules! patch {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::PATCH, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

macro_rules! delete {
    ($path:expr, $name:literal, $function:path) => {
        Route::new(Method::DELETE, $path, $name, |app, request| {
            Box::pin($function(app, request))
        })
    };
}

/// Prefixes a path with that of the account API.
macro_rules! accounts {
    ($path:literal) => {
        concat!("/api/v1/accounts/", $path)
    };
}

/// Every route that is served.
#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    page!("/account/", "Overview", overview::show).on_pages(),
    get!("/account/static/{id}", "Static File", assets::retrieve).page(),
    page!("/account/sign-in/", "Sign In", sign_in::show).on_pages(),
    form!("/account/sign-in/", "Sign In", sign_in::submit).on_pages()
        .counted_as(Action::SignIn),
    form!("/account/sign-out/", "Sign Out", sign_out::submit).on_pages()
        .counted_as(Action::SignOut),
    page!("/account/sign-up/", "Sign Up", sign_up::show).on_pages(),
    form!("/account/sign-up/", "Sign Up", sign_up::submit).on_pages()
        .counted_as(Action::SignUp),
    page!("/account/confirm/", "Confirm", confirm::show).on_pages(),
    form!("/account/confirm/", "Confirm", confirm::submit).on_pages()
        .counted_as(Action::Confirmation),
    form!("/account/confirm/resend/", "Resend Code", confirm::resend).on_pages(),
    page!("/account/invitation/", "Invitation", invitation::show).on_pages(),
    form!("/account/invitation/", "Invitation", invitation::submit).on_pages()
        .counted_as(Action::SignUp),
    page!("/account/reset/", "Reset", reset::show).on_pages(),
    form!("/account/reset/", "Reset", reset::submit).on_pages()
        .counted_as(Action::ResetRequest),
    page!("/account/reset/confirm/", "Confirm Reset", reset::show_confirm).on_pages(),
    form!("/account/reset/confirm/", "Confirm Reset", reset::confirm).on_pages()
        .counted_as(Action::PasswordReset),
    page!("/account/reauthenticate/", "Reauthenticate", confirm_identity::show).on_pages(),
    form!("/account/reauthenticate/", "Reauthenticate", confirm_identity::submit).on_pages(),
    form!("/account/reauthenticate/otp/", "Reauthenticate Otp", confirm_identity::send).on_pages(),
    form!("/account/reauthenticate/external/", "Reauthenticate Externally", confirm_identity::begin)
        .on_pages(),
    form!("/account/external/", "External Sign In", external_pages::begin).on_pages(),
    page!("/account/external/{id}/", "External Answer", external_pages::finish).on_pages(),
    page!("/account/connections/", "Connections", connections::show).on_pages(),
    form!("/account/connections/connect/", "Connect Identity", connections::connect).on_pages(),
    page!("/account/connections/complete/", "Complete Connection", connections::complete)
        .on_pages(),
    form!("/account/connections/disconnect/", "Disconnect Identity", connections::disconnect)
        .on_pages(),
    form!("/account/connections/revoke/", "Revoke Application", connections::revoke).on_pages(),
    page!("/account/profile/", "Profile", profile::show).on_pages(),
    form!("/account/profile/", "Profile", profile::submit).on_pages(),
    form!("/account/profile/photo/", "Upload Photo", profile::photo).on_pages(),
    form!("/account/profile/photo/remove/", "Remove Photo", profile::remove_photo).on_pages(),
    page!("/account/email/", "Email", email::show).on_pages(),
    form!("/account/email/", "Email", email::submit).on_pages(),
    form!("/account/email/confirm/", "Confirm Email", email::confirm).on_pages()
        .counted_as(Action::Confirmation),
    form!("/account/email/resend/", "Resend Email Code", email::resend).on_pages(),
    form!("/account/email/cancel/", "Cancel Email Change", email::cancel).on_pages(),
    page!("/account/password/", "Password", password::show).on_pages(),
    form!("/account/password/", "Password", password::submit).on_pages()
        .counted_as(Action::PasswordChange),
    page!("/account/second-factor/", "Second Factor", second_factor::show).on_pages(),
    form!("/account/second-factor/", "Second Factor", second_factor::submit).on_pages()
        .counted_as(Action::SignIn),
    page!("/account/second-factor/recovery/", "Recovery Code", second_factor::show_recovery)
        .on_pages(),
    page!("/account/security/", "Security", security::show).on_pages(),
    page!("/account/security/totp/", "Authenticator App", security::show_totp).on_pages(),
    form!("/account/security/totp/", "Authenticator App", security::activate_totp).on_pages(),
    form!("/account/security/totp/remove/", "Remove App", security::deactivate_totp).on_pages(),
    form!("/account/security/recovery-codes/", "Recovery Codes", security::regenerate_codes)
        .on_pages(),
    form!("/account/passkeys/options/", "Passkey Options", passkey_pages::options).on_pages(),
    page!("/account/passkeys/offer/", "Passkey Offer", passkey_pages::show_offer).on_pages(),
    page!("/account/security/passkeys/", "New Passkey", passkey_pages::show_new).on_pages(),
    form!("/account/security/passkeys/", "New Passkey", passkey_pages::add).on_pages(),
    form!("/account/security/passkeys/rename/", "Rename Passkey", passkey_pages::rename).on_pages(),
    form!("/account/security/passkeys/remove/", "Remove Passkey", passkey_pages::remove).on_pages(),
    page!("/account/sessions/", "Sessions", device_list::show).on_pages(),
    form!("/account/sessions/end/", "End Session", device_list::end).on_pages(),
    form!("/account/sessions/end-others/", "End Sessions", device_list::end_others).on_pages(),
    page!("/account/activity/", "Activity", activity::show).on_pages(),
    page!("/account/data/", "Data", data::show).on_pages(),
    form!("/account/data/download/", "Download", data::download).on_pages(),
    page!("/account/delete/", "Delete Account", delete::show).on_pages(),
    form!("/account/delete/", "Delete Account", delete::submit).on_pages()
        .counted_as(Action::Deletion),
    page!("/account/language/", "Language", language::show).on_pages(),
    form!("/account/language/", "Language", language::submit).on_pages(),
    get!("/account/undo/{id}/", "Undo Email Change", email_undo::confirm).on_pages(),
    post!("/account/undo/{id}/", "Undo Email Change", email_undo::undo)
        .exposed_to(Exposure::Pages),

    page!("/o/authorize/", "Authorize", authorize::show).on_pages(),
    form!("/o/authorize/", "Authorize", authorize::begin).on_pages(),
    page!("/o/authorize/{id}/", "Continue Authorization", authorize::resume).on_pages(),
    form!("/o/authorize/{id}/", "Continue Authorization", authorize::submit).on_pages(),
    page!("/o/logout/", "Client Sign Out", client_sign_out::show).on_pages(),
    form!("/o/logout/", "Client Sign Out", client_sign_out::begin).on_pages(),
    page!("/o/logout/{id}/", "Continue Sign Out", client_sign_out::resume).on_pages(),
    form!("/o/logout/{id}/", "Continue Sign Out", client_sign_out::submit).on_pages(),

    page!("/console/", "Console", console_overview::show).on_console(),
    page!("/console/setup/{id}/", "Setup", setup::show).on_console(),
    form!("/console/setup/{id}/", "Setup", setup::submit).on_console(),
    page!("/console/users/", "Users", console_users::show).on_console(),
    page!("/console/users/new/", "New User", new_user::show).on_console(),
    form!("/console/users/new/", "New User", new_user::submit).on_console(),
    page!("/console/users/bulk/", "Many Users", bulk::show).on_console(),
    form!("/console/users/bulk/", "Many Users", bulk::submit).on_console(),
    form!("/console/users/export/", "Export Users", export::download).on_console(),
    page!("/console/users/{id}/", "User", user::show).on_console(),
    form!("/console/users/{id}/", "User", user::submit).on_console(),
    form!("/console/users/{id}/action/", "Act On User", user::act).on_console(),
    form!("/console/users/{id}/photo/remove/", "Remove Photo", user::remove_photo).on_console(),
    form!("/console/users/{id}/end-session/", "End Session", user::end_session).on_console(),
    page!("/console/users/{id}/delete/", "Delete User", user::show_delete).on_console(),
    form!("/console/users/{id}/delete/", "Delete User", user::delete).on_console(),
    page!("/console/invitations/", "Invitations", console_invitations::show).on_console(),
    form!("/console/invitations/", "Invitations", console_invitations::submit).on_console(),
    form!("/console/invitations/{id}/revoke/", "Revoke Invitation", console_invitations::revoke)
        .on_console(),
    page!("/console/mails/", "Mails", console_mails::show).on_console(),
    form!("/console/mails/{id}/retry/", "Retry Mail", console_mails::retry).on_console(),
    form!("/console/mails/{id}/drop/", "Discard Mail", console_mails::discard).on_console(),
    page!("/console/events/", "Events", console_events::show).on_console(),
    form!("/console/events/export/", "Export Events", console_events::export).on_console(),
    page!("/console/clients/", "Clients", console_clients::show).on_console(),
    page!("/console/new-client/", "Add Client", console_clients::show_new).on_console(),
    form!("/console/new-client/", "Add Client", console_clients::create).on_console(),
    page!("/console/clients/{id}/", "Client", console_client::show).on_console(),
    form!("/console/clients/{id}/", "Client", console_client::update).on_console(),
    form!("/console/clients/{id}/rotate/", "Rotate Client Secret", console_client::rotate).on_console(),
    page!("/console/clients/{id}/remove/", "Remove Client", console_client::show_remove).on_console(),
    form!("/console/clients/{id}/remove/", "Remove Client", console_client::remove).on_console(),
    page!("/console/webhooks/", "Webhooks", console_webhooks::show).on_console(),
    page!("/console/webhooks/new/", "Add Webhook", console_webhooks::show_new).on_console(),
    form!("/console/webhooks/new/", "Add Webhook", console_webhooks::create).on_console(),
    page!("/console/webhooks/{id}/", "Webhook", console_webhook::show).on_console(),
    form!("/console/webhooks/{id}/", "Webhook", console_webhook::update).on_console(),
    form!("/console/webhooks/{id}/state/", "Webhook State", console_webhook::set_state).on_console(),
    form!("/console/webhooks/{id}/test/", "Test Webhook", console_webhook::test).on_console(),
    form!("/console/webhooks/{id}/rotate/", "Rotate Webhook", console_webhook::rotate).on_console(),
    form!("/console/webhooks/{id}/recover/", "Recover Webhook", console_webhook::recover).on_console(),
    form!("/console/webhooks/{id}/deliveries/{delivery}/replay/", "Replay Delivery", console_webhook::replay)
        .on_console(),
    page!("/console/webhooks/{id}/remove/", "Remove Webhook", console_webhook::show_remove).on_console(),
    form!("/console/webhooks/{id}/remove/", "Remove Webhook", console_webhook::remove).on_console(),
    page!("/console/keys/", "Keys", console_keys::show).on_console(),
    form!("/console/keys/rotate/", "Rotate Keys", console_keys::rotate).on_console(),
    page!("/console/backups/", "Backups", backups::show).on_console(),
    form!("/console/backups/", "Backups", backups::make).on_console(),
    page!("/console/settings/", "Settings", settings::show).on_console(),

    get!(accounts!("users/"), "User List", staff::list).bearer().docs(&staff::LIST),
    post!(accounts!("users/"), "User List", users::create)
        .counted_as(Action::SignUp).docs(&users::CREATE),
    get!(accounts!("users/{pk}/"), "User Instance", users::retrieve)
        .bearer().before_setup().docs(&users::RETRIEVE),
    patch!(accounts!("users/{pk}/"), "User Instance", users::partial_update)
        .bearer().docs(&users::PARTIAL_UPDATE),
    delete!(accounts!("users/{pk}/"), "User Instance", users::destroy)
        .bearer().counted_as(Action::Deletion).docs(&users::DESTROY),
    get!(accounts!("users/{pk}/events/"), "Event List", events::list)
        .bearer().docs(&events::LIST),

    get!(accounts!("events/"), "Audit Log", audit_log::list).bearer().docs(&audit_log::LIST),

    get!(accounts!("mails/"), "Mail List", mails::list).bearer().docs(&mails::LIST),
    delete!(accounts!("mails/{id}/"), "Mail Instance", mails::destroy)
        .bearer().docs(&mails::DESTROY),
    post!(accounts!("mails/{id}/retry/"), "Mail Retry", mails::retry)
        .bearer().docs(&mails::RETRY),

    get!(accounts!("invitations/"), "Invitation List", invitations::list)
        .bearer().docs(&invitations::LIST),
    post!(accounts!("invitations/"), "Invitation List", invitations::create)
        .bearer().docs(&invitations::CREATE),
    post!(accounts!("invitations/verify/"), "Invitation Verify", invitations::verify)
        .docs(&invitations::VERIFY),
    post!(accounts!("invitations/accept/"), "Invitation Accept", invitations::accept)
        .counted_as(Action::SignUp).docs(&invitations::ACCEPT),
    delete!(accounts!("invitations/{id}/"), "Invitation Instance", invitations::destroy)
        .bearer().docs(&invitations::DESTROY),

    get!(accounts!("webhooks/"), "Webhook List", webhooks::list).bearer().docs(&webhooks::LIST),
    post!(accounts!("webhooks/"), "Webhook List", webhooks::create)
        .bearer().docs(&webhooks::CREATE),
    get!(accounts!("webhooks/{id}/"), "Webhook Instance", webhooks::retrieve)
        .bearer().docs(&webhooks::RETRIEVE),
    patch!(accounts!("webhooks/{id}/"), "Webhook Instance", webhooks::partial_update)
        .bearer().docs(&webhooks::PARTIAL_UPDATE),
    delete!(accounts!("webhooks/{id}/"), "Webhook Instance", webhooks::destroy)
        .bearer().docs(&webhooks::DESTROY),
    post!(accounts!("webhooks/{id}/rotate-secret/"), "Webhook Rotate Secret", webhooks::rotate)
        .bearer().docs(&webhooks::ROTATE),
    post!(accounts!("webhooks/{id}/test/"), "Webhook Test", webhook_deliveries::test)
        .bearer().docs(&webhook_deliveries::TEST),
    post!(accounts!("webhooks/{id}/recover/"), "Webhook Recover", webhook_deliveries::recover)
        .bearer().docs(&webhook_deliveries::RECOVER),
    get!(accounts!("webhooks/{id}/deliveries/"), "Webhook Deliveries", webhook_deliveries::list)
        .bearer().docs(&webhook_deliveries::LIST),
    post!(accounts!("webhooks/{id}/deliveries/{delivery}/replay/"), "Webhook Replay", webhook_deliveries::replay)
        .bearer().docs(&webhook_deliveries::REPLAY),

    post!(accounts!("otp/verify/"), "Otp Verify", otp::verify)
        .auth(Auth::OptionalBearer).counted_as(Action::Confirmation).docs(&otp::VERIFY),
    post!(accounts!("otp/resend/"), "Otp Resend", otp::resend).docs(&otp::RESEND),

    post!(accounts!("token/"), "Token Obtain Pair", tokens::obtain)
        .counted_as(Action::SignIn).docs(&tokens::OBTAIN),
    post!(accounts!("token/refresh/"), "Token Refresh", tokens::refresh)
        .counted_as(Action::Refresh).docs(&tokens::REFRESH),
    post!(accounts!("token/verify/"), "Token Verify", tokens::verify).docs(&tokens::VERIFY),
    post!(accounts!("token/blacklist/"), "Token Blacklist", tokens::blacklist)
        .counted_as(Action::SignOut).docs(&tokens::BLACKLIST),

    post!(accounts!("password/reset/"), "Password Reset", passwords::reset)
        .counted_as(Action::ResetRequest).docs(&passwords::RESET),
    post!(accounts!("password/reset/confirm/"), "Password Reset Confirm", passwords::confirm_reset)
        .counted_as(Action::PasswordReset).docs(&passwords::CONFIRM_RESET),
    post!(accounts!("password/change/"), "Password Change", passwords::change)
        .bearer().counted_as(Action::PasswordChange).docs(&passwords::CHANGE),

    post!(accounts!("reauthenticate/"), "Reauthenticate", reauthenticate::create)
        .bearer().before_setup().counted_as(Action::Reauthentication).docs(&reauthenticate::CREATE),
    post!(accounts!("reauthenticate/otp/"), "Reauthenticate Otp", reauthenticate::request_otp)
        .bearer().before_setup().docs(&reauthenticate::REQUEST_OTP),

    get!(accounts!("sessions/"), "Session List", sessions::list).bearer().before_setup().docs(&sessions::LIST),
    delete!(accounts!("sessions/"), "Session List", sessions::destroy_others)
        .bearer().before_setup().docs(&sessions::DESTROY_OTHERS),
    delete!(accounts!("sessions/{id}/"), "Session Instance", sessions::destroy)
        .bearer().before_setup().docs(&sessions::DESTROY),

    post!(accounts!("mfa/verify/"), "Mfa Verify", mfa::verify)
        .counted_as(Action::SignIn).docs(&mfa::VERIFY),
    post!(accounts!("mfa/webauthn/begin/"), "Mfa Webauthn Begin", mfa::start_webauthn)
        .docs(&mfa::START_WEBAUTHN),
    get!(accounts!("mfa/status/"), "Mfa Status", mfa::status).bearer().before_setup().docs(&mfa::STATUS),
    get!(accounts!("mfa/totp/activate/"), "Totp Activation", mfa::start_totp)
        .bearer().before_setup().docs(&mfa::START_TOTP),
    post!(accounts!("mfa/totp/activate/"), "Totp Activation", mfa::activate_totp)
        .bearer().before_setup().docs(&mfa::ACTIVATE_TOTP),
    post!(accounts!("mfa/totp/deactivate/"), "Totp Deactivation", mfa::deactivate_totp)
        .bearer().before_setup().docs(&mfa::DEACTIVATE_TOTP),
    post!(accounts!("mfa/recovery-codes/regenerate/"), "Recovery Codes", mfa::regenerate_codes)
        .bearer().before_setup().docs(&mfa::REGENERATE_CODES),
    post!(accounts!("users/{pk}/mfa/reset/"), "Mfa Reset", mfa::reset)
        .bearer().docs(&mfa::RESET),

    post!(accounts!("passkeys/register/begin/"), "Passkey Register Begin", passkeys::start)
        .bearer().before_setup().docs(&passkeys::START),
    post!(accounts!("passkeys/register/complete/"), "Passkey Register Complete", passkeys::add)
        .bearer().before_setup().docs(&passkeys::ADD),
    post!(accounts!("passkeys/login/begin/"), "Passkey Login Begin", passkeys::start_sign_in)
        .docs(&passkeys::START_SIGN_IN),
    post!(accounts!("passkeys/login/complete/"), "Passkey Login Complete", passkeys::sign_in)
        .counted_as(Action::SignIn).docs(&passkeys::SIGN_IN),
    get!(accounts!("passkeys/"), "Passkey List", passkeys::list)
        .bearer().before_setup().docs(&passkeys::LIST),
    get!(accounts!("passkeys/{id}/"), "Passkey Instance", passkeys::retrieve)
        .bearer().before_setup().docs(&passkeys::RETRIEVE),
    patch!(accounts!("passkeys/{id}/"), "Passkey Instance", passkeys::rename)
        .bearer().before_setup().docs(&passkeys::RENAME),
    delete!(accounts!("passkeys/{id}/"), "Passkey Instance", passkeys::destroy)
        .bearer().before_setup().docs(&passkeys::DESTROY),

    get!(accounts!("providers/"), "Provider List", external::list).docs(&external::LIST),
    get!(accounts!("o/{id}/"), "External Sign In", external::start).docs(&external::START),
    post!(accounts!("o/{id}/"), "External Sign In", external::redeem)
        .counted_as(Action::SignIn).docs(&external::REDEEM),
    get!(accounts!("o/{id}/callback/"), "Provider Callback", external::callback)
        .page().docs(&external::CALLBACK),
    post!(accounts!("o/{id}/callback/"), "Provider Callback", external::posted)
        .sent_from_elsewhere().page().docs(&external::POSTED),
    post!(accounts!("o/{id}/token/"), "External Token", external::redeem_token)
        .counted_as(Action::SignIn).docs(&external::TOKEN),
    post!(accounts!("o/{id}/link/"), "External Link", external::link)
        .bearer().docs(&external::LINK),
    get!(accounts!("identities/"), "Identity List", identities::list)
        .bearer().docs(&identities::LIST),
    post!(accounts!("identities/"), "Identity List", identities::create)
        .bearer().docs(&identities::CREATE),
    delete!(accounts!("identities/{id}/"), "Identity Instance", identities::destroy)
        .bearer().docs(&identities::DESTROY),

    get!(accounts!("email/undo/{id}/"), "Email Undo", email_undo::confirm)
        .page().docs(&email_undo::CONFIRM),
    post!(accounts!("email/undo/{id}/"), "Email Undo", email_undo::undo)
        .auth(Auth::OptionalBearer).docs(&email_undo::UNDO),

    oauth!(POST, "/o/token/", "Token", token::create).counted_as(Action::ClientTokens),
    oauth!(GET, "/o/userinfo/", "User Info", userinfo::retrieve),
    oauth!(POST, "/o/userinfo/", "User Info", userinfo::create),
    oauth!(POST, "/o/revoke_token/", "Revoke Token", revocation::create)
        .counted_as(Action::ClientRevocation),
    oauth!(POST, "/o/introspect/", "Introspect", introspection::create),

    get!("/media/photos/{id}", "Photo", photos::retrieve).docs(&photos::RETRIEVE),
    get!("/.well-known/jwks.json", "Key Set", discovery::key_set)
        .for_any_origin().docs(&discovery::KEY_SET),
    get!("/.well-known/openid-configuration", "Discovery", discovery::metadata)
        .for_any_origin().docs(&discovery::METADATA),
    get!("/.well-known/oauth-authorization-server", "Authorization Server", discovery::metadata)
        .for_any_origin().docs(&discovery::OAUTH_METADATA),
    get!("/.well-known/webauthn", "Related Origins", well_known::webauthn)
        .for_any_origin().docs(&well_known::WEBAUTHN),
    get!("/.well-known/assetlinks.json", "Asset Links", well_known::asset_links)
        .for_any_origin().docs(&well_known::ASSET_LINKS),
    get!("/.well-known/apple-app-site-association", "Apple Apps", well_known::apple_apps)
        .for_any_origin().docs(&well_known::APPLE_APPS),
    get!("/.well-known/change-password", "Change Password", well_known::change_password)
        .exposed_to(Exposure::Pages),
    Route::new(Method::GET, "/api/schema/", "Schema", |app, _| {
        Box::pin(ready(Ok(openapi::retrieve(app, paths()))))
    }).docs(&openapi::RETRIEVE),
    get!("/api/docs/", "Docs", docs::retrieve).page().docs(&docs::RETRIEVE),

    get!("/healthz", "Health", health::live)
        .exposed_to(Exposure::Monitoring).docs(&health::LIVE),
    get!("/readyz", "Readiness", health::ready)
        .exposed_to(Exposure::Monitoring).docs(&health::READY),
    Route::new(Method::GET, "/metrics", "Metrics", |app, _| {
        Box::pin(async move { metrics::retrieve(app, &labels()).await })
    })
        .exposed_to(Exposure::Metrics).docs(&metrics::RETRIEVE),

    get!("/dev/mail/", "Development Inbox", dev::inbox)
        .exposed_to(Exposure::Development).docs(&dev::INBOX),
    get!("/dev/webhooks/", "Development Webhooks", dev_webhooks::list)
        .exposed_to(Exposure::Development).docs(&dev_webhooks::LIST),
    post!("/dev/webhooks/", "Development Webhooks", dev_webhooks::receive)
        .exposed_to(Exposure::Development).docs(&dev_webhooks::RECEIVE),
    get!("/dev/clock/", "Development Clock", dev::clock)
        .exposed_to(Exposure::Development).docs(&dev::READ_CLOCK),
    post!("/dev/clock/", "Development Clock", dev::advance_clock)
        .exposed_to(Exposure::Development).docs(&dev::ADVANCE_CLOCK),
    post!("/dev/reset/", "Development Reset", dev::reset)
        .exposed_to(Exposure::Development).docs(&dev::RESET),
];

const _: () = assert!(
    ROUTES.len() < MAX_ROUTES,
    "the metrics have room for every path"
);

/// All paths, in the order of the table.
pub(super) fn paths() -> &'static [Path] {
    static PATHS: LazyLock<Vec<Path>> = LazyLock::new(|| Path::all(ROUTES));
    &PATHS
}

/// Number of requests whose path is unknown, in the metrics.
pub(super) fn unknown_path() -> usize {
    paths().len()
}

/// Labels of the paths by their numbers, for the metrics; the last is for unknown paths.
pub(super) fn labels() -> Vec<String> {
    let known = paths().iter().map(Path::label);
    known.chain(["none".to_owned()]).collect()
}

/// Finds the path of a request, with or without its trailing slash.
pub(super) fn find(path: &str) -> Option<&'static Path> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    paths().iter().find(|known| known.matches(path))
}

/// The page that a form below it is on: the nearest path upwards that is a page itself.
pub(super) fn page_above(path: &str) -> Option<String> {
    let mut path = path.trim_end_matches('/');
    loop {
        let route = find(path).and_then(|known| known.route(&Method::GET));
        if route.is_some_and(|route| route.errors == ErrorFormat::Page) {
            return Some(format!("{path}/"));
        }
        path = &path[..path.rfind('/')?];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_a_path_agree() {
        for path in paths() {
            for route in path.routes() {
                let twins = path.routes().iter().filter(|r| r.method == route.method);
                assert_eq!(twins.count(), 1, "{} {}", route.method, route.path);
                assert_eq!(route.name, path.name());
                assert_eq!(route.exposure, path.exposure());
                assert_eq!(route.readers, path.readers());
            }
        }
    }

    #[test]
    fn paths_are_found_with_and_without_their_slash() {
        for (path, pattern) in [
            ("/healthz", Some("/healthz")),
            ("/healthz/", Some("/healthz")),
            ("/healthz//", None),
            ("healthz", None),
            (
                "/api/v1/accounts/users/abc",
                Some("/api/v1/accounts/users/{pk}/"),
            ),
            ("/api/v1/accounts/users//", None),
            ("/api/v1/accounts/users/1/x", None),
        ] {
            assert_eq!(find(path).map(Path::pattern), pattern, "{path}");
        }
    }

    #[test]
    fn allow_lists_methods_in_the_order_of_django() {
        let path = find("/api/v1/accounts/users/1/").unwrap();
        assert_eq!(path.allow, "GET, PATCH, DELETE, HEAD, OPTIONS");
    }
}
