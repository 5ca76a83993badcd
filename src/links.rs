//! The links in mails. The HTTP layer knows the paths and gives them in.

/// Where the links in mails lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// URL of the page that undoes an address change, up to its token.
    pub email_undo: String,
}

impl Links {
    /// The link that undoes an address change.
    pub fn email_undo(&self, token: &str) -> String {
        format!("{}{token}/", self.email_undo)
    }
}
