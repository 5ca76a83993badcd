//! How the value of a setting is checked, converted and written.
//!
//! A [`Rule`] turns a [`Raw`] value into the typed one and back. Does not know the settings
//! themselves, nor which layer a value comes from.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::raw::{Mismatch, Raw, Shape};
use super::values::{Secret, TextValue, is_one_line, is_path, is_smtp_url};

/// How the value of one setting is checked, read and written.
pub(super) trait Rule {
    /// The type of the field in `Config`.
    type Value;
    /// The type in TOML.
    const SHAPE: Shape;
    /// Whether the value must never be shown.
    const SECRET: bool = false;

    /// What a valid value looks like, to follow the word "expected".
    fn expected(&self) -> String;

    /// Checks a raw value of the right shape and turns it into the typed one.
    fn read(&self, raw: Raw) -> Result<Self::Value, Mismatch>;

    /// Turns the typed value back into a raw one.
    fn write(&self, value: &Self::Value) -> Raw;
}

/// The message for a raw value of another shape than the rule expects.
///
/// This is a bug in this module: both come from the same entry of the table.
fn wrong_shape(raw: &Raw) -> Mismatch {
    Mismatch(format!("{} of another type", raw.to_toml()))
}

/// A whole number between inclusive bounds.
pub(super) struct Whole {
    min: u32,
    max: u32,
}

pub(super) const fn whole(min: u32, max: u32) -> Whole {
    Whole { min, max }
}

impl Rule for Whole {
    type Value = u32;
    const SHAPE: Shape = Shape::Number;

    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn read(&self, raw: Raw) -> Result<u32, Mismatch> {
        let Raw::Number(number) = raw else {
            return Err(wrong_shape(&raw));
        };
        u32::try_from(number)
            .ok()
            .filter(|number| (self.min..=self.max).contains(number))
            .ok_or_else(|| Mismatch(number.to_string()))
    }

    fn write(&self, value: &u32) -> Raw {
        Raw::Number(i64::from(*value))
    }
}

/// True or false.
pub(super) struct Switch;

impl Rule for Switch {
    type Value = bool;
    const SHAPE: Shape = Shape::Switch;

    fn expected(&self) -> String {
        "true or false".to_owned()
    }

    fn read(&self, raw: Raw) -> Result<bool, Mismatch> {
        match raw {
            Raw::Switch(on) => Ok(on),
            other => Err(wrong_shape(&other)),
        }
    }

    fn write(&self, value: &bool) -> Raw {
        Raw::Switch(*value)
    }
}

/// Text that has to pass a check.
pub(super) struct Checked {
    expected: &'static str,
    is_right: fn(&str) -> bool,
}

pub(super) const fn checked(expected: &'static str, is_right: fn(&str) -> bool) -> Checked {
    Checked { expected, is_right }
}

impl Rule for Checked {
    type Value = String;
    const SHAPE: Shape = Shape::Text;

    fn expected(&self) -> String {
        self.expected.to_owned()
    }

    fn read(&self, raw: Raw) -> Result<String, Mismatch> {
        match raw {
            Raw::Text(text) if (self.is_right)(&text) => Ok(text),
            Raw::Text(text) => Err(Mismatch::text(&text)),
            other => Err(wrong_shape(&other)),
        }
    }

    fn write(&self, value: &String) -> Raw {
        Raw::Text(value.clone())
    }
}

/// The path of a file or directory, or nothing.
pub(super) struct OptionalPath {
    expected: &'static str,
}

/// A setting that is the path of something, such as "a file"; empty text means that it is not set.
pub(super) const fn optional_path(expected: &'static str) -> OptionalPath {
    OptionalPath { expected }
}

impl Rule for OptionalPath {
    type Value = Option<PathBuf>;
    const SHAPE: Shape = Shape::Text;

    fn expected(&self) -> String {
        format!("the path of {}, or nothing", self.expected)
    }

