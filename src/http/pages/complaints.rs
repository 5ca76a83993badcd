//! The API's complaints about a field in the words of a page.
//!
//! The API speaks English as Django REST framework does, to the letter. A page says the same in
//! the reader's language; the table below ties each text of the API to a sentence in
//! `[complaint]` of the language files.

use crate::domain::messages;

/// The key of a sentence and the number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) key: &'static str,
    pub(super) number: Option<u64>,
}

/// Texts of the API, with `#` for a number, and the keys of their sentences.
const KNOWN: &[(&str, &str)] = &[
    ("This field is required.", "required"),
    ("This field may not be null.", "required"),
    ("This field may not be blank.", "blank"),
    (
        "Ensure this field has no more than # characters.",
        "too_long",
    ),
    ("Null characters are not allowed.", "null_character"),
    ("Enter a valid email address.", "email"),
    ("user with this email already exists.", "email_taken"),
    ("Enter a valid phone number.", "phone"),
    (
        "Date has wrong format. Use one of these formats instead: YYYY-MM-DD.",
        "date",
    ),
    ("Date of birth cannot be in the future.", "date_future"),
    ("The password is too similar to the email.", "similar_email"),
    (
        "The password is too similar to the first name.",
        "similar_first_name",
    ),
    (
        "The password is too similar to the last name.",
        "similar_last_name",
    ),
    (
        "This password is too short. It must contain at least # characters.",
        "too_short",
    ),
    (
        "This password is too short. It must contain at least # character.",
        "too_short",
    ),
    ("This password is too common.", "common"),
    ("This password is entirely numeric.", "numeric"),
    ("The two password fields didn't match.", "passwords_differ"),
    ("Invalid password.", "wrong_password"),
    ("Invalid or expired OTP.", "wrong_code"),
    ("Invalid code.", "wrong_factor"),
    ("Invalid credential.", "wrong_passkey"),
    ("Invalid or expired token.", "wrong_link"),
    (
        "The email address was restored recently and can be changed again in # hours.",
        "resting",
    ),
    (
        "The email address was restored recently and can be changed again in # hour.",
        "resting",
    ),
    ("Enter a valid URL.", "url"),
    ("This address is not reachable from here.", "unreachable"),
    ("This selection may not be empty.", "nothing_chosen"),
    (messages::WRONG_DATETIME, "moment"),
    (messages::CLIENT_EXISTS, "client_exists"),
    ("A valid integer is required.", "integer"),
    (
        "Ensure this value is greater than or equal to #.",
        "too_small",
    ),
    ("Ensure this value is less than or equal to #.", "too_large"),
    ("Ensure this field has no more than # elements.", "too_many"),
    (
        "The submitted data was not a file. Check the encoding type on the form.",
        "photo_type",
    ),
    ("The submitted file is empty.", "photo_empty"),
    (
        "Upload a valid image. The file you uploaded was either not an image or a corrupted image.",
        "photo_type",
    ),
];

impl Complaint {
    /// The sentence for a text of the API; a text that is not in the table gets a general one.
    pub(super) fn of(text: &str) -> Self {
        let (pattern, number) = without_number(text);
        let known = KNOWN
            .iter()
            .find(|(known, _)| *known == pattern || *known == text);
        let key = match known {
            Some((_, key)) => key,
            None if text.ends_with("is not a valid choice.") => "choice",
            None if text.starts_with("Redirect URI ") => "redirect_uri",
            None if text == messages::invalid_client_id() => "client_id",
            None => "other",
        };
        Self { key, number }
    }
}

/// The text with `#` for its first number, and that number.
fn without_number(text: &str) -> (String, Option<u64>) {
    let Some(start) = text.find(|c: char| c.is_ascii_digit()) else {
        return (text.to_owned(), None);
    };
    let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
    let end = start + digits;
    (
        format!("{}#{}", &text[..start], &text[end..]),
        text[start..end].parse().ok(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_api_have_sentences() {
        for (text, key, number) in [
            ("This field is required.", "required", None),
            (
                "Ensure this field has no more than 254 characters.",
                "too_long",
                Some(254),
            ),
            (
                "This password is too short. It must contain at least 8 characters.",
                "too_short",
                Some(8),
            ),
            ("\"X\" is not a valid choice.", "choice", None),
            ("\"7\" is not a valid choice.", "choice", Some(7)),
            ("Something new.", "other", None),
        ] {
            assert_eq!(Complaint::of(text), Complaint { key, number }, "{text}");
        }
    }
}
