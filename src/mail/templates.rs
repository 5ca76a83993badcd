//! Templates and languages of mails, built in or from a directory that overrides them.
//!
//! A language file (`languages/de.toml`) has the sentences, one section for each kind of mail; two templates
//! arrange them, one as text and one as HTML. Values in HTML templates are escaped. Headers and recipients
//! are unknown here. To add a built-in language, add a file and a line in [`BUILT_IN`].

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, escape_formatter};
use toml::de::{DeTable, DeValue};

use super::MailError;
use super::language::{is_tag, look_up, preferred};

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("templates/", $name)))),+]
    };
}

/// The built-in files: name and content.
pub const BUILT_IN: &[(&str, &str)] = built_in![
    "layout.html",
    "code.html",
    "code.txt",
    "address_changed.html",
    "address_changed.txt",
    "notice.html",
    "notice.txt",
    "test.html",
    "test.txt",
    "languages/en.toml",
    "languages/de.toml",
    "languages/es.toml",
    "languages/fr.toml",
    "languages/it.toml",
    "languages/pt-BR.toml",
];

/// The directory of the languages, and the extension of their files.
const LANGUAGES: (&str, &str) = ("languages", "toml");

/// The language with every sentence, the fallback of the others.
const COMPLETE: &str = "en";

/// The values of a mail, by their names in sentences and templates.
pub(super) type Values = BTreeMap<&'static str, Value>;

/// A rendered mail.
pub(super) struct Rendered {
    /// On one line.
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) html: String,
}

/// All templates and languages.
pub(super) struct Templates {
    environment: Environment<'static>,
    /// The file of each template, for errors.
    files: BTreeMap<String, String>,
    languages: Vec<Language>,
    /// The index of the default language.
    default: usize,
}

/// The sentences of one language.
#[derive(Clone)]
struct Language {
    /// BCP 47.
    tag: String,
    /// `ltr` or `rtl`.
    direction: &'static str,
    /// By section and key.
    sections: BTreeMap<String, BTreeMap<String, Sentence>>,
}

#[derive(Clone)]
struct Sentence {
    template: String,
    /// The file that contains it.
    file: Arc<str>,
    /// Its first line in that file, from 1.
    line: usize,
}

