//! `users/`: signing up, reading and changing accounts.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::otp::MAIL_SENT;
use super::reauthenticate::REQUIRED as REAUTHENTICATION_REQUIRED;
use crate::accounts::{self, AccountError, forms};
use crate::app::SharedApp;
use crate::domain::{BirthDate, FieldErrors, Profile, Timestamp, User, UserId, messages};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// The nine keys that sign-up and update answer, in their order.
#[derive(Serialize, JsonSchema)]
pub(super) struct AccountData<'a> {
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

impl<'a> AccountData<'a> {
    fn new(id: UserId, email: &'a str, profile: &'a Profile, created_at: Timestamp) -> Self {
        Self {
            id,
            email,
            first_name: &profile.first_name,
            last_name: &profile.last_name,
            phone: &profile.phone,
            gender: &profile.gender,
            country: &profile.country,
            created_at,
            updated_at: created_at,
        }
    }

    pub(super) fn of(user: &'a User) -> Self {
        Self {
            updated_at: user.updated_at,
            ..Self::new(user.id, user.shown_email(), &user.profile, user.created_at)
        }
    }
}

/// A pending sign-up.
#[derive(Serialize, JsonSchema)]
struct SignUpResponse<'a> {
    msg: &'static str,
    data: AccountData<'a>,
}

/// The answer to an update: the nine keys, and those of the others that the request set.
#[derive(Serialize, JsonSchema)]
struct UpdateResponse<'a> {
    #[serde(flatten)]
    data: AccountData<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "&str")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birthday: Option<Option<BirthDate>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    is_active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "bool")]
    is_staff: Option<bool>,
}

pub(super) const TAKEN: Refusal = Refusal {
    when: "a verified account has the address",
    error: || ApiError::Fields(FieldErrors::one("email", messages::EMAIL_TAKEN)),
};

/// `POST users/`
pub(crate) const CREATE: Operation = Operation {
    id: "createUser",
    tag: Tag::SignUp,
    summary: "Sign up",
    description: "Stores a sign-up and mails an OTP to the address. An unconfirmed address blocks \
                  nobody: another sign-up for it is stored beside the earlier ones under the same \
                  `id`, and each OTP activates its own.",
    body: Some(Body {
        form: forms::sign_up,
        example: r#"{"email": "user@example.com", "password": "securepassword123", "confirm_password": "securepassword123", "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "gender": "M", "country": "US"}"#,
    }),
    answers: &[Outcome::json::<SignUpResponse>(
        201,
        "the sign-up awaits its OTP",
        r#"{"msg": "Email sent successfully!", "data": {"id": 1, "email": "user@example.com", "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "gender": "M", "country": "US", "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z"}}"#,
    )],
    refusals: &[
        TAKEN,
        Refusal {
            when: "several fields are wrong",
            error: || {
                let mut errors = FieldErrors::one("email", messages::INVALID_EMAIL);
                errors.add("first_name", messages::too_long(150));
                errors.add("phone", messages::INVALID_PHONE);
                errors.add("gender", messages::not_a_choice("X"));
                ApiError::Fields(errors)
            },
        },
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `GET users/<pk>/`
pub(crate) const RETRIEVE: Operation = Operation {
    id: "retrieveUser",
    tag: Tag::Users,
    summary: "Read a user",
    description: "Returns the whole profile. A user sees itself, staff sees everyone. \
                  `has_initial_profile` is true once first name, last name, phone, gender, country \
                  and birthday are all filled in.",
    answers: &[Outcome::json::<UserResponse<'static>>(
        200,
        "the profile",
        r#"{"id": 1, "email": "user@example.com", "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "photo": "http://localhost:8000/media/photos/photo.jpg", "address": "123 Main Street, Some City, Some Country", "gender": "M", "country": "US", "birthday": "1990-01-01", "has_initial_profile": true, "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z"}"#,
    )],
    ..Operation::NEW
};

/// `PATCH users/<pk>/`
pub(crate) const PARTIAL_UPDATE: Operation = Operation {
    id: "updateUser",
    tag: Tag::Users,
    summary: "Change a user",
    description: "Changes any subset of a profile. A user changes itself, staff everyone. A new \
                  address is shown at once and gets an OTP; it counts as unverified until \
                  `otp/verify/` confirms it with the token of the account. A photo is sent as a \
                  file in `multipart/form-data`.",
    body: Some(Body {
        form: forms::update,
        example: r#"{"first_name": "John", "birthday": "1990-01-01", "address": "123 Main Street, Some City, Some Country"}"#,
    }),
    answers: &[Outcome::json::<UpdateResponse<'static>>(
        200,
        "the nine keys of a sign-up, then those of `photo`, `address`, `birthday`, `is_active` and `is_staff` that the request set",
        r#"{"id": 1, "email": "user@example.com", "first_name": "John", "last_name": "Doe", "phone": "+1234567890", "gender": "M", "country": "US", "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z", "address": "123 Main Street, Some City, Some Country", "birthday": "1990-01-01"}"#,
    )],
    refusals: &[
        TAKEN,
        Refusal {
            when: "the photo is not an image",
            error: || ApiError::Fields(FieldErrors::one("photo", messages::NOT_AN_IMAGE)),
        },
        LAST_STAFF_MEMBER,
        REAUTHENTICATION_REQUIRED,
        THROTTLED,
    ],
    ..Operation::NEW
};

