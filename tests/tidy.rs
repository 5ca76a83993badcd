//! The invariants of docs/ARCHITECTURE.md as tests, and documents that agree with the program.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use accounts_server::config::{Config, Sources, load};
use accounts_server::domain::{WEBHOOK_TEST, WebhookEventType};
use accounts_server::store::sqlite::{SqliteOptions, SqliteStore};
use rusqlite::Connection;

/// The root of the package.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder, with their paths as seen from the package.
fn files_below(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            // What npm has installed is not ours.
            if path.ends_with("node_modules") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(root()).unwrap();
                files.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    assert!(!files.is_empty(), "{folder}");
    files.sort();
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Whether a file is a Rust source.
fn is_source(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

/// Lines of the sources that are not comments: file, number, text.
fn code() -> Vec<(String, usize, String)> {
    files_below("src")
        .into_iter()
        .filter(|file| is_source(file))
        .flat_map(|file| {
            let text = read(&file);
            let lines: Vec<_> = text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
                .map(|(number, line)| (file.clone(), number + 1, line.to_owned()))
                .collect();
            lines
        })
        .collect()
}

/// Whether a line contains a whole word.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        !line[..start].ends_with(is_part) && !line[start + word.len()..].starts_with(is_part)
    })
}

/// Asserts that lines with this property are in these places alone.
#[track_caller]
fn only_in(places: &[&str], what: &str, is_there: impl Fn(&str) -> bool) {
    let strays: Vec<String> = code()
        .into_iter()
        .filter(|(file, _, _)| !places.iter().any(|place| file.starts_with(place)))
        .filter(|(_, _, line)| is_there(line))
        .map(|(file, number, line)| format!("{file}:{number}: {}", line.trim()))
        .collect();
    assert!(
        strays.is_empty(),
        "{what} belongs into {places:?}, but is also in\n{}",
        strays.join("\n")
    );
}

