//! The list `[[clients]]`.

use std::path::Path;

use super::Setup;

/// A file with one complete client.
const FILE: &str = "\
[[clients]]
id = \"grafana\"
name = \"Grafana\"
secret_file = \"/run/secrets/grafana\"
redirect_uris = [\"https://a.example/cb\", \"https://b.example/cb\"]
consent = false
access_minutes = 10
";

#[test]
fn clients_are_a_list_of_the_file() {
    let config = Setup::file(FILE).config();
    let [client] = &*config.clients else {
        panic!("one client: {:?}", config.clients);
    };
    assert_eq!(client.id, "grafana");
    let file = Path::new("/run/secrets/grafana");
    assert_eq!(client.secret_file.as_deref(), Some(file));
    assert!(config.named_files().iter().any(|named| named == file));
    let texts = |values: &[&str]| values.iter().map(|text| (*text).to_owned()).collect();
    let expected: Vec<(&str, Vec<String>)> = vec![
        ("name", texts(&["Grafana"])),
        (
            "redirect_uris",
            texts(&["https://a.example/cb", "https://b.example/cb"]),
        ),
        ("consent", texts(&["false"])),
        ("access_minutes", texts(&["10"])),
    ];
    assert_eq!(client.values, expected);
    let others = format!(
        "{FILE}{}[server]\nlisten = \"127.0.0.1:1\"\n",
        FILE.replace("grafana", "x")
    );
    assert_eq!(Setup::file(&others).config().clients.len(), 2);
}

#[test]
fn wrong_clients_are_errors_with_their_line() {
    for (file, expected) in [
        (
            "[[clients]]\n".to_owned(),
            "config.toml:1: [[clients]]: id: is missing: the client_id that",
        ),
        (
            "[[clients]]\nid = \"a\"\nname = \"A\"\n".to_owned(),
            "config.toml:1: [[clients]]: redirect_uris: is missing: where answers may be sent",
        ),
        (
            "[[clients]]\nredirect_uri = \"https://a.example/\"\n".to_owned(),
            "config.toml:2: [[clients]]: unknown setting \"redirect_uri\"; did you mean \"redirect_uris\"?",
        ),
        (
            "[[clients]]\nredirect_uris = \"https://a.example/\"\n".to_owned(),
            "config.toml:2: [[clients]]: redirect_uris: expected a list of strings",
        ),
        (
            "[[clients]]\naccess_minutes = \"5\"\n".to_owned(),
            "config.toml:2: [[clients]]: access_minutes: expected a whole number",
        ),
        (
            "[[clients]]\nconsent = 1\n".to_owned(),
            "config.toml:2: [[clients]]: consent: expected true or false",
        ),
        (
            "[clients]\nid = \"a\"\n".to_owned(),
            "[[clients]]: expected [[clients]], a list of clients",
        ),
        (
            FILE.repeat(2),
            "config.toml:9: [[clients]]: id: there is already a client \"grafana\": choose another id",
        ),
    ] {
        let error = Setup::file(&file).error();
        assert!(error.contains(expected), "{file}: {error}");
    }
}
