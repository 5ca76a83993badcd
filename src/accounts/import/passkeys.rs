//! The passkeys of an imported account: a list of JSON objects, and the handle that they know it by.

use serde::Deserialize;

use super::json_lists::{malformed, objects_of};
use super::{is_empty, parse_moment};
use crate::accounts::factors::passkeys::{MOST_PASSKEYS, NAME_LENGTH, without_controls};
use crate::crypto::random;
use crate::crypto::webauthn::{
    Base64Url, CREDENTIAL_ID_BYTES, USER_HANDLE_BYTES, check_public_key, known_transports,
};
use crate::domain::{FieldReader, Fields, Timestamp, is_passkey_domain, trim};
use crate::store::{AccountPasskeys, Passkey, StoredPasskey};

/// The list.
pub(super) const PASSKEYS: &str = "passkeys";

/// The handle.
pub(super) const HANDLE: &str = "passkey_user_handle";

/// Name of a passkey that comes without one.
const UNNAMED: &str = "Passkey";

/// Longest text of a handle, in characters.
const HANDLE_LENGTH: usize = 200;

const NOT_A_LIST: &str = "Expected a list of JSON objects, as `export --with-secrets` writes it; in \
                          CSV the list as JSON text. Leave it empty to import the account without \
                          passkeys.";
const HANDLE_MISSING: &str = "Passkeys need the user handle that they were created with, or they do \
                              not sign in. Add it, or leave `passkeys` empty.";
const WRONG_HANDLE: &str = "This is not a user handle. Expected 1 to 64 bytes in base64url.";

/// A passkey as `export --with-secrets` writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    credential_id: Base64Url,
    public_key: Base64Url,
    #[serde(default)]
    sign_count: u32,
    rp_id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    transports: Option<Vec<String>>,
    #[serde(default)]
    aaguid: Option<String>,
    #[serde(default)]
    backup_eligible: bool,
    #[serde(default)]
    backed_up: bool,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    last_used_at: Option<String>,
}

/// Reads the passkeys of an account, if it has some. One without a time was added when the account
/// was created.
pub(super) fn read(
    reader: &mut FieldReader<'_>,
    fields: &Fields,
    account_created_at: Timestamp,
) -> Option<AccountPasskeys> {
    reader.pass(PASSKEYS);
    let handle = read_handle(reader, fields);
    if is_empty(fields, PASSKEYS) {
        return None;
    }
    let Some(records) = fields.get(PASSKEYS).and_then(objects_of) else {
        reader.reject(PASSKEYS, NOT_A_LIST);
        return None;
    };
    if records.is_empty() {
        return None;
    }
    if records.len() > MOST_PASSKEYS {
        let (count, most) = (records.len(), MOST_PASSKEYS);
        let text = format!("{count} passkeys, but an account has {most} at most. Leave some out.");
        reader.reject(PASSKEYS, text);
        return None;
    }
    if is_empty(fields, HANDLE) {
        reader.reject(HANDLE, HANDLE_MISSING);
    }
    let mut passkeys: Vec<StoredPasskey> = Vec::new();
    for (number, json) in (1..).zip(&records) {
        let read = read_passkey(json, account_created_at).and_then(|read| {
            let id = &read.passkey.credential_id;
            let is_new = passkeys.iter().all(|one| one.passkey.credential_id != *id);
            is_new.then_some(read).ok_or_else(|| {
                "the `credential_id` is that of one before. Leave one of the two out.".to_owned()
            })
        });
        match read {
            Ok(read) => passkeys.push(read),
            Err(reason) => reader.reject(PASSKEYS, format!("Passkey {number}: {reason}")),
        }
    }
    Some(AccountPasskeys {
        user_handle: handle?,
        passkeys,
    })
}

fn read_handle(reader: &mut FieldReader<'_>, fields: &Fields) -> Option<Vec<u8>> {
    let text = reader.optional_text(HANDLE, HANDLE_LENGTH);
    if is_empty(fields, HANDLE) {
        return None;
    }
    let handle = Base64Url::parse(&text?).map(|handle| handle.0);
    let handle = handle.filter(|handle| (1..=USER_HANDLE_BYTES).contains(&handle.len()));
    if handle.is_none() {
        reader.reject(HANDLE, WRONG_HANDLE);
    }
    handle
}

