//! The account as the rest of the program sees it, and the parts that it is made and changed with.

use super::{BirthDate, EmailAddress, Timestamp};

/// The number of an account: positive, given out once and never again.
pub type UserId = i64;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub id: UserId,
    /// The last confirmed address; for a never-verified account the one that it was signed up with.
    pub email: String,
    /// An address that the owner asked for and has not confirmed yet.
    pub new_email: Option<String>,
    /// What the owner says of itself.
    pub profile: Profile,
    /// File name of the photo below the media folder.
    pub photo: Option<String>,
    /// Whether the account may sign in.
    pub is_active: bool,
    /// Whether the account may see and change all others.
    pub is_staff: bool,
    /// When an address of the account was first confirmed.
    pub verified_at: Option<Timestamp>,
    /// The last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// When the account was signed up.
    pub created_at: Timestamp,
    /// When something that the profile shows was last changed.
    pub updated_at: Timestamp,
}

impl User {
    /// The address that the account goes by towards its owner: the new one as soon as it was asked for.
    pub fn shown_email(&self) -> &str {
        self.new_email.as_deref().unwrap_or(&self.email)
    }

    /// Whether an address of the account was ever confirmed.
    pub fn is_verified(&self) -> bool {
        self.verified_at.is_some()
    }

    /// Whether first name, last name, phone, gender, country and birthday are all filled in.
    pub fn has_initial_profile(&self) -> bool {
        let p = &self.profile;
        p.birthday.is_some()
            && [&p.first_name, &p.last_name, &p.phone, &p.gender, &p.country]
                .iter()
                .all(|text| !text.is_empty())
    }
}

/// What an owner says of itself. An unset text is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Given name, at most 150 characters.
    pub first_name: String,
    /// Family name, at most 150 characters.
    pub last_name: String,
    /// Telephone number in E.164 form.
    pub phone: String,
    /// Postal address in one line, at most 255 characters.
    pub address: String,
    /// `M`, `F` or `O`.
    pub gender: String,
    /// ISO 3166-1 alpha-2 code.
    pub country: String,
    /// Date of birth.
    pub birthday: Option<BirthDate>,
}

/// A change of some parts of an account; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserChanges {
    /// New address.
    pub email: Option<EmailAddress>,
    /// See [`Profile::first_name`].
    pub first_name: Option<String>,
    /// See [`Profile::last_name`].
    pub last_name: Option<String>,
    /// See [`Profile::phone`].
    pub phone: Option<String>,
    /// See [`Profile::address`].
    pub address: Option<String>,
    /// See [`Profile::gender`].
    pub gender: Option<String>,
    /// See [`Profile::country`].
    pub country: Option<String>,
    /// `Some(None)` takes the date away.
    pub birthday: Option<Option<BirthDate>>,
    /// `Some(None)` takes the photo away.
    pub photo: Option<Option<String>>,
    /// Staff only: see [`User::is_active`].
    pub is_active: Option<bool>,
    /// Staff only: see [`User::is_staff`].
    pub is_staff: Option<bool>,
}
