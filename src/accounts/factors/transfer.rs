//! Factors that move between servers: what an export has of them, and sealing imported secrets.
//!
//! Recovery codes do not move, because their hashes are keyed.

use crate::accounts::AccountError;
use crate::app::App;
use crate::crypto::random;
use crate::crypto::totp::TotpSecret;
use crate::domain::{Timestamp, User};
use crate::store::{AccountPasskeys, SealTotp, TotpDevice};

/// The factors of an account that move.
#[derive(Default)]
pub struct ExportedFactors {
    /// Its authenticator app.
    pub totp: Option<ExportedTotp>,
    /// Its passkeys.
    pub passkeys: Option<AccountPasskeys>,
}

/// The authenticator app of an account, readable.
pub struct ExportedTotp {
    /// The secret in base 32.
    pub secret: String,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// When one of its codes was last used.
    pub last_used_at: Option<Timestamp>,
}

/// The factors of an account that move, for administrators.
///
/// # Errors
/// [`AccountError::Internal`] when the secret was encrypted with another key.
pub async fn export_factors(app: &App, user: &User) -> Result<ExportedFactors, AccountError> {
    if !user.has_factor {
        return Ok(ExportedFactors::default());
    }
    let device = app.store.find_factors(user.id).await?.totp;
    Ok(ExportedFactors {
        totp: device
            .map(|device| open_totp(app, user, &device))
            .transpose()?,
        passkeys: app.store.find_account_passkeys(user.id).await?,
    })
}

fn open_totp(app: &App, user: &User, device: &TotpDevice) -> Result<ExportedTotp, AccountError> {
    let secret = app
        .factor_key
        .open_device(user.id, &device.id, &device.secret)
        .ok_or_else(|| {
            let text = format!(
                "the authenticator app of user {} is encrypted with another key",
                user.id
            );
            AccountError::Internal(text.into())
        })?;
    Ok(ExportedTotp {
        secret: secret.to_base32(),
        created_at: device.created_at,
        last_used_at: device.last_used_at,
    })
}

/// Encrypts the secret of an imported app, once the id of its account is known.
pub(in crate::accounts) fn seal_imported(app: &App) -> SealTotp {
    let key = app.factor_key.clone();
    Box::new(move |user_id, totp| {
        let id = random::id();
        let secret = TotpSecret::from_bytes(&totp.secret)?;
        Some(TotpDevice {
            secret: key.seal_device(user_id, &id, &secret),
            id,
            created_at: totp.created_at,
            last_used_at: totp.last_used_at,
        })
    })
}