impl Templates {
    /// Loads the built-in files; those of `dir` override files of the same name and add others.
    ///
    /// # Errors
    /// [`MailError::Setup`] when a file cannot be read or is wrong; the text names file and line.
    pub(super) fn load(dir: Option<&Path>, default_language: &str) -> Result<Self, MailError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        // minijinja escapes in templates whose names end in `.html`, but every slash of a link, too.
        environment.set_formatter(|out, state, value| match state.auto_escape() {
            AutoEscape::Html if !value.is_safe() => out
                .write_str(&escaped(&value.to_string()))
                .map_err(Into::into),
            _ => escape_formatter(out, state, value),
        });
        environment.set_loader(|name| {
            let built_in = BUILT_IN.iter().find(|(known, _)| *known == name);
            Ok(built_in.map(|(_, text)| text.replace("\r\n", "\n")))
        });
        let mut templates = Self {
            environment,
            files: BTreeMap::new(),
            languages: Vec::new(),
            default: 0,
        };
        for (name, text) in BUILT_IN {
            templates.add(name, &format!("built-in {name}"), text, false)?;
        }
        if let Some(dir) = dir {
            for (name, path) in files_in(dir)? {
                let text = fs::read_to_string(&path)
                    .map_err(|e| setup_error(format!("{}: {e}", path.display()), Some(e.into())))?;
                templates.add(&name, &path.display().to_string(), &text, true)?;
            }
        }
        let tags = || templates.languages.iter().map(|language| &*language.tag);
        templates.default = tags()
            .position(|tag| tag.eq_ignore_ascii_case(default_language))
            .ok_or_else(|| {
                let tags: Vec<&str> = tags().collect();
                let message = format!(
                    "unknown language {default_language:?}; choose one of {}, or add a file \
                     languages/{default_language}.toml to templates_dir",
                    tags.join(", ")
                );
                setup_error(message, None)
            })?;
        Ok(templates)
    }

    /// Adds a file, replacing an earlier one of that name.
    fn add(
        &mut self,
        name: &str,
        file: &str,
        text: &str,
        is_custom: bool,
    ) -> Result<(), MailError> {
        // Editors may write CRLF line ends.
        let text = text.replace("\r\n", "\n");
        let tag = name
            .strip_prefix(LANGUAGES.0)
            .and_then(|name| name.strip_prefix('/')?.strip_suffix(".toml"));
        let Some(tag) = tag else {
            self.files.insert(name.to_owned(), file.to_owned());
            if !is_custom {
                // It is compiled on first use.
                return Ok(());
            }
            return self
                .environment
                .add_template_owned(name.to_owned(), text)
                .map_err(|e| setup_error(self.place_of(&e, None), None));
        };
        let mut language = Language::read(tag, file, &text)?;
        let place = self
            .languages
            .iter()
            .position(|known| known.tag.eq_ignore_ascii_case(tag));
        if is_custom {
            let complete = place
                .or_else(|| {
                    self.languages
                        .iter()
                        .position(|known| known.tag == COMPLETE)
                })
                .map(|place| &self.languages[place]);
            if let Some(complete) = complete {
                language.fill_in(file, complete)?;
            }
        }
        match place {
            Some(place) => self.languages[place] = language,
            None => self.languages.push(language),
        }
        Ok(())
    }

    /// The tags of all languages.
    pub(super) fn languages(&self) -> impl Iterator<Item = &str> + Clone {
        self.languages.iter().map(|language| &*language.tag)
    }

    /// Chooses the language for an `Accept-Language`; `None` if none matches.
    pub(super) fn negotiate(&self, accept_language: &str) -> Option<&str> {
        preferred(accept_language)
            .into_iter()
            .find_map(|range| look_up(range, self.languages()))
    }

    /// Renders the sentences of `section` with the templates named `template`, in the language nearest to
    /// `tag`.
    ///
    /// # Errors
    /// [`MailError::Compose`] when a template fails; the text names file and line.
    pub(super) fn render(
        &self,
        section: &str,
        template: &str,
        tag: &str,
        mut values: Values,
    ) -> Result<Rendered, MailError> {
        let language = look_up(tag, self.languages())
            .and_then(|tag| self.languages.iter().find(|language| language.tag == tag))
            .unwrap_or(&self.languages[self.default]);
        let mut sentences = BTreeMap::new();
        for (key, sentence) in language.sections.get(section).into_iter().flatten() {
            let rendered = self
                .environment
                .render_named_str(
                    SENTENCE,
                    &sentence.template,
                    Value::from_pairs(values.clone()),
                )
                .map_err(|e| compose_error(self.place_of(&e, Some(sentence))))?;
            sentences.insert(key.clone(), rendered);
        }
        let subject = sentences.get("subject").map_or("", String::as_str);
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        values.insert("t", Value::from_pairs(sentences));
        values.insert("kind", Value::from(section));
        values.insert("language", Value::from(&language.tag));
        values.insert("direction", Value::from(language.direction));
        let values = Value::from_pairs(values);
        let fill = |ending: &str| {
            self.environment
                .get_template(&format!("{template}.{ending}"))
                .and_then(|template| template.render(values.clone()))
                .map(|text| format!("{}\n", text.replace('\r', "").trim()))
                .map_err(|e| compose_error(self.place_of(&e, None)))
        };
        Ok(Rendered {
            subject,
            text: wrapped(&fill("txt")?),
            html: fill("html")?,
        })
    }

    /// Describes an error with file and line: of the rendered `sentence`, or of the template it names.
    fn place_of(&self, error: &minijinja::Error, sentence: Option<&Sentence>) -> String {
        // An error in an included template is the source of one in the including template.
        let mut innermost = error;
        while let Some(cause) = std::error::Error::source(innermost)
            .and_then(|cause| cause.downcast_ref::<minijinja::Error>())
        {
            innermost = cause;
        }
        let name = innermost.name().unwrap_or_default();
        let line = innermost.line().unwrap_or(1);
        let (file, line) = match sentence {
            Some(sentence) if name == SENTENCE => (&*sentence.file, sentence.line + line - 1),
            _ => (self.files.get(name).map_or(name, String::as_str), line),
        };
        let what = match innermost.detail() {
            Some(detail) => format!("{}: {detail}", innermost.kind()),
            None => innermost.kind().to_string(),
        };
        format!("{file}, line {line}: {what}")
    }
}

/// The name of a sentence while it is rendered.
const SENTENCE: &str = "sentence";