/// Reads one passkey, or says what is wrong with it.
fn read_passkey(json: &str, account_created_at: Timestamp) -> Result<StoredPasskey, String> {
    let record: Record = serde_json::from_str(json)
        .map_err(|e| malformed(&e, "docs/MFA.md has the form of a passkey."))?;
    let credential_id = record.credential_id.0;
    if !(1..=CREDENTIAL_ID_BYTES).contains(&credential_id.len()) {
        return Err(format!(
            "the `credential_id` has {} bytes. Expected 1 to {CREDENTIAL_ID_BYTES}.",
            credential_id.len()
        ));
    }
    let public_key = record.public_key.0;
    check_public_key(&public_key).map_err(|_| {
        "the `public_key` is not a COSE key of ES256, EdDSA or RS256. Leave the passkey out; its \
         owner can add a new one."
            .to_owned()
    })?;
    if !is_passkey_domain(&record.rp_id) {
        return Err(
            "the `rp_id` is not a domain. Expected one such as example.com, in lower case.".into(),
        );
    }
    if record.backed_up && !record.backup_eligible {
        return Err(
            "it is `backed_up` and not `backup_eligible`, which no authenticator says. Correct one \
             of the two."
                .into(),
        );
    }
    let name = without_controls(trim(record.name.as_deref().unwrap_or_default()));
    if name.chars().count() > NAME_LENGTH {
        return Err(format!(
            "the `name` has more than {NAME_LENGTH} characters. Shorten it."
        ));
    }
    let moment = |field: &str, text: Option<String>| {
        let text = text.filter(|text| !trim(text).is_empty());
        text.map(|text| {
            parse_moment(trim(&text)).ok_or_else(|| format!("`{field}`: {}", super::WRONG_MOMENT))
        })
        .transpose()
    };
    let created_at = moment("created_at", record.created_at)?;
    let last_used_at = moment("last_used_at", record.last_used_at)?;
    Ok(StoredPasskey {
        passkey: Passkey {
            id: random::id(),
            name: match name.as_str() {
                "" => UNNAMED.to_owned(),
                _ => name,
            },
            credential_id,
            rp_id: record.rp_id,
            transports: known_transports(record.transports.unwrap_or_default()),
            is_backed_up: record.backed_up,
            created_at: created_at.unwrap_or(account_created_at),
            last_used_at,
        },
        public_key,
        sign_count: record.sign_count,
        aaguid: read_aaguid(record.aaguid.as_deref())?,
        is_backup_eligible: record.backup_eligible,
    })
}

