//! The frame of the console: its sections, and what all its pages share.

use minijinja::{Value, context};

use super::super::render::Page;
use super::super::visitor::Visitor;

/// A section of the console.
pub(super) struct Section {
    /// Names the section in `[console]` of the language files, and marks the current one.
    pub(super) name: &'static str,
    /// Its first page.
    pub(super) path: &'static str,
}

/// All sections, in the order of the navigation.
pub(super) const SECTIONS: &[Section] = &[
    Section::new("overview", super::HOME),
    Section::new(super::users::SECTION, super::users::PATH),
    Section::new("invitations", super::invitations::PATH),
    Section::new("mails", super::mails::PATH),
    Section::new("events", super::events::PATH),
    Section::new(super::webhooks::SECTION, super::webhooks::PATH),
    Section::new(super::clients::SECTION, super::clients::PATH),
    Section::new("keys", super::keys::PATH),
    Section::new("backups", super::backups::PATH),
    Section::new("settings", super::settings::PATH),
];

impl Section {
    const fn new(name: &'static str, path: &'static str) -> Self {
        Self { name, path }
    }
}

/// The pager of a list. `query` has the filters of the list, encoded.
pub(super) fn pager(path: &str, query: &str, number: u64, pages: u64) -> Value {
    let link = |number: u64| {
        let separator = if query.is_empty() { "" } else { "&" };
        format!("{path}?{query}{separator}page={number}")
    };
    context! {
        number,
        pages,
        is_needed => pages > 1,
        previous => (number > 1).then(|| link(number - 1)),
        next => (number < pages).then(|| link(number + 1)),
    }
}

/// A page of a section, titled as the sentence `title` says.
pub(super) fn page<'a>(
    visitor: &'a Visitor<'a>,
    section: &'static str,
    template: &'static str,
    title: &str,
) -> Page<'a> {
    let sections: Value = SECTIONS
        .iter()
        .map(|section| context! { name => section.name, path => section.path })
        .collect();
    Page::new(visitor, template, title).with(context! { section, sections })
}
