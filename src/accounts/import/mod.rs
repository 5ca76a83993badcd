//! Imports accounts: what one of them has to be like, and handing them to the store.
//!
//! A row follows the rules of the API, except that it has a password hash instead of a password,
//! and timestamps that cannot be set there. Reading files is left to [`rows`].

mod authenticator;
mod columns;
mod identities;
mod json_lists;
mod lines;
mod passkeys;
pub(crate) mod rows;

pub(crate) use columns::Mapping;

use super::factors::seal_imported;
use super::sign_up::read_profile;
use super::{AccountError, operator};
use crate::app::App;
use crate::crypto::random;
use crate::domain::{FieldErrors, FieldReader, Fields, Input, Timestamp, UserId, messages, trim};
use crate::passwords;
use crate::store::{ImportRefusal, ImportSource, ImportedUser};

/// Highest id that an account may bring along, of fifteen digits. New accounts count on from the
/// highest one, and numbers beyond 2^53 are not exact in every JSON parser (RFC 8259, section 6).
const HIGHEST_ID: UserId = 999_999_999_999_999;

/// The start of the year 1, the earliest that can be formatted, in Unix milliseconds.
const FIRST_MOMENT: i64 = -62_135_596_800_000;

const NOT_AN_INTEGER: &str = "A valid integer is required.";
const ID_TOO_LOW: &str = "Ensure this value is greater than or equal to 1.";
const ID_TAKEN: &str = "another account has or had this id.";
const WRONG_MOMENT: &str = "Datetime has wrong format. Use one of these formats instead: \
                            YYYY-MM-DDThh:mm:ss[.uuuuuu][+HH:MM|-HH:MM|Z], YYYY-MM-DD hh:mm:ss.";
const UNKNOWN_HASH: &str = "This is not a known password hash. Leave it empty (or pass \
                            --unknown-hash=no-password) to import the account without a \
                            password; its owner then chooses one by a password reset.";

/// Longest language tag, in characters (RFC 5646, section 4.4.1).
const LANGUAGE_LENGTH: usize = 35;

/// Longest external id, in characters.
const EXTERNAL_ID_LENGTH: usize = 255;

const EXTERNAL_ID_TAKEN: &str = "another account has this external id.";
const PASSKEY_TAKEN: &str =
    "another account has a passkey with this `credential_id`. Leave it out.";
const HANDLE_TAKEN: &str = "another account has this user handle. Leave it and `passkeys` empty to \
                            import the account without them.";
const WRONG_LANGUAGE: &str = "Enter a language tag such as de or pt-BR.";

/// The fields that [`read_imported_user`] reads.
pub const IMPORTED_FIELDS: &[&str] = &[
    "id",
    "email",
    "password",
    "first_name",
    "last_name",
    "phone",
    "gender",
    "country",
    "address",
    "birthday",
    "is_active",
    "is_staff",
    "is_verified",
    "verified_at",
    "last_login",
    "created_at",
    "updated_at",
    "language",
    "external_id",
    "totp_secret",
    "totp_secret_hex",
    "totp_created_at",
    "totp_last_used_at",
    passkeys::PASSKEYS,
    passkeys::HANDLE,
    identities::IDENTITIES,
];

