//! Accounts: signing up, looking up, changing.

use async_trait::async_trait;

use super::{MailLimits, NewMail, NewOtp, RequestContext, StoreResult};
use crate::domain::{EmailAddress, OtpPurpose, Profile, Timestamp, User, UserChanges, UserId};

/// What a sign-in attempt is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub user_id: UserId,
    /// Its last confirmed address in lower case, whichever of its addresses was typed.
    pub email_key: String,
    /// Its password hash; for a never-verified account that of its newest sign-up.
    pub password_hash: String,
    /// Whether the account may sign in at all.
    pub is_active: bool,
    /// Whether an address of it was ever confirmed.
    pub is_verified: bool,
}

/// A sign-up together with the code that is about to be mailed.
pub struct NewSignUp {
    /// The address as it was typed.
    pub email: EmailAddress,
    /// Hash of the chosen password.
    pub password_hash: String,
    /// The other fields.
    pub profile: Profile,
    /// BCP 47 tag of the language that mails are to have; empty for the usual one.
    pub language: String,
    /// The code that confirms this sign-up and no other.
    pub otp: NewOtp,
    /// When it happened.
    pub now: Timestamp,
    /// How many mails the address may get.
    pub limits: MailLimits,
    /// Who and from where.
    pub context: RequestContext,
}

/// What became of a sign-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignUpOutcome {
    /// It stands, under the number of the account that its code would activate.
    Created(UserId),
    /// A verified account has the address.
    EmailTaken,
    /// The address had its share of mails; nothing was stored.
    Throttled {
        /// When the next one may go out.
        until: Timestamp,
    },
}

/// An account that needs no confirmation, as an administrator makes it.
pub struct NewUser {
    /// The address as it was typed.
    pub email: EmailAddress,
    /// Hash of its password.
    pub password_hash: String,
    /// The other fields.
    pub profile: Profile,
    /// Whether it is a staff account.
    pub is_staff: bool,
    /// When it is made; it counts as verified from then on.
    pub now: Timestamp,
    /// Who and from where.
    pub context: RequestContext,
}

/// A link that undoes an address change.
#[derive(Clone)]
pub struct NewEmailUndo {
    /// Hash of the token in the link.
    pub token_hash: Vec<u8>,
    /// Until when it works.
    pub expires_at: Timestamp,
    /// The notice that carries it.
    pub mail: NewMail,
}

/// The code that an address change may need. Which purpose it gets depends on the state of the account.
pub struct EmailChange {
    /// For a verified account: the code that confirms the new address.
    pub change_otp: NewOtp,
    /// For a never-verified account: the code that confirms its newest sign-up under the new address.
    pub sign_up_otp: NewOtp,
    /// For a verified account: the link that the address before the change is told.
    pub undo: NewEmailUndo,
    /// How many mails the new address may get.
    pub limits: MailLimits,
}

/// A change of an account.
pub struct UserUpdate {
    /// The account.
    pub user_id: UserId,
    /// What changes.
    pub changes: UserChanges,
    /// Needed when [`UserChanges::email`] is set, not looked at otherwise.
    pub email_change: Option<EmailChange>,
    /// Whether the change is refused when no active staff account would be left.
    pub keep_last_staff: bool,
    /// When it happens.
    pub now: Timestamp,
    /// Who and from where.
    pub context: RequestContext,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It was made.
    Updated {
        /// The account after it.
        user: Box<User>,
        /// What the code is for that now goes to the address which the account shows; `None` when no mail is due. The
        /// address before the change is told, too, with the link of [`EmailChange::undo`].
        mail: Option<OtpPurpose>,
        /// The photo that the account has no longer.
        old_photo: Option<String>,
    },
    /// No such account.
    NotFound,
    /// Another verified account has the address; nothing was changed.
    EmailTaken,
    /// No active staff account would be left; nothing was changed.
    LastStaffMember,
    /// The new address had its share of mails; nothing was changed.
    Throttled {
        /// When the next one may go out.
        until: Timestamp,
    },
}

