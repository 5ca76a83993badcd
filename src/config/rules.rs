//! What one entry of the table of settings can ask of its value, and the common form between the layers and the types.
//!
//! Every layer hands over a [`Raw`]: a flag or environment variable as text that is read by the [`Shape`] of the setting,
//! the file as a TOML value that has to have that shape already. A [`Rule`] turns it into the typed value and back.
//! Deliberately does not know the settings themselves, nor which layer is being read.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use toml::de::DeValue;

use super::values::{Secret, TextValue, is_one_line, is_smtp_url};

/// The TOML type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// An integer.
    Number,
    /// A boolean.
    Switch,
    /// A string.
    Text,
    /// An array of strings; separated by commas in flags and environment variables.
    List,
    /// A table of strings; `name=value` separated by commas in flags and environment variables.
    Map,
}

/// A value of a known shape and yet unknown meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Number(i64),
    Switch(bool),
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// What was found instead of a right value, to follow the word "got".
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch(pub(super) String);

/// Longest piece of a wrong value that an error message repeats, in characters.
const SHOWN_CHARS: usize = 80;

impl Mismatch {
    pub(super) fn text(found: &str) -> Self {
        let shortened = match found.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &found[..end]),
            None => found.to_owned(),
        };
        Self(format!("{shortened:?}"))
    }
}

impl Raw {
    /// Reads a flag or environment variable. White space around numbers, switches and the items of lists is ignored.
    pub(super) fn from_text(shape: Shape, text: &str) -> Result<Self, Mismatch> {
        let mismatch = || Mismatch::text(text);
        match shape {
            Shape::Number => {
                let number = text.trim().parse().map_err(|_| mismatch())?;
                Ok(Self::Number(number))
            }
            Shape::Switch => parse_switch(text).map(Self::Switch).ok_or_else(mismatch),
            Shape::Text => Ok(Self::Text(text.to_owned())),
            Shape::List => {
                let items = text.split(',').map(str::trim);
                // A comma too many at the end or an empty text is no item of its own.
                let items = items.filter(|item| !item.is_empty());
                Ok(Self::List(items.map(str::to_owned).collect()))
            }
            Shape::Map => text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(|item| {
                    let (name, value) = item.split_once('=').ok_or_else(mismatch)?;
                    Ok((name.trim().to_owned(), value.trim().to_owned()))
                })
                .collect::<Result<_, _>>()
                .map(Self::Map),
        }
    }

    /// Reads a value of the file, which has to be of the right type: nothing is converted.
    pub(super) fn from_toml(shape: Shape, value: &DeValue<'_>) -> Result<Self, Mismatch> {
        match (shape, value) {
            (Shape::Number, DeValue::Integer(number)) => {
                i64::from_str_radix(number.as_str(), number.radix())
                    .map(Self::Number)
                    .map_err(|_| Mismatch(number.to_string()))
            }
            (Shape::Switch, DeValue::Boolean(on)) => Ok(Self::Switch(*on)),
            (Shape::Text, DeValue::String(text)) => Ok(Self::Text(text.to_string())),
            (Shape::List, DeValue::Array(items)) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Ok(text.to_string()),
                    other => Err(Mismatch(format!("{} in the list", describe(other)))),
                })
                .collect::<Result<_, _>>()
                .map(Self::List),
            (Shape::Map, DeValue::Table(entries)) => entries
                .iter()
                .map(|(name, value)| match value.get_ref() {
                    DeValue::String(text) => Ok((name.get_ref().to_string(), text.to_string())),
                    other => Err(Mismatch(format!(
                        "{} for {:?}",
                        describe(other),
                        name.get_ref()
                    ))),
                })
                .collect::<Result<_, _>>()
                .map(Self::Map),
            (Shape::Number | Shape::Switch, DeValue::String(text))
                if Self::from_text(shape, text).is_ok() =>
            {
                Err(Mismatch(format!("{text:?}, which needs no quotes")))
            }
            (Shape::List, DeValue::String(text)) => Err(Mismatch(format!(
                "{} without the brackets of a list",
                Mismatch::text(text).0
            ))),
            (_, other) => Err(Mismatch(describe(other))),
        }
    }

    /// The value as TOML.
    pub(super) fn to_toml(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::Text(text) => toml::Value::from(text.as_str()).to_string(),
            Self::List(items) => toml::Value::from(items.clone()).to_string(),
            Self::Map(entries) => {
                let entries: toml::Table = entries
                    .iter()
                    .map(|(name, value)| (name.clone(), value.as_str().into()))
                    .collect();
                toml::Value::from(entries).to_string()
            }
        }
    }

    /// The value as a flag or environment variable would give it.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Switch(on) => on.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(items) => items.join(","),
            Self::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"));
                entries.collect::<Vec<_>>().join(",")
            }
        }
    }
}

