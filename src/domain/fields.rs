//! Parsing raw fields as the serializer fields of Django REST framework do, collecting all errors.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{
    BirthDate, CLIENT_ID_LENGTH, Country, EmailAddress, EventSelection, Fields, Gender, Input,
    InvalidRedirectUri, MAX_CLIENT_SECRET_LENGTH, MIN_CLIENT_SECRET_LENGTH, PhoneNumber, Timestamp,
    WebhookPayload, trim,
};

/// Fixed messages about fields.
pub mod messages {
    use super::{
        CLIENT_ID_LENGTH, InvalidRedirectUri, MAX_CLIENT_SECRET_LENGTH, MIN_CLIENT_SECRET_LENGTH,
    };

    /// A required field is absent.
    pub const REQUIRED: &str = "This field is required.";
    /// `null` where a value is needed.
    pub const NULL: &str = "This field may not be null.";
    /// Only blanks where a value is needed.
    pub const BLANK: &str = "This field may not be blank.";
    /// Not a text.
    pub const NOT_A_STRING: &str = "Not a valid string.";
    /// Not a boolean.
    pub const NOT_A_BOOLEAN: &str = "Must be a valid boolean.";
    /// A NUL in a text.
    pub const NUL: &str = "Null characters are not allowed.";
    /// The form of an email address.
    pub const INVALID_EMAIL: &str = "Enter a valid email address.";
    /// A verified account has the address.
    pub const EMAIL_TAKEN: &str = "user with this email already exists.";
    /// The form of a phone number.
    pub const INVALID_PHONE: &str = "Enter a valid phone number.";
    /// The form of a date.
    pub const WRONG_DATE: &str =
        "Date has wrong format. Use one of these formats instead: YYYY-MM-DD.";
    /// The form of a time.
    pub const WRONG_DATETIME: &str = "Datetime has wrong format. Use one of these formats instead: \
        YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z].";
    /// A date of birth in the future.
    pub const FUTURE_DATE: &str = "Date of birth cannot be in the future.";
    /// A password and a different confirmation.
    pub const PASSWORDS_DIFFER: &str = "The two password fields didn't match.";
    /// An invalid code, whatever the reason.
    pub const INVALID_OTP: &str = "Invalid or expired OTP.";
    /// A code of a second factor that is not accepted.
    pub const INVALID_CODE: &str = "Invalid code.";
    /// An answer of a passkey that is not accepted.
    pub const INVALID_CREDENTIAL: &str = "Invalid credential.";

    /// A link token that is wrong, used or expired.
    pub const INVALID_TOKEN: &str = "Invalid or expired token.";
    /// A code of a sign-in by a provider is unknown, used or expired, or its verifier is another.
    pub const INVALID_EXTERNAL_CODE: &str = "Invalid or expired code.";
    /// An app is not in the settings.
    pub const FOREIGN_REDIRECT_URI: &str = "redirect_uri must be in [social] redirect_uris.";
    /// A `code_challenge` is not of the form that RFC 7636 has for `S256`.
    pub const INVALID_CHALLENGE: &str =
        "Enter a valid S256 code challenge (RFC 7636): 43 characters of base64url.";
    /// A provider has no address of somebody who has no account.
    pub const NO_PROVIDER_EMAIL: &str =
        "The provider has given no email address. Allow it there, or sign up with an address.";
    /// A wrong password.
    pub const INVALID_PASSWORD: &str = "Invalid password.";
    /// Not a file.
    pub const NOT_A_FILE: &str =
        "The submitted data was not a file. Check the encoding type on the form.";
    /// An empty file.
    pub const EMPTY_FILE: &str = "The submitted file is empty.";
    /// A file that is not an image.
    pub const NOT_AN_IMAGE: &str =
        "Upload a valid image. The file you uploaded was either not an image or a corrupted image.";
    /// An image with more pixels than can be decoded.
    pub const TOO_MANY_PIXELS: &str = "The image has too many pixels. Upload a smaller one.";
    /// An image of phones that browsers do not show everywhere.
    pub const UNSUPPORTED_IMAGE: &str =
        "HEIC and AVIF images are not supported. Upload a JPEG, PNG, WebP or GIF instead.";