    fn read(&self, raw: Raw) -> Result<Option<PathBuf>, Mismatch> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            Raw::Text(text) if is_path(&text) => Ok(Some(text.into())),
            Raw::Text(text) => Err(Mismatch::text(&text)),
            other => Err(wrong_shape(&other)),
        }
    }

    fn write(&self, value: &Option<PathBuf>) -> Raw {
        let path = value.as_deref().map(Path::to_string_lossy);
        Raw::Text(path.unwrap_or_default().into_owned())
    }
}

/// A map of texts whose pairs have to pass a check.
pub(super) struct Map {
    expected: &'static str,
    is_right: fn(&str, &str) -> bool,
}

pub(super) const fn map(expected: &'static str, is_right: fn(&str, &str) -> bool) -> Map {
    Map { expected, is_right }
}

impl Rule for Map {
    type Value = BTreeMap<String, String>;
    const SHAPE: Shape = Shape::Map;

    fn expected(&self) -> String {
        self.expected.to_owned()
    }

    fn read(&self, raw: Raw) -> Result<Self::Value, Mismatch> {
        let Raw::Map(entries) = raw else {
            return Err(wrong_shape(&raw));
        };
        match entries
            .iter()
            .find(|(name, value)| !(self.is_right)(name, value))
        {
            Some((name, value)) => Err(Mismatch(format!(
                "{} for {}",
                Mismatch::text(value).0,
                Mismatch::text(name).0
            ))),
            None => Ok(entries),
        }
    }

    fn write(&self, value: &Self::Value) -> Raw {
        Raw::Map(value.clone())
    }
}

/// The URL of a mail server, which may contain a password, or nothing.
pub(super) struct SmtpUrl;

impl Rule for SmtpUrl {
    type Value = Secret<String>;
    const SHAPE: Shape = Shape::Text;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        "an SMTP URL such as smtps://user:password@mail.example.com (special characters as %XX), \
         or nothing"
            .to_owned()
    }

    fn read(&self, raw: Raw) -> Result<Secret<String>, Mismatch> {
        match raw {
            Raw::Text(text) if text.is_empty() || is_smtp_url(&text) => Ok(Secret::new(text)),
            // An invalid text may contain the password as well, so it is not quoted.
            _ => Err(Mismatch("another text".to_owned())),
        }
    }

    fn write(&self, value: &Secret<String>) -> Raw {
        Raw::Text(value.expose().clone())
    }
}

/// A secret text, or nothing.
pub(super) struct SecretText;

impl Rule for SecretText {
    type Value = Secret<String>;
    const SHAPE: Shape = Shape::Text;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        "text on one line, or nothing".to_owned()
    }

    fn read(&self, raw: Raw) -> Result<Secret<String>, Mismatch> {
        match raw {
            Raw::Text(text) if is_one_line(&text) => Ok(Secret::new(text)),
            _ => Err(Mismatch("another text".to_owned())),
        }
    }

    fn write(&self, value: &Secret<String>) -> Raw {
        Raw::Text(value.expose().clone())
    }
}

/// Fewest characters of a key encryption secret.
pub const MIN_KEY_SECRET_CHARS: usize = 32;

/// A secret that is long enough to encrypt keys with, or nothing.
pub(super) struct KeySecret;

impl Rule for KeySecret {
    type Value = Secret<String>;
    const SHAPE: Shape = Shape::Text;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        format!(
            "a random text of at least {MIN_KEY_SECRET_CHARS} characters (for example from \
             `openssl rand -base64 32`), or nothing"
        )
    }

    fn read(&self, raw: Raw) -> Result<Secret<String>, Mismatch> {
        match raw {
            Raw::Text(text)
                if text.is_empty()
                    || (is_one_line(&text) && text.chars().count() >= MIN_KEY_SECRET_CHARS) =>
            {
                Ok(Secret::new(text))
            }
            _ => Err(Mismatch("another text".to_owned())),
        }
    }

    fn write(&self, value: &Secret<String>) -> Raw {
        Raw::Text(value.expose().clone())
    }
}

/// Text with a type of its own.
pub(super) struct Parsed<T>(PhantomData<T>);

pub(super) const fn parsed<T>() -> Parsed<T> {
    Parsed(PhantomData)
}

impl<T: TextValue> Rule for Parsed<T> {
    type Value = T;
    const SHAPE: Shape = Shape::Text;