#[test]
fn drivers_and_frameworks_stay_in_their_modules() {
    for word in ["rusqlite", "r2d2", "r2d2_sqlite"] {
        only_in(&["src/store/sqlite/"], word, |line| has_word(line, word));
    }
    only_in(&["src/store/postgres/"], "tokio_postgres", |line| {
        has_word(line, "tokio_postgres")
    });
    for word in ["warp", "hyper", "hyper_util", "tower_service"] {
        let places = ["src/http/", "src/server/", "src/outbound/"];
        only_in(&places, word, |line| has_word(line, word));
    }
    only_in(&["src/crypto/tokens/"], "jsonwebtoken", |line| {
        has_word(line, "jsonwebtoken")
    });
    only_in(&["src/passwords/"], "bcrypt", |line| {
        has_word(line, "bcrypt") && line.contains("::")
    });
    only_in(&["src/mail/", "src/config/"], "lettre", |line| {
        has_word(line, "lettre")
    });
    only_in(&["src/cli/", "src/config/arguments.rs"], "clap", |line| {
        has_word(line, "clap")
    });
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is one table of rules")]
fn dependencies_point_one_way() {
    // Below each folder, only these modules of the crate are named.
    for (folder, known) in [
        ("src/domain/", &["domain"][..]),
        ("src/clock.rs", &["domain"]),
        ("src/crypto/random.rs", &["domain"]),
        ("src/crypto/tokens/", &["crypto", "domain"]),
        ("src/passwords/", &["domain", "fair_queue", "passwords"]),
        ("src/limits/", &["domain"]),
        ("src/photos/", &["domain", "fair_queue", "photos"]),
        ("src/fair_queue.rs", &[]),
        ("src/crypto/sealing.rs", &[]),
        ("src/observability/metrics/", &["domain"]),
        (
            "src/backup/",
            &[
                "clock",
                "config",
                "domain",
                "observability",
                "output",
                "photos",
                "store",
            ],
        ),
        ("src/observability/request_id.rs", &["crypto"]),
        (
            "src/observability/readiness.rs",
            &["clock", "domain", "store"],
        ),
        ("src/crypto/keyring.rs", &["crypto", "domain"]),
        (
            "src/delivery/",
            &[
                "clock",
                "crypto",
                "domain",
                "mail",
                "observability",
                "outbound",
                "store",
                "webhooks",
            ],
        ),
        ("src/output.rs", &[]),
        ("src/mail/", &["domain", "outbound", "output", "templates"]),
        ("src/outbound/", &["clock", "domain"]),
        (
            "src/webhooks/",
            &["crypto", "domain", "outbound", "store", "webhooks"],
        ),
        (
            "src/providers/",
            &[
                "clock",
                "crypto",
                "domain",
                "observability",
                "outbound",
                "providers",
            ],
        ),
        ("src/templates/", &["templates"]),
        ("src/config/", &["domain"]),
        // Only the engine knows time and metrics; see the test of the traits below.
        ("src/store/", &["clock", "domain", "observability", "store"]),
        (
            "src/accounts/",
            &[
                "accounts",
                "app",
                "backup",
                "crypto",
                "delivery",
                "domain",
                "limits",
                "mail",
                "observability",
                "otp_codes",
                "outbound",
                "passwords",
                "photos",
                "providers",
                "store",
                "webhooks",
            ],
        ),
        ("src/links.rs", &["domain"]),
        // The table of connections knows neither sockets nor HTTP.
        ("src/server/state.rs", &["domain", "observability"]),
        ("src/server/table.rs", &["domain", "observability"]),
        ("src/server/stream.rs", &[]),
        ("src/server/tls.rs", &["config", "domain"]),
        // Only `app` and `accounts` know how requests are served; `http` does not know the server.
        (
            "src/http/",
            &[
                "accounts",
                "app",
                "clock",
                "config",
                "crypto",
                "dev",
                "domain",
                "http",
                "limits",
                "links",
                "mail",
                "observability",
                "outbound",
                "photos",
                "providers",
                "store",
                "templates",
                "webhooks",
            ],
        ),
        (
            "src/otp_codes.rs",
            &["crypto", "delivery", "domain", "links", "mail", "store"],
        ),
    ] {
        let strays: Vec<String> = code()
            .into_iter()
            .filter(|(file, _, _)| file.starts_with(folder))
            .filter(|(_, _, line)| {
                line.match_indices("crate::").any(|(start, text)| {
                    // `pub(in crate::…)` is a visibility and not a dependency.
                    let named = &line[start + text.len()..];
                    !named.starts_with('{')
                        && !line[..start].ends_with("pub(in ")
                        && !known
                            .iter()
                            .any(|known| has_word(named, known) && named.starts_with(known))
                })
            })
            .map(|(file, number, line)| format!("{file}:{number}: {}", line.trim()))
            .collect();
        assert!(
            strays.is_empty(),
            "{folder} may name {known:?} only:\n{}",
            strays.join("\n")
        );
    }
    for file in ["src/server/state.rs", "src/server/table.rs"] {
        for word in ["TcpStream", "TlsStream", "hyper", "http"] {
            let strays = code()
                .into_iter()
                .filter(|(other, _, line)| other == file && has_word(line, word));
            assert_eq!(strays.count(), 0, "{file} knows {word}");
        }
    }
    let places = ["src/http/", "src/server/", "src/outbound/"];
    only_in(&places, "the crate http", |line| {
        line.trim_start().starts_with("use http::") || line.contains(" http::")
    });
}

/// The paths in a tree of imports: `a::{b, c::d}` names `a::b` and `a::c::d`.
fn named_paths(tree: &str) -> Vec<String> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let end = tree.find(|c| !is_name(c)).unwrap_or(tree.len());
    let (name, rest) = tree.split_at(end);
    let Some(rest) = rest.strip_prefix("::") else {
        return vec![name.to_owned()];
    };
    let Some(list) = rest.strip_prefix('{') else {
        let inner = named_paths(rest);
        return inner.iter().map(|path| format!("{name}::{path}")).collect();
    };
    let mut depth = 1;
    let mut entries = vec![String::new()];
    for c in list.chars() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        match c {
            _ if depth == 0 => break,
            ',' if depth == 1 => entries.push(String::new()),
            c => entries.last_mut().unwrap().push(c),
        }
    }
    let inner = entries.iter().flat_map(|entry| named_paths(entry.trim()));
    inner.map(|path| format!("{name}::{path}")).collect()
}

