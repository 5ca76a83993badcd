//! The identities of an imported account: a list of JSON objects.

use serde::Deserialize;

use super::json_lists::{malformed, objects_of};
use super::{WRONG_MOMENT, is_empty, parse_moment};
use crate::accounts::external::MOST_IDENTITIES;
use crate::crypto::random;
use crate::domain::{FieldReader, Fields, Timestamp, trim};
use crate::store::{Identity, ProvenIdentity};

/// The list.
pub(super) const IDENTITIES: &str = "identities";

pub(super) const TAKEN: &str =
    "another account has this identity. Leave it out for one of the two.";

pub(super) const NOT_VERIFIED: &str = "An account whose address was never confirmed has no \
                                       identities. Leave them out, or import the account as verified.";

/// Longest issuer, subject, address or name, in characters.
const TEXT_LENGTH: usize = 255;

const NOT_A_LIST: &str = "Expected a list of JSON objects, as `export` writes it; in CSV the list as \
                          JSON text. Leave it empty to import the account without identities.";

const FORM: &str = "An identity has `provider`, `issuer` and `subject`, and may have `email`, `name`, \
                    `created_at` and `last_used_at`.";

/// An identity as `export` writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    provider: String,
    issuer: String,
    subject: String,
    #[serde(default)]
    email: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    last_used_at: Option<String>,
}

/// Reads the identities of an account. One without a time was connected when the account was created.
pub(super) fn read(
    reader: &mut FieldReader<'_>,
    fields: &Fields,
    account_created_at: Timestamp,
) -> Vec<Identity> {
    reader.pass(IDENTITIES);
    if is_empty(fields, IDENTITIES) {
        return Vec::new();
    }
    let Some(records) = fields.get(IDENTITIES).and_then(objects_of) else {
        reader.reject(IDENTITIES, NOT_A_LIST);
        return Vec::new();
    };
    if records.len() > MOST_IDENTITIES {
        let (count, most) = (records.len(), MOST_IDENTITIES);
        let text =
            format!("{count} identities, but an account has {most} at most. Leave some out.");
        reader.reject(IDENTITIES, text);
        return Vec::new();
    }
    let mut identities: Vec<Identity> = Vec::new();
    for (number, json) in (1..).zip(&records) {
        let read = read_identity(json, account_created_at).and_then(|read| {
            let names = |one: &Identity| (one.proven.issuer.clone(), one.proven.subject.clone());
            let is_new = identities.iter().all(|one| names(one) != names(&read));
            is_new.then_some(read).ok_or_else(|| {
                "issuer and subject are those of one before. Leave one of the two out.".to_owned()
            })
        });
        match read {
            Ok(read) => identities.push(read),
            Err(reason) => reader.reject(IDENTITIES, format!("Identity {number}: {reason}")),
        }
    }
    identities
}

/// Reads one identity, or says what is wrong with it.
fn read_identity(json: &str, account_created_at: Timestamp) -> Result<Identity, String> {
    let record: Record = serde_json::from_str(json).map_err(|e| malformed(&e, FORM))?;
    let text = |field: &str, text: &str| {
        if text.chars().count() > TEXT_LENGTH || text.contains(char::is_control) {
            return Err(format!(
                "the `{field}` has more than {TEXT_LENGTH} characters, or control characters. \
                 Correct it."
            ));
        }
        Ok(text.to_owned())
    };
    let required = |field: &str, value: &str| match value.is_empty() {
        true => Err(format!("the `{field}` is empty. {FORM}")),
        false => text(field, value),
    };
    let optional =
        |field: &str, value: Option<&String>| text(field, trim(value.map_or("", String::as_str)));
    let moment = |field: &str, text: Option<&String>| {
        let text = text.map(|text| trim(text)).filter(|text| !text.is_empty());
        text.map(|text| parse_moment(text).ok_or_else(|| format!("`{field}`: {WRONG_MOMENT}")))
            .transpose()
    };
    let created_at = moment("created_at", record.created_at.as_ref())?;
    Ok(Identity {
        id: random::id(),
        proven: ProvenIdentity {
            provider: required("provider", &record.provider)?,
            issuer: required("issuer", &record.issuer)?,
            subject: required("subject", &record.subject)?,
            email: optional("email", record.email.as_ref())?,
            name: optional("name", record.name.as_ref())?,
        },
        created_at: created_at.unwrap_or(account_created_at),
        last_used_at: moment("last_used_at", record.last_used_at.as_ref())?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{FieldErrors, parse_json_object};

    const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_000);

    fn read_row(identities: &Value) -> Result<Vec<Identity>, FieldErrors> {
        let row = json!({ "identities": identities }).to_string();
        let fields = parse_json_object(row.as_bytes()).unwrap();
        let mut reader = FieldReader::new(&fields);
        let read = read(&mut reader, &fields, NOW);
        reader.finish()?;
        Ok(read)
    }

    fn identity() -> Value {
        json!({"provider": "google", "issuer": "https://accounts.google.com", "subject": "7"})
    }

    #[test]
    fn identities_are_read_from_lists_and_from_json_text() {
        let mut whole = identity();
        whole["email"] = json!(" ann@example.com ");
        whole["created_at"] = json!("2024-01-02T03:04:05Z");
        let list = json!([identity(), {"provider": "x", "issuer": "i", "subject": "7"}]);
        for form in [list.clone(), json!(list.to_string())] {
            let read = read_row(&form).unwrap();
            assert_eq!(read.len(), 2, "{form}");
            assert_eq!(read[0].proven.subject, "7");
            assert_eq!((read[0].created_at, read[0].last_used_at), (NOW, None));
        }
        let read = read_row(&json!([whole])).unwrap();
        assert_eq!(read[0].proven.email, "ann@example.com");
        assert_eq!(read[0].created_at.to_string(), "2024-01-02T03:04:05Z");
        for none in [json!([]), json!(""), Value::Null] {
            assert_eq!(read_row(&none).unwrap(), [], "{none}");
        }
    }

    #[test]
    fn wrong_identities_are_refused_with_what_to_do() {
        let with = |name: &str, value: Value| {
            let mut changed = identity();
            changed[name] = value;
            json!([changed])
        };
        for (list, text) in [
            (json!("no list"), "Expected a list"),
            (json!([1]), "Expected a list"),
            (
                json!([identity(), identity()]),
                "Identity 2: issuer and subject",
            ),
            (json!([{"provider": "google"}]), "missing field `issuer`"),
            (with("subject", json!("")), "the `subject` is empty"),
            (with("sub", json!("7")), "`sub`"),
            (with("email", json!("x".repeat(256))), "more than 255"),
            (with("created_at", json!("yesterday")), "`created_at`"),
            (json!(vec![identity(); 21]), "21 identities"),
        ] {
            let errors = read_row(&list).expect_err(&list.to_string());
            let errors: Vec<_> = errors.iter().collect();
            assert!(
                errors.len() == 1 && errors[0].1[0].contains(text),
                "{list}: {errors:?}"
            );
        }
    }
}