const LAST_STAFF_MEMBER: Refusal = Refusal {
    when: "it would leave no active staff account",
    error: || AccountError::LastStaffMember.into(),
};

/// `DELETE users/<pk>/`
pub(crate) const DESTROY: Operation = Operation {
    id: "deleteUser",
    tag: Tag::Users,
    summary: "Delete a user",
    description: "Deletes an account: users themselves with their password, staff anyone without a \
                  body. Profile, photo and sessions are removed; the id is never used again.",
    body: Some(Body {
        form: forms::delete,
        example: r#"{"password": "securepassword123"}"#,
    }),
    answers: &[Outcome::nothing(204, "the account is deleted")],
    refusals: &[
        REAUTHENTICATION_REQUIRED,
        Refusal {
            when: "wrong password",
            error: || ApiError::Fields(FieldErrors::one("password", messages::INVALID_PASSWORD)),
        },
        LAST_STAFF_MEMBER,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// The whole profile.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub(crate) struct UserResponse<'a> {
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

/// The JSON of a profile, rendered once for each snapshot of its account.
struct RenderedUser {
    /// The public URL that it was rendered for.
    public_url: Arc<str>,
    body: Box<[u8]>,
}

impl RenderedUser {
    fn is_for(&self, public_url: &Arc<str>) -> bool {
        // A cache miss costs more than the copy of the text: the URL is compared only when it is
        // another allocation.
        Arc::ptr_eq(&self.public_url, public_url) || self.public_url == *public_url
    }
}

fn photo_url(app: &SharedApp, user: &User) -> Option<String> {
    user.photo
        .as_ref()
        .map(|name| format!("{}/media/photos/{name}", app.public_url))
}

/// `POST users/`
pub(crate) async fn create(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let registered = accounts::sign_up(app, &fields, &request.client(app)).await?;
    let data = AccountData::new(
        registered.id,
        registered.email.as_str(),
        &registered.profile,
        registered.created_at,
    );
    let msg = MAIL_SENT;
    Ok(reply::json(
        StatusCode::CREATED,
        &SignUpResponse { msg, data },
    ))
}

/// The whole profile of an account.
pub(crate) fn user_response<'a>(app: &SharedApp, user: &'a User) -> UserResponse<'a> {
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
pub(crate) async fn retrieve(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let caller = request.take_caller()?;
    if caller.user.id != id {
        accounts::require_setup(app, &caller)?;
    }
    let user = accounts::retrieve(app, caller, id).await?;
    let render = |user: &User| reply::write(&user_response(app, user));
    let rendered = user.derived(|user| RenderedUser {
        public_url: Arc::clone(&app.public_url),
        body: render(user).as_ref().into(),
    });
    let body = match rendered {
        Some(rendered) if rendered.is_for(&app.public_url) => {
            Bytes::copy_from_slice(&rendered.body)
        }
        _ => render(&user),
    };
    Ok(reply::with_type(StatusCode::OK, reply::JSON, body))
}

/// `DELETE users/<pk>/`
pub(crate) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let caller = request.take_caller()?;
    let client = request.client(app);
    accounts::delete::<ApiError>(app, &caller, id, &client, body::fields(app, request)).await?;
    Ok(reply::no_content())
}

/// `PATCH users/<pk>/`
pub(crate) async fn partial_update(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let id = request.user_id()?;
    let caller = request.take_caller()?;
    let client = request.client(app);
    let fields = body::fields_with_photo(app, request);
    let updated = accounts::update::<ApiError>(app, &caller, id, &client, fields).await?;
    let user = &updated.user;
    let response = UpdateResponse {
        data: AccountData::of(user),
        photo: updated.set_photo.then(|| photo_url(app, user)),
        address: updated.set_address.then_some(&*user.profile.address),
        birthday: updated.set_birthday.then_some(user.profile.birthday),
        is_active: updated.set_is_active.then_some(user.is_active),
        is_staff: updated.set_is_staff.then_some(user.is_staff),
    };
    Ok(reply::json(StatusCode::OK, &response))
}