/// The files of the crate that a source names, by `crate::` and `super::`.
fn imports(file: &str, sources: &BTreeSet<String>) -> BTreeSet<String> {
    let text = without_tests(file);
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//") && !line.contains("pub(in "))
        .collect::<Vec<_>>()
        .join("\n");
    let own = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut own: Vec<&str> = own.split('/').collect();
    own.pop_if(|last| *last == "mod");
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::"] {
        for (index, _) in code.match_indices(start) {
            if code[..index].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            for path in named_paths(&code[index..]) {
                let mut module = own.clone();
                let mut names = path.split("::").peekable();
                if names.next_if_eq(&"crate").is_some() {
                    module.clear();
                }
                while names.next_if_eq(&"super").is_some() {
                    module.pop();
                }
                module.extend(names);
                // The longest path that is a file; what follows are items in it.
                let file = (1..=module.len()).rev().find_map(|length| {
                    let stem = format!("src/{}", module[..length].join("/"));
                    [format!("{stem}.rs"), format!("{stem}/mod.rs")]
                        .into_iter()
                        .find(|file| sources.contains(file))
                });
                found.extend(file);
            }
        }
    }
    found
}

#[test]
fn files_of_different_folders_import_each_other_in_no_circle() {
    let sources: BTreeSet<String> = files_below("src")
        .into_iter()
        .filter(|file| is_source(file))
        .collect();
    let graph: BTreeMap<&String, BTreeSet<String>> = sources
        .iter()
        .map(|file| (file, imports(file, &sources)))
        .collect();
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 500);
    let reached: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|file| {
            let mut seen = BTreeSet::new();
            let mut pending = vec![*file];
            while let Some(next) = pending.pop() {
                pending.extend(graph[next].iter().filter(|file| seen.insert(*file)));
            }
            (*file, seen)
        })
        .collect();
    let folder = |file: &String| Path::new(file).parent().map(Path::to_owned);
    for (file, others) in &reached {
        for other in others {
            let is_circle = reached[other].contains(file) && folder(file) != folder(other);
            assert!(!is_circle, "{file} and {other} import each other");
        }
    }
}

#[test]
fn domain_knows_neither_files_nor_requests() {
    for file in files_below("src/domain") {
        let text = without_tests(&file);
        for word in [
            "std::fs",
            "std::io",
            "std::env",
            "http",
            "tokio",
            "Response",
            "Instant",
            "SystemTime",
        ] {
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                // `http` is a scheme of URLs too; the crate is named with a path.
                let is_scheme = word == "http" && !line.contains("http::");
                assert!(
                    !has_word(line, word) || is_scheme,
                    "{file} knows {word}: {line}"
                );
            }
        }
    }
}

/// Whether a source belongs to an engine.
fn is_engine(file: &str) -> bool {
    file.starts_with("src/store/sqlite/") || file.starts_with("src/store/postgres/")
}

#[test]
fn store_traits_know_domain_values_alone() {
    let traits = files_below("src/store")
        .into_iter()
        .filter(|file| is_source(file) && !is_engine(file));
    for file in traits {
        let text = read(&file);
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for word in ["metrics", "observability", "crypto", "serde_json", "log"] {
                assert!(!has_word(line, word), "{file} knows {word}: {line}");
            }
        }
    }
    only_in(
        &[
            "src/store/sqlite/",
            "src/store/postgres/",
            "src/store/moving.rs",
            "src/bootstrap.rs",
        ],
        "the name of an engine",
        |line| has_word(line, "SqliteStore") || has_word(line, "PostgresStore"),
    );
}

