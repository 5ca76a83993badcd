//! Entry points of the fuzz targets, one for each kind of untrusted input.
//!
//! For `fuzz/` and for the replay of its seeds in the tests; not part of the public API. None may
//! panic for any input, and each checks properties of accepted input: values survive a round trip,
//! and nothing unsigned is accepted.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE32_NOPAD;
use serde_json::Value;

use crate::accounts::import::rows::Rows;
use crate::accounts::{ExportedFactors, ExportedTotp, IMPORTED_FIELDS, read_imported_user};
use crate::cli::export::UserRecord;
use crate::crypto::tokens::external::{Expected, ProviderKeys, UnverifiedIdToken};
use crate::crypto::tokens::{TokenOptions, TokenSubject, Tokens, generate_key};
use crate::domain::{
    AuthMethod, Authentication, EmailAddress, FieldErrors, Fields, IdTokenAlgorithm, Input,
    PhoneNumber, Profile, SigningAlgorithm, Timestamp, UploadedFile, User, UserId,
    parse_json_object,
};
use crate::http::{forwarded_for, read_fields};
use crate::mail::{Composer, ComposerOptions, MailContent};
use crate::outbound::{EndpointUrl, OutboundRequest};
use crate::photos::{PhotoOptions, Photos};
use crate::store::{ImportedUser, StoredUser};

/// Parses arbitrary bytes.
pub type Reading = fn(&[u8]);

/// All entry points, by the names of their targets.
pub const KINDS: &[(&str, Reading)] = &[
    ("body", body),
    ("email", email),
    ("form", form),
    ("headers", headers),
    ("id_token", id_token),
    ("import", import),
    ("phone", phone),
    ("photo", photo),
    ("token", token),
    ("url", url),
];

/// The current time for all entry points.
const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_000);

/// A request body: its media type on the first line, then the body.
pub fn body(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (media_type, body) = data.split_at(end.unwrap_or(data.len()));
    let media_type = String::from_utf8_lossy(media_type);
    let body = Bytes::copy_from_slice(body.get(1..).unwrap_or_default());
    let fields = read_fields(media_type.trim(), body.clone());
    if let Some(fields) = &fields {
        assert!(!fields.is_form() || fields.names().count() <= 1000);
        check_reading(&read_imported_user(fields, NOW));
    }
    if media_type.trim() == "application/json" && !body.is_empty() {
        check_json(&body, fields.as_ref());
    }
}

/// Compares a JSON body with another parser. Deep nesting must not overflow the stack.
fn check_json(body: &[u8], fields: Option<&Fields>) {
    let members = match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return assert!(fields.is_none(), "no object has no fields"),
        Err(error) => {
            // Here, as in Python, huge numbers are infinite, lone surrogates are reported by
            // field, and values may nest one level deeper.
            let error = error.to_string();
            let is_stricter = ["out of range", "hex escape", "recursion limit"]
                .iter()
                .any(|known| error.contains(known));
            return assert!(fields.is_none() || is_stricter, "accepted despite {error}");
        }
    };
    let fields = fields.expect("an object has fields");
    assert!(fields.names().all(|name| members.contains_key(name)));
    for (name, value) in &members {
        match (fields.get(name).expect("a member is a field"), value) {
            (Input::Null, Value::Null) => {}
            (Input::Bool(read), Value::Bool(is)) => assert_eq!(read, is),
            (Input::Text(read), Value::String(is)) => assert_eq!(read, is),
            (Input::Number(read), Value::Number(is)) => {
                // Numbers keep all digits here; the other parser may round the last one.
                let (read, is): (f64, f64) = (
                    read.parse().expect("a number is read"),
                    is.as_f64().expect("every number is near one of these"),
                );
                assert!((read - is).abs() <= is.abs() * 1e-14, "{read} is {is}");
            }
            (Input::List { text: read, .. }, Value::Array(_)) => {
                assert!(!read.contains(char::is_control));
            }
            (Input::Structure { json, text }, Value::Object(_)) => {
                assert!(!text.contains(char::is_control));
                let read: Value = serde_json::from_str(json).expect("an object is JSON");
                assert_eq!(&read, value);
            }
            (input, value) => panic!("{value} became {input:?}"),
        }
    }
}

