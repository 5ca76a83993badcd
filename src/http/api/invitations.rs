//! `invitations/`: staff invites an address, and its owner creates an account by the mailed link.

use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::otp::{INVALID_LINK_TOKEN, VERIFIED};
use super::pagination::{
    NO_PAGE, PAGE, PAGE_SIZE, PageResponse, parameters, read_page, read_page_size, read_search,
};
use super::reauthenticate::REQUIRED as REAUTHENTICATION_REQUIRED;
use super::users::{AccountData, TAKEN};
use crate::accounts::{self, Administrator, forms};
use crate::app::SharedApp;
use crate::crypto::tokens::TokenPair;
use crate::domain::{FieldErrors, Timestamp, UserId, messages};
use crate::http::body;
use crate::http::error::{ApiError, NO_INVITATION_PAGE};
use crate::http::operation::{
    Body, NOT_STAFF, Operation, Outcome, Parameter, Refusal, THROTTLED, Tag,
};
use crate::http::reply;
use crate::http::request::Request;
use crate::http::route::HandlerResult;
use crate::store::{Invitation, InvitationQuery};

/// An invitation that was not accepted yet.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Invitation")]
struct InvitationResponse<'a> {
    id: i64,
    email: &'a str,
    /// The language of the mail and of the account, as a tag such as `de`; empty for the default.
    language: &'a str,
    /// `pending` or `expired`.
    state: &'static str,
    /// The staff member who invited last; `null` for commands and deleted accounts.
    invited_by: Option<UserId>,
    /// When it was made or last repeated.
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// What the holder of a link sees of an invitation.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OpenInvitation")]
struct OpenResponse<'a> {
    email: &'a str,
    expires_at: Timestamp,
}

/// The account of an invitation, signed in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AcceptInvitationResponse")]
struct AcceptResponse<'a> {
    msg: &'static str,
    data: AccountData<'a>,
    #[serde(flatten)]
    pair: TokenPair,
}

/// `GET invitations/`
pub(crate) const LIST: Operation = Operation {
    id: "listInvitations",
    tag: Tag::Staff,
    summary: "List invitations",
    description: "Lists the invitations that were not accepted in pages, newest first; expired ones \
                  for 30 days. Needs the token of a staff account.",
    query: &[
        Parameter {
            name: "search",
            description: "Only addresses that contain this text.",
            schema: r#"{"type": "string"}"#,
        },
        PAGE,
        PAGE_SIZE,
    ],
    answers: &[Outcome::json::<PageResponse<InvitationResponse<'static>>>(
        200,
        "a page",
        r#"{"count": 1, "next": null, "previous": null, "results": [{"id": 1, "email": "user@example.com", "language": "de", "state": "pending", "invited_by": 1, "created_at": "2024-12-03T12:00:00Z", "expires_at": "2024-12-10T12:00:00Z"}]}"#,
    )],
    refusals: &[
        Refusal {
            when: "a NUL in `search`",
            error: || ApiError::BadRequest(messages::NUL.to_owned()),
        },
        NOT_STAFF,
        NO_PAGE,
    ],
    ..Operation::NEW
};

/// `POST invitations/`
pub(crate) const CREATE: Operation = Operation {
    id: "createInvitation",
    tag: Tag::Staff,
    summary: "Invite an address",
    description: "Mails a link to the address that creates an account with it, verified at once. The \
                  link is valid for 7 days and works once. Repeating an invitation mails another \
                  link and extends it under the same `id`; the earlier links stay valid. Needs the \
                  token of a staff account that has authenticated recently.",
    body: Some(Body {
        form: forms::invitation,
        example: r#"{"email": "user@example.com", "language": "de"}"#,
    }),
    answers: &[Outcome::json::<InvitationResponse<'static>>(
        201,
        "the mail is queued",
        r#"{"id": 1, "email": "user@example.com", "language": "de", "state": "pending", "invited_by": 1, "created_at": "2024-12-03T12:00:00Z", "expires_at": "2024-12-10T12:00:00Z"}"#,
    )],
    refusals: &[
        TAKEN,
        Refusal {
            when: "there are no mails in this language",
            error: || ApiError::Fields(FieldErrors::one("language", messages::not_a_choice("xx"))),
        },
        Refusal {
            when: "there is no page for the link",
            error: || ApiError::BadRequest(NO_INVITATION_PAGE.to_owned()),
        },
        NOT_STAFF,
        REAUTHENTICATION_REQUIRED,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `DELETE invitations/<id>/`
pub(crate) const DESTROY: Operation = Operation {
    id: "revokeInvitation",
    tag: Tag::Staff,
    summary: "Revoke an invitation",
    description: "Revokes an invitation: its links are dead at once, and a mail that waits is not \
                  sent. Needs the token of a staff account.",
    answers: &[Outcome::nothing(204, "the invitation is revoked")],
    refusals: &[
        NOT_STAFF,
        Refusal {
            when: "no such invitation, or accepted already",
            error: || ApiError::NotFound,
        },
    ],
    ..Operation::NEW
};

/// `POST invitations/verify/`
pub(crate) const VERIFY: Operation = Operation {
    id: "verifyInvitation",
    tag: Tag::SignUp,
    summary: "Verify an invitation",
    description: "Tells for which address the link of an invitation is, for a page of your own. It \
                  uses nothing up.",
    body: Some(Body {
        form: forms::invitation_token,
        example: r#"{"token": "281ace4c0c89f8235eecce45a2e3e557"}"#,
    }),
    answers: &[Outcome::json::<OpenResponse<'static>>(
        200,
        "the invitation is open",
        r#"{"email": "user@example.com", "expires_at": "2024-12-10T12:00:00Z"}"#,
    )],
    refusals: &[INVALID_LINK_TOKEN],
    ..Operation::NEW
};

