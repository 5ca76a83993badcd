//! What an operation says about itself. It stands beside the handler that does it, and the table of resources names
//! both, so that nothing can be served without being described.
//!
//! Only what is particular to an operation is said here. What holds for all of a kind (a token that is missing, a body
//! that is no JSON, a number that nobody has) is added in [`super::schema`].

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::accounts::forms::Form;
use crate::http::error::ApiError;

/// One method of one resource, as the schema tells of it.
pub(crate) struct Operation {
    /// A verb and a noun in camel case: generated clients name their functions after it.
    pub(crate) id: &'static str,
    pub(crate) tag: Tag,
    /// What it is for, in two to five words.
    pub(crate) summary: &'static str,
    /// What it does and what else happens, in Markdown.
    pub(crate) description: &'static str,
    /// Parameters of the query.
    pub(crate) query: &'static [Parameter],
    /// What it reads from the body.
    pub(crate) body: Option<Body>,
    /// What it answers when it is done.
    pub(crate) answers: &'static [Outcome],
    /// What else it answers, apart from what holds for all operations of its kind.
    pub(crate) refusals: &'static [Refusal],
}

impl Operation {
    /// An operation with nothing to say, to be filled in.
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
    Staff,
    Service,
    Development,
}

impl Tag {
    pub(crate) const ALL: [Self; 8] = [
        Self::SignUp,
        Self::Tokens,
        Self::Users,
        Self::Passwords,
        Self::Sessions,
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
            Self::Staff => "Staff",
            Self::Service => "Service",
            Self::Development => "Development",
        }
    }

    pub(crate) const fn description(self) -> &'static str {
        match self {
            Self::SignUp => "Signing up and confirming an address.",
            Self::Tokens => "Signing in, keeping a session going, signing out.",
            Self::Users => {
                "Reading, changing and deleting an account; `me` stands for one's own number."
            }
            Self::Passwords => "Choosing a new password.",
            Self::Sessions => "The devices on which one is signed in.",
            Self::Staff => "For staff.",
            Self::Service => "What is not about accounts.",
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

/// What an operation reads from a body.
pub(crate) struct Body {
    /// The fields, as the operation itself reads them.
    pub(crate) form: fn() -> Form,
    /// A body that is taken.
    pub(crate) example: &'static str,
}

/// An answer of an operation that is done.
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// When it is given.
    pub(crate) when: &'static str,
    pub(crate) content: Content,
}

/// What an answer carries.
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

    /// JSON of a type; `example` is a text of it.
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

/// An answer of an operation that does not do what was asked. Status, body and headers are those of the error itself.
pub(crate) struct Refusal {
    /// What is in the way.
    pub(crate) when: &'static str,
    pub(crate) error: fn() -> ApiError,
}