/// A form in both encodings. The input has parts that end with 0xff, each a name, `=` and a value.
///
/// A value that starts with 0xfe is a file.
pub fn form(data: &[u8]) {
    let mut boundary = String::from("fuzz");
    while data
        .windows(boundary.len())
        .any(|window| window == boundary.as_bytes())
    {
        boundary.push('z');
    }
    let (mut sent, mut multipart) = (Fields::form(), Vec::new());
    for part in data.split(|byte| *byte == 0xff).take(20) {
        let at = part.iter().position(|byte| *byte == b'=');
        let (name, value) = part.split_at(at.unwrap_or(part.len()));
        let name = String::from_utf8_lossy(name);
        // Clients differ in how they escape these characters within quotation marks.
        let name = name.replace(|c: char| c.is_control() || "\"\\%".contains(c), "_");
        let value = value.get(1..).unwrap_or_default();
        let file = value.strip_prefix(b"\xfe");
        multipart.extend_from_slice(
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
        );
        let (input, content) = if let Some(bytes) = file {
            multipart.extend_from_slice(b"; filename=\"a.png\"\r\nContent-Type: image/png");
            let file = UploadedFile {
                file_name: "a.png".into(),
                content_type: Some("image/png".into()),
                bytes: Bytes::copy_from_slice(bytes),
            };
            (Input::File(file), Cow::Borrowed(bytes))
        } else {
            // Bytes that are not UTF-8 are refused, which `body` checks.
            let text = String::from_utf8_lossy(value).into_owned();
            let content = Cow::Owned(text.clone().into_bytes());
            (Input::Text(text), content)
        };
        multipart.extend_from_slice(b"\r\n\r\n");
        multipart.extend_from_slice(&content);
        multipart.extend_from_slice(b"\r\n");
        sent.insert(name, input);
    }
    multipart.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let media_type = format!("multipart/form-data; boundary={boundary}");
    let read = read_fields(&media_type, Bytes::from(multipart)).expect("a well-made form is read");
    assert!(read == sent, "{read:?} was sent as {sent:?}");

    let mut encoded = form_urlencoded::Serializer::new(String::new());
    let mut texts = Fields::form();
    for name in sent.names() {
        if let Some(Input::Text(text)) = sent.get(name) {
            encoded.append_pair(name, text);
            texts.insert(name.into(), Input::Text(text.clone()));
        }
    }
    let encoded = Bytes::from(encoded.finish());
    let read = read_fields("application/x-www-form-urlencoded", encoded).expect("it is read, too");
    assert!(read == texts, "{read:?} was sent as {texts:?}");
}

/// A mail address.
pub fn email(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(email) = EmailAddress::parse(&text) {
        // The stored form parses as the same mailbox, in any case and both spellings of the domain.
        let again = EmailAddress::parse(email.as_str()).expect("a stored address is one");
        assert_eq!(again.as_str(), email.as_str());
        assert_eq!(again.key(), email.key());
        assert_eq!(email.key(), email.key().to_lowercase());
        for spelling in [email.ascii(), email.as_str().to_ascii_uppercase()] {
            let other = EmailAddress::parse(&spelling).expect("another spelling is an address");
            assert_eq!(other.key(), email.key());
        }
        for shown in [email.as_str(), email.key(), &email.masked()] {
            assert!(!shown.contains(char::is_control), "{shown:?}");
        }
        assert!(email.ascii().is_ascii());
        check_mail(&email);
    }
}

