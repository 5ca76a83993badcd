//! Passkeys in `import` and `export`, with a soft authenticator that knows nothing of the move.

use std::path::Path;

use serde_json::{Value, json};

use crate::device::Authenticator;
use crate::import::{complaints, on_db};
use crate::support::{Running, create_user, folder};

const EMAIL: &str = "ada@example.com";
const URL: &str = "http://localhost:8000";
const SETTINGS: [&str; 6] = [
    "--db",
    "users.db",
    "--passwords-bcrypt-cost",
    "4",
    "--server-public-url",
    URL,
];
const EXPORT: [&str; 3] = ["export", "--with-password-hashes", "--with-secrets"];

/// Adds a passkey to a new account. Returns its device, which counts signatures.
fn account_with_passkey(dir: &Path) -> Authenticator {
    create_user(dir, EMAIL, &[]);
    let server = Running::start_with(dir, &SETTINGS);
    let access = server.sign_in(EMAIL);
    let post = |path: &str, body: &Value| {
        let (status, answer) = server.api("POST", path, Some(&access), body);
        assert!(matches!(status, 200 | 201), "{path}: {answer}");
        answer
    };
    let mut device = Authenticator::at(URL);
    device.counts = true;
    let options = post("passkeys/register/begin/", &json!({}));
    let credential = device.create(&options);
    let body = json!({"credential": credential, "name": "Phone"});
    post("passkeys/register/complete/", &body);
    assert_eq!(sign_in(&server, &mut device).0, 200);
    device
}

/// Signs in with a passkey alone.
fn sign_in(server: &Running, device: &mut Authenticator) -> (u16, Value) {
    let (status, options) = server.post("passkeys/login/begin/", &json!({}));
    assert_eq!(status, 200, "{options}");
    let credential = device.get(&options);
    let body = json!({"credential": credential, "session_id": options["session_id"]});
    server.post("passkeys/login/complete/", &body)
}

#[test]
fn passkeys_move_with_secrets_only() {
    let (one, other) = (folder(), folder());
    let mut device = account_with_passkey(one.path());
    for flags in [&["export"][..], &["export", "--with-password-hashes"]] {
        let exported = on_db(one.path(), flags, "").stdout;
        assert!(
            exported.contains(EMAIL) && !exported.contains("passkey"),
            "{exported}"
        );
    }
    let exported = on_db(one.path(), &EXPORT, "").stdout;
    let account: Value = serde_json::from_str(&exported).unwrap();
    let passkey = &account["passkeys"][0];
    assert_eq!(
        [
            &passkey["name"],
            &passkey["rp_id"],
            &passkey["sign_count"],
            &passkey["transports"],
            &passkey["aaguid"],
            &passkey["backup_eligible"],
            &passkey["backed_up"],
        ],
        [
            &json!("Phone"),
            &json!("localhost"),
            &json!(2),
            &json!(["internal", "hybrid"]),
            &json!("AAAAAAAAAAAAAAAAAAAAAA"),
            &json!(true),
            &json!(true),
        ]
    );
    assert!(passkey["last_used_at"].is_string(), "{passkey}");

    let outcome = on_db(
        other.path(),
        &["import", "--server-public-url", URL],
        &exported,
    );
    outcome.assert_done("imported 1, refused 0\n");
    let kept = "1 accounts keep their authenticator app or passkeys and are without recovery codes";
    assert!(outcome.stderr.contains(kept), "{outcome:?}");
    assert!(!outcome.stderr.contains("another domain"), "{outcome:?}");
    assert_eq!(on_db(other.path(), &EXPORT, "").stdout, exported);

    let server = Running::start_with(other.path(), &SETTINGS);
    let (status, answer) = sign_in(&server, &mut device);
    assert_eq!(status, 200, "{answer}");
    assert!(answer["access"].is_string(), "{answer}");
    // The counter came along, so a copy of the device is noticed.
    device.passkeys[0].count = 0;
    assert_eq!(sign_in(&server, &mut device).0, 401);
    let (status, answer) = server.post(
        "token/",
        &json!({"email": EMAIL, "password": crate::support::PASSWORD}),
    );
    assert_eq!(
        (status, &answer["methods"]),
        (401, &json!(["webauthn"])),
        "{answer}"
    );
}

#[test]
fn passkeys_of_other_domains_are_imported_with_a_warning() {
    let (one, other) = (folder(), folder());
    account_with_passkey(one.path());
    let exported = on_db(one.path(), &EXPORT, "").stdout;
    let elsewhere = ["import", "--passkeys-rp-id", "new.example"];
    let outcome = on_db(other.path(), &elsewhere, &exported);
    outcome.assert_done("imported 1, refused 0\n");
    let warning = "1 passkeys are of another domain than new.example";
    assert!(outcome.stderr.contains(warning), "{outcome:?}");
}

#[test]
fn passkeys_that_cannot_be_imported_refuse_their_row() {
    let (one, other) = (folder(), folder());
    account_with_passkey(one.path());
    let exported = on_db(one.path(), &EXPORT, "").stdout;
    let account: Value = serde_json::from_str(&exported).unwrap();
    let passkeys = account["passkeys"].clone();
    let row = |email: &str, handle: &Value, passkeys: &Value| {
        json!({"email": email, "passkey_user_handle": handle, "passkeys": passkeys}).to_string()
    };
    let handle = account["passkey_user_handle"].clone();
    let mut broken = passkeys.clone();
    broken[0]["public_key"] = json!("pQECAyYgASFYIA");
    let many = json!(vec![passkeys[0].clone(); 21]);
    let rows = [
        exported.trim_end().to_owned(),
        row("handle@example.com", &handle, &passkeys),
        row("id@example.com", &json!("BAUG"), &passkeys),
        row("key@example.com", &json!("BAUH"), &broken),
        row("many@example.com", &json!("BAUH"), &many),
        row("none@example.com", &Value::Null, &passkeys),
    ];
    let outcome = on_db(other.path(), &["import"], &rows.join("\n"));
    assert_eq!(outcome.stdout, "imported 1, refused 5\n", "{outcome:?}");
    let said = complaints(&outcome);
    let starts = [
        "line 2: passkey_user_handle: another account has this user handle. Leave it",
        "line 3: passkeys: Passkey 1: another account has a passkey with this `credential_id`.",
        "line 4: passkeys: Passkey 1: the `public_key` is not a COSE key",
        "line 5: passkeys: 21 passkeys, but an account has 20 at most.",
        "line 6: passkey_user_handle: Passkeys need the user handle",
    ];
    assert_eq!(said.len(), starts.len(), "{outcome:?}");
    for (line, start) in said.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
    // What was refused left nothing behind.
    assert_eq!(on_db(other.path(), &EXPORT, "").stdout, exported);
}

#[test]
fn passkeys_in_csv_are_json_text() {
    let (one, other) = (folder(), folder());
    let mut device = account_with_passkey(one.path());
    let exported = on_db(one.path(), &EXPORT, "").stdout;
    let account: Value = serde_json::from_str(&exported).unwrap();
    let quoted = account["passkeys"].to_string().replace('"', "\"\"");
    let handle = account["passkey_user_handle"].as_str().unwrap();
    let rows = format!(
        "email,passkey_user_handle,passkeys\n{EMAIL},{handle},\"{quoted}\"\nb@example.com,,\n"
    );
    on_db(other.path(), &["import"], &rows).assert_done("imported 2, refused 0\n");
    let server = Running::start_with(other.path(), &SETTINGS);
    assert_eq!(sign_in(&server, &mut device).0, 200);
}
