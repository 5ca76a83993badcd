//! The HTML templates and static files of the pages.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, State, Value};
use sha2::{Digest, Sha256};

use super::sample::{SAMPLE, Sample};
use super::{Language, Languages, TemplateError, environment};

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../http/pages/templates/", $name)))),+]
    };
}

/// The built-in templates: name and text.
pub(super) const BUILT_IN: &[(&str, &str)] = built_in![
    "layout.html",
    "narrow.html",
    "account.html",
    "parts.html",
    "message.html",
    "external.html",
    "inbox.html",
    "dev_webhooks.html",
    "account/activity.html",
    "account/confirm.html",
    "account/connections.html",
    "account/data.html",
    "account/delete.html",
    "account/email.html",
    "account/invitation.html",
    "account/language.html",
    "account/overview.html",
    "account/passkey_new.html",
    "account/passkey_offer.html",
    "account/password.html",
    "account/profile.html",
    "account/reauthenticate.html",
    "account/recovery_codes.html",
    "account/reset.html",
    "account/reset_confirm.html",
    "account/second_factor.html",
    "account/security.html",
    "account/sessions.html",
    "account/sign_in.html",
    "account/sign_up.html",
    "account/totp.html",
    "account/undo.html",
    "oauth/consent.html",
    "oauth/fault.html",
    "oauth/form_post.html",
    "oauth/leave.html",
    "oauth/sign_out.html",
    "console.html",
    "console/backups.html",
    "console/bulk.html",
    "console/client.html",
    "console/client_fields.html",
    "console/client_new.html",
    "console/client_remove.html",
    "console/client_secret.html",
    "console/client_state.html",
    "console/clients.html",
    "console/events.html",
    "console/invitations.html",
    "console/keys.html",
    "console/mails.html",
    "console/overview.html",
    "console/parts.html",
    "console/settings.html",
    "console/setup.html",
    "console/user.html",
    "console/user_delete.html",
    "console/user_new.html",
    "console/users.html",
    "console/setup_where.html",
    "console/webhook.html",
    "console/webhook_fields.html",
    "console/webhook_new.html",
    "console/webhook_remove.html",
    "console/webhook_secret.html",
    "console/webhook_state.html",
    "console/webhooks.html",
];

/// The style sheet of all pages.
const STYLE: &str = include_str!("../http/pages/static/style.css");

/// The name of a sentence while it is rendered: without `.html`, so that nothing is escaped twice.
const SENTENCE: &str = "sentence";

/// What an operator gives the pages of their own: name, picture, colour and links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branding {
    /// The name in titles and beside the logo.
    pub name: String,
    /// Colour of buttons and links, `#rrggbb`.
    pub accent: Option<String>,
    /// Picture in place of the built-in mark.
    pub logo: Option<PathBuf>,
    /// Its variant for dark mode.
    pub logo_dark: Option<PathBuf>,
    /// Where people get help.
    pub support_url: Option<String>,
    /// Terms of use.
    pub terms_url: Option<String>,
    /// Privacy policy.
    pub privacy_url: Option<String>,
    /// Who runs the service.
    pub imprint_url: Option<String>,
}

/// What the pages are made with.
pub struct PageOptions<'a> {
    /// Folder whose files replace the built-in templates of the same name.
    pub templates_dir: Option<&'a Path>,
    /// The operator's own.
    pub branding: &'a Branding,
}

/// A file that pages refer to.
#[derive(Clone, Debug)]
pub struct StaticFile {
    /// Its name below `/account/static/`.
    pub name: &'static str,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub content: Cow<'static, [u8]>,
    /// Names this content, for the `v` of its address.
    pub version: String,
}

impl StaticFile {
    fn new(
        name: &'static str,
        media_type: &'static str,
        content: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let content = content.into();
        let mut version = String::new();
        for byte in &Sha256::digest(&content)[..6] {
            let _ = write!(version, "{byte:02x}");
        }
        Self {
            name,
            media_type,
            content,
            version,
        }
    }
}

/// The templates and static files of the pages.
pub struct PageTemplates {
    environment: Environment<'static>,
    languages: Arc<Languages>,
    files: Arc<Vec<StaticFile>>,
    brand: Value,
}

