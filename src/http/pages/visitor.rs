//! Who looks at a page: the language, the browser session if there is one, and what proves that a
//! form comes from a page of ours.

use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, ORIGIN};
use minijinja::{Value, context};
use subtle::ConstantTimeEq;
use warp::reply::Response;

use super::cookies::Cookie;
use crate::accounts::{self, BrowserSession, Client};
use crate::app::App;
use crate::crypto::random;
use crate::http::error::ApiError;
use crate::http::request::Request;
use crate::observability::metrics::ActionOutcome;
use crate::templates::Language;

/// How long the cookie of an anonymous form lives: as long as somebody may leave a page open.
const FORM_LIFE: Duration = Duration::from_hours(24);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Somebody in front of a page.
pub(super) struct Visitor<'a> {
    pub(super) app: &'a App,
    pub(super) language: &'a Language,
    /// The browser session, if somebody is signed in.
    pub(super) session: Option<BrowserSession>,
    pub(super) client: Client,
    /// The path of the page, with its query: that of the request, or the page that its form is on.
    pub(super) path: String,
    pub(super) is_secure: bool,
    /// Whether the language was chosen here, by the query or a cookie.
    has_chosen_language: bool,
    form_secret: FormSecret,
    flash: Option<String>,
    /// Why the action of a form failed that a page answers, for the metrics.
    failure: OnceLock<ActionOutcome>,
}

/// What the forms of a browser are bound to.
enum FormSecret {
    /// Its session, by its id: a re-authentication in another tab changes the secret of the session
    /// and leaves forms valid. The prefix keeps a cookie with that id from having the same token.
    Session(String),
    /// The value of a cookie that it had or, when `is_new`, gets with this page.
    Cookie { value: String, is_new: bool },
}

impl FormSecret {
    fn value(&self) -> String {
        match self {
            Self::Session(id) => format!("session {id}"),
            Self::Cookie { value, .. } => format!("cookie {value}"),
        }
    }
}

impl<'a> Visitor<'a> {
    /// Reads the cookies of a request.
    ///
    /// # Errors
    /// Only by a fault of the store.
    pub(super) async fn of(app: &'a App, request: &Request) -> Result<Self, ApiError> {
        let headers = &request.head.headers;
        let is_secure = app.public_url.starts_with("https://");
        if !super::are_safe_at(&app.public_url) {
            return Err(ApiError::InsecurePages);
        }
        let client = request.client(app);
        let secret = request
            .renewed_session
            .as_deref()
            .or_else(|| Cookie::Session.read(headers, is_secure));
        let session = match secret {
            Some(secret) => accounts::find_browser_session(app, &client, secret).await?,
            None => None,
        };
        let form_secret = match &session {
            Some(session) => FormSecret::Session(session.caller.session_id().to_owned()),
            None => match Cookie::Form.read(headers, is_secure) {
                Some(value) => FormSecret::Cookie {
                    value: value.to_owned(),
                    is_new: false,
                },
                None => FormSecret::Cookie {
                    value: random::id(),
                    is_new: true,
                },
            },
        };
        let of_account = session.as_ref().map(|session| &*session.language);
        Ok(Self {
            app,
            language: language_of(app, request, &client, of_account),
            session,
            path: path_of(request),
            is_secure,
            has_chosen_language: chosen_language(app, request).is_some(),
            form_secret,
            flash: Cookie::Flash.read(headers, is_secure).map(str::to_owned),
            failure: OnceLock::new(),
            client,
        })
    }

    /// Somebody whose session is not looked up: for pages that need none, or that say why nothing can be.
    pub(super) fn without_session(app: &'a App, request: &Request) -> Self {
        let client = request.client(app);
        Self {
            app,
            language: language_of(app, request, &client, None),
            session: None,
            path: path_of(request),
            is_secure: app.public_url.starts_with("https://"),
            has_chosen_language: chosen_language(app, request).is_some(),
            form_secret: FormSecret::Cookie {
                value: String::new(),
                is_new: false,
            },
            flash: None,
            failure: OnceLock::new(),
            client,
        }
    }

    /// Uses the best of these languages (BCP 47 tags, separated by spaces), unless one was chosen here.
    pub(super) fn prefer(&mut self, tags: Option<&str>) {
        let languages = self.app.pages.languages();
        let tags = tags.unwrap_or_default().replace(' ', ",");
        if !self.has_chosen_language
            && let Some(tag) = languages.negotiate(&tags)
        {
            self.language = languages.nearest(tag);
        }
    }