/// Reads a switch as flags and environment variables spell it: TOML's two words, and those that other programs take.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => Mismatch::text(text).0,
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// How the value of one setting is checked, read and written.
pub(super) trait Rule {
    /// The type of the field in `Config`.
    type Value;
    /// The type in TOML.
    const SHAPE: Shape;
    /// Whether the value must never be shown.
    const SECRET: bool = false;

    /// What a right value looks like, to follow the word "expected".
    fn expected(&self) -> String;

    /// Turns a raw value of the right shape into the typed one.
    fn read(&self, raw: Raw) -> Result<Self::Value, Mismatch>;

    /// The opposite of `read`.
    fn write(&self, value: &Self::Value) -> Raw;
}

/// A raw value of another shape than its rule asked for cannot be, since both come from the same entry of the table. The
/// message is for the case that this module has a mistake in it.
fn wrong_shape(raw: &Raw) -> Mismatch {
    Mismatch(format!("{} of another type", raw.to_toml()))
}

/// A whole number within bounds, both included.
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

/// Text that stays text and has to pass a check.
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

/// Texts by name, each pair of which has to pass a check.
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

/// The URL of a mail server, which holds a password, or nothing.
pub(super) struct SmtpUrl;

impl Rule for SmtpUrl {
    type Value = Secret<String>;
    const SHAPE: Shape = Shape::Text;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        "an SMTP URL such as smtps://user:password@mail.example.com (special characters as %XX), or nothing"
            .to_owned()
    }

    fn read(&self, raw: Raw) -> Result<Secret<String>, Mismatch> {
        match raw {
            Raw::Text(text) if text.is_empty() || is_smtp_url(&text) => Ok(Secret::new(text)),
            // Even the wrong text may hold the password, so it is not repeated.
            _ => Err(Mismatch("another text".to_owned())),
        }
    }

    fn write(&self, value: &Secret<String>) -> Raw {
        Raw::Text(value.expose().clone())
    }
}

/// A secret of any form, or nothing.
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

/// Fewest characters of a secret that keys are encrypted with.
pub const SHORTEST_KEY_SECRET: usize = 32;

/// A secret that is long enough to encrypt with, or nothing.
pub(super) struct KeySecret;

impl Rule for KeySecret {
    type Value = Secret<String>;
    const SHAPE: Shape = Shape::Text;
    const SECRET: bool = true;

    fn expected(&self) -> String {
        format!(
            "a random text of at least {SHORTEST_KEY_SECRET} characters (such as that of `openssl rand -base64 32`), or nothing"
        )
    }

    fn read(&self, raw: Raw) -> Result<Secret<String>, Mismatch> {
        match raw {
            Raw::Text(text)
                if text.is_empty()
                    || (is_one_line(&text) && text.chars().count() >= SHORTEST_KEY_SECRET) =>
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

/// Text with a type of its own, where empty text means that the setting is left to the program.
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

/// Any number of texts with a type of their own.
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
    use super::super::values::{MailTransportKind, ProxyNetwork};
    use super::*;

    #[test]
    fn text_is_read_by_the_shape_of_the_setting() {
        let read = Raw::from_text;
        assert_eq!(read(Shape::Number, " 12 "), Ok(Raw::Number(12)));
        assert_eq!(
            read(Shape::Number, "soon"),
            Err(Mismatch("\"soon\"".into()))
        );
        assert_eq!(read(Shape::Switch, "Off"), Ok(Raw::Switch(false)));
        assert_eq!(read(Shape::Switch, "1"), Ok(Raw::Switch(true)));
        assert_eq!(
            read(Shape::Switch, "maybe"),
            Err(Mismatch("\"maybe\"".into()))
        );
        assert_eq!(read(Shape::Text, " a "), Ok(Raw::Text(" a ".into())));
        assert_eq!(
            read(Shape::List, "a, b,"),
            Ok(Raw::List(vec!["a".into(), "b".into()]))
        );
        assert_eq!(read(Shape::List, ""), Ok(Raw::List(vec![])));
    }

    #[test]
    fn whole_numbers_keep_their_bounds() {
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
    fn empty_text_leaves_an_optional_setting_to_the_program() {
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
    fn the_wrong_item_of_a_list_is_named() {
        let items = vec!["10.0.0.0/8".into(), "10.0.0.0/33".into()];
        let wrong = listed::<ProxyNetwork>().read(Raw::List(items)).unwrap_err();
        assert_eq!(wrong, Mismatch("\"10.0.0.0/33\"".into()));
    }

    #[test]
    fn long_wrong_values_are_cut() {
        let shown = Mismatch::text(&"ä".repeat(500)).0;
        assert_eq!(shown.chars().count(), SHOWN_CHARS + 3);
    }
}