/// The end of an account.
pub struct DeleteUser {
    /// The account.
    pub user_id: UserId,
    /// Keyed hash of its address, under which tries at its password are counted.
    pub address_hash: Vec<u8>,
    /// Whether it is refused when no active staff account would be left.
    pub keep_last_staff: bool,
    /// When it happens.
    pub now: Timestamp,
    /// Who and from where.
    pub context: RequestContext,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The account and everything about it is gone.
    Deleted {
        /// Its photo, whose file is to go too.
        photo: Option<String>,
    },
    /// No such account.
    NotFound,
    /// No active staff account would be left; nothing was deleted.
    LastStaffMember,
}

/// The use of a link that undoes an address change.
pub struct UndoEmailChange {
    /// Hash of the token in the link.
    pub token_hash: Vec<u8>,
    /// The session that asks, if one does; all others of the account end.
    pub keep_session: Option<String>,
    /// When.
    pub now: Timestamp,
    /// Who and from where.
    pub context: RequestContext,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoOutcome {
    /// The account goes by its former address again.
    Undone(Box<User>),
    /// The link is unknown, used or expired.
    InvalidLink,
    /// Another account has confirmed the former address by now.
    EmailTaken,
}

/// A column to sort the list of accounts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserOrder {
    /// The number.
    Id,
    /// The address that the account goes by, in lower case.
    Email,
    /// Given name.
    FirstName,
    /// Family name.
    LastName,
    /// Time of the sign-up.
    CreatedAt,
    /// Time of the last change.
    UpdatedAt,
    /// Time of the last sign-in.
    LastLogin,
}

/// The page that is wanted of a list, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRequest {
    /// This one.
    Number(u64),
    /// The last one.
    Last,
}

/// What staff wants to see of the list of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserQuery {
    /// Words that each have to be in the address, a name or the phone number, whatever the case of ASCII letters.
    pub words: Vec<String>,
    /// Only accounts that may or may not sign in.
    pub is_active: Option<bool>,
    /// Only accounts that are or are not verified.
    pub is_verified: Option<bool>,
    /// Columns to sort by, and whether downwards; the number decides in the end.
    pub order: Vec<(UserOrder, bool)>,
    /// The page.
    pub page: PageRequest,
    /// Accounts on a page, at least one.
    pub page_size: u32,
}

/// One page of the list of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPage {
    /// How many accounts fit in all.
    pub count: u64,
    /// The number of this page.
    pub number: u64,
    /// How many pages there are, at least one.
    pub pages: u64,
    /// The accounts on it.
    pub users: Vec<User>,
}

/// An account as it is exported.
#[derive(Clone)]
pub struct StoredUser {
    /// The account.
    pub user: User,
    /// Its password hash.
    pub password_hash: String,
    /// BCP 47 tag of the language of its mails; empty for the usual one.
    pub language: String,
}

/// An account that comes from elsewhere.
#[derive(Clone)]
pub struct ImportedUser {
    /// The number that it had and is to keep.
    pub id: Option<UserId>,
    /// The address as it was typed.
    pub email: EmailAddress,
    /// Its password hash, of any form that can be checked.
    pub password_hash: String,
    /// The other fields.
    pub profile: Profile,
    /// Whether it may sign in.
    pub is_active: bool,
    /// Whether it is a staff account.
    pub is_staff: bool,
    /// When its address was confirmed.
    pub verified_at: Option<Timestamp>,
    /// The last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// BCP 47 tag of the language of its mails; empty for the usual one.
    pub language: String,
}

/// Why an account was not imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportRefusal {
    /// Another account has the address.
    EmailTaken,
    /// The number is or was another account's.
    IdTaken,
}

/// Where imported accounts come from: read one by one, so that a file of any size fits.
pub trait ImportSource: Send {
    /// The next account, or the end.
    fn next_user(&mut self) -> Option<ImportedUser>;

