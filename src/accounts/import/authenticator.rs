//! The authenticator app of an imported account: its secret in the forms of other programs.

use super::{is_empty, read_moment};
use crate::crypto::totp::{self, SecretError, TotpSecret};
use crate::domain::{FieldReader, Fields, Timestamp};
use crate::store::ImportedTotp;

/// Longest secret as it is written, in characters: an otpauth URL can be long.
const LENGTH: usize = 1000;

/// The secret in base 32, or as an otpauth URL.
const SECRET: &str = "totp_secret";

/// The secret in hexadecimal digits, as django-otp stores it.
const HEX: &str = "totp_secret_hex";

const WRONG_SECRET: &str = "This is not a secret of an authenticator app. Expected 10 to 64 bytes \
                            in base 32, or an otpauth URL.";
const WRONG_HEX: &str = "This is not a secret of an authenticator app. Expected 10 to 64 bytes in \
                         hexadecimal digits.";
const WRONG_KIND: &str = "Only codes of 6 digits, every 30 seconds, by SHA-1 are supported. Leave it \
                          empty to import the account without an authenticator app.";

/// Reads the authenticator app of an account, if it has one. Without a time it was enrolled when the
/// account was created.
pub(super) fn read(
    reader: &mut FieldReader<'_>,
    fields: &Fields,
    account_created_at: Timestamp,
) -> Option<ImportedTotp> {
    let secret = read_secret(reader, fields);
    let created_at = read_moment(reader, fields, "totp_created_at");
    let last_used_at = read_moment(reader, fields, "totp_last_used_at");
    Some(ImportedTotp {
        secret: secret?.as_bytes().to_vec(),
        created_at: created_at.unwrap_or(account_created_at),
        last_used_at,
        used_step: last_used_at.map_or(0, totp::last_step_accepted_at),
    })
}

fn read_secret(reader: &mut FieldReader<'_>, fields: &Fields) -> Option<TotpSecret> {
    let text = reader.optional_text(SECRET, LENGTH);
    let hex = reader.optional_text(HEX, LENGTH);
    if !is_empty(fields, SECRET) {
        let text = text?;
        return match TotpSecret::parse(&text) {
            Ok(secret) => Some(secret),
            Err(SecretError::Invalid) => {
                reader.reject(SECRET, WRONG_SECRET);
                None
            }
            Err(SecretError::Unsupported) => {
                reader.reject(SECRET, WRONG_KIND);
                None
            }
        };
    }
    if is_empty(fields, HEX) {
        return None;
    }
    let secret = TotpSecret::parse_hex(&hex?);
    if secret.is_none() {
        reader.reject(HEX, WRONG_HEX);
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FieldErrors, parse_json_object};

    const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_000);

    fn read_from(json: &str) -> Result<Option<ImportedTotp>, FieldErrors> {
        let fields = parse_json_object(json.as_bytes()).unwrap();
        let mut reader = FieldReader::new(&fields);
        let totp = read(&mut reader, &fields, NOW);
        reader.finish()?;
        Ok(totp)
    }

    #[test]
    fn secrets_are_read_in_the_forms_of_other_programs() {
        let bytes = b"12345678901234567890".to_vec();
        for json in [
            r#"{"totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}"#,
            r#"{"totp_secret": "gezd gnbv-gy3t qojq gezd gnbv gy3t qojq===="}"#,
            r#"{"totp_secret": "", "totp_secret_hex": "3132333435363738393031323334353637383930"}"#,
        ] {
            let totp = read_from(json).unwrap().unwrap();
            assert_eq!((totp.secret, totp.used_step), (bytes.clone(), 0), "{json}");
        }
        for none in [
            "{}",
            r#"{"totp_secret": "", "totp_secret_hex": " ", "totp_last_used_at": ""}"#,
        ] {
            assert!(read_from(none).unwrap().is_none(), "{none}");
        }
    }

    #[test]
    fn other_secrets_are_refused_without_being_repeated() {
        let short = "A".repeat(15);
        let long = "A".repeat(104);
        for (field, value, message) in [
            (SECRET, "GEZDGNBVGY3TQOJ1GEZDGNBV", WRONG_SECRET),
            (SECRET, &short, WRONG_SECRET),
            (SECRET, &long, WRONG_SECRET),
            (SECRET, "otpauth:nothing", WRONG_KIND),
            (HEX, "31323334353637383930313233343536373839", ""),
            (HEX, "313233343536373839303132333435363738393", WRONG_HEX),
            (HEX, "3132333435", WRONG_HEX),
            (HEX, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", WRONG_HEX),
        ] {
            let read = read_from(&format!(r#"{{"{field}": "{value}"}}"#));
            let Err(errors) = read else {
                assert_eq!(message, "", "{value}");
                continue;
            };
            let errors: Vec<_> = errors.iter().collect();
            assert_eq!(errors, [(field, &[message.into()][..])], "{value}");
        }
    }

    #[test]
    fn code_that_was_used_elsewhere_does_not_work_here() {
        let totp = read_from(
            r#"{"totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "totp_last_used_at": "2024-12-03 12:00:05"}"#,
        );
        let totp = totp.unwrap().unwrap();
        // The code could have been of the step after that moment, at the latest.
        assert_eq!(totp.used_step, 1_733_227_200 / 30 + 1);
        assert_eq!(totp.created_at, NOW);
    }
}