impl PageTemplates {
    /// The built-in files, with those of the folder in the place of the ones with the same names.
    ///
    /// # Errors
    /// [`TemplateError`] when a file cannot be read or has a mistake; the text names file and line.
    pub fn load(
        languages: Arc<Languages>,
        options: &PageOptions<'_>,
    ) -> Result<Self, TemplateError> {
        let files = Arc::new(static_files(options)?);
        let mut environment = environment(BUILT_IN);
        let known = Arc::clone(&languages);
        environment.add_function("t", move |state: &State, key: &str, values: Kwargs| {
            translate(state, &known, key, values)
        });
        let known = Arc::clone(&files);
        environment.add_function("static", move |name: &str| {
            known
                .iter()
                .find(|file| file.name == name)
                .map(|file| Value::from_safe_string(address(file)))
                .ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidOperation,
                        format!("no static file {name:?}"),
                    )
                })
        });
        if let Some(dir) = options.templates_dir {
            for (name, _) in BUILT_IN {
                let path = dir.join(name);
                if !path.is_file() {
                    continue;
                }
                let text = fs::read_to_string(&path)
                    .map_err(|e| TemplateError::new(format!("{}: {e}", path.display())))?;
                environment
                    .add_template_owned(*name, text.replace("\r\n", "\n"))
                    .map_err(|e| TemplateError::new(format!("{}: {e:#}", path.display())))?;
            }
        }
        let brand = brand(options.branding, &files);
        Ok(Self {
            environment,
            languages,
            files,
            brand,
        })
    }

    /// Renders every template in every language with samples for all values.
    ///
    /// # Errors
    /// [`TemplateError`] for the first template that fails, lacks a sentence, or uses a name that
    /// no page has; the text names file and line.
    pub fn check(&self) -> Result<(), TemplateError> {
        let failed = |name: &str, e: &dyn fmt::Display| {
            TemplateError::new(format!("template {name}: {e:#}"))
        };
        let mut known: BTreeSet<String> = BTreeSet::new();
        let built_in = environment(BUILT_IN);
        for (name, _) in BUILT_IN {
            known.extend(names_in(&built_in, name).map_err(|e| failed(name, &e))?);
        }
        let functions: BTreeSet<&str> = self.environment.globals().map(|(name, _)| name).collect();
        for (name, _) in BUILT_IN {
            let names = names_in(&self.environment, name).map_err(|e| failed(name, &e))?;
            if let Some(unknown) = names.difference(&known).next() {
                return Err(failed(name, &format!("no page has a value {unknown:?}")));
            }
            for tag in self.languages.tags() {
                let language = self.languages.nearest(tag);
                for is_there in [true, false] {
                    let values = known
                        .iter()
                        .filter(|name| !functions.contains(name.as_str()))
                        .map(|name| (name.as_str(), Sample::value(is_there)));
                    let rendered = self.render(name, language, Value::from_pairs(values));
                    rendered
                        .map_err(|e| TemplateError::new(format!("{e} (in the language {tag})")))?;
                }
            }
        }
        Ok(())
    }

    /// The built-in files: name and content.
    pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
        BUILT_IN.iter().copied().chain([("style.css", STYLE)])
    }

    /// The sentences.
    pub fn languages(&self) -> &Languages {
        &self.languages
    }

    /// The static file with this name.
    pub fn static_file(&self, name: &str) -> Option<&StaticFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// A sentence in a language, with values put in; the key itself where there is none.
    pub fn sentence(&self, language: &Language, key: &str, values: Value) -> String {
        sentence(&self.environment, language, key, &values).unwrap_or_else(|e| {
            log::error!("sentence {key:?} in {}: {e:#}", language.tag());
            key.to_owned()
        })
    }

    /// Renders a template. `lang`, `dir`, `language_name` and `brand` are there beside `values`.
    ///
    /// # Errors
    /// [`TemplateError`] when the template fails; the text names file and line.
    pub fn render(
        &self,
        template: &str,
        language: &Language,
        values: Value,
    ) -> Result<String, TemplateError> {
        let values = minijinja::context! {
            lang => language.tag(),
            dir => language.direction(),
            language_name => self.sentence(language, "pages.language", Value::UNDEFINED),
            brand => self.brand.clone(),
            ..values
        };
        self.environment
            .get_template(template)
            .and_then(|template| template.render(values))
            .map_err(|e| TemplateError::new(format!("template {template}: {e:#}")))
    }
}

/// The names that templates use without setting them.
fn names_in(environment: &Environment<'_>, template: &str) -> Result<BTreeSet<String>, Error> {
    let template = environment.get_template(template)?;
    Ok(template.undeclared_variables(false).into_iter().collect())
}

