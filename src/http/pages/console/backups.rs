//! `/console/backups/`: the backups that the server has made. They are fetched from the machine.

use http::StatusCode;
use minijinja::{Value, context};

use super::{by, change, layout, staff};
use crate::accounts::{self, AccountError, BackupOutcome, BrowserSession};
use crate::app::SharedApp;
use crate::http::pages::form::Problems;
use crate::http::pages::render::{Page, PageResult, redirect};
use crate::http::pages::values;
use crate::http::pages::visitor::{Visitor, query};
use crate::http::request::Request;

pub(super) const PATH: &str = "/console/backups/";

/// Backups on a page of the list.
const PAGE_SIZE: usize = 50;

/// The list.
pub(in crate::http) async fn show(app: &SharedApp, request: &mut Request) -> PageResult {
    let visitor = Visitor::of(app, request).await?;
    let session = staff(&visitor).await?;
    page(&visitor, session, &query(request, "page"))
        .await?
        .answer()
}

/// Makes a backup.
pub(in crate::http) async fn make(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let (visitor, session) = (&change.visitor, &change.session);
    let fields = change.form.only(&["reason"]);
    let made = accounts::make_backup(app, by(visitor, session), &fields).await;
    let (problems, status) = match made {
        Ok(BackupOutcome::Made) => return redirect(visitor, PATH, "console_backups.done"),
        Ok(BackupOutcome::Started) => return redirect(visitor, PATH, "console_backups.started"),
        Ok(BackupOutcome::Running) => return redirect(visitor, PATH, "console_backups.running"),
        Ok(BackupOutcome::Failed(cause)) => {
            let problems =
                Problems::with(visitor, "", "console_backups.failed", context! { cause });
            (problems, StatusCode::SERVICE_UNAVAILABLE)
        }
        Err(error) => Problems::of_error(visitor, error)?,
    };
    page(visitor, session, "")
        .await?
        .status(status)
        .with(context! { errors => problems.to_value(), values => change.form.values() })
        .answer()
}

async fn page<'a>(
    visitor: &'a Visitor<'a>,
    session: &BrowserSession,
    number: &str,
) -> Result<Page<'a>, AccountError> {
    let list = accounts::list_backups(visitor.app, by(visitor, session)).await?;
    let list = list.map(|list| {
        let pages = list.files.len().div_ceil(PAGE_SIZE).max(1);
        let number = number.parse().unwrap_or(1).clamp(1, pages);
        let files: Value = list
            .files
            .iter()
            .skip((number - 1) * PAGE_SIZE)
            .take(PAGE_SIZE)
            .map(|file| {
                context! {
                    name => &*file.name,
                    made_at => values::time(visitor, file.made_at),
                    size => size(file.bytes),
                }
            })
            .collect();
        context! {
            dir => &*list.dir,
            files,
            pager => layout::pager(PATH, "", number as u64, pages as u64),
            is_running => list.is_running,
            is_late => list.is_late,
            fault => list.fault.as_deref(),
            proven_at => list.proven_at.map(|at| values::time(visitor, at)),
        }
    });
    let page = layout::page(
        visitor,
        "backups",
        "console/backups.html",
        "console_backups.title",
    );
    Ok(page.with(context! { list }))
}

/// A size in the largest fitting unit.
fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    match bytes {
        ..KIB => format!("{bytes} B"),
        _ if bytes < KIB * KIB => format!("{} KiB", bytes / KIB),
        _ if bytes < KIB * KIB * KIB => format!("{} MiB", bytes / (KIB * KIB)),
        _ => format!("{} GiB", bytes / (KIB * KIB * KIB)),
    }
}
