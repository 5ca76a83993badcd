//! Templates of the pages, and the sentences that pages and mails are made of.
//!
//! [`Languages`] has the sentences, one file a language. [`PageTemplates`] renders the HTML
//! templates of the pages with them; mails bring their own templates (see [`crate::mail`]).
//! Operators replace any file by one of the same name in a folder of theirs. Knows nothing of
//! requests and accounts: a page hands over its values.

mod languages;
mod negotiation;
mod page_templates;
mod sample;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, escape_formatter};

pub use languages::{Language, Languages, Sentence, TemplateError};
pub use page_templates::{Branding, PageOptions, PageTemplates, StaticFile, contrast};

/// An environment with built-in templates, by name. HTML templates escape their values.
pub(crate) fn environment(built_in: &'static [(&str, &str)]) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // minijinja escapes every slash, too, which breaks no link but is hard to read in a mail.
    environment.set_formatter(|out, state, value| match state.auto_escape() {
        AutoEscape::Html if !value.is_safe() => out
            .write_str(&escaped(&value.to_string()))
            .map_err(Into::into),
        _ => escape_formatter(out, state, value),
    });
    environment.set_loader(move |name| {
        let found = built_in.iter().find(|(known, _)| *known == name);
        Ok(found.map(|(_, text)| text.replace("\r\n", "\n")))
    });
    environment
}

/// Escapes a text for HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