/// Reads an account of another system.
///
/// Only `email` is required. `password` is a hash of a known form; without one the account gets a
/// password that nothing matches. `is_verified` says whether the address counts as confirmed and
/// `verified_at` since when; each means "no" when it is empty, and an account with neither is
/// verified. Timestamps without a zone are UTC. `totp_secret` is the secret of an authenticator app,
/// and `passkeys` are known to it by `passkey_user_handle`. `identities` sign in by other providers.
///
/// # Errors
/// Names every wrong field at once.
pub fn read_imported_user(fields: &Fields, now: Timestamp) -> Result<ImportedUser, FieldErrors> {
    let mut reader = FieldReader::new(fields);
    let id = read_id(&mut reader, fields);
    let email = reader.required_email("email");
    let password_hash = read_hash(&mut reader, fields);
    let profile = read_profile(&mut reader, now);
    let is_active = reader.optional_bool("is_active").unwrap_or(true);
    let is_staff = reader.optional_bool("is_staff").unwrap_or(false);
    let is_verified = read_is_verified(&mut reader, fields);
    let verified_at = read_moment(&mut reader, fields, "verified_at");
    let last_login_at = read_moment(&mut reader, fields, "last_login");
    let created_at = read_moment(&mut reader, fields, "created_at").unwrap_or(now);
    let updated_at = read_moment(&mut reader, fields, "updated_at").unwrap_or(created_at);
    let language = read_language(&mut reader);
    let external_id = reader.optional_text("external_id", EXTERNAL_ID_LENGTH);
    let totp = authenticator::read(&mut reader, fields, created_at);
    let passkeys = passkeys::read(&mut reader, fields, created_at);
    let identities = identities::read(&mut reader, fields, created_at);
    let is_verified = is_verified.unwrap_or(match fields.get("verified_at") {
        Some(_) => verified_at.is_some(),
        None => true,
    });
    if !identities.is_empty() && !is_verified {
        reader.reject(identities::IDENTITIES, identities::NOT_VERIFIED);
    }
    reader.finish()?;
    let (Some(email), Some(password_hash)) = (email, password_hash) else {
        // Both are reported when they are missing, so the line above has returned.
        return Err(FieldErrors::one("email", messages::REQUIRED));
    };
    Ok(ImportedUser {
        id,
        email,
        password_hash,
        profile,
        is_active,
        is_staff,
        verified_at: is_verified.then(|| verified_at.unwrap_or(created_at)),
        last_login_at,
        created_at,
        updated_at,
        language,
        external_id: external_id.filter(|id| !id.is_empty()),
        totp,
        passkeys,
        identities,
    })
}

/// The language of an account's mails: a tag in the form of BCP 47 or nothing. One without mails
/// does no harm.
fn read_language(reader: &mut FieldReader<'_>) -> String {
    let Some(tag) = reader.optional_text("language", LANGUAGE_LENGTH) else {
        return String::new();
    };
    let is_subtag = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if tag.is_empty() || tag.split('-').all(is_subtag) {
        tag
    } else {
        reader.reject("language", WRONG_LANGUAGE);
        String::new()
    }
}

/// Describes why the store refused a row.
pub fn refused(refusal: ImportRefusal) -> FieldErrors {
    match refusal {
        ImportRefusal::EmailTaken => FieldErrors::one("email", messages::EMAIL_TAKEN),
        ImportRefusal::IdTaken => FieldErrors::one("id", ID_TAKEN),
        ImportRefusal::ExternalIdTaken => FieldErrors::one("external_id", EXTERNAL_ID_TAKEN),
        ImportRefusal::PasskeyTaken(number) => FieldErrors::one(
            passkeys::PASSKEYS,
            format!("Passkey {number}: {PASSKEY_TAKEN}"),
        ),
        ImportRefusal::IdentityTaken(number) => FieldErrors::one(
            identities::IDENTITIES,
            format!("Identity {number}: {}", identities::TAKEN),
        ),
        ImportRefusal::PasskeyHandleTaken => FieldErrors::one(passkeys::HANDLE, HANDLE_TAKEN),
    }
}

/// The lowest id that an import may choose. Call it once, before the first of several transactions.
///
/// # Errors
/// Only by a fault of the store.
pub async fn next_user_id(app: &App) -> Result<UserId, AccountError> {
    Ok(app.store.next_user_id().await?)
}

/// Imports the accounts of `source` in one transaction. Ids below `free_from` are refused.
///
/// # Errors
/// Only by a fault of the store; nothing of this transaction was imported then.
pub async fn import_users(
    app: &App,
    source: Box<dyn ImportSource>,
    free_from: UserId,
) -> Result<(), AccountError> {
    Ok(app
        .store
        .import_users(
            source,
            seal_imported(app),
            free_from,
            operator(app),
            app.clock.now(),
        )
        .await?)
}

/// Whether a value is absent, `null`, or an empty text.
fn is_empty(fields: &Fields, field: &str) -> bool {
    match fields.get(field) {
        None | Some(Input::Null) => true,
        Some(Input::Text(text)) => trim(text).is_empty(),
        Some(_) => false,
    }
}

fn read_id(reader: &mut FieldReader<'_>, fields: &Fields) -> Option<UserId> {
    reader.pass("id");
    if is_empty(fields, "id") {
        return None;
    }
    let Some(Input::Text(text) | Input::Number(text)) = fields.get("id") else {
        reader.reject("id", NOT_AN_INTEGER);
        return None;
    };
    match trim(text).parse::<UserId>() {
        Err(_) => reader.reject("id", NOT_AN_INTEGER),
        Ok(id) if id < 1 => reader.reject("id", ID_TOO_LOW),
        Ok(id) if id > HIGHEST_ID => reader.reject(
            "id",
            format!("Ensure this value is less than or equal to {HIGHEST_ID}."),
        ),
        Ok(id) => return Some(id),
    }
    None
}