    /// Not an integer.
    pub const NOT_AN_INTEGER: &str = "A valid integer is required.";

    /// A number below `min`.
    pub fn too_small(min: u64) -> String {
        format!("Ensure this value is greater than or equal to {min}.")
    }

    /// A number above `max`.
    pub fn too_large(max: u64) -> String {
        format!("Ensure this value is less than or equal to {max}.")
    }

    /// Half of a surrogate pair in a text.
    pub fn lone_surrogate(code: u16) -> String {
        format!("Surrogate characters are not allowed: U+{code:X}.")
    }

    /// A text of more than `max` characters.
    pub fn too_long(max: usize) -> String {
        format!("Ensure this field has no more than {max} characters.")
    }

    /// A promotion of an account whose address was never confirmed.
    pub const NOT_VERIFIED: &str = "The address of this account is not confirmed.";

    /// An address change soon after an undo.
    pub fn restored_recently(hours: u64) -> String {
        let unit = if hours == 1 { "hour" } else { "hours" };
        format!(
            "The email address was restored recently and can be changed again in {hours} {unit}."
        )
    }

    /// An empty list of choices.
    pub const NOTHING_CHOSEN: &str = "This selection may not be empty.";

    /// Another type where a list is needed, by its Python name.
    pub fn not_a_list(type_name: &str) -> String {
        format!("Expected a list of items but got type \"{type_name}\".")
    }

    /// The form of a URL.
    pub const INVALID_URL: &str = "Enter a valid URL.";
    /// A URL that nothing may be sent to, whatever the reason.
    pub const UNREACHABLE_URL: &str = "This address is not reachable from here.";

    /// A URI that cannot be registered as a redirect URI.
    pub fn invalid_redirect_uri(uri: &str, problem: InvalidRedirectUri) -> String {
        format!("Redirect URI \"{uri}\" {problem}.")
    }

    /// More redirect URIs than a client may have.
    pub fn too_many_uris(max: usize) -> String {
        format!("Ensure this field has no more than {max} elements.")
    }

    /// The form of a client's id.
    pub fn invalid_client_id() -> String {
        format!(
            "Choose 1 to {CLIENT_ID_LENGTH} letters, digits and -._~, beginning with a letter or \
             digit, and not the id of this server's own API."
        )
    }

    /// The form of a client's secret.
    pub fn invalid_client_secret() -> String {
        format!(
            "Choose {MIN_CLIENT_SECRET_LENGTH} to {MAX_CLIENT_SECRET_LENGTH} random ASCII \
             characters without blanks, such as the output of `openssl rand -hex 32`."
        )
    }

    /// An id that another client has.
    pub const CLIENT_EXISTS: &str = "There is a client with this id already.";
    /// A secret for a client without one.
    pub const PUBLIC_CLIENT: &str = "A public client has no secret.";

    /// A value that is not among the choices.
    pub fn not_a_choice(value: &str) -> String {
        format!("\"{value}\" is not a valid choice.")
    }
}

/// Longest email address, in characters (RFC 5321, as in Django).
const EMAIL_LENGTH: usize = 254;

/// Longest URL, in characters.
const URL_LENGTH: usize = 2000;

/// Longest phone number as typed, in characters.
const PHONE_LENGTH: usize = 32;

/// Error messages by field, in the order in which they were found.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct FieldErrors(Vec<(&'static str, Vec<String>)>);

impl FieldErrors {
    /// One message about one field.
    pub fn one(field: &'static str, message: impl Into<String>) -> Self {
        let mut errors = Self::default();
        errors.add(field, message);
        errors
    }

    /// Adds a message about a field.
    pub fn add(&mut self, field: &'static str, message: impl Into<String>) {
        let message = message.into();
        match self.0.iter_mut().find(|(known, _)| *known == field) {
            Some((_, messages)) => messages.push(message),
            None => self.0.push((field, vec![message])),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this field has errors.
    pub fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(known, _)| *known == field)
    }

    /// Fields and messages, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        self.0
            .iter()
            .map(|(field, messages)| (*field, messages.as_slice()))
    }
}

