//! Templates and languages of mails, built in or from a directory that overrides them.
//!
//! A language file (`languages/de.toml`) has the sentences, one section for each kind of mail; two templates
//! arrange them, one as text and one as HTML. Values in HTML templates are escaped. Headers and recipients
//! are unknown here. To add a built-in language, add a file and a line in [`BUILT_IN`].

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use minijinja::{Environment, Value};

use super::MailError;
use crate::templates::{self, Languages, Sentence};

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
    "invitation.html",
    "invitation.txt",
    "notice.html",
    "notice.txt",
    "undo_button.html",
    "test.html",
    "test.txt",
];

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
    languages: Arc<Languages>,
}

impl Templates {
    /// Loads the built-in files; those of `dir` override files of the same name and add others.
    ///
    /// # Errors
    /// [`MailError::Setup`] when a file cannot be read or is wrong; the text names file and line.
    pub(super) fn load(languages: Arc<Languages>, dir: Option<&Path>) -> Result<Self, MailError> {
        let environment = templates::environment(BUILT_IN);
        let mut templates = Self {
            environment,
            files: BTreeMap::new(),
            languages,
        };
        for (name, _) in BUILT_IN {
            let file = format!("built-in {name}");
            templates.files.insert((*name).to_owned(), file);
        }
        for (name, path) in dir.map(files_in).transpose()?.into_iter().flatten() {
            let file = path.display().to_string();
            let text = fs::read_to_string(&path)
                .map_err(|e| setup_error(format!("{file}: {e}"), Some(e.into())))?;
            templates.files.insert(name.clone(), file);
            // Editors may write CRLF line ends.
            templates
                .environment
                .add_template_owned(name, text.replace("\r\n", "\n"))
                .map_err(|e| setup_error(templates.place_of(&e, None), None))?;
        }
        Ok(templates)
    }

    /// All languages.
    pub(super) fn languages(&self) -> &Arc<Languages> {
        &self.languages
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
        let language = self.languages.nearest(tag);
        let mut sentences = BTreeMap::new();
        for (key, sentence) in language.section(section) {
            let rendered = self
                .environment
                .render_named_str(
                    SENTENCE,
                    &sentence.template,
                    Value::from_pairs(values.clone()),
                )
                .map_err(|e| compose_error(self.place_of(&e, Some(sentence))))?;
            sentences.insert(key.to_owned(), rendered);
        }
        let subject = sentences.get("subject").map_or("", String::as_str);
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        values.insert("t", Value::from_pairs(sentences));
        values.insert("kind", Value::from(section));
        values.insert("language", Value::from(language.tag()));
        values.insert("direction", Value::from(language.direction()));
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

/// The names and paths of the templates in a directory; other files are ignored.
fn files_in(dir: &Path) -> Result<Vec<(String, std::path::PathBuf)>, MailError> {
    let entries = fs::read_dir(dir).map_err(|e| {
        let message = format!("templates_dir: cannot read {}: {e}", dir.display());
        setup_error(message, Some(e.into()))
    })?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file())
        .filter(|path| {
            let ending = path.extension().unwrap_or_default();
            ending == "html" || ending == "txt"
        })
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.to_owned();
            (!name.starts_with('.')).then_some((name, path))
        })
        .collect();
    files.sort();
    Ok(files)
}

fn compose_error(message: String) -> MailError {
    MailError::Compose {
        message,
        source: None,
    }
}

fn setup_error(
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
) -> MailError {
    MailError::Setup { message, source }
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