/// Removes a password hash of an unknown form, and returns whether there was one.
pub(crate) fn drop_unknown_hash(fields: &mut Fields) -> bool {
    let is_unknown = match fields.get("password") {
        Some(Input::Text(hash)) => !trim(hash).is_empty() && !passwords::is_known(trim(hash)),
        _ => false,
    };
    if is_unknown {
        fields.insert("password".into(), Input::Null);
    }
    is_unknown
}

fn read_hash(reader: &mut FieldReader<'_>, fields: &Fields) -> Option<String> {
    reader.pass("password");
    if is_empty(fields, "password") {
        // Django marks an account without a usable password so.
        return Some(format!("!{}", random::id()));
    }
    let hash = match fields.get("password") {
        Some(Input::Text(hash)) => trim(hash),
        _ => "",
    };
    if !passwords::is_known(hash) {
        reader.reject("password", UNKNOWN_HASH);
        return None;
    }
    Some(hash.to_owned())
}

fn read_is_verified(reader: &mut FieldReader<'_>, fields: &Fields) -> Option<bool> {
    reader.pass("is_verified");
    if fields.contains("is_verified") && is_empty(fields, "is_verified") {
        return Some(false);
    }
    reader.optional_bool("is_verified")
}

fn read_moment(
    reader: &mut FieldReader<'_>,
    fields: &Fields,
    field: &'static str,
) -> Option<Timestamp> {
    reader.pass(field);
    if is_empty(fields, field) {
        return None;
    }
    let moment = match fields.get(field) {
        Some(Input::Text(text)) => parse_moment(trim(text)),
        _ => None,
    };
    if moment.is_none() {
        reader.reject(field, WRONG_MOMENT);
    }
    moment
}