impl Language {
    fn read(tag: &str, file: &str, text: &str) -> Result<Self, MailError> {
        let line_at = |position: usize| 1 + text[..position].matches('\n').count();
        if !is_tag(tag) {
            return Err(template_error(
                file,
                1,
                "the file name is not a language tag such as de or pt-BR",
            ));
        }
        let table = DeTable::parse(text).map_err(|e| {
            let position = e.span().map_or(0, |span| span.start);
            template_error(file, line_at(position), e.message())
        })?;
        let mut language = Self {
            tag: tag.to_owned(),
            direction: "ltr",
            sections: BTreeMap::new(),
        };
        let file_name: Arc<str> = Arc::from(file);
        for (name, value) in table.get_ref() {
            let wrong = |position, what: &str| {
                Err(template_error(
                    file,
                    line_at(position),
                    format!("{}: {what}", name.get_ref()),
                ))
            };
            match value.get_ref() {
                DeValue::String(text) if name.get_ref() == "direction" => {
                    language.direction = match &**text {
                        "ltr" => "ltr",
                        "rtl" => "rtl",
                        _ => return wrong(value.span().start, "expected \"ltr\" or \"rtl\""),
                    };
                }
                DeValue::Table(section) => {
                    let mut sentences = BTreeMap::new();
                    for (key, value) in section {
                        let start = value.span().start;
                        let DeValue::String(template) = value.get_ref() else {
                            return wrong(start, &format!("{} is not a string", key.get_ref()));
                        };
                        // The line break after three opening quotes does not belong to the text.
                        let quotes = &text[start..];
                        let begins_below =
                            quotes.starts_with("\"\"\"\n") || quotes.starts_with("'''\n");
                        let sentence = Sentence {
                            template: template.to_string(),
                            file: Arc::clone(&file_name),
                            line: line_at(start) + usize::from(begins_below),
                        };
                        sentences.insert(key.get_ref().to_string(), sentence);
                    }
                    language
                        .sections
                        .insert(name.get_ref().to_string(), sentences);
                }
                _ => return wrong(name.span().start, "unknown key"),
            }
        }
        Ok(language)
    }

    /// Adds missing sentences from `complete`, so that files for an earlier version keep working.
    fn fill_in(&mut self, file: &str, complete: &Self) -> Result<(), MailError> {
        let unknown = self
            .sections
            .iter()
            .find(|(name, _)| !complete.sections.contains_key(*name));
        if let Some((name, sentences)) = unknown {
            let line = sentences.values().map(|sentence| sentence.line).min();
            let known: Vec<_> = complete.sections.keys().map(String::as_str).collect();
            let what = format!(
                "unknown section [{name}]; the sections are [{}]",
                known.join("], [")
            );
            return Err(template_error(file, line.unwrap_or(1), what));
        }
        let mut missing = Vec::new();
        for (name, sentences) in &complete.sections {
            let own = self.sections.entry(name.clone()).or_default();
            for (key, sentence) in sentences {
                if !own.contains_key(key) {
                    own.insert(key.clone(), sentence.clone());
                    missing.push(format!("[{name}] {key}"));
                }
            }
        }
        if !missing.is_empty() {
            log::warn!(
                "{file} lacks {}; the built-in sentences ({}) are used",
                missing.join(", "),
                complete.tag
            );
        }
        Ok(())
    }
}

/// The names and paths of the templates and languages in a directory; other files are ignored.
fn files_in(dir: &Path) -> Result<Vec<(String, std::path::PathBuf)>, MailError> {
    let mut files = Vec::new();
    let (languages, toml) = LANGUAGES;
    for (folder, prefix, endings) in [
        (dir.to_path_buf(), String::new(), &["html", "txt"][..]),
        (dir.join(languages), format!("{languages}/"), &[toml]),
    ] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !prefix.is_empty() => continue,
            Err(e) => {
                let message = format!("templates_dir: cannot read {}: {e}", folder.display());
                return Err(setup_error(message, Some(e.into())));
            }
        };
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let ending = path.extension().unwrap_or_default().to_string_lossy();
            if path.is_file() && !name.starts_with('.') && endings.contains(&&*ending) {
                files.push((format!("{prefix}{name}"), path.clone()));
            }
        }
    }
    files.sort();
    Ok(files)
}

fn compose_error(message: String) -> MailError {
    MailError::Compose {
        message,
        source: None,
    }
}

fn template_error(file: &str, line: usize, what: impl Display) -> MailError {
    setup_error(format!("{file}, line {line}: {what}"), None)
}

fn setup_error(
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
) -> MailError {
    MailError::Setup { message, source }
}

/// Escapes a text for HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// Most characters on a line of the text part (RFC 5322, section 2.1.1, counts 78).
const COLUMNS: usize = 76;

/// Wraps long lines at spaces; links stay whole.
fn wrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        let mut column = 0;
        for (index, word) in line.split(' ').enumerate() {
            let length = word.chars().count();
            if index > 0 && column > 0 && column + 1 + length > COLUMNS {
                out.push('\n');
                column = 0;
            } else if index > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_languages_have_the_same_sentences() {
        let templates = Templates::load(None, COMPLETE).unwrap();
        let keys = |language: &Language| -> Vec<(String, String)> {
            let sections = language.sections.iter();
            sections
                .flat_map(|(section, sentences)| {
                    sentences.keys().map(|key| (section.clone(), key.clone()))
                })
                .collect()
        };
        let complete = keys(&templates.languages[templates.default]);
        assert!(complete.len() > 30, "{complete:?}");
        assert!(templates.languages.len() >= 5);
        for language in &templates.languages {
            assert_eq!(keys(language), complete, "{}", language.tag);
        }
    }
}
