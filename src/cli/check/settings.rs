//! Checks of the settings alone, of the templates of the pages, and of the certificate.

use std::sync::Arc;

use super::{Level, Report};
use crate::bootstrap::{
    StartError, open_composer, open_file_clients, open_file_webhooks, open_pages, open_providers,
    open_webhook_sender,
};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::domain::Timestamp;
use crate::http::links;
use crate::observability::error_chain;
use crate::observability::metrics::Metrics;
use crate::server;
use crate::templates::contrast;

/// What the accent is read on in light mode, the least that text needs (WCAG 2.2, 1.4.3).
const LIGHT_SURFACE: &str = "#ffffff";
const READABLE: f64 = 4.5;

/// Checks the settings that are risky without looking at anything else.
pub(super) fn check_settings(config: &Config, report: &mut Report) {
    for risk in config.risks() {
        let level = if risk.is_error {
            Level::Error
        } else {
            Level::Warning
        };
        report.add(level, risk.subject, risk.text);
    }
    report.ok_if_silent("settings", "no risky setting");
    let url = config.public_url(config.server.listen.port());
    report.ok_if_silent("public_url", url);
}

/// Checks the webhooks of the file: their form, their secrets, and whether they may be called.
pub(super) fn check_webhooks(config: &Config, report: &mut Report) {
    let webhooks = match open_file_webhooks(config) {
        Ok(webhooks) => webhooks,
        Err(e) => return report.error("webhooks", error_chain(&e)),
    };
    if webhooks.is_empty() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (runtime, sender) = match (runtime, open_webhook_sender(config)) {
        (Ok(runtime), Ok(sender)) => (runtime, sender),
        (Err(e), _) => return report.error("webhooks", format!("cannot start: {e}")),
        (_, Err(e)) => return report.error("webhooks", error_chain(&e)),
    };
    for webhook in &webhooks {
        if let Err(problem) = runtime.block_on(sender.check(&webhook.url)) {
            let text = format!("[[webhooks]] {:?}: {}", webhook.name, error_chain(&problem));
            report.warning("webhooks", text);
        }
    }
    let count = webhooks.len();
    report.ok_if_silent(
        "webhooks",
        format!("{count} in the file, with public addresses"),
    );
}

/// Checks the external identity providers: their endpoints and keys, and whether each knows this
/// server as its client.
pub(super) fn check_providers(config: &Config, report: &mut Report) {
    if config.social_providers.is_empty() {
        return;
    }
    let clock: SharedClock = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new(0, Arc::default()));
    let providers = match open_providers(config, &clock, &metrics) {
        Ok(providers) => providers,
        Err(e) => return report.error("providers", error_chain(&e)),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(e) => return report.error("providers", format!("cannot start: {e}")),
    };
    let public_url = config.public_url(config.server.listen.port());
    let links = links(&public_url, config);
    for provider in providers.list() {
        let id = provider.id();
        let redirect_uri = links.provider_callback(id);
        match runtime.block_on(provider.check(&redirect_uri)) {
            Ok(()) => report.ok(
                "providers",
                format!("{id:?} answers; its redirect URI is {redirect_uri}"),
            ),
            Err(problem) => report.error("providers", format!("{id:?}: {problem}")),
        }
    }
}

/// Checks the OAuth clients of the file: their form, their secrets, and settings without effect.
pub(super) fn check_clients(config: &Config, report: &mut Report) {
    let clients = match open_file_clients(config) {
        Ok(clients) => clients,
        Err(e) => return report.error("clients", error_chain(&e)),
    };
    for client in &clients {
        let settings = &client.settings;
        if settings.asks_for_consent() && !settings.requires_consent {
            let text = format!(
                "[[clients]] {:?}: consent = false has no effect, because other programs could use \
                 its redirect URIs on loopback or with a scheme of an app",
                client.id
            );
            report.warning("clients", text);
        }
    }
    if !clients.is_empty() {
        report.ok_if_silent("clients", format!("{} in the file", clients.len()));
    }
}

/// Warns of an issuer of which OAuth clients know nothing, where there are any.
pub(super) fn check_issuer(config: &Config, has_clients: bool, report: &mut Report) {
    if let Some(risk) = config.issuer_risk()
        && has_clients
    {
        report.warning("clients", risk);
    }
}

/// Checks that all templates of the pages render in all languages, the operator's own too, and that
/// the accent can be read.
pub(super) fn check_pages(config: &Config, report: &mut Report) {
    if !config.pages.enabled {
        return;
    }
    let public_url = config.public_url(config.server.listen.port());
    let pages = open_composer(config, &public_url).and_then(|composer| {
        let pages = open_pages(config, &composer)?;
        pages.check().map_err(|e| StartError::new(e.to_string()))
    });
    if let Err(e) = pages {
        report.error("pages", error_chain(&e));
    }
    let accent = &config.branding.accent;
    if let Some(ratio) = contrast(accent, LIGHT_SURFACE)
        && ratio < READABLE
    {
        let text = format!(
            "[branding] accent {accent} is hard to read as a link: its contrast to white is \
             {ratio:.1}, less than {READABLE}; choose a darker colour"
        );
        report.warning("pages", text);
    }
    report.ok_if_silent("pages", "all templates render in all languages");
}

/// Checks that the configured certificate can be used now.
pub(super) fn check_certificate(config: &Config, now: Timestamp, report: &mut Report) {
    match server::check_certificate(&config.tls, now) {
        Ok(is_on) => {
            if is_on && let Some((cert, _)) = config.tls.files() {
                report.ok("tls", format!("{} is valid", cert.display()));
            }
        }
        Err(e) => report.error("tls", e),
    }
}
