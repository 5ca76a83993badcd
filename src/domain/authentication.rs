//! How and when the owner of a session authenticated.

use serde::{Serialize, Serializer};

use super::Timestamp;

/// A way to authenticate, by its name in RFC 8176.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The password.
    Password,
    /// A one-time password, or the token of a link, from a mail.
    Otp,
}

impl AuthMethod {
    const ALL: [Self; 2] = [Self::Password, Self::Otp];

    /// The name in the claim `amr`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Otp => "otp",
        }
    }
}

impl Serialize for AuthMethod {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One authentication of the owner of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// When it happened, the claim `auth_time`.
    pub at: Timestamp,
    /// What was checked, the claim `amr`. Empty in sessions of versions that did not note it.
    pub methods: Vec<AuthMethod>,
}

impl Authentication {
    /// An authentication by one method.
    pub fn by(method: AuthMethod, at: Timestamp) -> Self {
        Self {
            at,
            methods: vec![method],
        }
    }

    /// The methods as one text, separated by spaces.
    pub fn amr(&self) -> String {
        let names: Vec<_> = self.methods.iter().map(|method| method.as_str()).collect();
        names.join(" ")
    }

    /// Reads what [`Authentication::amr`] writes; unknown names are skipped.
    pub fn parse(at: Timestamp, amr: &str) -> Self {
        let find = |name: &str| {
            let mut all = AuthMethod::ALL.into_iter();
            all.find(|method| method.as_str() == name)
        };
        Self {
            at,
            methods: amr.split(' ').filter_map(find).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_stored_by_their_names() {
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let both = Authentication {
            at: now,
            methods: vec![AuthMethod::Password, AuthMethod::Otp],
        };
        assert_eq!(both.amr(), "pwd otp");
        assert_eq!(Authentication::parse(now, "pwd otp"), both);
        assert_eq!(Authentication::parse(now, "").methods, []);
        assert_eq!(
            Authentication::parse(now, "pwd iris").methods,
            [AuthMethod::Password]
        );
    }
}
