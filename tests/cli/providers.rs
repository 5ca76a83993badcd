//! `check` and the configuration of external identity providers.

use std::fs;
use std::path::Path;

use accounts_server::config::FileProvider;
use accounts_server::domain::ProviderKind;
use serde_json::json;

use crate::fake_provider::{CLIENT_SECRET, Endpoint, FakeProvider, Fault};
use crate::support::{Outcome, folder, run};

/// The entry of a provider in the configuration file.
fn entry(settings: &FileProvider) -> String {
    let mut lines = vec!["[[social.providers]]".to_owned()];
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!("{key} = {value:?}"));
        }
    };
    add("id", &settings.id);
    add("kind", settings.kind.as_str());
    add("name", &settings.name);
    add("client_id", &settings.client_id);
    add("client_secret", settings.client_secret.expose());
    add("issuer", &settings.issuer);
    add("team_id", &settings.team_id);
    add("key_id", &settings.key_id);
    if let Some(path) = &settings.private_key_file {
        add("private_key_file", path.to_str().unwrap());
    }
    lines.join("\n") + "\n"
}

fn check(dir: &Path, file: &str, more: &[&str]) -> Outcome {
    fs::write(dir.join("config.toml"), file).unwrap();
    let arguments = ["--config", "config.toml", "--db", "users.db", "check"];
    run(dir, &[&arguments, more].concat())
}

#[test]
fn check_asks_each_provider_whether_it_knows_this_server() {
    let dir = folder();
    let fakes = ProviderKind::ALL.map(FakeProvider::start);
    let ids = ProviderKind::ALL.map(ProviderKind::as_str);
    let file: String = fakes
        .iter()
        .zip(ids)
        .map(|(fake, id)| entry(&fake.settings(id)))
        .collect();
    let outcome = check(dir.path(), &file, &["--dev"]);
    for id in ids {
        let line = format!(
            "ok      providers: \"{id}\" answers; its redirect URI is \
             http://127.0.0.1:8000/api/v1/accounts/o/{id}/callback/"
        );
        assert!(outcome.stdout.contains(&line), "{line}: {outcome:?}");
    }
    // No code was spent, and nothing is shown that is secret.
    assert!(!outcome.stdout.contains(CLIENT_SECRET), "{outcome:?}");
    for (fake, kind) in fakes.iter().zip(ProviderKind::ALL) {
        let requests = if kind == ProviderKind::Github { 1 } else { 3 };
        assert_eq!(fake.received().len(), requests, "{kind}");
    }
}

#[test]
fn check_says_what_is_wrong_with_a_provider() {
    let dir = folder();
    let dir = dir.path();
    let fake = FakeProvider::start(ProviderKind::Oidc);
    let file = entry(&fake.settings("company"));
    let problem = |file: &str, arguments: &[&str]| {
        let outcome = check(dir, file, arguments);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        let start = "error   providers: ";
        let found = outcome
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("{outcome:?}")).to_owned()
    };
    let secret = format!("{CLIENT_SECRET:?}");
    let wrong = problem(&file.replace(&secret, "\"wrong\""), &["--dev"]);
    assert!(
        wrong.contains("\"company\": the token endpoint answers invalid_client"),
        "{wrong}"
    );
    assert!(
        wrong.contains("check client_id, and the secret or key"),
        "{wrong}"
    );
    let slash = file.replace(&fake.issuer(), &format!("{}/", fake.issuer()));
    let wrong = problem(&slash, &["--dev"]);
    assert!(wrong.contains("names the issuer"), "{wrong}");
    let wrong = problem(&file, &[]);
    assert!(wrong.contains("is loopback (RFC 1122)"), "{wrong}");
    fake.change(|it| it.key_set = Some(json!({"keys": []})));
    let wrong = problem(&file, &["--dev"]);
    assert!(wrong.contains("has an unusable key set"), "{wrong}");
    fake.change(|it| drop(it.faults.insert(Endpoint::Discovery, Fault::Close)));
    let wrong = problem(&file, &["--dev"]);
    assert!(
        wrong.contains("closed the connection without an answer"),
        "{wrong}"
    );
    let apple = FakeProvider::start(ProviderKind::Apple);
    let settings = apple.settings("apple");
    fs::write(settings.private_key_file.as_ref().unwrap(), "no key").unwrap();
    let wrong = problem(&entry(&settings), &["--dev"]);
    assert!(
        wrong.contains("[[social.providers]] \"apple\": private_key_file")
            && wrong.contains("PKCS #8"),
        "{wrong}"
    );
}

#[test]
fn secrets_of_providers_are_never_shown() {
    let dir = folder();
    let fake = FakeProvider::start(ProviderKind::Google);
    let file = entry(&fake.settings("google"));
    fs::write(dir.path().join("config.toml"), &file).unwrap();
    for arguments in [&["config", "show"][..], &["config", "show", "--json"]] {
        let all = [&["--config", "config.toml"], arguments].concat();
        let outcome = run(dir.path(), &all);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(!outcome.stdout.contains(CLIENT_SECRET), "{outcome:?}");
    }
}
