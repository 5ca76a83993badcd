//! How and when the owner of a session authenticated.

use serde::{Serialize, Serializer};

use super::{SecondFactor, Timestamp};

/// A way to authenticate, by its name in RFC 8176; `fed` is not registered there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// The password.
    Password,
    /// A one-time password: of a mail, or of an authenticator app.
    Otp,
    /// The presence of the user, whom an authenticator has verified.
    User,
    /// A key that software holds: a passkey.
    Swk,
    /// Two factors, or more.
    Mfa,
    /// An identity at a provider.
    Federated,
}

impl AuthMethod {
    const ALL: [Self; 6] = [
        Self::Password,
        Self::Otp,
        Self::User,
        Self::Swk,
        Self::Mfa,
        Self::Federated,
    ];

    /// The name in the claim `amr`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::Otp => "otp",
            Self::User => "user",
            Self::Swk => "swk",
            Self::Mfa => "mfa",
            Self::Federated => "fed",
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

    /// An authentication by a passkey alone, which is two factors.
    pub fn by_passkey(at: Timestamp) -> Self {
        Self {
            at,
            methods: vec![AuthMethod::User, AuthMethod::Swk, AuthMethod::Mfa],
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
        let methods: &[_] = match factor {
            SecondFactor::Totp => &[AuthMethod::Otp, AuthMethod::Mfa],
            SecondFactor::RecoveryCode => &[AuthMethod::Mfa],
            SecondFactor::Webauthn => &[AuthMethod::User, AuthMethod::Swk, AuthMethod::Mfa],
        };
        for &method in methods {
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
    fn passkey_is_two_factors() {
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let passkey = Authentication::by_passkey(now);
        assert_eq!(passkey.amr(), "user swk mfa");
        assert!(passkey.has_factor());
        let both = Authentication::by(AuthMethod::Password, now);
        let both = both.with_factor(SecondFactor::Webauthn, now);
        assert_eq!(both.amr(), "pwd user swk mfa");
        assert_eq!(both.clone().with_factor(SecondFactor::Webauthn, now), both);
        assert_eq!(Authentication::parse(now, &both.amr()), both);
    }

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
