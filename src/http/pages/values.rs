//! What templates show of accounts, sessions and events.

use minijinja::{Value, context};

use super::device::Device;
use super::visitor::Visitor;
use crate::accounts::{self, BrowserSession, FactorStatus};
use crate::domain::{Scope, SecondFactor, Timestamp, User};
use crate::providers::Provider;
use crate::store::{Event, Grant, Identity, Passkey, Session};

/// The signed-in account, as `user` of every page.
pub(super) fn user(visitor: &Visitor<'_>, session: &BrowserSession) -> Value {
    account(visitor, session.user())
}

/// An account.
pub(super) fn account(visitor: &Visitor<'_>, user: &User) -> Value {
    let profile = &user.profile;
    let name = format!("{} {}", profile.first_name, profile.last_name);
    let name = name.trim();
    let email = user.email.as_str();
    let initial = name.chars().chain(email.chars()).next();
    context! {
        id => user.id,
        email => user.new_email.as_deref().unwrap_or(email),
        confirmed_email => email,
        pending_email => user.new_email.as_deref(),
        name => name,
        initial => initial.map(|c| c.to_uppercase().to_string()),
        photo => user.photo.as_ref().map(|name| format!("/media/photos/{name}")),
        is_staff => user.is_staff,
        is_active => user.is_active,
        is_verified => user.is_verified(),
        has_factor => user.has_factor,
        has_initial_profile => user.has_initial_profile(),
        external_id => user.external_id.as_deref(),
        created_at => date(visitor, user.created_at),
        updated_at => time(visitor, user.updated_at),
        last_login_on => user.last_login_at.map(|at| date(visitor, at)),
        last_login_at => user.last_login_at.map(|at| time(visitor, at)),
    }
}

/// The fields of a profile, for its form.
pub(super) fn profile(user: &User) -> Value {
    let profile = &user.profile;
    context! {
        first_name => &*profile.first_name,
        last_name => &*profile.last_name,
        phone => &*profile.phone,
        address => &*profile.address,
        gender => &*profile.gender,
        country => &*profile.country,
        birthday => profile.birthday.map(|day| day.to_string()).unwrap_or_default(),
    }
}

/// The second factors of an account.
pub(super) fn factors(visitor: &Visitor<'_>, status: &FactorStatus) -> Value {
    let methods = status.methods.iter().map(|method| method.as_str());
    context! {
        is_enabled => status.is_enabled(),
        has_app => status.methods.contains(&SecondFactor::Totp),
        is_required => status.is_required && !status.is_enabled(),
        methods => methods.collect::<Vec<_>>(),
        added_at => status.created_at.map(|at| time(visitor, at)),
        used_at => status.last_used_at.map(|at| time(visitor, at)),
        codes_left => status.recovery_codes_left,
    }
}

/// A passkey.
pub(super) fn passkey(visitor: &Visitor<'_>, passkey: &Passkey) -> Value {
    context! {
        id => &*passkey.id,
        name => &*passkey.name,
        is_synced => passkey.is_backed_up,
        is_current => accounts::is_current(visitor.app, passkey),
        added_at => time(visitor, passkey.created_at),
        used_at => passkey.last_used_at.map(|at| time(visitor, at)),
    }
}

/// An identity at another provider.
pub(super) fn identity(visitor: &Visitor<'_>, identity: &Identity) -> Value {
    let proven = &identity.proven;
    let provider = visitor.app.providers.get(&proven.provider);
    let name = provider.map_or(&*proven.provider, Provider::name);
    context! {
        id => &*identity.id,
        provider_name => name,
        kind => provider.map(|provider| provider.kind().as_str()),
        is_available => provider.is_some(),
        initial => name.chars().next().map(|c| c.to_uppercase().to_string()),
        email => &*proven.email,
        name => &*proven.name,
        added_at => time(visitor, identity.created_at),
        used_at => identity.last_used_at.map(|at| time(visitor, at)),
    }
}