/// The methods of the storage traits in the text of a file.
fn operations(text: &str) -> impl Iterator<Item = &str> {
    let traits = text.split("\npub trait ").skip(1);
    let traits = traits.filter_map(|text| text.split_once("Store {\n"));
    let bodies = traits.filter_map(|(_, text)| text.split("\n}").next());
    bodies.flat_map(str::lines).filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ")?.split('(').next()
    })
}

#[test]
fn every_store_operation_has_a_test() {
    let tests = files_below("tests/store");
    let tests: String = tests.iter().map(|file| read(file)).collect();
    let traits = files_below("src/store");
    let traits = traits.iter().filter(|file| file.matches('/').count() == 2);
    let mut count = 0;
    for file in traits {
        for operation in operations(&read(file)) {
            count += 1;
            assert!(
                tests.contains(&format!(".{operation}(")),
                "{file}: no file in tests/store calls {operation}"
            );
        }
    }
    assert!(count > 150, "{count} operations were found");
}

/// The part of a source before its unit tests.
fn without_tests(file: &str) -> String {
    let text = read(file);
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].to_owned()
}

#[test]
fn accounts_build_no_urls() {
    for file in files_below("src/accounts")
        .into_iter()
        .filter(|file| is_source(file))
    {
        let text = without_tests(&file);
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for part in ["\"/api", "/api/v1", "://", "public_url"] {
                assert!(!line.contains(part), "{file} has {part}: {line}");
            }
        }
    }
}

#[test]
fn sql_stays_in_the_store() {
    for keyword in [
        "SELECT ",
        "INSERT INTO",
        "DELETE FROM",
        "PRAGMA ",
        "CREATE TABLE",
        "BEGIN IMMEDIATE",
    ] {
        only_in(&["src/store/"], keyword, |line| line.contains(keyword));
    }
    only_in(&["src/store/"], "UPDATE … SET", |line| {
        line.contains("UPDATE ") && line.contains(" SET ")
    });
}

#[test]
fn statements_use_neither_clock_nor_randomness() {
    let texts = files_below("src/store")
        .into_iter()
        // The engine compares the clock of the database with that of the machine.
        .filter(|file| !file.starts_with("src/store/postgres/"))
        .chain(["schema.sql".to_owned()]);
    for file in texts {
        let text = read(&file).to_lowercase();
        for function in [
            "current_timestamp",
            "current_date",
            "current_time",
            "datetime(",
            "date('now'",
            "strftime(",
            "julianday(",
            "unixepoch(",
            "random()",
            "randomblob(",
        ] {
            assert!(!text.contains(function), "{file} has {function}");
        }
    }
    only_in(&["src/clock.rs"], "the time", |line| {
        line.contains("SystemTime::now") || line.contains("Instant::now")
    });
    only_in(&["src/crypto/random.rs"], "randomness", |line| {
        // The trait `CryptoRng` is passed on, not a source.
        has_word(line, "rand") && line.contains("rand::") && !line.contains("rand::CryptoRng")
    });
}

/// The schema of a database: type, name and SQL of each object.
fn schema_of(connection: &Connection) -> Vec<(String, String, String)> {
    let mut statement = connection
        .prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name")
        .unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn new_database_has_the_schema_of_schema_sql() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.db").to_str().unwrap().to_owned();
    let options = SqliteOptions {
        durable: true,
        path: path.clone(),
        busy_timeout: std::time::Duration::from_secs(5),
        read_connections: 1,
        writes_per_commit: 128,
        cache_mib: 2,
    };
    drop(SqliteStore::open(&options).unwrap());
    let written = Connection::open_in_memory().unwrap();
    written.execute_batch(&read("schema.sql")).unwrap();
    let expected = schema_of(&written);
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(schema_of(&Connection::open(path).unwrap()), expected);
}

