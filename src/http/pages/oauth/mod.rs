//! `/o/…`: the pages of applications in which people sign in with their account here.
//!
//! ```text
//! authorize   signing in to an application     answer   what the application gets
//! sign_out    signing out by one               fault    what is wrong with a request
//! ```
//!
//! A POST from elsewhere carries no cookie that counts, so it only stores the request and leads to a
//! GET. What is stored continues under a random id, which is all that addresses say about it.

mod answer;
pub(in crate::http) mod authorize;
mod fault;
pub(in crate::http) mod sign_out;

use crate::accounts::Parameters;
use crate::app::SharedApp;
use crate::domain::Input;
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::request::Request;

/// The parameters of a request in its query.
fn parameters_of_query(request: &Request) -> Parameters {
    Parameters::parse(request.head.query())
}

/// The parameters of a request in its body.
async fn parameters_of_body(
    app: &SharedApp,
    request: &mut Request,
) -> Result<Parameters, ApiError> {
    let fields = body::fields(app, request).await?;
    let texts = fields.iter().filter_map(|(name, input)| match input {
        Input::Text(text) => Some((name.to_owned(), text.clone())),
        _ => None,
    });
    Ok(texts.collect())
}