/// An application that somebody signs in to with an account.
pub(super) fn application(visitor: &Visitor<'_>, grant: &Grant) -> Value {
    let sees: Vec<String> = grant
        .scopes
        .iter()
        .filter(|scope| *scope != Scope::Openid)
        .map(|scope| visitor.text(&format!("page_consent.{scope}"), Value::UNDEFINED))
        .collect();
    let website = grant.redirect_uris.iter().find_map(|uri| website_of(uri));
    context! {
        id => &*grant.client_id,
        name => &*grant.client_name,
        website,
        sees => (!sees.is_empty()).then(|| sees.join(", ")),
        allowed_at => time(visitor, grant.created_at),
        used_at => time(visitor, grant.last_used_at),
    }
}

/// The front page of the website of a redirect URI; apps on a device have none.
fn website_of(uri: &str) -> Option<String> {
    let host = uri.strip_prefix("https://")?.split(['/', '?']).next()?;
    Some(format!("https://{host}/"))
}

/// A session in the list of devices.
pub(super) fn session(visitor: &Visitor<'_>, session: &Session, current: &str) -> Value {
    context! {
        id => &*session.id,
        device => device(visitor, &session.user_agent),
        application => session.client_name.as_deref(),
        ip => &*session.ip,
        current => session.id == current,
        last_used_at => time(visitor, session.last_used_at),
        created_at => time(visitor, session.created_at),
    }
}

/// An entry of the audit log.
pub(super) fn event(visitor: &Visitor<'_>, event: &Event) -> Value {
    context! {
        kind => event.kind.as_str(),
        text => visitor.text(&format!("event.{}", event.kind), Value::UNDEFINED),
        detail => &*event.detail,
        reason => &*event.context.reason,
        at => event.happened_at.to_string(),
        at_text => time(visitor, event.happened_at),
        repeated => (event.count > 1).then(|| {
            let last = time(visitor, event.last_at);
            visitor.text("page_activity.repeated", context! { n => event.count, last })
        }),
        user_id => event.user_id,
        actor => actor(visitor, event),
        ip => &*event.context.ip,
        device => (!event.context.user_agent.is_empty())
            .then(|| device(visitor, &event.context.user_agent)),
    }
}

/// Who caused an entry: an account, a command on the server, or nobody known.
fn actor(visitor: &Visitor<'_>, event: &Event) -> String {
    match (event.context.actor_id, event.context.operator.as_str()) {
        (Some(id), _) => visitor.text("console_events.user", context! { id }),
        (None, operator) => operator.to_owned(),
    }
}

/// A device by its `User-Agent`, in words.
pub(super) fn device(visitor: &Visitor<'_>, user_agent: &str) -> String {
    match Device::of(user_agent) {
        Device::Browser(browser, system) => {
            visitor.text("page_sessions.on", context! { browser, system })
        }
        Device::Program(name) => name.to_owned(),
        Device::Unknown => visitor.text("page_sessions.unknown", Value::UNDEFINED),
    }
}

/// A day in words.
pub(super) fn date(visitor: &Visitor<'_>, at: Timestamp) -> String {
    // RFC 3339: YYYY-MM-DDThh:mm:ssZ.
    let text = at.to_string();
    let number = |range: std::ops::Range<usize>| -> usize {
        text.get(range)
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0)
    };
    let months = visitor.text("pages.months", Value::UNDEFINED);
    let month = months
        .split_whitespace()
        .nth(number(5..7).saturating_sub(1))
        .unwrap_or_default();
    visitor.text(
        "pages.date",
        context! { year => number(0..4), month, day => number(8..10) },
    )
}

/// A moment in words, to the minute, UTC.
pub(super) fn time(visitor: &Visitor<'_>, at: Timestamp) -> String {
    let text = at.to_string();
    let clock = text.get(11..16).unwrap_or_default();
    visitor.text("pages.time", context! { date => date(visitor, at), clock })
}
