//! Raw input: the fields of a request before validation, in whatever format they came.
//!
//! Error messages of the API repeat an invalid value as Python's `str()` writes it, so numbers,
//! lists and objects are kept in that form.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// One raw value.
#[derive(Clone, PartialEq, Eq)]
pub enum Input {
    /// JSON `null`.
    Null,
    /// A JSON boolean.
    Bool(bool),
    /// A JSON number, as Python's `str()` writes it.
    Number(String),
    /// Text.
    Text(String),
    /// Text with a lone surrogate (`"\ud800"`), which JSON permits.
    LoneSurrogate {
        /// The text with U+FFFD in place of lone surrogates.
        text: String,
        /// The first lone surrogate.
        first: u16,
    },
    /// A JSON list.
    List {
        /// Its items.
        items: Vec<Input>,
        /// The whole list, as Python's `str()` writes it.
        text: String,
    },
    /// A JSON object.
    Structure {
        /// As it came.
        json: String,
        /// As Python's `str()` writes it.
        text: String,
    },
    /// A file of a multipart form.
    File(UploadedFile),
}

/// Shows the type only: the value can be a password.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "Null",
            Self::Bool(_) => "Bool",
            Self::Number(_) => "Number",
            Self::Text(_) => "Text",
            Self::LoneSurrogate { .. } => "LoneSurrogate",
            Self::List { .. } => "List",
            Self::Structure { .. } => "Structure",
            Self::File(_) => "File",
        })
    }
}

/// A file of a multipart form.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadedFile {
    /// File name from the client.
    pub file_name: String,
    /// Media type from the client.
    pub content_type: Option<String>,
    /// The content.
    pub bytes: Bytes,
}

impl fmt::Debug for UploadedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadedFile")
            .field("content_type", &self.content_type)
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// The fields of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    values: Vec<(String, Input)>,
    is_form: bool,
}

impl Fields {
    /// No fields, as in an empty JSON body.
    pub fn json() -> Self {
        Self::default()
    }

    /// No fields, as in an empty HTML form.
    pub fn form() -> Self {
        Self {
            is_form: true,
            ..Self::default()
        }
    }

    /// Adds a field; the last one of a name wins.
    pub fn insert(&mut self, name: String, input: Input) {
        self.values.push((name, input));
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Input> {
        self.values
            .iter()
            .rev()
            .find_map(|(known, input)| (known == name).then_some(input))
    }

    /// Names and values in order, with duplicates.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Input)> {
        self.values
            .iter()
            .map(|(name, input)| (name.as_str(), input))
    }

    /// The names of the fields in order, with duplicates.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name.as_str())
    }

    /// All values of a field, as a form with several of one name has them.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Input> {
        self.values
            .iter()
            .filter_map(move |(known, input)| (known == name).then_some(input))
    }

    /// Whether the field is present.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether the fields come from an HTML form, where an empty text can mean absent.
    pub fn is_form(&self) -> bool {
        self.is_form
    }
}

/// Why a body is not a JSON object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// Invalid JSON; the text says what is wrong and where.
    NotJson(String),
    /// Another JSON type, by its Python name.
    NotAnObject(&'static str),
    /// It is `null`.
    Null,
}

/// Parses the fields of a JSON object.
///
/// # Errors
/// When the bytes are anything else.
pub fn parse_json_object(bytes: &[u8]) -> Result<Fields, BodyError> {
    let not_json = |e: &dyn fmt::Display| BodyError::NotJson(e.to_string());
    let text = std::str::from_utf8(bytes).map_err(|e| not_json(&e))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|e| not_json(&e))?;
    match raw.get().as_bytes().first() {
        Some(b'{') => {}
        Some(b'[') => return Err(BodyError::NotAnObject("list")),
        Some(b'"') => return Err(BodyError::NotAnObject("str")),
        Some(b't' | b'f') => return Err(BodyError::NotAnObject("bool")),
        Some(b'n') => return Err(BodyError::Null),
        _ if is_float(raw.get()) => return Err(BodyError::NotAnObject("float")),
        _ => return Err(BodyError::NotAnObject("int")),
    }
    let Members(members) = serde_json::from_str(raw.get()).map_err(|e| not_json(&e))?;
    let mut fields = Fields::json();
    for (name, value) in members {
        let input = Input::from_json(value).map_err(|e| not_json(&e))?;
        fields.insert(name, input);
    }
    Ok(fields)
}

