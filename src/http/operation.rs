//! How an operation is documented. An `Operation` is next to its handler, and the table of routes
//! names both.
//!
//! It contains only what is particular to the operation. `openapi` adds what all operations of a
//! kind share: a missing token, a body that is not JSON, an unknown id.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::error::ApiError;
use crate::accounts::forms::Form;

/// The documentation of one method of one path.
pub(crate) struct Operation {
    /// A verb and a noun in camel case: generated clients name their functions after it.
    pub(crate) id: &'static str,
    pub(crate) tag: Tag,
    /// Its purpose, in two to five words.
    pub(crate) summary: &'static str,
    /// What it does, with side effects, in Markdown.
    pub(crate) description: &'static str,
    /// Parameters of the query.
    pub(crate) query: &'static [Parameter],
    /// The body it reads.
    pub(crate) body: Option<Body>,
    /// Its answers on success.
    pub(crate) answers: &'static [Outcome],
    /// Its errors, besides those that all operations of its kind share.
    pub(crate) refusals: &'static [Refusal],
}

impl Operation {
    /// An empty operation, to be filled in.
    pub(crate) const NEW: Self = Self {
        id: "",
        tag: Tag::Service,
        summary: "",
        description: "",
        query: &[],
        body: None,
        answers: &[],
        refusals: &[],
    };
}

/// The part of the API that an operation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    SignUp,
    Tokens,
    Users,
    Passwords,
    Sessions,
    SecondFactors,
    Passkeys,
    External,
    Staff,
    Service,
    Development,
}

impl Tag {
    pub(crate) const ALL: [Self; 11] = [
        Self::SignUp,
        Self::Tokens,
        Self::Users,
        Self::Passwords,
        Self::Sessions,
        Self::SecondFactors,
        Self::Passkeys,
        Self::External,
        Self::Staff,
        Self::Service,
        Self::Development,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignUp => "Sign-up",
            Self::Tokens => "Tokens",
            Self::Users => "Users",
            Self::Passwords => "Passwords",
            Self::Sessions => "Sessions",
            Self::SecondFactors => "Second factors",
            Self::Passkeys => "Passkeys",
            Self::External => "External sign-in",
            Self::Staff => "Staff",
            Self::Service => "Service",
            Self::Development => "Development",
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::SignUp => "Signing up and confirming an address.",
            Self::Tokens => "Signing in, refreshing tokens, signing out.",
            Self::Users => "Reading, changing and deleting an account; `me` is one's own id.",
            Self::Passwords => "Choosing a new password.",
            Self::Sessions => "The devices with a session.",
            Self::SecondFactors => "Authenticator apps and recovery codes.",
            Self::Passkeys => "Signing in without a password (Web Authentication).",
            Self::External => "Signing in by other providers, and the identities there.",
            Self::Staff => "For staff.",
            Self::Service => "Keys, health, metrics and this document.",
            Self::Development => "With `--dev` only, and only for clients on the same machine.",
        }
    }
}

/// A parameter of the query.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// Its JSON Schema.
    pub(crate) schema: &'static str,
}

/// The body of an operation.
pub(crate) struct Body {
    /// The fields, as the operation itself reads them.
    pub(crate) form: fn() -> Form,
    /// A valid body.
    pub(crate) example: &'static str,
}

/// A successful answer.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// When it is sent.
    pub(crate) when: &'static str,
    pub(crate) content: Content,
}

/// The content of an answer.
pub(crate) enum Content {
    Nothing,
    Json {
        schema: fn(&mut SchemaGenerator) -> Schema,
        example: &'static str,
    },
    /// Text of a media type.
    Text(&'static str),
    /// Bytes of one of some media types.
    Bytes(&'static [&'static str]),
}

impl Outcome {
    pub(crate) const fn nothing(status: u16, when: &'static str) -> Self {
        Self {
            status,
            when,
            content: Content::Nothing,
        }
    }

    /// JSON of a type, with an example.
    pub(crate) const fn json<T: JsonSchema>(
        status: u16,
        when: &'static str,
        example: &'static str,
    ) -> Self {
        Self {
            status,
            when,
            content: Content::Json {
                schema: |generator| generator.subschema_for::<T>(),
                example,
            },
        }
    }

    pub(crate) const fn text(status: u16, when: &'static str, media_type: &'static str) -> Self {
        Self {
            status,
            when,
            content: Content::Text(media_type),
        }
    }
}

/// An error of an operation. Status, body and headers are those of the error itself.
pub(crate) struct Refusal {
    /// The cause.
    pub(crate) when: &'static str,
    pub(crate) error: fn() -> ApiError,
}

/// The refusal of what only staff may do.
pub(crate) const NOT_STAFF: Refusal = Refusal {
    when: "not staff",
    error: || ApiError::Forbidden,
};

/// A refusal by a rate limit, for operations that have one.
pub(crate) const THROTTLED: Refusal = Refusal {
    when: "rate limited; retry after `Retry-After` seconds",
    error: || ApiError::Throttled(Duration::from_secs(42)),
};