#[test]
fn example_file_has_the_defaults() {
    let sources = Sources {
        file: Some(root().join("config.toml.example")),
        ..Sources::default()
    };
    let (config, warnings) = load(&sources).unwrap();
    assert_eq!(config, Config::defaults(false));
    assert_eq!(warnings, Vec::<String>::new());
}

/// What the reference says of webhooks in the file.
const WEBHOOK_LIST: &str = "\
\nThe file can have webhooks, which are changed there alone; the server follows it at each start and\n\
reload ([WEBHOOKS.md](WEBHOOKS.md#manage)):\n\n\
```toml\n\
[[webhooks.endpoints]]\n\
name = \"crm\"\n\
url = \"https://crm.example.com/hooks\"\n\
events = [\"user.*\", \"session.reuse_detected\"]\n\
payload = \"full\"\n\
secret_file = \"/run/secrets/crm\"\n\
```\n\n\
`name` has letters, digits, hyphens and underscores; the webhook of a name stays the same when its URL\n\
changes. `payload` is optional. The secret, `whsec_` and the output of `openssl rand -base64 32`, is in\n\
`secret_file`, in `secret`, or in the variable `ACCOUNTS_WEBHOOKS_CRM_SECRET`; another one is a\n\
rotation. In a file without a section `[webhooks]`, `[[webhooks]]` means the same.\n";

/// What the reference says of external identity providers.
const PROVIDER_LIST: &str = "\
\nThe providers are a list in the file ([SIGN_IN_WITH_OTHERS.md](SIGN_IN_WITH_OTHERS.md)):\n\n\
```toml\n\
[[social.providers]]\n\
id = \"google\"\n\
kind = \"google\"\n\
client_id = \"1234567890-abc.apps.googleusercontent.com\"\n\
client_secret_file = \"/run/secrets/google\"\n\
```\n\n\
| key | meaning |\n\
| --- | --- |\n\
| `id` | Names the provider in URLs and in stored identities, so it stays the same. Up to 40 lower-case letters, digits, hyphens and underscores. |\n\
| `kind` | `google`, `github`, `apple`, `microsoft` or `oidc`. |\n\
| `client_id` | The id that the provider has given to this server. |\n\
| `name` | What users see. Required for `oidc`. |\n\
| `client_secret`, `client_secret_file` | The secret that belongs to it, or the file that has it; or the variable `ACCOUNTS_SOCIAL_GOOGLE_CLIENT_SECRET` for the id `google`. Apple has none; for `oidc` it is optional. |\n\
| `issuer` | The provider's URL, exactly as its `/.well-known/openid-configuration` has it. Required for `oidc`; for `microsoft` it names the tenant; for `github` it is the base URL of a GitHub Enterprise server. |\n\
| `scopes` | What is asked for, instead of name and address. With `openid`, except for `github`. |\n\
| `audiences` | Client ids of one's own apps that send ID tokens to `o/<id>/token/`. Without any, none are accepted. |\n\
| `id_token_alg` | The algorithm of its ID tokens: `RS256` (the default), `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384` or `EdDSA`. |\n\
| `trust_email` | `oidc` only: whether its `email_verified` is believed. |\n\
| `auto_link` | Whether an identity is connected to the account that has its trusted address, without asking its owner. Off by default. |\n\
| `team_id`, `key_id`, `private_key_file` | `apple` only: the team, and the key that signs for it. |\n";