/// The members of an object with raw values: a number keeps all its digits.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((JsonText(name), value)) = map.next_entry()? {
                    members.push((String::from_utf8_lossy(&name).into_owned(), value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// The bytes of a JSON string: UTF-8, with lone surrogates encoded like characters ("generalized
/// UTF-8").
struct JsonText(Vec<u8>);

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copy;

        impl Visitor<'_> for Copy {
            type Value = JsonText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(JsonText(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Copy)
    }
}

impl JsonText {
    fn into_input(self) -> Input {
        let bytes = match String::from_utf8(self.0) {
            Ok(text) => return Input::Text(text),
            Err(broken) => broken.into_bytes(),
        };
        let (mut text, mut first) = (String::new(), None);
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            // Three bytes, each invalid on its own; only the first one starts like this.
            if chunk.invalid() == b"\xed" {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        for half in bytes.windows(3) {
            if let [0xed, high @ 0xa0..=0xbf, low] = half {
                first = first.or(Some(
                    0xd000 | u16::from(high & 0x3f) << 6 | u16::from(low & 0x3f),
                ));
            }
        }
        Input::LoneSurrogate {
            text,
            first: first.unwrap_or(0xd800),
        }
    }
}

impl Input {
    /// Parses one JSON value.
    ///
    /// # Errors
    /// When it is nested too deeply, or a list or object that contains a lone surrogate.
    pub fn from_json(raw: &RawValue) -> Result<Self, serde_json::Error> {
        let text = raw.get();
        Ok(match text.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<JsonText>(text)?.into_input(),
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'{') => Self::Structure {
                json: text.to_owned(),
                text: python_repr(&serde_json::from_str(text)?),
            },
            Some(b'[') => Self::List {
                text: python_repr(&serde_json::from_str(text)?),
                items: serde_json::from_str::<Vec<&RawValue>>(text)?
                    .into_iter()
                    .map(Self::from_json)
                    .collect::<Result<_, _>>()?,
            },
            _ => Self::Number(python_number(text)),
        })
    }
}

impl Input {
    /// The name of its type in Python, for error messages.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Number(text) if is_float(text) => "float",
            Self::Number(_) => "int",
            Self::Text(_) | Self::LoneSurrogate { .. } => "str",
            Self::List { .. } => "list",
            Self::Structure { .. } => "dict",
            Self::File(_) => "InMemoryUploadedFile",
        }
    }

    /// Its text, as an error message quotes it.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Null => "None",
            Self::Bool(true) => "True",
            Self::Bool(false) => "False",
            Self::Text(text)
            | Self::Number(text)
            | Self::Structure { text, .. }
            | Self::List { text, .. }
            | Self::LoneSurrogate { text, .. } => text,
            Self::File(file) => file.file_name.as_str(),
        }
    }
}

fn is_float(number: &str) -> bool {
    number.contains(['.', 'e', 'E'])
}

/// Python's `str()` of a JSON number.
fn python_number(number: &str) -> String {
    if !is_float(number) {
        // Python's integers have no negative zero and any number of digits.
        return if number == "-0" { "0" } else { number }.to_owned();
    }
    let value: f64 = number.parse().unwrap_or(f64::NAN);
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    // Both languages write the shortest digits that round-trip; the exponent threshold differs.
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{value:?}"),
    }
}

/// Python's `repr()` of a JSON value.
fn python_repr(value: &Value) -> String {
    let mut text = String::new();
    write_repr(&mut text, value);
    text
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => out.push_str(&python_number(&number.to_string())),
        Value::String(text) => write_string_repr(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_string_repr(out, name);
                out.push_str(": ");
                write_repr(out, member);
            }
            out.push('}');
        }
    }
}

