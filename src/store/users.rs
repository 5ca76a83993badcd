//! Accounts: sign-up, lookup, changes, deletion, the staff list, import.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    AccountPasskeys, FactorRefusal, FactorTry, Factors, Identity, MailLimits, NewMail, NewOtp,
    Page, RequestContext, StoreResult, TotpDevice,
};
use crate::domain::{
    EmailAddress, OtpPurpose, Profile, Timestamp, User, UserChanges, UserId, folded,
};

/// What a sign-in is verified against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The account.
    pub user_id: UserId,
    /// Its last confirmed address in lower case, whichever of its addresses was looked up.
    pub email_key: String,
    /// Its password hash; for a never-verified account that of its newest sign-up.
    pub password_hash: String,
    /// Whether the account is active.
    pub is_active: bool,
    /// Whether an address of the account was ever confirmed.
    pub is_verified: bool,
}

/// How the password hash of a sign-up by an identity starts. No password matches it, and the rest
/// differs from identity to identity.
pub const IDENTITY_PASSWORD: &str = "!identity$";

/// A sign-up with the code to mail.
pub struct NewSignUp {
    /// The address as typed.
    pub email: EmailAddress,
    /// Hash of the password.
    pub password_hash: String,
    /// The profile.
    pub profile: Profile,
    /// BCP 47 tag of the language of mails; empty for the default.
    pub language: String,
    /// The code that confirms this sign-up only.
    pub otp: NewOtp,
    /// Until when it is pending.
    pub expires_at: Timestamp,
    /// Network of the client, as [`crate::domain::ClientNetwork`] writes it.
    pub network: String,
    /// When it happened.
    pub now: Timestamp,
    /// How many mails are allowed.
    pub limits: MailLimits,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a sign-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignUpOutcome {
    /// It is pending; its code activates the account with this id.
    Created(UserId),
    /// A verified account has the address.
    EmailTaken,
    /// Mails to the address are throttled; nothing was stored.
    Throttled {
        /// When the next mail is allowed.
        until: Timestamp,
    },
}

/// A verified account, as an administrator creates it.
pub struct NewUser {
    /// The address as typed.
    pub email: EmailAddress,
    /// Hash of its password.
    pub password_hash: String,
    /// The profile.
    pub profile: Profile,
    /// Whether it is a staff account.
    pub is_staff: bool,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// Lifetime of a link that undoes an address change.
pub const UNDO_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// How long the address stays after an undo that moved it.
pub const RESTORED_REST: Duration = Duration::from_hours(72);

/// A link that undoes an address change.
#[derive(Clone)]
pub struct NewEmailUndo {
    /// Hash of the token in the link.
    pub token_hash: Vec<u8>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// The notice that contains it.
    pub mail: NewMail,
}

/// The codes and the link of an address change. The state of the account decides which are used.
pub struct EmailChange {
    /// For a verified account: the code that confirms the new address.
    pub change_otp: NewOtp,
    /// For a never-verified account: the code that confirms its newest sign-up under the new address.
    pub sign_up_otp: NewOtp,
    /// For a verified account: the undo link for the former address.
    pub undo: NewEmailUndo,
    /// The notice for earlier addresses with a valid undo link.
    pub notices: Vec<NewMail>,
    /// How many mails to the new address are allowed.
    pub limits: MailLimits,
}

/// A change of an account.
pub struct UserUpdate {
    /// The account.
    pub user_id: UserId,
    /// What changes.
    pub changes: UserChanges,
    /// Required with [`UserChanges::email`], ignored otherwise.
    pub email_change: Option<EmailChange>,
    /// The notice of a promotion to staff.
    pub promotion_notice: Option<NewMail>,
    /// Whether to refuse a change that leaves no active staff account.
    pub keep_last_staff: bool,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// The account was changed.
    Updated {
        /// The account after it.
        user: Box<User>,
        /// The purpose of the code that was mailed to the new address, if any. The former address
        /// gets a notice with the link of [`EmailChange::undo`] too.
        mail: Option<OtpPurpose>,
        /// The photo that was removed or replaced.
        old_photo: Option<String>,
    },
    /// No such account.
    NotFound,
    /// Another verified account has the address; nothing has changed.
    EmailTaken,
    /// It would leave no active staff account; nothing has changed.
    LastStaffMember,
    /// An undo restored the address recently; nothing has changed.
    EmailRestored {
        /// When it can be changed again.
        until: Timestamp,
    },
    /// A never-verified account cannot be promoted; nothing has changed.
    NotVerified,
    /// Mails to the new address are throttled; nothing has changed.
    Throttled {
        /// When the next mail is allowed.
        until: Timestamp,
    },
}

/// The deletion of an account.
pub struct DeleteUser {
    /// The account.
    pub user_id: UserId,
    /// Keyed hash of its address, under which failed sign-ins are counted.
    pub address_hash: Vec<u8>,
    /// Whether to refuse it when it leaves no active staff account.
    pub keep_last_staff: bool,
    /// Whether it needs a staff account, because no password was shown.
    pub needs_staff: bool,
    /// The notice, once for each address of its owner.
    pub notices: Vec<NewMail>,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// The outcome of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The account and all its data are deleted.
    Deleted {
        /// Its photo, whose file must be removed.
        photo: Option<String>,
    },
    /// No such account.
    NotFound,
    /// It would leave no active staff account; nothing was deleted.
    LastStaffMember,
}

/// The use of a link that undoes an address change.
pub struct UndoEmailChange {
    /// Hash of the token in the link.
    pub token_hash: Vec<u8>,
    /// A password reset for the restored address, outside the limits on mails.
    pub reset: NewOtp,
    /// The notice to the restored address, once for each of the owner's addresses.
    pub notices: Vec<NewMail>,
    /// The notice to the address that the account loses.
    pub removed_notice: NewMail,
    /// The code that came along, for an account with a factor that is older than the link.
    pub factor: Option<FactorTry>,
    /// The current time.
    pub now: Timestamp,
    /// Who made the request, and from where.
    pub context: RequestContext,
}

/// A valid link that undoes an address change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailUndo {
    /// The account.
    pub user_id: UserId,
    /// The address that it restores.
    pub email: String,
    /// The factors of the account that are older than the link; the undo asks for one of them.
    pub factors: Factors,
}

/// The outcome of an undo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UndoOutcome {
    /// The account has its former address again.
    Undone(Box<User>),
    /// The link is unknown, used or expired.
    InvalidLink,
    /// Another account has confirmed the former address meanwhile.
    EmailTaken,
    /// The account has a factor that is older than the link, and no code came along.
    FactorRequired,
    /// The code was not accepted.
    FactorRefused(FactorRefusal),
}

