//! Tests of the list of external identity providers.

use std::path::PathBuf;

use super::Setup;
use crate::domain::{IdTokenAlgorithm, ProviderKind};

/// A file with one complete provider.
const PROVIDER: &str = r#"
[[social.providers]]
id = "company-id"
kind = "oidc"
name = "Company"
client_id = "accounts"
issuer = "https://login.example.com/"
"#;

#[test]
fn providers_are_a_list_of_the_file() {
    let setup = Setup::file(PROVIDER).env("ACCOUNTS_SOCIAL_COMPANY_ID_CLIENT_SECRET", "hunter2");
    let config = setup.config();
    let [provider] = &*config.social_providers else {
        panic!("one provider: {:?}", config.social_providers);
    };
    assert_eq!(provider.id, "company-id");
    assert_eq!(provider.kind, ProviderKind::Oidc);
    assert_eq!(provider.issuer, "https://login.example.com/");
    assert_eq!(provider.id_token_alg, IdTokenAlgorithm::Rs256);
    assert_eq!(provider.client_secret.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    let apple = r#"
[social]
redirect_uris = ["com.example.app:/signed-in"]

[[social.providers]]
id = "apple"
kind = "apple"
client_id = "com.example"
team_id = "T"
key_id = "K"
private_key_file = "/run/secrets/apple"
audiences = ["com.example.app"]
auto_link = true
"#;
    let config = Setup::file(apple).config();
    assert_eq!(config.named_files(), [PathBuf::from("/run/secrets/apple")]);
    assert_eq!(
        config.social.redirect_uris[0].as_str(),
        "com.example.app:/signed-in"
    );
    assert!(config.social_providers[0].auto_link);
}

/// A provider of the kind `google` with further settings.
fn google(more: &str) -> String {
    format!("[[social.providers]]\nid = \"g\"\nkind = \"google\"\nclient_id = \"c\"\n{more}\n")
}

/// Asserts that a file is refused for this reason, and that its secret is not shown.
#[track_caller]
fn assert_wrong(file: &str, expected: &str) {
    let error = Setup::file(file).error();
    assert!(error.contains(expected), "{file}: {error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn wrong_providers_are_errors_with_their_line() {
    for (file, expected) in [
        (
            "[social]\nproviders = 7\n".to_owned(),
            "config.toml:2: [[social.providers]]: expected [[social.providers]], a list of providers",
        ),
        (
            "[[social.providers]]\nid = \"Google\"\nkind = \"google\"\n".to_owned(),
            "config.toml:2: [[social.providers]]: id: expected up to 40 lower-case letters",
        ),
        (
            "[[social.providers]]\nid = \"g\"\nkind = \"gogle\"\n".to_owned(),
            "kind: expected one of google, github, apple, microsoft, oidc, got \"gogle\"; did you mean \
             \"google\"?",
        ),
        (
            "[[social.providers]]\nid = \"g\"\n".to_owned(),
            "config.toml:1: [[social.providers]]: kind: is missing: one of google",
        ),
        (
            "[[social.providers]]\nid = \"g\"\nkind = \"google\"\n".to_owned(),
            "client_id: is missing",
        ),
        (
            google(""),
            "[[social.providers]] \"g\" has no secret: set client_secret_file or ACCOUNTS_SOCIAL_G_CLIENT_SECRET",
        ),
        (
            google("client_secret = \"hunter2\"\nclient_secret_file = \"x\""),
            "[[social.providers]] \"g\" has two secrets: remove client_secret_file",
        ),
        (
            google("client_secret = [\"hunter2\"]"),
            "client_secret: expected a string, got something else",
        ),
        (
            google("clientsecret = \"hunter2\""),
            "unknown setting \"clientsecret\"; did you mean \"client_secret\"?",
        ),
        (
            google("issuer = \"accounts.google.com\""),
            "issuer: expected a URL without query and fragment",
        ),
        (
            google("scopes = \"openid\""),
            "scopes: expected a list of strings",
        ),
        (
            google("scopes = [\"email\"]"),
            "scopes: expected \"openid\" among them",
        ),
        (
            google("audiences = [\"a b\"]"),
            "audiences: expected texts without blanks, got \"a b\"",
        ),
        (
            google("id_token_alg = \"HS256\""),
            "id_token_alg: expected one of RS256, RS384, RS512, PS256",
        ),
        (
            google("id_token_alg = \"none\""),
            "id_token_alg: expected one of RS256",
        ),
    ] {
        assert_wrong(&file, expected);
    }
}

#[test]
fn settings_of_other_kinds_are_errors() {
    for (file, expected) in [
        (
            google("trust_email = true"),
            "config.toml:5: [[social.providers]]: trust_email: only a provider of the kind \"oidc\" has it",
        ),
        (
            google("trust_email = \"yes\""),
            "trust_email: expected true or false, got \"yes\"",
        ),
        (
            google("team_id = \"T\""),
            "team_id: only a provider of the kind \"apple\" has it",
        ),
        (
            google("").replace("google", "apple"),
            "private_key_file: is missing: the path of the AuthKey_….p8 file",
        ),
        (
            google("client_secret = \"x\"").replace("google", "apple"),
            "client_secret: Apple has none: the server makes it with private_key_file",
        ),
        (
            google("audiences = [\"x\"]").replace("google", "github"),
            "audiences: GitHub has no ID tokens: remove it",
        ),
        (
            google("").replace("google", "oidc"),
            "issuer: is missing: the provider's URL",
        ),
        (
            google("").replace("google", "oidc"),
            "name: is missing: what the button calls the provider",
        ),
        (
            format!("{PROVIDER}auto_link = true\n"),
            "config.toml:8: [[social.providers]]: auto_link: needs trust_email = true",
        ),
        (
            format!("{PROVIDER}{}", PROVIDER.replace("company-id", "company_id")),
            "id: there is already a provider \"company-id\": choose another id",
        ),
        (
            "[social]\nredirect_uris = [\"http://app.example.com/\"]\n".to_owned(),
            "config.toml:2: [social] redirect_uris: expected a list of redirect URIs such as",
        ),
    ] {
        assert_wrong(&file, expected);
    }
}