fn write_string_repr(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => {
                // Writing to a String cannot fail.
                let _ = match u32::from(c) {
                    code @ 0..=0xff => write!(out, "\\x{code:02x}"),
                    code @ 0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    code => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
}

/// Approximates Python's `str.isprintable`: no controls, no blanks except space, no formatting.
fn is_printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{e000}'..='\u{f8ff}' | '\u{feff}' | '\u{f0000}'..='\u{10ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(json: &str) -> Input {
        let fields = parse_json_object(format!(r#"{{"f": {json}}}"#).as_bytes()).unwrap();
        fields.get("f").unwrap().clone()
    }

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (json, python) in [
            ("0", "0"),
            ("-0", "0"),
            ("12", "12"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            ("1.0", "1.0"),
            ("1e2", "100.0"),
            ("1.5", "1.5"),
            ("-0.0", "-0.0"),
            ("1e16", "1e+16"),
            ("1e15", "1000000000000000.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e300", "1.5e+300"),
            ("1e999", "inf"),
            ("0.1", "0.1"),
        ] {
            assert_eq!(input(json), Input::Number(python.into()), "{json}");
        }
    }

    #[test]
    fn structures_are_written_as_python_writes_them() {
        for (json, python) in [
            ("[]", "[]"),
            ("{}", "{}"),
            (r#"[1, 1.5, null, true, "a"]"#, "[1, 1.5, None, True, 'a']"),
            (r#"{"a": {"b": false}}"#, "{'a': {'b': False}}"),
            (
                r#"["it's", "say \"x\"", "both ' and \"", "a\\b\n\u0001"]"#,
                r#"["it's", 'say "x"', 'both \' and "', 'a\\b\n\x01']"#,
            ),
        ] {
            match input(json) {
                Input::Structure { text, .. } | Input::List { text, .. } => {
                    assert_eq!(text, python);
                }
                other => panic!("{json} is {other:?}"),
            }
        }
    }

    #[test]
    fn lists_have_items() {
        let Input::List { items, .. } = input(r#"["a", 1, [null], {"b": 2}]"#) else {
            panic!("a list is a list");
        };
        assert_eq!(items[0], Input::Text("a".into()));
        assert_eq!(items[1], Input::Number("1".into()));
        assert!(matches!(&items[2], Input::List { items, .. } if items == &[Input::Null]));
        assert_eq!(items[3].text(), "{'b': 2}");
    }

    #[test]
    fn only_an_object_has_fields() {
        for (body, error) in [
            ("[]", BodyError::NotAnObject("list")),
            (" \"x\" ", BodyError::NotAnObject("str")),
            ("1", BodyError::NotAnObject("int")),
            ("-1.5", BodyError::NotAnObject("float")),
            ("1e3", BodyError::NotAnObject("float")),
            ("true", BodyError::NotAnObject("bool")),
            ("null", BodyError::Null),
        ] {
            assert_eq!(parse_json_object(body.as_bytes()), Err(error), "{body}");
        }
        for body in ["", "{", "{'a': 1}", "{\"a\": NaN}", "{} x", "\u{feff}{}"] {
            assert!(
                matches!(
                    parse_json_object(body.as_bytes()),
                    Err(BodyError::NotJson(_))
                ),
                "{body}"
            );
        }
        assert!(matches!(
            parse_json_object(b"{\"a\": \"\xff\"}"),
            Err(BodyError::NotJson(_))
        ));
        let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(
            parse_json_object(deep.as_bytes()),
            Err(BodyError::NotJson(_))
        ));
    }

    #[test]
    fn half_a_surrogate_pair_is_known_by_its_number() {
        for (json, text, first) in [
            (r#""\ud800""#, "\u{fffd}", 0xd800),
            (r#""a\uDFFFb\ud800""#, "a\u{fffd}b\u{fffd}", 0xdfff),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}", 0xde00),
            (r#""\ud83d\ude00 \udbff""#, "\u{1f600} \u{fffd}", 0xdbff),
            (
                "\"\u{d7ff}\u{e000}\\udc00\"",
                "\u{d7ff}\u{e000}\u{fffd}",
                0xdc00,
            ),
        ] {
            let text = text.to_owned();
            assert_eq!(input(json), Input::LoneSurrogate { text, first }, "{json}");
        }
        assert_eq!(input(r#""\ud83d\ude00""#), Input::Text("\u{1f600}".into()));
        // Also in a name: such a field is one more unknown field.
        let fields = parse_json_object(br#"{"\ud800": 1, "a": 2}"#).unwrap();
        assert!(fields.contains("a") && fields.contains("\u{fffd}\u{fffd}\u{fffd}"));
    }

    #[test]
    fn the_last_field_of_a_name_counts() {
        let fields = parse_json_object(br#"{"a": 1, "a": "two"}"#).unwrap();
        assert_eq!(fields.get("a"), Some(&Input::Text("two".into())));
        assert!(!fields.contains("b") && !fields.is_form());
    }
}
