//! `users/`: signing up, reading and changing accounts.

use http::StatusCode;
use serde::Serialize;

use super::error::ApiError;
use super::request::Request;
use super::{HandlerResult, body, reply};
use crate::accounts;
use crate::app::SharedApp;
use crate::domain::{BirthDate, Timestamp, User, UserId};

/// The nine keys that sign-up and update answer, in their order.
#[derive(Serialize)]
struct AccountData<'a> {
    id: UserId,
    email: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    phone: &'a str,
    gender: &'a str,
    country: &'a str,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct SignUpResponse<'a> {
    msg: &'static str,
    data: AccountData<'a>,
}

/// What an update answers: the nine keys, and those of the others that the request set.
#[derive(Serialize)]
struct UpdateResponse<'a> {
    #[serde(flatten)]
    data: AccountData<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birthday: Option<Option<BirthDate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_staff: Option<bool>,
}

/// The whole profile.
#[derive(Serialize)]
pub(super) struct UserResponse<'a> {
    id: UserId,
    email: &'a str,
    first_name: &'a str,
    last_name: &'a str,
    phone: &'a str,
    photo: Option<String>,
    address: &'a str,
    gender: &'a str,
    country: &'a str,
    birthday: Option<BirthDate>,
    has_initial_profile: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

fn account_data(user: &User) -> AccountData<'_> {
    let profile = &user.profile;
    AccountData {
        id: user.id,
        email: user.shown_email(),
        first_name: &profile.first_name,
        last_name: &profile.last_name,
        phone: &profile.phone,
        gender: &profile.gender,
        country: &profile.country,
        created_at: user.created_at,
        updated_at: user.updated_at,
    }
}

fn photo_url(app: &SharedApp, user: &User) -> Option<String> {
    user.photo
        .as_ref()
        .map(|name| format!("{}/media/photos/{name}", app.public_url))
}

/// `POST users/`
pub(super) async fn create(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let registered = accounts::register(app, &fields, &request.client(app)).await?;
    let profile = &registered.profile;
    let data = AccountData {
        id: registered.id,
        email: registered.email.as_str(),
        first_name: &profile.first_name,
        last_name: &profile.last_name,
        phone: &profile.phone,
        gender: &profile.gender,
        country: &profile.country,
        created_at: registered.created_at,
        updated_at: registered.created_at,
    };
    let msg = "Email sent successfully!";
    Ok(reply::json(
        StatusCode::CREATED,
        &SignUpResponse { msg, data },
    ))
}

/// The whole profile of an account.
pub(super) fn user_response<'a>(app: &SharedApp, user: &'a User) -> UserResponse<'a> {
    let profile = &user.profile;
    UserResponse {
        id: user.id,
        email: user.shown_email(),
        first_name: &profile.first_name,
        last_name: &profile.last_name,
        phone: &profile.phone,
        photo: photo_url(app, user),
        address: &profile.address,
        gender: &profile.gender,
        country: &profile.country,
        birthday: profile.birthday,
        has_initial_profile: user.has_initial_profile(),
        created_at: user.created_at,
        updated_at: user.updated_at,
    }
}

/// `GET users/<pk>/`
pub(super) async fn retrieve(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let user = accounts::retrieve(app, request.take_caller()?, id).await?;
    Ok(reply::json(StatusCode::OK, &user_response(app, &user)))
}

/// `DELETE users/<pk>/`
pub(super) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let caller = request.take_caller()?;
    let client = request.client(app);
    accounts::delete::<ApiError>(app, &caller, id, &client, body::fields(app, request)).await?;
    Ok(reply::no_content())
}

/// `PATCH users/<pk>/`
pub(super) async fn partial_update(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let caller = request.take_caller()?;
    let updated =
        accounts::update::<ApiError>(app, &caller, id, body::fields_with_photo(app, request))
            .await?;
    let user = &updated.user;
    let response = UpdateResponse {
        data: account_data(user),
        photo: updated.set_photo.then(|| photo_url(app, user)),
        address: updated.set_address.then_some(&*user.profile.address),
        birthday: updated.set_birthday.then_some(user.profile.birthday),
        is_active: updated.set_is_active.then_some(user.is_active),
        is_staff: updated.set_is_staff.then_some(user.is_staff),
    };
    Ok(reply::json(StatusCode::OK, &response))
}
