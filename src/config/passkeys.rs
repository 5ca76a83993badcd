//! What follows from the settings of passkeys and the public URL.

use super::risks::Risk;
use super::settings::Config;
use super::values::{AndroidApp, CorsOrigin, PasskeyOrigin, host};

impl Config {
    /// The domain that passkeys are bound to: the configured one, else the host of the public URL.
    pub fn passkey_rp_id(&self, public_url: &str) -> String {
        if self.passkeys.rp_id.is_empty() {
            host(public_url).unwrap_or_default()
        } else {
            self.passkeys.rp_id.clone()
        }
    }

    /// The origins of the pages and apps that may use passkeys.
    pub fn passkey_origins(&self, public_url: &str) -> Vec<String> {
        let apps = self.passkeys.android_apps.iter();
        let others = self.passkeys.origins.iter();
        let apps = others
            .filter(|origin| !origin.is_web())
            .map(|origin| origin.as_str().to_owned())
            .chain(apps.map(AndroidApp::origin));
        let mut origins = self.passkey_web_origins(public_url);
        origins.extend(apps);
        origins
    }

    /// The origins of the websites among them: that of the public URL and the configured ones.
    pub fn passkey_web_origins(&self, public_url: &str) -> Vec<String> {
        let own = CorsOrigin::of_url(public_url);
        let others = self
            .passkeys
            .origins
            .iter()
            .filter(|origin| origin.is_web());
        own.iter()
            .map(CorsOrigin::as_str)
            .chain(others.map(PasskeyOrigin::as_str))
            .map(str::to_owned)
            .collect()
    }

    /// Why browsers refuse passkeys on the pages at the public URL, if they do.
    pub(super) fn passkey_risk(&self, public_url: &str) -> Option<Risk> {
        let host = host(public_url)?;
        let rp_id = self.passkey_rp_id(public_url);
        let is_below = host == rp_id || host.ends_with(&format!(".{rp_id}"));
        (!is_below).then(|| Risk {
            subject: "passkeys",
            is_error: false,
            text: format!(
                "[passkeys] rp_id is {rp_id}, which is neither {host} nor a domain above it: \
                 browsers refuse passkeys at {public_url} unless \
                 https://{rp_id}/.well-known/webauthn lists it"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::TextValue;
    use super::*;

    #[test]
    fn domain_and_origin_are_those_of_the_public_url() {
        let mut config = Config::defaults(false);
        let url = "https://accounts.example.com:8443/x";
        assert_eq!(config.passkey_rp_id(url), "accounts.example.com");
        let own = "https://accounts.example.com:8443";
        assert_eq!(config.passkey_origins(url), [own]);
        assert_eq!(config.passkey_risk(url), None);

        config.passkeys.rp_id = "example.com".to_owned();
        let app = format!("com.example.app={}", vec!["00"; 32].join(":"));
        config.passkeys.android_apps = vec![AndroidApp::parse(&app).unwrap()];
        let other = PasskeyOrigin::parse("https://app.example.com").unwrap();
        config.passkeys.origins = vec![other];
        assert_eq!(config.passkey_rp_id(url), "example.com");
        assert_eq!(config.passkey_risk(url), None);
        let web = config.passkey_web_origins(url);
        assert_eq!(web, [own, "https://app.example.com"]);
        let all = config.passkey_origins(url);
        assert_eq!(&all[..2], web);
        assert!(
            all[2].starts_with("android:apk-key-hash:AAAA"),
            "{}",
            all[2]
        );

        for rp_id in ["other.example", "ple.com", "deep.accounts.example.com"] {
            config.passkeys.rp_id = rp_id.to_owned();
            let risk = config.passkey_risk(url).unwrap();
            assert!(risk.text.contains(rp_id), "{}", risk.text);
        }
    }
}