    /// Notes why the action of a form failed, where a page says so instead of an error.
    pub(super) fn note_failure(&self, outcome: ActionOutcome) {
        // The first failure is what stopped the action.
        let _ = self.failure.set(outcome);
    }

    /// Hands the noted failure to the metrics, with the response.
    pub(super) fn mark_failure(&self, response: &mut Response) {
        if let Some(outcome) = self.failure.get() {
            response.extensions_mut().insert(*outcome);
        }
    }

    /// The token that goes into every form.
    pub(super) fn form_token(&self) -> String {
        self.app.codes.form_token(&self.form_secret.value())
    }

    /// Whether a form comes from a page of ours in this browser: the browser says that it was sent
    /// from this origin, and its token is that of the cookie.
    pub(super) fn is_own_form(&self, headers: &HeaderMap, token: &str) -> bool {
        if !self.is_same_origin(headers) {
            return false;
        }
        if let FormSecret::Cookie { is_new: true, .. } = self.form_secret {
            return false;
        }
        let expected = self.form_token();
        expected.as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// Browsers say where a request comes from by `Sec-Fetch-Site` (Fetch Metadata); those that do
    /// not send it name an `Origin` with every form.
    fn is_same_origin(&self, headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get(SEC_FETCH_SITE) {
            return site == "same-origin";
        }
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(origin_of(&self.app.public_url)))
    }

    /// The message that the last page left, which is shown once.
    pub(super) fn flash(&self) -> Value {
        let mut parts = self.flash.as_deref().unwrap_or_default().split(':');
        let Some(key) = parts.next().filter(|key| is_key(key)) else {
            return Value::UNDEFINED;
        };
        let mut number = || parts.next().and_then(|digits| digits.parse::<u64>().ok());
        let numbers = context! { count => number(), failed => number() };
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        if self.language.sentence(section, name).is_none() {
            return Value::UNDEFINED;
        }
        context! { kind => "success", text => self.text(key, numbers) }
    }

    /// Sets and removes the cookies that change with a page.
    pub(super) fn update_cookies(&self, headers: &mut HeaderMap) {
        if let FormSecret::Cookie {
            value,
            is_new: true,
        } = &self.form_secret
        {
            Cookie::Form.set(headers, self.is_secure, value, Some(FORM_LIFE));
        }
        if self.flash.is_some() {
            Cookie::Flash.remove(headers, self.is_secure);
        }
    }

    /// A sentence in the visitor's language.
    pub(super) fn text(&self, key: &str, values: Value) -> String {
        self.app.pages.sentence(self.language, key, values)
    }
}

/// The language of a page: that of the query, else the chosen one, else that of the account, else what
/// the browser prefers.
fn language_of<'a>(
    app: &'a App,
    request: &Request,
    client: &Client,
    of_account: Option<&str>,
) -> &'a Language {
    let languages = app.pages.languages();
    let chosen = chosen_language(app, request);
    let preferred = chosen
        .as_deref()
        .or(of_account.filter(|tag| !tag.is_empty()))
        .or_else(|| languages.negotiate(&client.accept_language));
    languages.nearest(preferred.unwrap_or_default())
}

/// The language of the query, else the one that was chosen.
fn chosen_language(app: &App, request: &Request) -> Option<String> {
    let asked = query(request, "lang");
    if !asked.is_empty() {
        return Some(asked);
    }
    let is_secure = app.public_url.starts_with("https://");
    let chosen = Cookie::Language.read(&request.head.headers, is_secure);
    chosen.map(str::to_owned)
}

/// A value of the query; empty when it is not there.
pub(super) fn query(request: &Request, name: &str) -> String {
    form_urlencoded::parse(request.head.query().as_bytes())
        .find_map(|(known, value)| (known == name).then(|| value.into_owned()))
        .unwrap_or_default()
}

fn path_of(request: &Request) -> String {
    if let Some(page) = &request.page {
        return page.clone();
    }
    match request.head.query() {
        "" => request.head.path().to_owned(),
        query => format!("{}?{query}", request.head.path()),
    }
}

/// Scheme, host and port of a URL.
fn origin_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |position| position + 3);
    let end = url[start..]
        .find('/')
        .map_or(url.len(), |position| start + position);
    &url[..end]
}

fn is_key(text: &str) -> bool {
    text.len() <= 60
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_the_url_without_its_path() {
        assert_eq!(
            origin_of("https://a.example:8443/x"),
            "https://a.example:8443"
        );
        assert_eq!(origin_of("http://127.0.0.1:8000"), "http://127.0.0.1:8000");
    }
}
