//! Reloading settings while the server runs.
//!
//! A new application is built completely from the new settings before it replaces the old one:
//! invalid settings change nothing. Requests in flight finish under the settings with which they
//! started.

use std::sync::Arc;

use super::Server;
use crate::accounts;
use crate::bootstrap::{StartError, apply_settings, open_file_clients, open_file_webhooks};
use crate::config::{Config, SettingInfo};

/// Settings that need a restart: what they configure is held for as long as the server runs.
const FIXED: [&str; 6] = [
    "server.listen",
    "metrics.listen",
    "database.path",
    "database.busy_timeout_ms",
    "database.read_connections",
    "media.dir",
];

/// The outcome of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// The settings that have changed.
    pub changed: Vec<&'static str>,
    /// The changed settings that need a restart.
    pub need_restart: Vec<&'static str>,
}

impl Server {
    /// Reloads the settings, the webhooks and the OAuth clients of the file. The certificate, mail
    /// templates and secret files are read again even when the settings are unchanged.
    ///
    /// # Errors
    /// When they are unusable; the text says why, and nothing has changed.
    pub async fn reload(&self, mut config: Config) -> Result<Reloaded, StartError> {
        let old = self.app();
        let is_tls_fixed = config.tls.is_on() != old.config.tls.is_on();
        let is_fixed = |setting: &SettingInfo| {
            FIXED.contains(&setting.name)
                || setting.section == "backup"
                || (setting.section == "dev" && setting.key != "fixed_otp")
                || (is_tls_fixed && setting.section == "tls")
        };
        let mut reloaded = Reloaded::default();
        for setting in config.differences(&old.config) {
            if is_fixed(setting) {
                config.copy_setting(setting, &old.config);
                reloaded.need_restart.push(setting.name);
            } else {
                reloaded.changed.push(setting.name);
            }
        }
        let webhooks = open_file_webhooks(&config)?;
        let clients = open_file_clients(&config)?;
        accounts::check_file_clients(&old, &clients)
            .await
            .map_err(StartError::at("[[clients]]"))?;
        let (app, sender) = apply_settings(&old, config, self.address.port()).await?;
        if let Some(tls) = &self.tls {
            tls.reload(&app.config.tls, app.clock.now())
                .map_err(StartError::new)?;
        }
        accounts::apply_file_webhooks(&app, &webhooks)
            .await
            .map_err(StartError::at("[[webhooks]]"))?;
        accounts::apply_file_clients(&app, &clients)
            .await
            .map_err(StartError::at("[[clients]]"))?;
        app.outbox.reload(sender);
        app.events.reload(app.webhook_sender.clone());
        self.current.set(Arc::new(app));
        Ok(reloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting;

    #[test]
    fn fixed_settings_exist() {
        for name in FIXED {
            assert!(setting(name).is_some(), "{name}");
        }
    }
}
