//! `token/`: signing in, refreshing and verifying tokens, signing out.

use http::StatusCode;

use super::mfa::WRONG_CODE;
use crate::accounts::{self, forms};
use crate::app::SharedApp;
use crate::crypto::tokens::TokenPair;
use crate::domain::SecondFactor;
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::operation::{Body, Operation, Outcome, Refusal, THROTTLED, Tag};
use crate::http::reply::{self, Nothing};
use crate::http::request::Request;
use crate::http::route::HandlerResult;

/// An example of a pair of tokens.
const PAIR: &str =
    r#"{"access": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln", "refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#;

/// An example of a request with a refresh token.
const REFRESH_BODY: &str = r#"{"refresh": "eyJ0eXAiOiJydCtqd3Qi.e30.c2ln"}"#;

/// `POST token/`
pub(crate) const OBTAIN: Operation = Operation {
    id: "signIn",
    tag: Tag::Tokens,
    summary: "Sign in",
    description: "Starts a session with address and password. While a changed address awaits its \
                  confirmation, either address signs in. `last_login` moves. An account with a second \
                  factor wants its `code` as well; without one the answer is a 401 with an \
                  `ephemeral_token` for `mfa/verify/`.",
    body: Some(Body {
        form: forms::sign_in,
        example: r#"{"email": "user@example.com", "password": "securepassword123"}"#,
    }),
    answers: &[Outcome::json::<TokenPair>(200, "a session begins", PAIR)],
    refusals: &[
        Refusal {
            when: "wrong password, unknown address, or a deactivated account",
            error: || ApiError::NoActiveAccount,
        },
        Refusal {
            when: "the password is right, but the address was never confirmed",
            error: || ApiError::EmailNotVerified,
        },
        Refusal {
            when: "the password is right, and the account has a second factor",
            error: || ApiError::SecondFactorRequired {
                ticket: "5b1f0c".into(),
                methods: vec![SecondFactor::Totp, SecondFactor::RecoveryCode],
            },
        },
        WRONG_CODE,
        THROTTLED,
    ],
    ..Operation::NEW
};

/// `POST token/`
pub(crate) async fn obtain(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let pair = accounts::sign_in(app, &fields, &request.client(app)).await?;
    let pair = pair.into_tokens()?;
    Ok(reply::json(StatusCode::OK, &pair))
}

const INVALID_TOKEN: Refusal = Refusal {
    when: "forged, expired, of the other kind, or of an ended session",
    error: || ApiError::InvalidToken,
};

/// `POST token/refresh/`
pub(crate) const REFRESH: Operation = Operation {
    id: "refreshTokens",
    tag: Tag::Tokens,
    summary: "Refresh tokens",
    description: "Trades a refresh token for a new pair of the same session; the old refresh token is used up. Within a \
                  grace of 10 seconds showing it again gives another pair; later it counts as stolen and ends the session.",
    body: Some(Body {
        form: forms::refresh_token,
        example: REFRESH_BODY,
    }),
    answers: &[Outcome::json::<TokenPair>(200, "the next pair", PAIR)],
    refusals: &[INVALID_TOKEN],
    ..Operation::NEW
};

/// `POST token/refresh/`
pub(crate) async fn refresh(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    let pair = accounts::refresh(app, &fields, &request.client(app)).await?;
    Ok(reply::json(StatusCode::OK, &pair))
}

/// `POST token/verify/`
pub(crate) const VERIFY: Operation = Operation {
    id: "verifyToken",
    tag: Tag::Tokens,
    summary: "Verify a token",
    description: "Verifies an access or refresh token, including its session and account. A \
                  refresh token is not used up.",
    body: Some(Body {
        form: forms::token,
        example: r#"{"token": "eyJ0eXAiOiJhdCtqd3Qi.e30.c2ln"}"#,
    }),
    answers: &[Outcome::json::<Nothing>(200, "the token is valid", "{}")],
    refusals: &[Refusal {
        when: "it is not valid",
        error: || ApiError::InvalidToken,
    }],
    ..Operation::NEW
};

/// `POST token/verify/`
pub(crate) async fn verify(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::check_token(app, &fields).await?;
    Ok(reply::nothing())
}

/// `POST token/blacklist/`
pub(crate) const BLACKLIST: Operation = Operation {
    id: "signOut",
    tag: Tag::Tokens,
    summary: "Sign out",
    description: "Revokes the session of a refresh token, also of a used one. Its access and \
                  refresh tokens are invalid at once.",
    body: Some(Body {
        form: forms::refresh_token,
        example: REFRESH_BODY,
    }),
    answers: &[Outcome::json::<Nothing>(200, "the session has ended", "{}")],
    refusals: &[INVALID_TOKEN],
    ..Operation::NEW
};

/// `POST token/blacklist/`
pub(crate) async fn blacklist(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let fields = body::fields(app, request).await?;
    accounts::blacklist(app, &fields, &request.client(app)).await?;
    Ok(reply::nothing())
}
