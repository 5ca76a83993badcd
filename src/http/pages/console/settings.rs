//! `/console/settings/`: the settings in effect, and where each was set.

use minijinja::{Value, context};

use super::{layout, staff};
use crate::app::SharedApp;
use crate::config::{EffectiveSetting, FileProvider, Place};
use crate::http::pages::render::PageResult;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;

pub(super) const PATH: &str = "/console/settings/";

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    staff(&visitor).await?;
    let settings: Vec<_> = app.config.effective().collect();
    let sections = settings
        .chunk_by(|a, b| a.setting.section == b.setting.section)
        .map(|section| {
            let settings: Value = section.iter().map(value).collect();
            context! {
                name => section[0].setting.section,
                is_open => section.iter().any(|setting| setting.origin.is_some()),
                settings,
            }
        })
        .chain(providers(&app.config.social_providers));
    let sections: Value = sections.collect();
    layout::page(
        &visitor,
        "settings",
        "console/settings.html",
        "console_settings.title",
    )
    .with(context! { groups => sections, is_dev => app.config.dev })
    .answer()
}

/// The list of providers, each by its kind and what it calls this server.
fn providers(providers: &[FileProvider]) -> Option<Value> {
    let settings = providers.iter().map(|provider| {
        context! {
            key => &*provider.id,
            value => format!("{} {}", provider.kind, provider.client_id),
            source => "file",
        }
    });
    (!providers.is_empty()).then(|| {
        context! {
            name => "[social.providers]",
            is_open => true,
            settings => settings.collect::<Value>(),
        }
    })
}

fn value(setting: &EffectiveSetting<'_>) -> Value {
    let (source, place) = match setting.origin {
        None => ("default", String::new()),
        Some(Place::File { at, .. }) => ("file", at.to_string()),
        Some(Place::Environment(name)) => ("environment", name.clone()),
        Some(Place::Flag(name)) => ("flag", format!("--{name}")),
    };
    context! {
        key => setting.setting.key,
        value => setting.value.as_deref(),
        source,
        place,
    }
}