    fn expected(&self) -> String {
        T::EXPECTED.to_owned()
    }

    fn read(&self, raw: Raw) -> Result<T, Mismatch> {
        match raw {
            Raw::Text(text) => T::parse(&text).ok_or_else(|| Mismatch::text(&text)),
            other => Err(wrong_shape(&other)),
        }
    }

    fn write(&self, value: &T) -> Raw {
        Raw::Text(value.text())
    }
}

/// Text with a type of its own, where empty text means that the setting is not set.
pub(super) struct Maybe<T>(PhantomData<T>);

pub(super) const fn maybe<T>() -> Maybe<T> {
    Maybe(PhantomData)
}

impl<T: TextValue> Rule for Maybe<T> {
    type Value = Option<T>;
    const SHAPE: Shape = Shape::Text;

    fn expected(&self) -> String {
        format!("{}, or nothing", T::EXPECTED)
    }

    fn read(&self, raw: Raw) -> Result<Option<T>, Mismatch> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            other => parsed().read(other).map(Some),
        }
    }

    fn write(&self, value: &Option<T>) -> Raw {
        Raw::Text(value.as_ref().map(T::text).unwrap_or_default())
    }
}

/// A list of texts with a type of their own.
pub(super) struct Listed<T>(PhantomData<T>);

pub(super) const fn listed<T>() -> Listed<T> {
    Listed(PhantomData)
}

impl<T: TextValue> Rule for Listed<T> {
    type Value = Vec<T>;
    const SHAPE: Shape = Shape::List;

    fn expected(&self) -> String {
        format!("a list of {}", T::EXPECTED)
    }

    fn read(&self, raw: Raw) -> Result<Vec<T>, Mismatch> {
        match raw {
            Raw::List(items) => items
                .iter()
                .map(|item| T::parse(item).ok_or_else(|| Mismatch::text(item)))
                .collect(),
            other => Err(wrong_shape(&other)),
        }
    }

    fn write(&self, value: &Vec<T>) -> Raw {
        Raw::List(value.iter().map(T::text).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::{IpNetwork, MailTransportKind};
    use super::*;

    #[test]
    fn whole_numbers_have_bounds() {
        let rule = whole(1, 1440);
        assert_eq!(rule.expected(), "a whole number from 1 to 1440");
        assert_eq!(rule.read(Raw::Number(1)), Ok(1));
        assert_eq!(rule.read(Raw::Number(1440)), Ok(1440));
        for wrong in [0, 1441, -1, i64::MAX] {
            assert_eq!(
                rule.read(Raw::Number(wrong)),
                Err(Mismatch(wrong.to_string()))
            );
        }
    }

    #[test]
    fn empty_text_leaves_an_optional_setting_unset() {
        let rule = maybe::<MailTransportKind>();
        assert_eq!(rule.read(Raw::Text(String::new())), Ok(None));
        assert_eq!(
            rule.read(Raw::Text("smtp".into())),
            Ok(Some(MailTransportKind::Smtp))
        );
        assert_eq!(
            rule.read(Raw::Text("SMTP".into())),
            Err(Mismatch("\"SMTP\"".into()))
        );
    }

    #[test]
    fn the_invalid_item_of_a_list_is_named() {
        let items = vec!["10.0.0.0/8".into(), "10.0.0.0/33".into()];
        let wrong = listed::<IpNetwork>().read(Raw::List(items)).unwrap_err();
        assert_eq!(wrong, Mismatch("\"10.0.0.0/33\"".into()));
    }

    #[test]
    fn an_optional_path_is_none_when_empty() {
        let rule = optional_path("a file");
        assert_eq!(rule.expected(), "the path of a file, or nothing");
        assert_eq!(rule.read(Raw::Text(String::new())), Ok(None));
        let path = rule.read(Raw::Text("a/b.pem".into()));
        assert_eq!(path, Ok(Some(PathBuf::from("a/b.pem"))));
        assert_eq!(rule.write(&path.unwrap()), Raw::Text("a/b.pem".into()));
        assert!(rule.read(Raw::Text("a\0b".into())).is_err());
    }
}
