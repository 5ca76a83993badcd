//! What an operation reads before it changes it, so that engines with several writers let one at a time
//! do so.

use crate::domain::UserId;

/// Whom an operation is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) enum Owner {
    /// The accounts that have one of the addresses, confirmed or not.
    #[default]
    OfAddresses,
    /// All accounts: no other write runs meanwhile.
    Everyone,
    /// An account.
    User(UserId),
    /// The account of a session.
    Session(String),
    /// The account of a ticket for a second step, by its hash.
    Ticket(Vec<u8>),
    /// The account that an authorization code was issued for, by its hash.
    Code(Vec<u8>),
}

/// The keys of an operation. Two operations with a common key run one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Keys {
    /// Addresses in lower case, and other names of what has to be one at a time.
    pub(in crate::store) names: Vec<String>,
    /// Whose account it is.
    pub(in crate::store) owner: Owner,
}

impl Keys {
    /// Of an operation that decides nothing by what is stored.
    pub(in crate::store) fn none() -> Self {
        Self::default()
    }

    /// Of an operation that no other write may run beside.
    pub(in crate::store) fn all() -> Self {
        Self {
            names: Vec::new(),
            owner: Owner::Everyone,
        }
    }

    /// Of an operation about the account of a ticket.
    pub(in crate::store) fn ticket(token_hash: &[u8]) -> Self {
        Self {
            names: Vec::new(),
            owner: Owner::Ticket(token_hash.to_vec()),
        }
    }

    /// Of an operation about the account of an authorization code.
    pub(in crate::store) fn code(code_hash: &[u8]) -> Self {
        Self {
            names: Vec::new(),
            owner: Owner::Code(code_hash.to_vec()),
        }
    }

    /// Of an operation about an account.
    pub(in crate::store) fn user(user_id: UserId) -> Self {
        Self {
            names: Vec::new(),
            owner: Owner::User(user_id),
        }
    }

    /// Of an operation about the account of a session.
    pub(in crate::store) fn session(id: &str) -> Self {
        Self {
            names: Vec::new(),
            owner: Owner::Session(id.to_owned()),
        }
    }

    /// Of an operation about an address, and the accounts that have it.
    pub(in crate::store) fn address(email_key: &str) -> Self {
        Self::none().and(email_key)
    }

    /// Adds a name.
    pub(in crate::store) fn and(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// Adds a hash, such as that of an address.
    pub(in crate::store) fn and_hash(self, hash: &[u8]) -> Self {
        self.and(&data_encoding::HEXLOWER.encode(hash))
    }
}