/// What the reference says of OAuth clients in the file.
const CLIENT_LIST: &str = "\
\n## `[[clients]]`: OAuth clients\n\n\
Applications in which users sign in with their account here ([OPENID_PROVIDER.md](OPENID_PROVIDER.md)).\n\
Those of the file are changed there alone; the server follows it at each start and reload:\n\n\
```toml\n\
[[clients]]\n\
id = \"grafana\"\n\
name = \"Grafana\"\n\
secret_file = \"/run/secrets/grafana\"\n\
redirect_uris = [\"https://grafana.example.com/login/generic_oauth\"]\n\
consent = false\n\
```\n\n\
| key | default | meaning |\n\
| --- | --- | --- |\n\
| `id` | | Its `client_id`: up to 100 letters, digits and `-._~`. The client of an id stays the same; one that is gone from the file is removed with its sessions. |\n\
| `name` | | What users see. |\n\
| `secret_file` | none | File with its secret, at least 32 random characters. Without one the client is public. |\n\
| `redirect_uris` | | Where answers may be sent: `https`; `http` on `127.0.0.1`, `[::1]` (on any port) and `localhost`; or a scheme of an app such as `com.example.app:/callback`. They have to match exactly. |\n\
| `post_logout_redirect_uris` | none | Where browsers may be sent after signing out. |\n\
| `scopes` | `openid`, `profile`, `email` | What it may ask for, of `openid`, `profile`, `email`, `phone`, `address` and `offline_access`. |\n\
| `consent` | `true` | Whether users are asked the first time; `false` for applications of your own. Clients on loopback or with a scheme of their own ask in any case. |\n\
| `id_token_alg` | `RS256` | The algorithm that signs its tokens: `RS256`, `ES256` or `EdDSA`. |\n\
| `access_minutes` | `5` | Lifetime of access and ID tokens, up to 1440. |\n\
| `refresh_days` | `30` | Lifetime of an unused refresh token, up to 365. |\n\
| `session_days` | `365` | Maximum age of sessions with the scope `offline_access`, up to 3650. |\n\
| `staff_only` | `false` | Whether staff alone may sign in there. |\n\
| `require_mfa` | `false` | Whether users need a second factor to sign in there. |\n";

/// The reference of all settings, as `docs/CONFIGURATION.md` has it.
fn settings_reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Nothing has to be configured: without settings the server listens on `127.0.0.1:8000`, keeps its\n\
         data in `users.db` and prints mails. Every setting can be given in three ways; a flag overrides\n\
         the environment, the environment overrides the file, and the file overrides the default.\n\n\
         | way | `[tokens] access_minutes` as an example |\n\
         | --- | --- |\n\
         | flag | `--tokens-access-minutes 10` |\n\
         | environment variable | `ACCOUNTS_TOKENS_ACCESS_MINUTES=10` |\n\
         | TOML file, named by `--config FILE` or `ACCOUNTS_CONFIG` | `access_minutes = 10` below `[tokens]` |\n\n\
         Lists are separated by commas in flags and variables. Relative paths start at the working\n\
         directory. [config.toml.example](../config.toml.example) is a file with every default to start\n\
         from. `--dev` changes defaults only. SIGHUP reloads the file; the log says which settings need a\n\
         restart. An unknown key or a bad value is an error that names file and line, with exit status 2.\n\n\
         This page is generated from the settings of the program; a test keeps it current.\n",
    );
    for section in accounts_server::config::settings().chunk_by(|a, b| a.section == b.section) {
        page.push_str(&format!(
            "\n## `[{}]`: {}\n\n| setting | default | meaning |\n| --- | --- | --- |\n",
            section[0].section, section[0].heading
        ));
        for setting in section {
            let mut default = match setting.default_text.as_str() {
                "" => "empty".to_owned(),
                text => format!("`{text}`"),
            };
            if let Some(dev) = &setting.dev_default_text {
                default.push_str(&format!("; `{dev}` with `--dev`"));
            }
            let mut meaning = setting.help.replace('|', "\\|");
            if let Some(range) = setting.expected.strip_prefix("a whole number ") {
                meaning.push_str(&format!(" A whole number {range}."));
            }
            let flag = format!("{}-{}", setting.section, setting.key).replace('_', "-");
            if setting.flag != flag {
                meaning.push_str(&format!(" Flag: `--{}`.", setting.flag));
            }
            page.push_str(&format!("| `{}` | {default} | {meaning} |\n", setting.key));
        }
        if section[0].section == "webhooks" {
            page.push_str(WEBHOOK_LIST);
        }
        if section[0].section == "social" {
            page.push_str(PROVIDER_LIST);
        }
    }
    page.push_str(CLIENT_LIST);
    page
}