/// The function `t` of templates: `t("section.key", name=value)`.
fn translate(
    state: &State,
    languages: &Languages,
    key: &str,
    values: Kwargs,
) -> Result<String, Error> {
    if key.contains(SAMPLE) {
        return Ok(SAMPLE.to_owned());
    }
    let tag = state.lookup("lang").unwrap_or_default();
    let language = languages.nearest(tag.as_str().unwrap_or_default());
    let pairs: Result<Vec<(&str, Value)>, Error> = values
        .args()
        .map(|name| Ok((name, values.get(name)?)))
        .collect();
    sentence(state.env(), language, key, &Value::from_pairs(pairs?))
}

fn sentence(
    environment: &Environment<'_>,
    language: &Language,
    key: &str,
    values: &Value,
) -> Result<String, Error> {
    let text = key
        .split_once('.')
        .and_then(|(section, key)| language.sentence(section, key))
        .ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidOperation,
                format!("no sentence {key:?} in {}", language.tag()),
            )
        })?;
    if text.contains('{') {
        environment.render_named_str(SENTENCE, text, values)
    } else {
        Ok(text.to_owned())
    }
}

/// Where a file is served: its version in the query lets browsers keep it for good.
fn address(file: &StaticFile) -> String {
    format!("/account/static/{}?v={}", file.name, file.version)
}

/// Our own style or script as browsers get it: without the lines that explain it, each of which is a
/// comment from its beginning to its end.
fn without_comments(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    for line in text.lines().map(str::trim_start) {
        let is_comment = line.starts_with("//") || (line.starts_with("/*") && line.ends_with("*/"));
        if !line.is_empty() && !is_comment {
            short.push_str(line);
            short.push('\n');
        }
    }
    short
}

fn static_files(options: &PageOptions<'_>) -> Result<Vec<StaticFile>, TemplateError> {
    let css = "text/css; charset=utf-8";
    let script = "text/javascript; charset=utf-8";
    let mut files = vec![
        StaticFile::new("style.css", css, without_comments(STYLE).into_bytes()),
        StaticFile::new(
            "page.js",
            script,
            without_comments(include_str!("../http/pages/static/page.js")).into_bytes(),
        ),
        StaticFile::new(
            "passkeys.js",
            script,
            without_comments(include_str!("../http/pages/static/passkeys.js")).into_bytes(),
        ),
        StaticFile::new(
            "icon.svg",
            "image/svg+xml",
            include_str!("../http/pages/static/icon.svg").as_bytes(),
        ),
    ];
    let branding = options.branding;
    if let Some(accent) = &branding.accent {
        let dark = lightened(accent);
        let rules = format!(
            ":root{{--accent:light-dark({accent},{dark});--on-accent:light-dark({},{})}}\n",
            readable_on(accent),
            readable_on(&dark)
        );
        files.push(StaticFile::new("brand.css", css, rules.into_bytes()));
    }
    if let Some(dir) = options.templates_dir {
        let path = dir.join("override.css");
        if path.is_file() {
            files.push(StaticFile::new("override.css", css, read(&path)?));
        }
    }
    for (name, path) in [("logo", &branding.logo), ("logo-dark", &branding.logo_dark)] {
        if let Some(path) = path {
            files.push(StaticFile::new(name, picture_type(path)?, read(path)?));
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, TemplateError> {
    fs::read(path).map_err(|e| TemplateError::new(format!("{}: {e}", path.display())))
}

fn picture_type(path: &Path) -> Result<&'static str, TemplateError> {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    match &*ending.to_ascii_lowercase() {
        "svg" => Ok("image/svg+xml"),
        "png" => Ok("image/png"),
        "jpg" | "jpeg" => Ok("image/jpeg"),
        "webp" => Ok("image/webp"),
        _ => Err(TemplateError::new(format!(
            "[branding] {}: a logo is an SVG, PNG, JPEG or WebP file",
            path.display()
        ))),
    }
}

fn brand(branding: &Branding, files: &[StaticFile]) -> Value {
    let file = |name: &str| {
        files
            .iter()
            .find(|file| file.name == name)
            .map(|file| Value::from_safe_string(address(file)))
    };
    minijinja::context! {
        name => &*branding.name,
        accent => branding.accent.is_some(),
        override_css => file("override.css").is_some(),
        logo => file("logo"),
        logo_dark => file("logo-dark"),
        support_url => branding.support_url.as_deref(),
        terms_url => branding.terms_url.as_deref(),
        privacy_url => branding.privacy_url.as_deref(),
        imprint_url => branding.imprint_url.as_deref(),
    }
}

/// Contrast of two colours `#rrggbb`, from 1 to 21 (WCAG 2.2, "contrast ratio"). `None` when one
/// is not of that form.
pub fn contrast(one: &str, other: &str) -> Option<f64> {
    let (a, b) = (luminance(one)?, luminance(other)?);
    Some((a.max(b) + 0.05) / (a.min(b) + 0.05))
}

/// Relative luminance (WCAG 2.2).
fn luminance(colour: &str) -> Option<f64> {
    let digits = colour
        .strip_prefix('#')
        .filter(|digits| digits.len() == 6)?;
    let channel = |start: usize| {
        let value = u8::from_str_radix(digits.get(start..start + 2)?, 16).ok()?;
        let value = f64::from(value) / 255.0;
        Some(if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        })
    };
    Some(0.2126 * channel(0)? + 0.7152 * channel(2)? + 0.0722 * channel(4)?)
}