/// A sort key of the staff list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserOrder {
    /// The id.
    Id,
    /// The address the account shows, in lower case.
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

/// The requested page of a list, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRequest {
    /// The page with this number.
    Number(u64),
    /// The last page.
    Last,
}

/// A query of the staff list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserQuery {
    /// Words that must each occur in the address, a name or the phone number, ignoring ASCII case.
    pub words: Vec<String>,
    /// Only the account of this external id.
    pub external_id: Option<String>,
    /// Only active or inactive accounts.
    pub is_active: Option<bool>,
    /// Only verified or unverified accounts.
    pub is_verified: Option<bool>,
    /// Only staff accounts.
    pub only_staff: bool,
    /// Sort keys, each with true for descending; the id breaks ties.
    pub order: Vec<(UserOrder, bool)>,
    /// The page.
    pub page: PageRequest,
    /// Accounts on a page, at least one.
    pub page_size: u32,
}

/// An account for export.
#[derive(Clone)]
pub struct StoredUser {
    /// The account.
    pub user: User,
    /// Its password hash.
    pub password_hash: String,
    /// BCP 47 tag of the language of its mails; empty for the default.
    pub language: String,
}

/// An account to import.
#[derive(Clone)]
pub struct ImportedUser {
    /// The id it keeps.
    pub id: Option<UserId>,
    /// The address as typed.
    pub email: EmailAddress,
    /// Its password hash, of any supported form.
    pub password_hash: String,
    /// The profile.
    pub profile: Profile,
    /// Whether it may sign in.
    pub is_active: bool,
    /// Whether it is a staff account.
    pub is_staff: bool,
    /// When its address was confirmed.
    pub verified_at: Option<Timestamp>,
    /// The last sign-in.
    pub last_login_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// BCP 47 tag of the language of its mails; empty for the default.
    pub language: String,
    /// Its id in the system that it comes from.
    pub external_id: Option<String>,
    /// Its authenticator app.
    pub totp: Option<ImportedTotp>,
    /// Its passkeys.
    pub passkeys: Option<AccountPasskeys>,
    /// Its identities at providers.
    pub identities: Vec<Identity>,
}

/// An authenticator app to import.
#[derive(Clone)]
pub struct ImportedTotp {
    /// The secret, readable.
    pub secret: Vec<u8>,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When one of its codes was last used.
    pub last_used_at: Option<Timestamp>,
    /// The last time step whose code may have been used.
    pub used_step: i64,
}

/// Encrypts the secret of an imported app for an account; `None` when it cannot be one.
pub type SealTotp = Box<dyn Fn(UserId, &ImportedTotp) -> Option<TotpDevice> + Send>;

/// Why an account was not imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportRefusal {
    /// Another account has the address.
    EmailTaken,
    /// The id is or was another account's.
    IdTaken,
    /// Another account has the external id.
    ExternalIdTaken,
    /// Another account has a passkey with the credential id of this one, counted from 1.
    PasskeyTaken(usize),
    /// Another account has the user handle.
    PasskeyHandleTaken,
    /// Another account has this identity, counted from 1.
    IdentityTaken(usize),
}

/// A source of accounts to import, read one by one so that files of any size fit.
pub trait ImportSource: Send {
    /// The next account, or the end.
    fn next_user(&mut self) -> Option<ImportedUser>;

