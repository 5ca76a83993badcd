//! Accounts, their profiles and changes to them.

use super::{BirthDate, EmailAddress, Timestamp};

/// The id of an account: positive and never reused.
pub type UserId = i64;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The last confirmed address; for a never-verified account that of its sign-up.
    pub email: String,
    /// The requested address that is not confirmed yet.
    pub new_email: Option<String>,
    /// The profile.
    pub profile: Profile,
    /// File name of the photo in the media folder.
    pub photo: Option<String>,
    /// Whether the account may sign in.
    pub is_active: bool,
    /// Whether the account has staff permissions.
    pub is_staff: bool,
    /// When an address of the account was first confirmed.
    pub verified_at: Option<Timestamp>,
    /// The last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// The id in the system that the account was imported from.
    pub external_id: Option<String>,
    /// Whether signing in wants a second factor.
    pub has_factor: bool,
    /// When the account was created.
    pub created_at: Timestamp,
    /// When the profile was last changed.
    pub updated_at: Timestamp,
}

impl User {
    /// The address that the owner sees: the new one as soon as it is requested.
    pub fn shown_email(&self) -> &str {
        self.new_email.as_deref().unwrap_or(&self.email)
    }

    /// Whether any address of the account was confirmed.
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

/// The profile of an account. Unset text is empty.
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

/// Changes to an account; `None` leaves a field unchanged.
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
    /// `Some(None)` removes the date.
    pub birthday: Option<Option<BirthDate>>,
    /// `Some(None)` removes the photo.
    pub photo: Option<Option<String>>,
    /// Staff only: see [`User::is_active`].
    pub is_active: Option<bool>,
    /// Staff only: see [`User::is_staff`].
    pub is_staff: Option<bool>,
}