/// `POST invitations/accept/`
pub(crate) const ACCEPT: Operation = Operation {
    id: "acceptInvitation",
    tag: Tag::SignUp,
    summary: "Accept an invitation",
    description: "Creates the account of an invitation with the fields of a sign-up except `email`, \
                  and begins a session. The link has proven the address, so no OTP is needed.",
    body: Some(Body {
        form: forms::acceptance,
        example: r#"{"token": "281ace4c0c89f8235eecce45a2e3e557", "password": "securepassword123", "confirm_password": "securepassword123", "first_name": "John", "last_name": "Doe"}"#,
    }),
    answers: &[Outcome::json::<AcceptResponse<'static>>(
        201,
        "the account exists and is signed in",
        r#"{"msg": "Email verified successfully!", "data": {"id": 1, "email": "user@example.com", "first_name": "John", "last_name": "Doe", "phone": "", "gender": "", "country": "", "created_at": "2024-12-03T12:00:00Z", "updated_at": "2024-12-03T12:00:00Z"}, "access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln", "refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#,
    )],
    refusals: &[INVALID_LINK_TOKEN],
    ..Operation::NEW
};

/// `GET invitations/`
pub(crate) async fn list(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let parameters = parameters(request.head.query());
    let query = InvitationQuery {
        search: read_search(&parameters)?,
        page: read_page(&parameters).ok_or(ApiError::InvalidPage)?,
        page_size: read_page_size(&parameters),
    };
    let by = Administrator::Staff(&caller, &client);
    let page = accounts::list_invitations(app, by, query).await?;
    let url = format!("{}{}", app.public_url, request.head.path());
    let response = PageResponse::new(&url, &parameters, &page, |invitation| {
        shown(app, invitation)
    });
    Ok(reply::json(StatusCode::OK, &response))
}

/// `POST invitations/`
pub(crate) async fn create(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    accounts::require_recent(app, &caller).await?;
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    let invitation = accounts::invite(app, by, &fields).await?;
    Ok(reply::json(StatusCode::CREATED, &shown(app, &invitation)))
}

/// `DELETE invitations/<id>/`
pub(crate) async fn destroy(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let caller = request.take_staff()?;
    let client = request.client(app);
    let by = Administrator::Staff(&caller, &client);
    accounts::revoke_invitation(app, by, request.number_before(0)?).await?;
    Ok(reply::no_content())
}

/// `POST invitations/verify/`
pub(crate) async fn verify(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let invitation = accounts::find_invitation(app, &fields).await?;
    let response = OpenResponse {
        email: &invitation.email,
        expires_at: invitation.expires_at,
    };
    Ok(reply::json(StatusCode::OK, &response))
}

/// `POST invitations/accept/`
pub(crate) async fn accept(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let client = request.client(app);
    let (user, signed) = accounts::accept_invitation(app, &fields, &client).await?;
    let response = AcceptResponse {
        msg: VERIFIED,
        data: AccountData::of(&user),
        pair: signed.into_tokens()?,
    };
    Ok(reply::json(StatusCode::CREATED, &response))
}

fn shown<'a>(app: &SharedApp, invitation: &'a Invitation) -> InvitationResponse<'a> {
    InvitationResponse {
        id: invitation.id,
        email: &invitation.email,
        language: &invitation.language,
        state: if invitation.is_expired(app.clock.now()) {
            "expired"
        } else {
            "pending"
        },
        invited_by: invitation.inviter_id,
        created_at: invitation.created_at,
        expires_at: invitation.expires_at,
    }
}
