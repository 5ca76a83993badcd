//! Scopes: what a client learns of a user (OpenID Connect Core, section 5.4).

use std::fmt;

use serde::{Serialize, Serializer};

/// A scope that this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The id of the account; makes a request one of OpenID Connect.
    Openid,
    /// Name, photo and the rest of the profile.
    Profile,
    /// The email address.
    Email,
    /// The phone number.
    Phone,
    /// The address, of which this server knows the country.
    Address,
    /// Refresh tokens that outlive the browser session (OpenID Connect Core, section 11).
    OfflineAccess,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Openid,
        Self::Profile,
        Self::Email,
        Self::Phone,
        Self::Address,
        Self::OfflineAccess,
    ];

    /// The name in requests and tokens.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Openid => "openid",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Address => "address",
            Self::OfflineAccess => "offline_access",
        }
    }

    /// The scope with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes, in the order of [`Scope::ALL`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// These scopes.
    pub fn of(scopes: &[Scope]) -> Self {
        scopes.iter().copied().collect()
    }

    /// The known scopes of a text that separates them by spaces (RFC 6749, section 3.3). Unknown
    /// ones are ignored (OpenID Connect Core, section 3.1.2.1).
    pub fn parse_known(text: &str) -> Self {
        text.split(' ').filter_map(Scope::parse).collect()
    }

    /// Reads a list of names.
    ///
    /// # Errors
    /// The first name that is not a scope.
    pub fn parse_all<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let parse = |name: T| Scope::parse(name.as_ref()).ok_or_else(|| name.as_ref().to_owned());
        names.into_iter().map(parse).collect()
    }

    /// Whether a scope is among them.
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of these are scopes of `others` too.
    pub fn is_within(&self, others: &Self) -> bool {
        self.iter().all(|scope| others.contains(scope))
    }

    /// Those that `others` has too.
    #[must_use]
    pub fn within(&self, others: &Self) -> Self {
        self.iter()
            .filter(|scope| others.contains(*scope))
            .collect()
    }

    /// Them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// The names, in their order.
    pub fn names(&self) -> Vec<&'static str> {
        self.iter().map(Scope::as_str).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }
}

/// The names, separated by spaces.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_a_set_in_one_order() {
        let scopes = Scopes::parse_known("email openid  email groups offline_access");
        assert_eq!(scopes.to_string(), "openid email offline_access");
        assert_eq!(Scopes::parse_known(&scopes.to_string()), scopes);
        assert_eq!(Scopes::parse_known(""), Scopes::default());
        let registered = Scopes::of(&[Scope::Profile, Scope::Openid]);
        assert_eq!(scopes.within(&registered).to_string(), "openid");
        assert!(!scopes.is_within(&registered));
        assert!(scopes.within(&registered).is_within(&registered));
        assert_eq!(
            Scopes::parse_all(["openid", "groups"]),
            Err("groups".to_owned())
        );
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
    }
}
