//! `/console/users/export/`: the accounts of a filter as CSV, sent while they are read.

use std::io;

use bytes::Bytes;
use tokio::sync::mpsc::{self, Sender};

use super::change;
use super::users::Filters;
use crate::accounts::UserExport;
use crate::app::SharedApp;
use crate::domain::{Timestamp, User};
use crate::http::pages::render::PageResult;
use crate::http::reply;
use crate::http::request::Request;
use crate::http::spreadsheet::{BYTE_ORDER_MARK, Rows};
use crate::observability::request_id;
use crate::store::PageRequest;

/// The columns: those of the command `export`, which are those that `import` reads.
const COLUMNS: [&str; 17] = [
    "id",
    "email",
    "new_email",
    "first_name",
    "last_name",
    "phone",
    "address",
    "gender",
    "country",
    "birthday",
    "is_active",
    "is_staff",
    "verified_at",
    "last_login",
    "created_at",
    "updated_at",
    "external_id",
];

/// The file.
pub(in crate::http) async fn download(app: &SharedApp, request: &mut Request) -> PageResult {
    let change = change(app, request).await?;
    let caller = &change.session.caller;
    let texts = change.form.texts();
    let filters = Filters::of(texts.iter().copied());
    let first = PageRequest::Number(1);
    let (query, _) = filters.find(app, caller, first).await?;
    let export = UserExport::start(app, caller, &change.visitor.client, query).await?;
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(request_id::carried(send(export, sender)));
    let (media_type, disposition) = (
        "text/csv; charset=utf-8",
        "attachment; filename=\"users.csv\"",
    );
    Ok(reply::download(media_type, disposition, chunks))
}

/// Writes the accounts for as long as somebody reads them.
async fn send(mut export: UserExport, chunks: Sender<io::Result<Bytes>>) {
    let mut head = BYTE_ORDER_MARK.to_vec();
    head.extend(rows_of(|rows| rows.push(COLUMNS)));
    let mut next = Ok(Bytes::from(head));
    loop {
        let is_broken = next.is_err();
        if chunks.send(next).await.is_err() || is_broken {
            return;
        }
        next = match export.next_batch().await {
            Ok(users) if users.is_empty() => return,
            Ok(users) => Ok(rows_of(|rows| {
                for user in &users {
                    let cells = cells(user);
                    rows.push(cells.iter().map(String::as_str));
                }
            })
            .into()),
            Err(error) => {
                log::error!("an export of users broke off: {error}");
                Err(io::Error::other("the export broke off"))
            }
        };
    }
}

fn rows_of(fill: impl FnOnce(&mut Rows)) -> Vec<u8> {
    let mut rows = Rows::new();
    fill(&mut rows);
    rows.into_bytes()
}

fn cells(user: &User) -> [String; COLUMNS.len()] {
    let profile = &user.profile;
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    [
        user.id.to_string(),
        user.email.clone(),
        user.new_email.clone().unwrap_or_default(),
        profile.first_name.clone(),
        profile.last_name.clone(),
        profile.phone.clone(),
        profile.address.clone(),
        profile.gender.clone(),
        profile.country.clone(),
        profile
            .birthday
            .map(|day| day.to_string())
            .unwrap_or_default(),
        user.is_active.to_string(),
        user.is_staff.to_string(),
        time(user.verified_at),
        time(user.last_login_at),
        time(Some(user.created_at)),
        time(Some(user.updated_at)),
        user.external_id.clone().unwrap_or_default(),
    ]
}
