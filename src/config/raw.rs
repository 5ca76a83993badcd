//! The common form of a setting between the layers (flags, environment, file) and its typed value.
//!
//! A flag or environment variable is text, parsed by the [`Shape`] of the setting. A value of the
//! file has to have that shape already.

use std::collections::BTreeMap;

use toml::de::DeValue;

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

/// A value of a known TOML type that its rule has not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    Number(i64),
    Switch(bool),
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// What was found instead of a valid value, to follow the word "got".
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch(pub(super) String);

/// Characters of an invalid value that an error message quotes.
const SHOWN_CHARS: usize = 80;

impl Mismatch {
    /// Quotes a text, shortened.
    pub(super) fn text(found: &str) -> Self {
        let shortened = match found.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &found[..end]),
            None => found.to_owned(),
        };
        Self(format!("{shortened:?}"))
    }
}

impl Raw {
    /// Parses a flag or environment variable.
    ///
    /// White space around numbers, switches and list items is ignored.
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
                // A trailing comma or an empty text adds no item.
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

    /// Takes a value of the file, which must have the right type: nothing is converted.
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
                Err(Mismatch(format!("{text:?} in quotes")))
            }
            (Shape::List, DeValue::String(text)) => Err(Mismatch(format!(
                "{} without list brackets",
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

    /// The value as a flag or environment variable.
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

/// Parses a switch of a flag or environment variable: `true`, `1`, `yes`, `on` and their opposites.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_parsed_by_the_shape_of_the_setting() {
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
    fn long_invalid_values_are_shortened() {
        let shown = Mismatch::text(&"ä".repeat(500)).0;
        assert_eq!(shown.chars().count(), SHOWN_CHARS + 3);
    }
}
