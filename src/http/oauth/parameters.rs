//! Parameters of a request in a form (RFC 6749, section 3.2 and appendix B).

use super::error::OAuthError;
use crate::app::App;
use crate::domain::{Fields, Input};
use crate::http::body;
use crate::http::request::Request;

/// The parameters of a request.
pub(super) struct Parameters(Fields);

impl Parameters {
    /// Reads the form of a request. A body of another kind is an error, and so is a parameter that
    /// comes twice.
    ///
    /// # Errors
    /// `invalid_request`; 413, 408 and 503 as for every body.
    pub(super) async fn read(app: &App, request: &mut Request) -> Result<Self, OAuthError> {
        let fields = body::urlencoded_fields(app, request).await?;
        let mut names: Vec<_> = fields.names().collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let name: String = twice[0]
                .chars()
                .filter(char::is_ascii_graphic)
                .take(40)
                .collect();
            return Err(OAuthError::invalid_request(format!(
                "The parameter {name} came more than once."
            )));
        }
        Ok(Self(fields))
    }

    /// A parameter; an empty one counts as absent (RFC 6749, section 3.2).
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Input::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// A parameter that has to be there.
    ///
    /// # Errors
    /// `invalid_request`.
    pub(super) fn require(&self, name: &str) -> Result<&str, OAuthError> {
        self.find(name)
            .ok_or_else(|| OAuthError::invalid_request(format!("The parameter {name} is missing.")))
    }
}