#[test]
fn settings_reference_is_current() {
    let file = "docs/CONFIGURATION.md";
    let expected = settings_reference();
    if fs::read_to_string(root().join(file)).ok().as_deref() != Some(expected.as_str()) {
        let current = root().join("target/CONFIGURATION.md");
        fs::write(&current, expected).unwrap();
        panic!(
            "{file} is out of date: replace it with {}",
            current.display()
        );
    }
}

#[test]
fn events_of_webhooks_are_documented() {
    let page = read("docs/WEBHOOKS.md");
    let rows = page.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("| `")?.split_once("` |")?;
        name.contains('.').then_some(name)
    });
    let types = WebhookEventType::ALL.iter().map(|event| event.as_str());
    assert_eq!(
        rows.collect::<Vec<_>>(),
        types.chain([WEBHOOK_TEST]).collect::<Vec<_>>()
    );
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect::<String>()
        .to_lowercase()
}

#[test]
fn links_between_documents_work() {
    let mut documents: Vec<String> = files_below("docs")
        .into_iter()
        .filter(|file| Path::new(file).extension().is_some_and(|e| e == "md"))
        .collect();
    documents.extend(
        [
            "README.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "examples/README.md",
        ]
        .map(str::to_owned),
    );
    let mut broken = Vec::new();
    for file in &documents {
        let text = read(file);
        let targets = text.split("](").skip(1).filter_map(|rest| {
            let target = rest.split(')').next()?;
            (!target.contains("://")).then(|| target.replace('\n', ""))
        });
        for target in targets {
            let (path, fragment) = target.split_once('#').unwrap_or((&target, ""));
            let path = match path {
                "" => root().join(file),
                path => root().join(file).parent().unwrap().join(path),
            };
            let works = path.exists()
                && (fragment.is_empty()
                    || fs::read_to_string(&path).is_ok_and(|text| {
                        text.lines()
                            .filter_map(|line| line.strip_prefix('#'))
                            .any(|line| anchor(line.trim_start_matches('#').trim()) == fragment)
                    }));
            if !works {
                broken.push(format!("{file}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn settings_in_the_readme_exist() {
    let readme = read("README.md");
    let known: Vec<&str> = accounts_server::config::settings()
        .iter()
        .map(|setting| setting.env.as_str())
        .collect();
    let names = readme
        .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
        .filter(|word| word.starts_with("ACCOUNTS_"))
        .filter(|word| !["ACCOUNTS_CONFIG", "ACCOUNTS_DEV"].contains(word));
    for name in names {
        assert!(known.contains(&name), "{name}");
    }
}

#[test]
fn every_module_has_a_module_comment() {
    for file in files_below("src")
        .into_iter()
        .chain(files_below("tests"))
        .filter(|file| is_source(file))
    {
        assert!(
            read(&file).starts_with("//! "),
            "{file} does not start with a module comment"
        );
    }
}

/// A dependency that slips into a profile is ignored with a warning at each build.
#[test]
fn build_profiles_have_nothing_but_settings() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for (profile, settings) in manifest["profile"].as_table().unwrap() {
        let Some(packages) = settings.get("package") else {
            continue;
        };
        for (package, settings) in packages.as_table().unwrap() {
            for setting in settings.as_table().unwrap().keys() {
                let is_known = matches!(setting.as_str(), "opt-level" | "debug");
                assert!(is_known, "{setting} of {package} in the profile {profile}");
            }
        }
    }
}

#[test]
fn texts_are_clean() {
    let single = [
        "README.md",
        "CHANGELOG.md",
        "Cargo.toml",
        "clippy.toml",
        "schema.sql",
        "config.toml.example",
    ];
    let files = ["src", "tests", "docs"]
        .iter()
        .flat_map(|folder| files_below(folder));
    for file in files.chain(single.map(str::to_owned)) {
        let Ok(text) = fs::read_to_string(root().join(&file)) else {
            continue; // A picture, for example.
        };
        for (number, line) in text.lines().enumerate() {
            // Control characters, and bidirectional and zero-width marks, which turn or hide text.
            let hidden = line.chars().find(|c| {
                c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
            });
            assert_eq!(hidden, None, "{file}:{}", number + 1);
            for place in [
                concat!("/wo", "rk/"),
                concat!("/ro", "ot/"),
                concat!("/ho", "me/"),
            ] {
                assert!(
                    !line.contains(place),
                    "{file}:{} names a path of one machine: {line}",
                    number + 1
                );
            }
            assert!(
                !line.ends_with(' '),
                "{file}:{} ends with a blank",
                number + 1
            );
        }
    }
}

#[test]
fn tests_named_in_the_security_page_exist() {
    let page = read("docs/SECURITY.md");
    let mut named = 0;
    for word in page.split('`').skip(1).step_by(2) {
        let Some((file, test)) = word.split_once("::") else {
            continue;
        };
        let text = read(&format!("tests/{file}.rs"));
        let is_there = text.contains(&format!("#[test]\nfn {test}() {{"));
        assert!(is_there, "{word} is not a test");
        named += 1;
    }
    assert!(named > 40, "{named}");
}

/// Words and phrases that readers of the field stumble over, with what to write instead.
const AVOIDED: &[(&str, &str)] = &[
    ("anew", "\"again\" or \"re-\""),
    ("asker", "\"requester\""),
    ("begun", "\"started\""),
    ("by and by", "\"gradually\""),
    ("doer", "\"actor\""),
    ("figures", "\"metrics\" or what they are"),
    ("is no", "\"is not a\""),
    ("lies", "\"is stored\" or \"is\""),
    ("mend", "\"fix\""),
    ("of late", "\"recent\""),
    ("so many", "\"this number of\""),
    ("take over", "\"import\" or \"reload\""),
    ("taken over", "\"imported\" or \"reloaded\""),
    ("takes over", "\"imports\" or \"reloads\""),
    ("there and back", "\"round trip\""),
    ("told", "\"reported\" or \"notified\""),
    ("what somebody has", "the thing itself"),
    ("whoever", "who it is: \"the client\", \"the owner\""),
    ("wish", "\"request\""),
];

#[test]
fn texts_use_the_terms_of_the_field() {
    let documents = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "config.toml.example",
        "schema.sql",
    ]
    .map(str::to_owned);
    let files = ["src", "docs", "tests", "benches", "contrib", "examples"]
        .iter()
        .flat_map(|folder| files_below(folder))
        .filter(|file| file != "tests/tidy.rs" && !file.starts_with("tests/schemas/"));
    let mut found = Vec::new();
    for file in files.chain(documents) {
        let Ok(text) = fs::read_to_string(root().join(&file)) else {
            continue; // A picture, for example.
        };
        // Lists of passwords and the like are data.
        if ![
            "rs", "md", "toml", "example", "html", "js", "css", "py", "sh", "sql", "yml", "json",
        ]
        .iter()
        .any(|extension| file.ends_with(&format!(".{extension}")))
        {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            let lower = lower
                .replace("there is no ", "")
                .replace("is no longer", "");
            for (phrase, instead) in AVOIDED {
                if has_word(&lower, phrase) {
                    found.push(format!(
                        "{file}:{}: write {instead} instead of \"{phrase}\": {}",
                        number + 1,
                        line.trim()
                    ));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