static COMPOSER: LazyLock<Composer> = LazyLock::new(|| {
    Composer::new(&ComposerOptions {
        from: "Accounts <accounts@example.com>",
        reply_to: None,
        public_url: "http://localhost:8000",
        default_language: "en",
        templates_dir: None,
    })
    .expect("the built-in templates are sound")
});

/// The names of a message's headers.
fn header_names(message: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| line.split(':').next().unwrap_or_default().to_owned())
        .collect()
}

/// An address must not add a header to a mail, nor a line that a server could read as its end.
fn check_mail(to: &EmailAddress) {
    static USUAL: LazyLock<Vec<String>> = LazyLock::new(|| {
        let usual = EmailAddress::parse("user@example.com").expect("it is an address");
        let mail = COMPOSER
            .compose(&MailContent::Test, &usual, "", NOW, [7; 16])
            .expect("a usual address gets mail");
        header_names(&mail.raw())
    });
    let Ok(mail) = COMPOSER.compose(&MailContent::Test, to, "", NOW, [7; 16]) else {
        return;
    };
    let message = mail.raw();
    assert_eq!(header_names(&message), *USUAL);
    let breaks = message.windows(2).filter(|pair| *pair == b"\r\n").count();
    let count = |byte| memchr::memchr_iter(byte, &message).count();
    assert_eq!((count(b'\r'), count(b'\n')), (breaks, breaks));
}

/// A phone number.
pub fn phone(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(phone) = PhoneNumber::parse(&text) {
        let stored = phone.as_str();
        assert!(stored.starts_with('+') && stored[1..].bytes().all(|b| b.is_ascii_digit()));
        assert!((3..=16).contains(&stored.len()) && !stored.starts_with("+0"));
        // Grouping does not change the number.
        let grouped: String = stored.chars().flat_map(|c| [' ', c, '-']).collect();
        for spelling in [stored, &grouped] {
            assert_eq!(PhoneNumber::parse(spelling).as_ref(), Ok(&phone));
        }
    }
}

/// The URL of another server.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(url) = EndpointUrl::parse(&text) {
        // What is stored is read as the same URL again, and a request can be made of it.
        let stored = url.as_str();
        assert_eq!(EndpointUrl::parse(stored).as_ref(), Ok(&url));
        assert_eq!(stored.starts_with("https://"), url.is_https());
        assert!(stored.bytes().all(|b| b.is_ascii_graphic() && b != b'#'));
        assert!(OutboundRequest::get(url).is_sendable());
    }
}

/// The ID token of another issuer: a key set on the first line, then the token.
pub fn id_token(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n');
    let (set, token) = data.split_at(end.unwrap_or(data.len()));
    let token = String::from_utf8_lossy(token.get(1..).unwrap_or_default());
    let mut named = 0;
    for algorithm in IdTokenAlgorithm::ALL {
        let Ok(parsed) = UnverifiedIdToken::parse(&token, algorithm) else {
            continue;
        };
        // The header names one algorithm.
        named += 1;
        let Ok(keys) = ProviderKeys::parse(set, algorithm) else {
            continue;
        };
        let Ok(claims) = keys.verify(&parsed) else {
            continue;
        };
        let expected = Expected {
            audiences: &["accounts"],
            nonce: "n",
            may_hash_nonce: true,
            max_age: Duration::from_mins(4),
        };
        if claims.check(&expected, NOW).is_ok() {
            assert!(claims.value("aud").is_some() && claims.text("nonce").is_some());
        }
        if let Ok(subject) = claims.subject() {
            assert!(subject.is_ascii() && (1..=255).contains(&subject.len()));
        }
    }
    assert!(named <= 1);
}