    /// Told what became of the account that was read last.
    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>);

    /// Asked at the end whether everything is to stand; otherwise nothing is.
    fn keep(&mut self) -> bool;
}

/// Operations on accounts.
#[async_trait]
pub trait UserStore {
    /// The account with this number.
    async fn find_user(&self, id: UserId) -> StoreResult<Option<User>>;

    /// What a sign-in with this address is checked against: the account that confirmed it, was signed up with it, or
    /// has it as its unconfirmed new address. `email_key` is the address in lower case.
    async fn find_credentials(&self, email_key: &str) -> StoreResult<Option<Credentials>>;

    /// Whether a verified account other than `except` has confirmed this address.
    ///
    /// For an early answer only: the operations below decide the question again themselves.
    async fn is_email_taken(&self, email_key: &str, except: Option<UserId>) -> StoreResult<bool>;

    /// Stores a sign-up beside those already pending for the address.
    ///
    /// An account that had the address as its unconfirmed new one falls back to its last confirmed one.
    ///
    /// # Errors
    /// [`super::StoreError::Collision`] when the code is already out for this address: try with another.
    async fn create_sign_up(&self, sign_up: NewSignUp) -> StoreResult<SignUpOutcome>;

    /// Creates a verified account. `None` when a verified account has the address already; a never-verified one is
    /// taken over under its number.
    async fn create_verified_user(&self, user: NewUser) -> StoreResult<Option<UserId>>;

    /// Changes an account. A new address counts as unverified until its code comes back; a never-verified account that
    /// had it is removed, and an account that had it as its own unconfirmed new one falls back.
    ///
    /// # Errors
    /// [`super::StoreError::Collision`] when the code is already out for this address: try with another.
    async fn update_user(&self, update: UserUpdate) -> StoreResult<UpdateOutcome>;

    /// The account that has this address as its confirmed or its unconfirmed new one, or was signed up with it.
    async fn find_user_by_email(&self, email_key: &str) -> StoreResult<Option<User>>;

    /// A page of the list of accounts. `None` when there is no such page.
    async fn list_users(&self, query: UserQuery) -> StoreResult<Option<UserPage>>;

    /// Up to `limit` accounts with numbers above `after`, in the order of their numbers.
    async fn list_users_after(&self, after: UserId, limit: u32) -> StoreResult<Vec<StoredUser>>;

    /// Notes the name of a photo whose file is about to be written. It stays noted until an account has the photo or
    /// [`UserStore::forget_photo`] says that the file is gone; so do the names of photos that accounts have no longer.
    async fn note_photo(&self, name: &str, now: Timestamp) -> StoreResult<()>;

    /// Names of photos that no account has and that were noted before `noted_before`: their files are to be removed.
    async fn list_unused_photos(&self, noted_before: Timestamp) -> StoreResult<Vec<String>>;

    /// Takes the name of a photo whose file is gone off the notes.
    async fn forget_photo(&self, name: &str) -> StoreResult<()>;

    /// Removes an account with everything about it; nothing of the person stays in the database.
    async fn delete_user(&self, wish: DeleteUser) -> StoreResult<DeleteOutcome>;

    /// The address that the link of this token brings back, if the link works.
    async fn find_email_undo(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<String>>;

    /// Brings back the address before a change. All sessions of the account but the one that asks end.
    async fn undo_email_change(&self, undo: UndoEmailChange) -> StoreResult<UndoOutcome>;

    /// The number from which on no account was ever made.
    async fn next_user_id(&self) -> StoreResult<UserId>;

    /// Imports accounts, all in one transaction. A number below `free_from` is refused, because it may have been another
    /// account's. A never-verified account gives way to a verified one of its address.
    async fn import_users(
        &self,
        source: Box<dyn ImportSource>,
        free_from: UserId,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<()>;
}