/// Reads the model of an authenticator, in base64url or as a UUID. Without it there are zeros, which
/// is what an authenticator says that does not tell.
fn read_aaguid(text: Option<&str>) -> Result<[u8; 16], String> {
    let Some(text) = text.map(trim).filter(|text| !text.is_empty()) else {
        return Ok([0; 16]);
    };
    let digits = text.replace('-', "");
    let bytes = match (text.len(), u128::from_str_radix(&digits, 16)) {
        (36, Ok(number)) if digits.len() == 32 => Some(number.to_be_bytes()),
        _ => Base64Url::parse(text).and_then(|bytes| bytes.0.try_into().ok()),
    };
    bytes.ok_or_else(|| {
        "the `aaguid` is not 16 bytes in base64url, nor a UUID. Leave it out if it is unknown."
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::webauthn::encode;
    use crate::domain::{FieldErrors, parse_json_object};

    const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_000);

    /// A key for EdDSA: key type OKP, its algorithm, curve Ed25519, 32 bytes.
    fn public_key() -> String {
        let head = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
        encode(&[&head[..], &[7; 32]].concat())
    }

    fn passkey() -> Value {
        json!({"credential_id": "AQID", "public_key": public_key(), "rp_id": "example.com"})
    }

    fn read_row(row: &Value) -> Result<Option<AccountPasskeys>, FieldErrors> {
        let fields = parse_json_object(row.to_string().as_bytes()).unwrap();
        let mut reader = FieldReader::new(&fields);
        let read = read(&mut reader, &fields, NOW);
        reader.finish()?;
        Ok(read)
    }

    fn row(passkeys: &Value) -> Value {
        json!({"passkeys": passkeys, "passkey_user_handle": "BAUG"})
    }

    #[test]
    fn passkeys_are_read_from_lists_and_from_json_text() {
        let list = json!([passkey()]);
        for form in [list.clone(), json!(list.to_string())] {
            let read = read_row(&row(&form)).unwrap().unwrap();
            assert_eq!(read.user_handle, [4, 5, 6]);
            let [stored] = &read.passkeys[..] else {
                panic!("{form}");
            };
            let passkey = &stored.passkey;
            assert_eq!(passkey.credential_id, [1, 2, 3]);
            assert_eq!((&*passkey.name, &*passkey.rp_id), (UNNAMED, "example.com"));
            assert_eq!((passkey.created_at, passkey.last_used_at), (NOW, None));
            assert_eq!((stored.sign_count, stored.aaguid), (0, [0; 16]));
        }
        for none in [json!([]), json!(""), Value::Null, json!("[]")] {
            assert_eq!(read_row(&row(&none)).unwrap(), None, "{none}");
        }
        assert_eq!(read_row(&json!({})).unwrap(), None);
    }

    #[test]
    fn all_members_of_a_passkey_are_read() {
        let mut whole = passkey();
        for (name, value) in [
            ("name", json!(" My\nphone ")),
            ("sign_count", json!(7)),
            ("transports", json!(["internal", "in valid"])),
            ("aaguid", json!("01020304-0506-0708-090a-0b0c0d0e0f10")),
            ("backup_eligible", json!(true)),
            ("backed_up", json!(true)),
            ("created_at", json!("2024-01-02T03:04:05Z")),
            ("last_used_at", json!("2024-12-03 12:00:00")),
        ] {
            whole[name] = value;
        }
        let read = read_row(&row(&json!([whole]))).unwrap().unwrap();
        let stored = &read.passkeys[0];
        let passkey = &stored.passkey;
        assert_eq!((&*passkey.name, stored.sign_count), ("My phone", 7));
        assert_eq!(passkey.transports, ["internal"]);
        assert_eq!(stored.aaguid[..3], [1, 2, 3]);
        assert!(stored.is_backup_eligible && passkey.is_backed_up);
        assert_eq!(passkey.created_at.to_string(), "2024-01-02T03:04:05Z");
        assert_eq!(passkey.last_used_at, Some(NOW));
    }

    #[test]
    fn wrong_passkeys_are_refused_with_what_to_do() {
        let with = |name: &str, value: Value| {
            let mut changed = passkey();
            changed[name] = value;
            row(&json!([changed]))
        };
        let without_key = json!({"credential_id": "AQID", "rp_id": "example.com"});
        for (row, field, text) in [
            (row(&json!("no list")), PASSKEYS, "Expected a list"),
            (row(&json!([1])), PASSKEYS, "Expected a list"),
            (row(&json!(5)), PASSKEYS, "Expected a list"),
            (
                row(&json!(vec![passkey(); 21])),
                PASSKEYS,
                "21 passkeys, but an account has 20",
            ),
            (
                row(&json!([passkey(), passkey()])),
                PASSKEYS,
                "Passkey 2: the `credential_id` is that of one before",
            ),
            (
                row(&json!([without_key])),
                PASSKEYS,
                "missing field `public_key`",
            ),
            (with("public_key", json!("AQID")), PASSKEYS, "COSE key"),
            (with("public_key", json!("?")), PASSKEYS, "docs/MFA.md"),
            (with("credential_id", json!("")), PASSKEYS, "has 0 bytes"),
            (with("sign_count", json!(-1)), PASSKEYS, "u32"),
            (with("signCount", json!(1)), PASSKEYS, "`signCount`"),
            (
                with("rp_id", json!("https://a.example")),
                PASSKEYS,
                "domain",
            ),
            (with("rp_id", json!("")), PASSKEYS, "domain"),
            (with("aaguid", json!("AQID")), PASSKEYS, "16 bytes"),
            (
                with("backed_up", json!(true)),
                PASSKEYS,
                "`backup_eligible`",
            ),
            (with("name", json!("x".repeat(65))), PASSKEYS, "Shorten it"),
            (
                with("created_at", json!("yesterday")),
                PASSKEYS,
                "`created_at`",
            ),
            (
                json!({"passkeys": [passkey()]}),
                HANDLE,
                "need the user handle",
            ),
            (
                json!({"passkeys": [passkey()], "passkey_user_handle": "a b"}),
                HANDLE,
                "1 to 64 bytes",
            ),
        ] {
            let errors = read_row(&row).expect_err(&row.to_string());
            let errors: Vec<_> = errors.iter().collect();
            assert!(
                errors.len() == 1 && errors[0].0 == field && errors[0].1[0].contains(text),
                "{row}: {errors:?}"
            );
        }
    }
}
