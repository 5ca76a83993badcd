//! The sentences of mails and pages, one TOML file a language.
//!
//! A file has a section for each mail and page and a sentence for each key. A sentence is itself a
//! small template, for numbers and names in it. Another built-in language is a file and a line in
//! [`BUILT_IN`]; operators add or replace languages by files in a folder.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use toml::de::{DeTable, DeValue};

use super::negotiation::{is_tag, look_up, preferred};

macro_rules! built_in {
    ($($tag:literal),+ $(,)?) => {
        &[$(($tag, include_str!(concat!("languages/", $tag, ".toml")))),+]
    };
}

/// The built-in languages: tag and file.
pub(super) const BUILT_IN: &[(&str, &str)] = built_in!["en", "de", "es", "fr", "it", "pt-BR"];

/// The language that has every sentence, for files that lack one.
const COMPLETE: &str = "en";

/// Why templates or languages cannot be used. The text names file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError(String);

impl TemplateError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(crate) fn at(file: &str, line: usize, what: impl fmt::Display) -> Self {
        Self(format!("{file}, line {line}: {what}"))
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TemplateError {}

/// All languages.
pub struct Languages {
    languages: Vec<Slot>,
    /// Index of the default language.
    default: usize,
}

/// A language, read when it is first needed: each takes memory that most servers never use.
struct Slot {
    tag: String,
    language: OnceLock<Language>,
    built_in: &'static str,
}

/// The sentences of one language.
#[derive(Clone, Debug)]
pub struct Language {
    /// BCP 47.
    tag: String,
    /// `ltr` or `rtl`.
    direction: &'static str,
    /// By section and key.
    sections: BTreeMap<String, BTreeMap<String, Sentence>>,
}

/// A sentence and where it is written, for errors.
#[derive(Clone, Debug)]
pub struct Sentence {
    /// The text, a template of its own.
    pub template: String,
    /// The file.
    pub file: Arc<str>,
    /// The line of the file on which it begins, from 1.
    pub line: usize,
}

impl Languages {
    /// The built-in languages, and those of the folder in place of them or beside them.
    ///
    /// # Errors
    /// [`TemplateError`] when a file cannot be read or has a mistake, or when there is no language
    /// `default`.
    pub fn load(dir: Option<&Path>, default: &str) -> Result<Self, TemplateError> {
        let mut languages: Vec<Slot> = BUILT_IN
            .iter()
            .map(|(tag, text)| Slot {
                tag: (*tag).to_owned(),
                language: OnceLock::new(),
                built_in: text,
            })
            .collect();
        for (tag, path) in dir.map(files_in).transpose()?.into_iter().flatten() {
            let file = path.display().to_string();
            let text = fs::read_to_string(&path)
                .map_err(|e| TemplateError::new(format!("{file}: {e}")))?;
            let mut language = Language::read(&tag, &file, &text)?;
            let place = languages
                .iter()
                .position(|known| known.tag.eq_ignore_ascii_case(&tag));
            let complete = place.map_or(COMPLETE, |place| &languages[place].tag);
            let complete = Language::built_in(complete);
            language.fill_in(&file, &complete)?;
            let slot = Slot {
                tag,
                language: OnceLock::from(language),
                built_in: "",
            };
            match place {
                Some(place) => languages[place] = slot,
                None => languages.push(slot),
            }
        }
        let default = languages
            .iter()
            .position(|known| known.tag.eq_ignore_ascii_case(default))
            .ok_or_else(|| {
                let tags: Vec<&str> = languages.iter().map(|known| &*known.tag).collect();
                TemplateError::new(format!(
                    "unknown language {default:?}; choose one of {}, or add a file \
                     languages/{default}.toml to templates_dir",
                    tags.join(", ")
                ))
            })?;
        Ok(Self { languages, default })
    }

    /// The built-in files: name and content.
    pub fn built_in() -> impl Iterator<Item = (String, &'static str)> {
        BUILT_IN
            .iter()
            .map(|(tag, text)| (format!("languages/{tag}.toml"), *text))
    }

    /// The tags of all languages.
    pub fn tags(&self) -> impl Iterator<Item = &str> + Clone {
        self.languages.iter().map(|known| &*known.tag)
    }

    /// The tag of the best language for an `Accept-Language`; `None` when it names none of ours.
    pub fn negotiate(&self, accept_language: &str) -> Option<&str> {
        preferred(accept_language)
            .into_iter()
            .find_map(|range| look_up(range, self.tags()))
    }

