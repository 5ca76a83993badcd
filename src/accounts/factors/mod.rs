//! Second factors: enrolling an authenticator app or a passkey, recovery codes, and proving a factor.

pub(super) mod passkeys;
mod proofs;
mod recovery_codes;
mod reset;
mod second_step;
mod status;
mod totp;
mod transfer;

pub(super) use proofs::{
    Shown, accepted, factor_try, read as read_proof, read_code, read_optional_code,
    read_optional_proof, refused, refused_at_sign_in,
};
pub use recovery_codes::regenerate_recovery_codes;
pub(super) use reset::{apply as reset_because, read_reason};
pub use reset::{reset_factors, reset_factors_of};
pub use second_step::{complete_sign_in, start_second_step};
pub(super) use second_step::{
    new_ticket, read as read_second_step, read_optional_ticket, read_ticket,
};
pub(super) use status::methods;
pub use status::{
    FactorStatus, factor_status, factor_status_of, require_setup, user_factor_status,
};
pub(super) use totp::read_activation;
pub use totp::{Enrolment, activate_totp, deactivate_totp, resume_totp, start_totp};
pub(super) use transfer::seal_imported;
pub use transfer::{ExportedFactors, ExportedTotp, export_factors};
