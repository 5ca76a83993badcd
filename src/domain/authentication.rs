//! How and when the owner of a session authenticated.

use serde::{Serialize, Serializer};

use super::{SecondFactor, Timestamp};

/// A way to authenticate, by its name in RFC 8176.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The password.
    Password,
    /// A one-time password: of a mail, or of an authenticator app.
    Otp,
    /// A second factor beside the first.
    Mfa,
}

impl AuthMethod {
    const ALL: [Self; 3] = [Self::Password, Self::Otp, Self::Mfa];

    /// The name in the claim `amr`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Otp => "otp",
            Self::Mfa => "mfa",
        }
    }

    /// The method with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
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
        Self {
            at,
            methods: amr.split(' ').filter_map(AuthMethod::parse).collect(),
        }
    }

    /// The same with the proof of a second factor.
    #[must_use]
    pub fn with_factor(mut self, factor: SecondFactor, at: Timestamp) -> Self {
        self.at = at;
        let otp = (factor == SecondFactor::Totp).then_some(AuthMethod::Otp);
        for method in otp.into_iter().chain([AuthMethod::Mfa]) {
            if !self.methods.contains(&method) {
                self.methods.push(method);
            }
        }
        self
    }

    /// Whether a second factor was proven.
    pub fn has_factor(&self) -> bool {
        self.methods.contains(&AuthMethod::Mfa)
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