impl Serialize for FieldErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, messages) in &self.0 {
            map.serialize_entry(field, messages)?;
        }
        map.end()
    }
}

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// An email address.
    Email,
    /// An email address of any form.
    Login,
    /// A text, trimmed.
    Text,
    /// A password, not trimmed.
    Secret,
    /// A phone number.
    Phone,
    /// One of the genders.
    Gender,
    /// One of the countries.
    Country,
    /// A date that is not in the future.
    Birthday,
    /// A boolean.
    Bool,
    /// A non-negative integer.
    Whole,
    /// A file of a multipart form; `null` removes it.
    File,
    /// A URL.
    Url,
    /// A list of types of events.
    Events,
    /// How much of an account a webhook gets.
    Payload,
    /// A time.
    Moment,
    /// A JSON object.
    Object,
    /// A value that is read without a [`FieldReader`].
    Other,
}

/// The rules of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: FieldKind,
    /// Whether it is required.
    pub required: bool,
    /// Maximum length in characters, or the largest number.
    pub max: Option<usize>,
}

/// Parses fields one by one and collects all errors.
///
/// A method that returns `None` for a present field has recorded an error. Errors about one field
/// come in the order of Django REST framework: length, NUL, surrogates, then the form. Fields come
/// in reading order, even when an error about an early one is found last.
///
/// The reader records which fields it is asked for: parsing an empty body gives the rules of an
/// operation.
pub struct FieldReader<'a> {
    fields: &'a Fields,
    read: Vec<FieldRule>,
    errors: FieldErrors,
}

impl<'a> FieldReader<'a> {
    /// A reader without errors.
    pub fn new(fields: &'a Fields) -> Self {
        Self {
            fields,
            read: Vec::new(),
            errors: FieldErrors::default(),
        }
    }

    /// Records an error about a field.
    pub fn reject(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.add(field, message);
    }

    /// Whether a field is present.
    pub fn contains(&self, field: &str) -> bool {
        self.fields.contains(field)
    }