    /// The language nearest to a tag, else the default one.
    pub fn nearest(&self, tag: &str) -> &Language {
        let index = look_up(tag, self.tags())
            .and_then(|tag| self.languages.iter().position(|known| known.tag == tag))
            .unwrap_or(self.default);
        let slot = &self.languages[index];
        slot.language
            .get_or_init(|| Language::read_built_in(&slot.tag, slot.built_in))
    }
}

impl Language {
    /// The BCP 47 tag.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// `ltr` or `rtl`.
    pub fn direction(&self) -> &'static str {
        self.direction
    }

    /// The sentences of a section, by key.
    pub fn section(&self, name: &str) -> impl Iterator<Item = (&str, &Sentence)> {
        self.sections
            .get(name)
            .into_iter()
            .flatten()
            .map(|(key, sentence)| (key.as_str(), sentence))
    }

    /// A sentence.
    pub fn sentence(&self, section: &str, key: &str) -> Option<&str> {
        Some(&self.sections.get(section)?.get(key)?.template)
    }

    fn built_in(tag: &str) -> Self {
        let (tag, text) = BUILT_IN
            .iter()
            .find(|(known, _)| *known == tag)
            .unwrap_or(&BUILT_IN[0]);
        Self::read_built_in(tag, text)
    }

    fn read_built_in(tag: &str, text: &str) -> Self {
        Self::read(tag, &format!("built-in languages/{tag}.toml"), text)
            .expect("the built-in languages are valid")
    }

    fn read(tag: &str, file: &str, text: &str) -> Result<Self, TemplateError> {
        // Editors end lines in several ways.
        let text = text.replace("\r\n", "\n");
        let line_at = |position: usize| 1 + text[..position].matches('\n').count();
        if !is_tag(tag) {
            let what = "the file name is not a language tag such as de or pt-BR";
            return Err(TemplateError::at(file, 1, what));
        }
        let table = DeTable::parse(&text).map_err(|e| {
            let position = e.span().map_or(0, |span| span.start);
            TemplateError::at(file, line_at(position), e.message())
        })?;
        let mut language = Self {
            tag: tag.to_owned(),
            direction: "ltr",
            sections: BTreeMap::new(),
        };
        let file_name: Arc<str> = Arc::from(file);
        for (name, value) in table.get_ref() {
            let wrong = |position, what: &str| {
                let what = format!("{}: {what}", name.get_ref());
                Err(TemplateError::at(file, line_at(position), what))
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
                        // The line break after three opening quotes is not part of the text.
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

    /// Takes missing sentences from `complete`, so that a file written for an earlier version
    /// keeps working.
    fn fill_in(&mut self, file: &str, complete: &Self) -> Result<(), TemplateError> {
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
            return Err(TemplateError::at(file, line.unwrap_or(1), what));
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
                shortened(&missing),
                complete.tag
            );
        }
        Ok(())
    }
}

/// The first few of the missing sentences: a file from before the pages lacks hundreds.
fn shortened(missing: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = missing[..missing.len().min(SHOWN)].join(", ");
    match missing.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The language files in a folder: tags and paths.
fn files_in(dir: &Path) -> Result<Vec<(String, std::path::PathBuf)>, TemplateError> {
    let dir = dir.join("languages");
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => {
            let message = format!("templates_dir: cannot read {}: {e}", dir.display());
            return Err(TemplateError::new(message));
        }
    };
    let mut files: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file() && path.extension().is_some_and(|e| e == "toml"))
        .filter_map(|path| {
            let tag = path.file_stem()?.to_str()?.to_owned();
            (!tag.starts_with('.')).then_some((tag, path))
        })
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_built_in_languages_have_the_same_sentences() {
        let keys = |language: &Language| -> Vec<(String, String)> {
            let sections = language.sections.iter();
            sections
                .flat_map(|(section, sentences)| {
                    sentences.keys().map(|key| (section.clone(), key.clone()))
                })
                .collect()
        };
        let complete = keys(&Language::built_in(COMPLETE));
        assert!(complete.len() > 300, "{}", complete.len());
        for (tag, _) in BUILT_IN {
            assert_eq!(keys(&Language::built_in(tag)), complete, "{tag}");
        }
    }
}