/// A token: the input itself, and genuine tokens modified by it (position and byte).
pub fn token(data: &[u8]) {
    static TOKENS: LazyLock<(Tokens, [String; 2])> = LazyLock::new(|| {
        let options = TokenOptions {
            issuer: "http://localhost:8000".into(),
            client_issuer: "http://localhost:8000".into(),
            audience: None,
            access_life: Duration::from_mins(5),
            refresh_life: Duration::from_hours(1),
        };
        let key = generate_key(SigningAlgorithm::Es256, NOW).expect("a key is generated");
        let tokens = Tokens::new(options, &[key]).expect("a key signs");
        let pair = tokens
            .issue(
                TokenSubject {
                    user: &account(7, "user@example.com"),
                    session_id: "session",
                    authentication: &Authentication::by(AuthMethod::Password, NOW),
                    session_end: None,
                },
                "access",
                "refresh",
                NOW,
            )
            .expect("it is signed");
        (tokens, [pair.access, pair.refresh])
    });
    let (tokens, genuine) = &*TOKENS;
    let text = String::from_utf8_lossy(data);
    let is_known = |text: &str| genuine.iter().any(|token| token == text);
    assert_eq!(tokens.verify(&text, NOW).is_ok(), is_known(&text));
    for token in genuine {
        let mut changed = token.clone().into_bytes();
        for change in data.chunks_exact(3) {
            let place = usize::from(u16::from_be_bytes([change[0], change[1]])) % changed.len();
            changed[place] = change[2];
        }
        let changed = String::from_utf8_lossy(&changed);
        assert_eq!(
            tokens.verify(&changed, NOW).is_ok(),
            is_known(&changed),
            "{changed}"
        );
    }
}