/// Parses RFC 3339 and the forms in which databases write a timestamp: a blank instead of the `T`,
/// a zone of hours alone or none, which means UTC as Django stores it.
pub fn parse_moment(text: &str) -> Option<Timestamp> {
    // The parser below would ignore the name of a zone.
    if text.contains('[') {
        return None;
    }
    let moment = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let local: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(local).ok()
    })?;
    let millis = moment.as_millisecond();
    (millis >= FIRST_MOMENT).then(|| Timestamp::from_unix_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::parse_json_object;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_000);
    const HASH: &str = "pbkdf2_sha256$1$seasalt1$6nxmV+gGfodCDrskfcP3euWTjp3GPsMllkIhT30LHJU=";

    fn read(json: &str) -> Result<ImportedUser, FieldErrors> {
        read_imported_user(&parse_json_object(json.as_bytes()).unwrap(), NOW)
    }

    fn complaints(json: &str) -> String {
        let errors = read(json).err().expect(json);
        serde_json::to_string(&errors).unwrap()
    }

    #[test]
    fn email_is_enough() {
        let user = read(r#"{"email": "User@Example.com"}"#).unwrap();
        assert_eq!(user.email.as_str(), "User@example.com");
        assert!(user.password_hash.starts_with('!') && user.password_hash.len() > 30);
        assert_ne!(
            user.password_hash,
            read(r#"{"email": "a@example.com"}"#).unwrap().password_hash
        );
        assert_eq!(
            (user.id, user.is_active, user.is_staff),
            (None, true, false)
        );
        assert_eq!(
            (
                user.verified_at,
                user.last_login_at,
                user.created_at,
                user.updated_at
            ),
            (Some(NOW), None, NOW, NOW)
        );
    }

    #[test]
    fn all_fields_are_read() {
        let user = read(&format!(
            r#"{{"id": 7, "email": "a@example.com", "password": "{HASH}", "first_name": " Ada ", "last_name": "King",
                "phone": "+1 (234) 567-890", "gender": "F", "country": "GB", "address": "12 Square",
                "birthday": "1815-12-10", "is_active": "f", "is_staff": 1, "verified_at": "2020-01-02T03:04:05Z",
                "last_login": "2020-01-02 03:04:06", "created_at": "2019-01-01", "updated_at": "2020-02-01T00:00:00+02:00"}}"#
        ))
        .unwrap();
        assert_eq!((user.id, user.password_hash.as_str()), (Some(7), HASH));
        assert_eq!((user.is_active, user.is_staff), (false, true));
        let profile = &user.profile;
        assert_eq!(
            (
                &*profile.first_name,
                &*profile.phone,
                &*profile.gender,
                &*profile.country
            ),
            ("Ada", "+1234567890", "F", "GB")
        );
        assert_eq!(profile.birthday.unwrap().to_string(), "1815-12-10");
        assert_eq!(
            [
                user.verified_at,
                user.last_login_at,
                Some(user.created_at),
                Some(user.updated_at)
            ]
            .map(|moment| moment.unwrap().to_string()),
            [
                "2020-01-02T03:04:05Z",
                "2020-01-02T03:04:06Z",
                "2019-01-01T00:00:00Z",
                "2020-01-31T22:00:00Z"
            ]
        );
    }

    #[test]
    fn all_wrong_fields_are_reported() {
        assert_eq!(
            complaints(
                r#"{"updated_at": "yesterday", "id": "x", "email": "nobody", "password": "secret", "gender": "X",
                    "is_staff": "perhaps", "verified_at": 5}"#
            ),
            format!(
                r#"{{"id":["{NOT_AN_INTEGER}"],"email":["Enter a valid email address."],"password":["{UNKNOWN_HASH}"],"gender":["\"X\" is not a valid choice."],"is_staff":["Must be a valid boolean."],"verified_at":["{WRONG_MOMENT}"],"updated_at":["{WRONG_MOMENT}"]}}"#
            )
        );
        assert_eq!(complaints("{}"), r#"{"email":["This field is required."]}"#);
    }

    #[test]
    fn ids_are_bounded() {
        for (id, taken) in [
            ("1", true),
            ("\" 12 \"", true),
            ("999999999999999", true),
            ("1000000000000000", false),
            ("9223372036854775808", false),
            ("0", false),
            ("-1", false),
            ("1.5", false),
            ("true", false),
            ("[1]", false),
        ] {
            let user = read(&format!(r#"{{"email": "a@example.com", "id": {id}}}"#));
            assert_eq!(user.is_ok_and(|user| user.id.is_some()), taken, "{id}");
        }
        for id in ["null", "\"\""] {
            let user = read(&format!(r#"{{"email": "a@example.com", "id": {id}}}"#)).unwrap();
            assert_eq!(user.id, None, "{id}");
        }
    }

    #[test]
    fn email_is_verified_unless_a_field_says_no() {
        let at = r#""verified_at": "2020-01-01T00:00:00Z""#;
        for (fields, verified) in [
            (String::new(), true),
            (format!(", {at}"), true),
            (r#", "verified_at": null"#.into(), false),
            (r#", "verified_at": """#.into(), false),
            (r#", "is_verified": true"#.into(), true),
            (r#", "is_verified": "t", "verified_at": null"#.into(), true),
            (r#", "is_verified": false"#.into(), false),
            (format!(r#", "is_verified": 0, {at}"#), false),
            (r#", "is_verified": null"#.into(), false),
            (r#", "is_verified": """#.into(), false),
        ] {
            let user = read(&format!(r#"{{"email": "a@example.com"{fields}}}"#)).unwrap();
            assert_eq!(user.verified_at.is_some(), verified, "{fields}");
        }
    }

    #[test]
    fn timestamps_of_databases_are_read() {
        for (text, moment) in [
            ("2024-12-03T12:00:00Z", Some(1_733_227_200_000)),
            ("2024-12-03t12:00:00z", Some(1_733_227_200_000)),
            ("2024-12-03T14:00:00+02:00", Some(1_733_227_200_000)),
            ("2024-12-03 12:00:00", Some(1_733_227_200_000)),
            ("2024-12-03 12:00:00.123456", Some(1_733_227_200_123)),
            ("2024-12-03 12:00:00+00:00", Some(1_733_227_200_000)),
            ("2024-12-03 12:00:00.123456+00", Some(1_733_227_200_123)),
            ("2024-12-03 07:30:00-04:30", Some(1_733_227_200_000)),
            ("2024-12-03", Some(1_733_184_000_000)),
            ("0001-01-01 00:00:00", Some(FIRST_MOMENT)),
            ("0000-12-31 23:59:59", None),
            ("2024-12-03 12:00:00[Europe/Berlin]", None),
            ("2024-12-03 25:00:00", None),
            ("2024-02-30 12:00:00", None),
            ("12/03/2024", None),
            ("1733227200", None),
            ("now", None),
        ] {
            assert_eq!(
                parse_moment(text).map(Timestamp::unix_millis),
                moment,
                "{text}"
            );
        }
    }
}
