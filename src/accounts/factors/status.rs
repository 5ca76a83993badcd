//! The factors of an account, as its owner, staff and administrators see them.

use crate::accounts::staff::check_staff;
use crate::accounts::{AccountError, Caller};
use crate::app::App;
use crate::domain::{SecondFactor, Timestamp, User};
use crate::store::Factors;

/// The factors of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactorStatus {
    /// When the first factor was enrolled; `None` without a factor.
    pub created_at: Option<Timestamp>,
    /// When a factor was last used.
    pub last_used_at: Option<Timestamp>,
    /// The ways to prove a factor.
    pub methods: Vec<SecondFactor>,
    /// Recovery codes that are not used up.
    pub recovery_codes_left: u32,
    /// Whether the account has to have a factor, by `[mfa] required_for`.
    pub is_required: bool,
}

impl FactorStatus {
    /// Whether signing in wants a second factor.
    pub fn is_enabled(&self) -> bool {
        self.created_at.is_some()
    }
}

/// Checks that the caller need not set up a second factor first, by `[mfa] required_for`.
///
/// # Errors
/// [`AccountError::FactorSetupRequired`].
pub fn require_setup(app: &App, caller: &Caller) -> Result<(), AccountError> {
    let user = &caller.user;
    let is_required = app.config.mfa.required_for.concerns(user.is_staff);
    if is_required && !user.has_factor {
        return Err(AccountError::FactorSetupRequired);
    }
    Ok(())
}

/// The ways to prove one of these factors.
pub(in crate::accounts) fn methods(app: &App, factors: &Factors) -> Vec<SecondFactor> {
    factors.methods(&app.relying_party.id)
}

/// The factors of the caller.
///
/// # Errors
/// Only store errors.
pub async fn factor_status(app: &App, caller: &Caller) -> Result<FactorStatus, AccountError> {
    factor_status_of(app, &caller.user).await
}

/// The factors of an account, for staff.
///
/// # Errors
/// [`AccountError::Forbidden`] unless the caller is staff.
pub async fn user_factor_status(
    app: &App,
    caller: &Caller,
    user: &User,
) -> Result<FactorStatus, AccountError> {
    check_staff(caller)?;
    factor_status_of(app, user).await
}

/// The factors of an account, for administrators.
///
/// # Errors
/// Only store errors.
pub async fn factor_status_of(app: &App, user: &User) -> Result<FactorStatus, AccountError> {
    let factors = app.store.find_factors(user.id).await?;
    Ok(FactorStatus {
        created_at: factors.created_at(),
        last_used_at: factors.last_used_at(),
        methods: methods(app, &factors),
        recovery_codes_left: factors.recovery_codes_left,
        is_required: app.config.mfa.required_for.concerns(user.is_staff),
    })
}