    /// Reports the outcome of the account that was read last.
    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>);

    /// Whether webhooks are notified of each account.
    fn notifies_webhooks(&self) -> bool;

    /// Whether to commit the import; otherwise all of it is rolled back.
    fn keep(&mut self) -> bool;
}

impl UserQuery {
    /// The words as they are searched; one of accents alone is none.
    pub(in crate::store) fn folded_words(&self) -> Vec<String> {
        let words = self.words.iter().map(|word| folded(word).into_owned());
        words.filter(|word| !word.is_empty()).collect()
    }

    /// The order, in which the id breaks ties, so that no account is on two pages.
    ///
    /// A repeated column and any column after the id have no effect, and are left out.
    pub(in crate::store) fn whole_order(&self) -> Vec<(UserOrder, bool)> {
        let mut order: Vec<(UserOrder, bool)> = Vec::new();
        for term in self.order.iter().copied().chain([(UserOrder::Id, false)]) {
            if order.iter().any(|(column, _)| *column == UserOrder::Id) {
                break;
            }
            if order.iter().all(|(column, _)| *column != term.0) {
                order.push(term);
            }
        }
        order
    }
}

/// Operations on accounts.
#[async_trait]
pub trait UserStore {
    /// Finds an account by its id.
    async fn find_user(&self, id: UserId) -> StoreResult<Option<User>>;

    /// BCP 47 tag of the language of an account; empty for the default.
    async fn find_language(&self, id: UserId) -> StoreResult<String>;

    /// Finds the credentials of the account that has the address as its confirmed, signed-up or
    /// pending one. `email_key` is the address in lower case.
    async fn find_credentials(&self, email_key: &str) -> StoreResult<Option<Credentials>>;

    /// Whether a verified account other than `except` has confirmed this address.
    ///
    /// For early answers only: the operations below check it again.
    async fn is_email_taken(
        &self,
        email_key: &str,
        except: Option<UserId>,
        now: Timestamp,
    ) -> StoreResult<bool>;

    /// Stores a sign-up beside those pending for the address.
    ///
    /// A pending change to the address is dropped from its account.
    ///
    /// # Errors
    /// [`super::StoreError::Taken`] when the same code is live for this address: retry with another.
    async fn create_sign_up(&self, sign_up: NewSignUp) -> StoreResult<SignUpOutcome>;

    /// Creates a verified account. `None` when a verified account has the address; an unverified one
    /// is replaced under its id.
    ///
    /// # Errors
    /// [`super::StoreError::SessionEnded`], [`super::StoreError::Forbidden`].
    async fn create_verified_user(&self, user: NewUser) -> StoreResult<Option<UserId>>;

    /// Changes an account. A new address is pending until it is confirmed; an unverified account
    /// with that address is deleted, and a pending change to it is dropped from its account.
    ///
    /// # Errors
    /// [`super::StoreError::Taken`] when the same code is live for this address: retry with another.
    async fn update_user(&self, update: UserUpdate) -> StoreResult<UpdateOutcome>;

    /// Finds the account that has the address as its confirmed, signed-up or pending one.
    async fn find_user_by_email(&self, email_key: &str) -> StoreResult<Option<User>>;

    /// Lists a page of accounts. `None` when there is no such page.
    async fn list_users(&self, query: UserQuery) -> StoreResult<Option<Page<User>>>;

    /// Lists up to `limit` accounts that match a query and have ids above `after`, in ascending
    /// order. Order and page of the query have no effect.
    async fn list_matching_users(
        &self,
        query: UserQuery,
        after: UserId,
        limit: u32,
    ) -> StoreResult<Vec<User>>;

    /// Lists up to `limit` accounts with ids above `after`, in ascending order.
    async fn list_users_after(&self, after: UserId, limit: u32) -> StoreResult<Vec<StoredUser>>;

    /// Deletes an account with all its personal data.
    async fn delete_user(&self, request: DeleteUser) -> StoreResult<DeleteOutcome>;

    /// Finds the address a valid undo link restores.
    async fn find_email_undo(
        &self,
        token_hash: &[u8],
        now: Timestamp,
    ) -> StoreResult<Option<EmailUndo>>;

    /// Undoes an address change and revokes all sessions but the one to keep.
    async fn undo_email_change(&self, undo: UndoEmailChange) -> StoreResult<UndoOutcome>;

    /// The lowest id that was never used, nor any above it.
    async fn next_user_id(&self) -> StoreResult<UserId>;

    /// Imports accounts in one transaction. Ids below `free_from` are refused, because they may have
    /// been used before. An unverified account gives way to a verified one with its address.
    /// `seal_totp` encrypts the secrets of authenticator apps.
    async fn import_users(
        &self,
        source: Box<dyn ImportSource>,
        seal_totp: SealTotp,
        free_from: UserId,
        context: RequestContext,
        now: Timestamp,
    ) -> StoreResult<()>;
}