/// An account with only an id and an address.
fn account(id: UserId, email: &str) -> User {
    User {
        id,
        email: email.to_owned(),
        new_email: None,
        profile: Profile::default(),
        photo: None,
        is_active: true,
        is_staff: false,
        verified_at: None,
        last_login_at: None,
        external_id: None,
        has_factor: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// The readable rows of an import file, up to the first fatal error.
fn read_rows(file: &[u8]) -> Vec<Fields> {
    let Ok(mut rows) = Rows::open(file, None, Vec::new()) else {
        return Vec::new();
    };
    let mut read = Vec::new();
    while let Ok(Some(row)) = rows.next() {
        read.extend(row.fields.ok());
    }
    read
}

/// An import file.
pub fn import(data: &[u8]) {
    let rows = read_rows(data);
    check_records(data, &rows);
    for fields in rows {
        check_reading(&read_imported_user(&fields, NOW));
    }
}

/// Compares CSV records with a parser of the whole file: field content must not end a record.
fn check_records(data: &[u8], rows: &[Fields]) {
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    if !text.starts_with(b"email,first_name\n") || std::str::from_utf8(text).is_err() {
        return;
    }
    let whole: Vec<String> = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text)
        .into_records()
        .skip(1)
        .map_while(Result::ok)
        .filter(|record| record.len() == 2)
        .map(|record| record[0].to_owned())
        .collect();
    let email = |row: &Fields| match row.get("email") {
        Some(Input::Text(email)) => email.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(rows.iter().map(email).collect::<Vec<_>>(), whole);
}

/// Errors name fields and messages; an accepted account survives export and import.
fn check_reading(reading: &Result<ImportedUser, FieldErrors>) {
    let user = match reading {
        Ok(user) => user,
        Err(errors) => {
            assert!(!errors.is_empty());
            for (field, messages) in errors.iter() {
                assert!(IMPORTED_FIELDS.contains(&field), "{field}");
                assert!(!messages.is_empty() && messages.iter().all(|text| !text.is_empty()));
            }
            return;
        }
    };
    let stored = StoredUser {
        user: User {
            profile: user.profile.clone(),
            is_active: user.is_active,
            is_staff: user.is_staff,
            verified_at: user.verified_at,
            last_login_at: user.last_login_at,
            external_id: user.external_id.clone(),
            created_at: user.created_at,
            updated_at: user.updated_at,
            ..account(user.id.unwrap_or(1), user.email.as_str())
        },
        password_hash: user.password_hash.clone(),
        language: user.language.clone(),
    };
    let mut line = Vec::new();
    let totp = user.totp.as_ref().map(|totp| ExportedTotp {
        secret: BASE32_NOPAD.encode(&totp.secret),
        created_at: totp.created_at,
        last_used_at: totp.last_used_at,
    });
    let factors = ExportedFactors {
        totp,
        passkeys: user.passkeys.clone(),
    };
    UserRecord::exported(&stored, true, &factors, &user.identities)
        .write_line(&mut line)
        .expect("writing to memory does not fail");
    let fields = parse_json_object(&line).expect("an exported line is JSON");
    let again = read_imported_user(&fields, NOW).unwrap_or_else(|errors| {
        panic!("{} is refused: {errors:?}", String::from_utf8_lossy(&line))
    });
    let seconds = |moment: Option<Timestamp>| moment.map(Timestamp::unix_seconds);
    assert_eq!(again.id, Some(user.id.unwrap_or(1)));
    assert_eq!(again.email, user.email);
    assert_eq!(again.profile, user.profile);
    assert_eq!(again.language, user.language);
    assert_eq!(again.external_id, user.external_id);
    let secret = |user: &ImportedUser| user.totp.as_ref().map(|totp| totp.secret.clone());
    assert_eq!(secret(&again), secret(user));
    let keys = |user: &ImportedUser| {
        user.passkeys.as_ref().map(|owned| {
            let keys = owned.passkeys.iter().map(|stored| {
                (
                    stored.passkey.credential_id.clone(),
                    stored.public_key.clone(),
                )
            });
            (owned.user_handle.clone(), keys.collect::<Vec<_>>())
        })
    };
    assert_eq!(keys(&again), keys(user));
    let names = |user: &ImportedUser| {
        let proven = user
            .identities
            .iter()
            .map(|identity| identity.proven.clone());
        proven.collect::<Vec<_>>()
    };
    assert_eq!(names(&again), names(user));
    assert_eq!(
        (again.is_active, again.is_staff),
        (user.is_active, user.is_staff)
    );
    // An account without a password gets an unusable one, different each time.
    assert_eq!(
        again.password_hash.starts_with('!'),
        user.password_hash.starts_with('!')
    );
    assert!(user.password_hash.starts_with('!') || again.password_hash == user.password_hash);
    for (before, after) in [
        (user.verified_at, again.verified_at),
        (user.last_login_at, again.last_login_at),
        (Some(user.created_at), Some(again.created_at)),
        (Some(user.updated_at), Some(again.updated_at)),
    ] {
        assert_eq!(seconds(before), seconds(after));
    }
}

/// A photo. The re-encoded one is small and decodes again.
pub fn photo(data: &[u8]) {
    static PHOTOS: LazyLock<Photos> = LazyLock::new(|| {
        Photos::open(PhotoOptions {
            dir: PathBuf::from("no-photo-is-ever-stored"),
            max_bytes: 64 * 1024,
            max_pixels: 256 * 256,
            max_side: 64,
            ..PhotoOptions::default()
        })
        .expect("nothing is opened yet")
    });
    if let Ok(photo) = PHOTOS.prepare_here(data) {
        let (width, height) = photo.dimensions();
        assert!((1..=64).contains(&width) && (1..=64).contains(&height));
        let again = PHOTOS.prepare_here(photo.bytes()).expect("a photo is one");
        assert_eq!(again.dimensions(), photo.dimensions());
        assert_eq!(again.extension(), photo.extension());
    }
}

/// Headers about the client's address and language.
pub fn headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let language = COMPOSER.negotiate(&text);
    assert!(language.is_empty() || COMPOSER.languages().any(|known| known == language));
    // The client's entries are left of the proxy's, and do not change the result.
    for (header, seen) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("forwarded", "for=203.0.113.7"),
    ] {
        for line in text.split('\n') {
            if let Some(ip) = forwarded_for(header, &format!("{line}, {seen}")) {
                assert_eq!(ip.to_string(), "203.0.113.7", "{line}");
            }
        }
    }
}
