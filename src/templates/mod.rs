//! Templates of the pages, and the sentences that pages and mails are made of.
//!
//! [`Languages`] has the sentences, one file a language. [`PageTemplates`] renders the HTML
//! templates of the pages with them; mails bring their own templates (see [`crate::mail`]).
//! Operators replace any file by one of the same name in a folder of theirs. Knows nothing of
//! requests and accounts: a page hands over its values.

mod languages;
mod negotiation;
mod page_templates;

pub use languages::{Language, Languages, Sentence, TemplateError};
pub use page_templates::{Branding, PageOptions, PageTemplates, StaticFile, contrast};

/// Escapes a text for HTML.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