    /// Finishes reading.
    ///
    /// # Errors
    /// All recorded errors, if there are any.
    pub fn finish(self) -> Result<(), FieldErrors> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let FieldErrors(mut errors) = self.errors;
        errors.sort_by_key(|(field, _)| self.read.iter().position(|read| read.name == *field));
        Err(FieldErrors(errors))
    }

    /// The rules of the fields in reading order.
    pub fn rules(&self) -> &[FieldRule] {
        &self.read
    }

    /// The raw value of a field, which is recorded as read.
    fn raw(
        &mut self,
        field: &'static str,
        kind: FieldKind,
        max: Option<usize>,
    ) -> Option<&'a Input> {
        if !self.read.iter().any(|read| read.name == field) {
            self.read.push(FieldRule {
                name: field,
                kind,
                required: false,
                max,
            });
        }
        self.fields.get(field)
    }

    /// Records the position of a field that is read elsewhere.
    pub fn pass(&mut self, field: &'static str) {
        self.raw(field, FieldKind::Other, None);
    }

    /// Records the position of a file, which is read elsewhere.
    pub fn pass_file(&mut self, field: &'static str) {
        self.raw(field, FieldKind::File, None);
    }

    /// A required email address.
    pub fn required_email(&mut self, field: &'static str) -> Option<EmailAddress> {
        self.require(field, FieldKind::Email, Some(EMAIL_LENGTH))?;
        self.optional_email(field)
    }

    /// An optional email address; not empty.
    pub fn optional_email(&mut self, field: &'static str) -> Option<EmailAddress> {
        self.raw(field, FieldKind::Email, Some(EMAIL_LENGTH));
        let text = self.filled(field, messages::INVALID_EMAIL)?;
        let is_valid = self.check_text(field, &text, Some(EMAIL_LENGTH));
        let Ok(email) = EmailAddress::parse(&text) else {
            self.reject(field, messages::INVALID_EMAIL);
            return None;
        };
        is_valid.then_some(email)
    }

    /// The address of a sign-in, of any form: a malformed one is simply unknown.
    pub fn required_login(&mut self, field: &'static str) -> Option<String> {
        self.require(field, FieldKind::Login, None)?;
        let text = self.filled(field, messages::INVALID_EMAIL)?;
        self.check_text(field, &text, None).then_some(text)
    }

    /// A required, non-empty text of at most `max` characters.
    pub fn required_text(&mut self, field: &'static str, max: Option<usize>) -> Option<String> {
        self.require(field, FieldKind::Text, max)?;
        let text = self.filled(field, messages::NOT_A_STRING)?;
        self.check_text(field, &text, max).then_some(text)
    }

    /// An optional text of at most `max` characters; may be empty.
    pub fn optional_text(&mut self, field: &'static str, max: usize) -> Option<String> {
        self.raw(field, FieldKind::Text, Some(max));
        let text = self.trimmed(field, messages::NOT_A_STRING)?;
        self.check_text(field, &text, Some(max)).then_some(text)
    }

    /// A required password; not trimmed.
    pub fn required_secret(&mut self, field: &'static str, max: Option<usize>) -> Option<String> {
        self.require(field, FieldKind::Secret, max)?;
        self.optional_secret(field, max)
    }

    /// An optional password; not trimmed and not empty.
    pub fn optional_secret(&mut self, field: &'static str, max: Option<usize>) -> Option<String> {
        self.raw(field, FieldKind::Secret, max);
        let text = self.text(field, messages::NOT_A_STRING)?;
        if text.is_empty() {
            self.reject(field, messages::BLANK);
            return None;
        }
        self.check_text(field, &text, max).then_some(text)
    }

    /// An optional phone number; `Some(None)` when empty.
    pub fn optional_phone(&mut self, field: &'static str) -> Option<Option<PhoneNumber>> {
        self.raw(field, FieldKind::Phone, Some(PHONE_LENGTH));
        let text = self.trimmed(field, messages::NOT_A_STRING)?;
        if text.is_empty() {
            return Some(None);
        }
        let is_valid = self.check_text(field, &text, Some(PHONE_LENGTH));
        let Ok(phone) = PhoneNumber::parse(&text) else {
            self.reject(field, messages::INVALID_PHONE);
            return None;
        };
        is_valid.then_some(Some(phone))
    }

    /// An optional gender, matched exactly; `Some(None)` when empty.
    pub fn optional_gender(&mut self, field: &'static str) -> Option<Option<Gender>> {
        self.choice(field, FieldKind::Gender, Gender::parse)
    }

    /// An optional country, matched exactly; `Some(None)` when empty.
    pub fn optional_country(&mut self, field: &'static str) -> Option<Option<Country>> {
        self.choice(field, FieldKind::Country, Country::parse)
    }

    /// An optional date of birth up to `today`; `Some(None)` when `null`, or empty in a form.
    pub fn optional_birthday(
        &mut self,
        field: &'static str,
        today: BirthDate,
    ) -> Option<Option<BirthDate>> {
        let date = match self.raw(field, FieldKind::Birthday, None)? {
            Input::Null => return Some(None),
            Input::Text(text) if text.is_empty() && self.fields.is_form() => return Some(None),
            Input::Text(text) => BirthDate::parse(text).ok(),
            _ => None,
        };
        match date {
            None => self.reject(field, messages::WRONG_DATE),
            Some(date) if date > today => self.reject(field, messages::FUTURE_DATE),
            Some(date) => return Some(Some(date)),
        }
        None
    }

    /// A required URL, not checked beyond its length; not empty.
    pub fn required_url(&mut self, field: &'static str) -> Option<String> {
        self.require(field, FieldKind::Url, Some(URL_LENGTH))?;
        self.optional_url(field)
    }

    /// An optional URL, not checked beyond its length; not empty.
    pub fn optional_url(&mut self, field: &'static str) -> Option<String> {
        self.raw(field, FieldKind::Url, Some(URL_LENGTH));
        let text = self.filled(field, messages::NOT_A_STRING)?;
        self.check_text(field, &text, Some(URL_LENGTH))
            .then_some(text)
    }

    /// A required list of types of events; not empty.
    pub fn required_events(&mut self, field: &'static str) -> Option<EventSelection> {
        self.require(field, FieldKind::Events, None)?;
        self.optional_events(field)
    }

    /// An optional list of types of events; not empty.
    pub fn optional_events(&mut self, field: &'static str) -> Option<EventSelection> {
        let entry = |text: &str| EventSelection::parse([text]).ok().map(|_| text.to_owned());
        let entries = self.choices(field, FieldKind::Events, entry)?;
        EventSelection::parse(entries).ok()
    }

    /// An optional choice, matched exactly; `Some(None)` when empty.
    pub fn optional_choice<T>(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        self.choice(field, FieldKind::Other, parse)
    }

    /// Some of several choices; at least one, if the field is there.
    pub fn optional_choices<T, C: FromIterator<T>>(
        &mut self,
        field: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<C> {
        let chosen = self.choices(field, FieldKind::Other, parse)?;
        Some(chosen.into_iter().collect())
    }

    /// The words of a text that separates them by blanks or line breaks, or of a repeated field of a
    /// form.
    pub fn optional_words(&mut self, field: &'static str) -> Option<Vec<String>> {
        self.raw(field, FieldKind::Other, None)?;
        let texts = self.fields.all(field).map(Input::text);
        let words = texts.flat_map(str::split_whitespace).map(str::to_owned);
        Some(words.collect())
    }

    /// An optional integer from `min` to `max`; an empty text of a form means absent.
    pub fn optional_whole(&mut self, field: &'static str, min: u32, max: u32) -> Option<u32> {
        let text = match self.raw(field, FieldKind::Whole, usize::try_from(max).ok())? {
            Input::Text(text) if text.is_empty() && self.fields.is_form() => return None,
            Input::Number(text) | Input::Text(text) => trim(text),
            _ => "",
        };
        match whole(text) {
            None => self.reject(field, messages::NOT_AN_INTEGER),
            Some(number) if number < i128::from(min) => {
                self.reject(field, messages::too_small(min.into()));
            }
            Some(number) if number > i128::from(max) => {
                self.reject(field, messages::too_large(max.into()));
            }
            Some(number) => return u32::try_from(number).ok(),
        }
        None
    }

    /// How much of an account a webhook gets, matched exactly.
    pub fn optional_payload(&mut self, field: &'static str) -> Option<WebhookPayload> {
        let payload = self.choice(field, FieldKind::Payload, WebhookPayload::parse)?;
        if payload.is_none() && !self.fields.is_form() {
            self.reject(field, messages::not_a_choice(""));
        }
        payload
    }

    /// A required time, as `parse` reads it.
    pub fn required_moment(
        &mut self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Option<Timestamp>,
    ) -> Option<Timestamp> {
        self.require(field, FieldKind::Moment, None)?;
        let moment = match self.fields.get(field)? {
            Input::Null => {
                self.reject(field, messages::NULL);
                return None;
            }
            Input::Text(text) => parse(trim(text)),
            _ => None,
        };
        if moment.is_none() {
            self.reject(field, messages::WRONG_DATETIME);
        }
        moment
    }

    /// An optional boolean in any spelling that Django REST framework accepts.
    pub fn optional_bool(&mut self, field: &'static str) -> Option<bool> {
        let text = match self.raw(field, FieldKind::Bool, None)? {
            Input::Bool(value) => return Some(*value),
            Input::Null => {
                self.reject(field, messages::NULL);
                return None;
            }
            // An empty form field means absent.
            Input::Text(text) if text.is_empty() && self.fields.is_form() => return None,
            Input::Text(text) => text.as_str(),
            Input::Number(text) => match text.as_str() {
                "1.0" => "1",
                "0.0" | "-0.0" => "0",
                other => other,
            },
            Input::List { .. }
            | Input::Structure { .. }
            | Input::LoneSurrogate { .. }
            | Input::File(_) => "",
        };
        match text.to_ascii_lowercase().as_str() {
            "t" | "y" | "yes" | "true" | "on" | "1" => Some(true),
            "f" | "n" | "no" | "false" | "off" | "0" => Some(false),
            _ => {
                self.reject(field, messages::NOT_A_BOOLEAN);
                None
            }
        }
    }

    /// A required integer from 0 to `max`.
    pub fn required_whole(&mut self, field: &'static str, max: u64) -> Option<u64> {
        self.require(field, FieldKind::Whole, usize::try_from(max).ok())?;
        let text = match self.fields.get(field)? {
            Input::Number(text) | Input::Text(text) => trim(text),
            Input::Null => {
                self.reject(field, messages::NULL);
                return None;
            }
            Input::Bool(_)
            | Input::List { .. }
            | Input::Structure { .. }
            | Input::LoneSurrogate { .. }
            | Input::File(_) => "",
        };
        match whole(text) {
            None => self.reject(field, messages::NOT_AN_INTEGER),
            Some(number) if number < 0 => self.reject(field, messages::too_small(0)),
            Some(number) if number > i128::from(max) => {
                self.reject(field, messages::too_large(max));
            }
            Some(number) => return u64::try_from(number).ok(),
        }
        None
    }

    /// A required JSON object, as text; a form carries it as a text. `otherwise` is the error for
    /// everything else.
    pub fn required_object(&mut self, field: &'static str, otherwise: &str) -> Option<&'a str> {
        self.require(field, FieldKind::Object, None)?;
        self.optional_object(field, otherwise)
    }

    /// An optional JSON object, as text; an empty text of a form means absent.
    pub fn optional_object(&mut self, field: &'static str, otherwise: &str) -> Option<&'a str> {
        match self.raw(field, FieldKind::Object, None)? {
            Input::Structure { json, .. } => Some(json),
            Input::Text(text) if self.fields.is_form() && text.is_empty() => None,
            Input::Text(text) if self.fields.is_form() => Some(text),
            Input::Null => {
                self.reject(field, messages::NULL);
                None
            }
            _ => {
                self.reject(field, otherwise);
                None
            }
        }
    }

    fn require(&mut self, field: &'static str, kind: FieldKind, max: Option<usize>) -> Option<()> {
        let is_there = self.raw(field, kind, max).is_some();
        if let Some(rule) = self.read.iter_mut().find(|read| read.name == field) {
            rule.required = true;
        }
        if is_there {
            return Some(());
        }
        self.reject(field, messages::REQUIRED);
        None
    }

    /// The raw text of a field; `otherwise` is the error for other types.
    fn text(&mut self, field: &'static str, otherwise: &str) -> Option<String> {
        match self.fields.get(field)? {
            // `check_text` reports lone surrogates, beside other errors.
            Input::Text(text) | Input::Number(text) | Input::LoneSurrogate { text, .. } => {
                Some(text.clone())
            }
            Input::Null => {
                self.reject(field, messages::NULL);
                None
            }
            Input::Bool(_) | Input::List { .. } | Input::Structure { .. } | Input::File(_) => {
                self.reject(field, otherwise);
                None
            }
        }
    }

    fn trimmed(&mut self, field: &'static str, otherwise: &str) -> Option<String> {
        self.text(field, otherwise)
            .map(|text| trim(&text).to_owned())
    }

    fn filled(&mut self, field: &'static str, otherwise: &str) -> Option<String> {
        let text = self.trimmed(field, otherwise)?;
        if text.is_empty() {
            self.reject(field, messages::BLANK);
            return None;
        }
        Some(text)
    }

    fn check_text(&mut self, field: &'static str, text: &str, max: Option<usize>) -> bool {
        let too_long = max.filter(|max| text.chars().count() > *max);
        if let Some(max) = too_long {
            self.reject(field, messages::too_long(max));
        }
        let has_nul = text.contains('\0');
        if has_nul {
            self.reject(field, messages::NUL);
        }
        let surrogate = match self.fields.get(field) {
            Some(Input::LoneSurrogate { first, .. }) => Some(*first),
            _ => None,
        };
        if let Some(code) = surrogate {
            self.reject(field, messages::lone_surrogate(code));
        }
        too_long.is_none() && !has_nul && surrogate.is_none()
    }

    fn choice<T>(
        &mut self,
        field: &'static str,
        kind: FieldKind,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        let text = match self.raw(field, kind, None)? {
            Input::Null => {
                self.reject(field, messages::NULL);
                return None;
            }
            other => other.text(),
        };
        if text.is_empty() {
            return Some(None);
        }
        let choice = parse(text);
        if choice.is_none() {
            self.reject(field, messages::not_a_choice(text));
        }
        choice.map(Some)
    }

    /// Some of several choices: a list, or the repeated field of a form.
    fn choices<T>(
        &mut self,
        field: &'static str,
        kind: FieldKind,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.raw(field, kind, None)?;
        let items: Vec<&Input> = if self.fields.is_form() {
            // An unchecked box may send an empty text along.
            let is_filled = |input: &&Input| !matches!(input, Input::Text(text) if text.is_empty());
            self.fields.all(field).filter(is_filled).collect()
        } else {
            match self.fields.get(field)? {
                Input::List { items, .. } => items.iter().collect(),
                Input::Null => {
                    self.reject(field, messages::NULL);
                    return None;
                }
                other => {
                    self.reject(field, messages::not_a_list(other.type_name()));
                    return None;
                }
            }
        };
        if items.is_empty() {
            self.reject(field, messages::NOTHING_CHOSEN);
            return None;
        }
        let mut chosen = Vec::new();
        let count = items.len();
        for item in items {
            let text = item.text();
            match parse(text) {
                Some(choice) => chosen.push(choice),
                None => self.reject(field, messages::not_a_choice(text)),
            }
        }
        (chosen.len() == count).then_some(chosen)
    }
}

/// Reads an integer; zeros behind a decimal point are dropped, as Django REST framework does.
fn whole(text: &str) -> Option<i128> {
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if zeros.bytes().all(|b| b == b'0') => digits,
        _ => text,
    };
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::parse_json_object;

    fn errors<T>(
        input: Input,
        read: impl FnOnce(&mut FieldReader<'_>) -> Option<T>,
    ) -> Vec<String> {
        let mut fields = Fields::json();
        fields.insert("f".into(), input);
        let mut reader = FieldReader::new(&fields);
        let value = read(&mut reader);
        match reader.finish() {
            Ok(()) => {
                assert!(value.is_some());
                Vec::new()
            }
            Err(errors) => {
                assert!(value.is_none());
                errors.iter().flat_map(|(_, list)| list.to_vec()).collect()
            }
        }
    }

    #[test]
    fn all_errors_about_one_field_are_collected() {
        let long = Input::Text(format!("{}\0", "a".repeat(254)));
        assert_eq!(
            errors(long.clone(), |r| r.required_email("f")),
            [
                &messages::too_long(254),
                messages::NUL,
                messages::INVALID_EMAIL
            ]
        );
        assert_eq!(
            errors(long.clone(), |r| r.optional_phone("f")),
            [
                &messages::too_long(32),
                messages::NUL,
                messages::INVALID_PHONE
            ]
        );
        assert_eq!(
            errors(long, |r| r.optional_text("f", 150)),
            [&messages::too_long(150), messages::NUL]
        );
    }

    #[test]
    fn errors_come_in_reading_order() {
        let fields = Fields::json();
        let mut reader = FieldReader::new(&fields);
        reader.pass("first");
        assert_eq!(reader.required_email("second"), None);
        reader.reject("first", "late");
        let errors = reader.finish().unwrap_err();
        let order: Vec<&str> = errors.iter().map(|(field, _)| field).collect();
        assert_eq!(order, ["first", "second"]);
    }

    #[test]
    fn reader_records_the_rules() {
        let fields = Fields::json();
        let mut reader = FieldReader::new(&fields);
        reader.required_email("email");
        reader.optional_text("name", 150);
        reader.required_secret("password", None);
        reader.optional_gender("gender");
        let rules: Vec<_> = reader
            .rules()
            .iter()
            .map(|rule| (rule.name, rule.kind, rule.required, rule.max))
            .collect();
        assert_eq!(
            rules,
            [
                ("email", FieldKind::Email, true, Some(254)),
                ("name", FieldKind::Text, false, Some(150)),
                ("password", FieldKind::Secret, true, None),
                ("gender", FieldKind::Gender, false, None),
            ]
        );
    }

    #[test]
    fn text_is_trimmed_and_passwords_are_not() {
        let mut fields = Fields::json();
        fields.insert("f".into(), Input::Text("\u{a0} x \u{1f}\n".into()));
        let mut reader = FieldReader::new(&fields);
        assert_eq!(reader.required_text("f", None).as_deref(), Some("x"));
        assert_eq!(
            reader.required_secret("f", None).as_deref(),
            Some("\u{a0} x \u{1f}\n")
        );
        assert_eq!(
            errors(Input::Text("  ".into()), |r| r.required_text("f", None)),
            [messages::BLANK]
        );
        assert!(errors(Input::Text("  ".into()), |r| r.required_secret("f", None)).is_empty());
    }

    #[test]
    fn choices_are_matched_exactly() {
        for (input, said) in [
            (Input::Bool(true), "True"),
            (
                Input::List {
                    items: Vec::new(),
                    text: "[]".into(),
                },
                "[]",
            ),
            (Input::Number("1".into()), "1"),
            (Input::Text("m".into()), "m"),
            (Input::Text(" M".into()), " M"),
            (Input::Text("M\n".into()), "M\n"),
            (Input::Text(" ".into()), " "),
        ] {
            assert_eq!(
                errors(input, |r| r.optional_gender("f")),
                [messages::not_a_choice(said)]
            );
        }
        assert!(errors(Input::Text(String::new()), |r| r.optional_country("f")).is_empty());
        assert_eq!(
            errors(Input::Text("US ".into()), |r| r.optional_country("f")),
            [messages::not_a_choice("US ")]
        );
    }

    #[test]
    fn lists_are_read_entry_by_entry() {
        let list = |json: &str| {
            let fields = parse_json_object(format!(r#"{{"f": {json}}}"#).as_bytes()).unwrap();
            fields.get("f").unwrap().clone()
        };
        for (json, complaint) in [
            ("null", messages::NULL.to_owned()),
            ("[]", messages::NOTHING_CHOSEN.to_owned()),
            (r#""user.*""#, messages::not_a_list("str")),
            ("7", messages::not_a_list("int")),
            ("7.5", messages::not_a_list("float")),
            ("true", messages::not_a_list("bool")),
            ("{}", messages::not_a_list("dict")),
            (
                r#"["user.*", "user.born"]"#,
                messages::not_a_choice("user.born"),
            ),
            (r#"["user.*", null]"#, messages::not_a_choice("None")),
            (r#"[["user.*"]]"#, messages::not_a_choice("['user.*']")),
        ] {
            assert_eq!(
                errors(list(json), |r| r.required_events("f")),
                [complaint],
                "{json}"
            );
        }
        assert!(errors(list(r#"["user.*", "*"]"#), |r| r.required_events("f")).is_empty());
    }

    #[test]
    fn repeated_fields_of_a_form_are_a_list() {
        let mut fields = Fields::form();
        for entry in ["user.created", "", "session.*"] {
            fields.insert("f".into(), Input::Text(entry.into()));
        }
        let events = FieldReader::new(&fields).required_events("f").unwrap();
        assert_eq!(events.as_text(), "user.created session.*");
        let mut fields = Fields::form();
        fields.insert("f".into(), Input::Text(String::new()));
        let mut reader = FieldReader::new(&fields);
        assert_eq!(reader.required_events("f"), None);
        assert!(reader.finish().is_err());
    }

    #[test]
    fn integers_may_have_zeros_behind_the_point() {
        for (text, value) in [
            ("480", Some(480)),
            ("480.0", Some(480)),
            ("480.", Some(480)),
            ("480.5", None),
            (".0", None),
            ("4.8e2", None),
        ] {
            let mut fields = Fields::json();
            fields.insert("f".into(), Input::Number(text.into()));
            let read = FieldReader::new(&fields).required_whole("f", 1000);
            assert_eq!(read, value, "{text}");
        }
    }

    #[test]
    fn booleans_have_several_spellings() {
        for (text, value) in [
            ("true", true),
            ("On", true),
            ("1", true),
            ("f", false),
            ("NO", false),
            ("0", false),
        ] {
            let mut fields = Fields::json();
            fields.insert("f".into(), Input::Text(text.into()));
            assert_eq!(
                FieldReader::new(&fields).optional_bool("f"),
                Some(value),
                "{text}"
            );
        }
        assert_eq!(
            errors(Input::Text(" true ".into()), |r| r.optional_bool("f")),
            [messages::NOT_A_BOOLEAN]
        );
        assert_eq!(
            errors(Input::Text("maybe".into()), |r| r.optional_bool("f")),
            [messages::NOT_A_BOOLEAN]
        );
        assert_eq!(
            errors(Input::Null, |r| r.optional_bool("f")),
            [messages::NULL]
        );
    }
}