/// The cards of the pages in dark mode, on which links are read.
const DARK_SURFACE: &str = "#181b21";

/// What text needs at least (WCAG 2.2, 1.4.3).
const READABLE: f64 = 4.5;

/// A colour with as much white in it as makes it readable in dark mode.
fn lightened(colour: &str) -> String {
    let digits = colour.trim_start_matches('#');
    let channel = |start: usize| {
        let value = digits.get(start..start + 2);
        value.map_or(0, |value| u32::from_str_radix(value, 16).unwrap_or(0))
    };
    let channels = [channel(0), channel(2), channel(4)];
    (0..=100)
        .map(|white| {
            let [r, g, b] = channels.map(|value| value + (255 - value) * white / 100);
            format!("#{r:02x}{g:02x}{b:02x}")
        })
        .find(|mixed| contrast(mixed, DARK_SURFACE).is_some_and(|ratio| ratio >= READABLE))
        .unwrap_or_else(|| "#ffffff".to_owned())
}

/// Black or white, whichever is easier to read on a colour.
fn readable_on(colour: &str) -> &'static str {
    let [white, black] = ["#ffffff", "#101323"].map(|text| contrast(colour, text).unwrap_or(1.0));
    if white >= black { "#fff" } else { "#101323" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_wcag() {
        assert!((contrast("#000000", "#ffffff").unwrap() - 21.0).abs() < 0.01);
        assert!((contrast("#777777", "#ffffff").unwrap() - 4.48).abs() < 0.01);
        assert_eq!(contrast("red", "#ffffff"), None);
        assert_eq!(readable_on("#3538cd"), "#fff");
        assert_eq!(readable_on("#ffe600"), "#101323");
        assert_eq!(lightened("#ffe600"), "#ffe600");
        for dark in ["#000000", "#3538cd", "#800000"] {
            assert!(
                contrast(&lightened(dark), DARK_SURFACE).unwrap() >= READABLE,
                "{dark}"
            );
        }
    }

    /// The built-in templates, with those of a folder in their place.
    fn load(dir: Option<&Path>) -> PageTemplates {
        let languages = Arc::new(Languages::load(None, "en").unwrap());
        let branding = Branding::default();
        let options = PageOptions {
            templates_dir: dir,
            branding: &branding,
        };
        PageTemplates::load(languages, &options).unwrap()
    }

    #[test]
    fn built_in_templates_pass_their_check() {
        load(None).check().unwrap();
    }

    #[test]
    fn mistakes_in_templates_are_found_before_a_page_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("account")).unwrap();
        for (text, complaint) in [
            (
                "{{ t('page_data.nothing') }}",
                "no sentence \"page_data.nothing\" in en",
            ),
            ("{{ usr.email }}", "no page has a value \"usr\""),
            (
                "{% if errors %}{{ title|shout }}{% endif %}",
                "unknown filter",
            ),
            ("{% extends 'nothing.html' %}", "nothing.html"),
        ] {
            fs::write(dir.path().join("account/data.html"), text).unwrap();
            let error = load(Some(dir.path())).check().unwrap_err().to_string();
            assert!(error.contains("account/data.html"), "{error}");
            assert!(error.contains(complaint), "{error}");
        }
        let text =
            "{% extends \"account.html\" %}{% block content %}<p>{{ user.name }}</p>{% endblock %}";
        fs::write(dir.path().join("account/data.html"), text).unwrap();
        load(Some(dir.path())).check().unwrap();
    }
}
