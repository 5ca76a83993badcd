//! `/console/`: the server at a glance.

use minijinja::{Value, context};

use super::{by, layout, staff};
use crate::accounts::{self, BackupList};
use crate::app::SharedApp;
use crate::domain::Timestamp;
use crate::http::pages::render::PageResult;
use crate::http::pages::values;
use crate::http::pages::visitor::Visitor;
use crate::http::request::Request;
use crate::store::{DayCounts, Overview};

/// Height of a chart, in its own units.
const HEIGHT: u64 = 60;

/// The page.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    let by = by(&visitor, session);
    let overview = accounts::read_overview(app, by).await?;
    let keys = accounts::list_keys(app, by).await?;
    let signing = keys.iter().find(|key| key.retired_at.is_none());
    let backups = accounts::list_backups(app, by).await?;
    let last_backup = backups.as_ref().and_then(|list| list.proven_at);
    let charts = [
        chart(&overview.days, "sign_ups", |day| {
            (day.sign_ups, Some(day.confirmed))
        }),
        chart(&overview.days, "sign_ins", |day| (day.sign_ins, None)),
        chart(&overview.days, "failed_sign_ins", |day| {
            (day.failed_sign_ins, None)
        }),
    ];
    layout::page(
        &visitor,
        "overview",
        "console/overview.html",
        "console_overview.title",
    )
    .with(context! {
        tiles => [
            tile("accounts", overview.accounts),
            tile("confirmed", overview.confirmed),
            tile("inactive", overview.inactive),
            tile("mails_waiting", overview.mails_waiting),
        ],
        charts => charts,
        warnings => warnings(&visitor, &overview, backups.as_ref()),
        last_backup => last_backup.map(|at| values::time(&visitor, at)),
        has_backups => backups.is_some(),
        version => env!("CARGO_PKG_VERSION"),
        staff_count => overview.staff,
        signing_key => signing.map(|key| context! {
            kid => &*key.kid,
            algorithm => &*key.algorithm,
            created_at => values::date(&visitor, key.created_at),
        }),
    })
    .answer()
}

/// What somebody should look at, in words: the mail queue, the backups, and risks of the settings.
/// The latter speak English, as `check` does.
fn warnings(visitor: &Visitor<'_>, overview: &Overview, backups: Option<&BackupList>) -> Value {
    let mut warnings = Vec::new();
    let failing = overview.mails_failing;
    if failing > 0 {
        let text = visitor.text(
            "console_overview.mails_failing",
            context! { count => failing },
        );
        warnings.push(context! { text });
    }
    match backups {
        None => warnings.push(context! {
            text => visitor.text("console_overview.no_backups", Value::UNDEFINED),
        }),
        Some(list) if list.is_late => warnings.push(context! {
            text => visitor.text("console_backups.late", Value::UNDEFINED),
        }),
        Some(_) => {}
    }
    let risks = visitor.app.config.risks();
    warnings.extend(
        risks
            .iter()
            .map(|risk| context! { text => &*risk.text, lang => "en" }),
    );
    warnings.into()
}

fn tile(name: &str, number: u64) -> Value {
    context! { name => name, number => grouped(number) }
}

/// A chart of a number a day: `count` gives the number, and the part of it that is shown stronger.
fn chart(
    days: &[DayCounts],
    name: &str,
    count: impl Fn(&DayCounts) -> (u64, Option<u64>),
) -> Value {
    let most = days
        .iter()
        .map(|day| count(day).0)
        .max()
        .unwrap_or(0)
        .max(1);
    let height = |number: u64| (number * HEIGHT).div_ceil(most).min(HEIGHT);
    let bars: Value = days
        .iter()
        .enumerate()
        .map(|(index, day)| {
            let (number, part) = count(day);
            context! {
                date => Timestamp::from_unix_days(day.day).date().to_string(),
                count => grouped(number),
                height => height(number),
                top => HEIGHT - height(number),
                left => 10 * index + 1,
                part => part.map(grouped),
                part_height => part.map(height),
            }
        })
        .collect();
    let total = days.iter().map(|day| count(day).0).sum();
    let has_part = days.first().is_some_and(|day| count(day).1.is_some());
    context! {
        name => name,
        bars,
        has_part,
        total => grouped(total),
        width => 10 * days.len(),
        height => HEIGHT,
    }
}

/// A number with thin spaces between groups of three digits, as ISO 80000-1 writes it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digits.len() > 4 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (9_999, "9999"),
            (10_000, "10\u{202f}000"),
            (1_234_567, "1\u{202f}234\u{202f}567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
