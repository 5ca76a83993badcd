//! `export`: all accounts, one JSON object per line; and the form of an account for scripts.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::output_file::{OutputFile, ProtectedFiles, Visibility};
use super::{
    CommandResult, PAGE_SIZE, cannot_write, describe, is_dash, require_database, with_app,
};
use crate::accounts::{self, ExportedFactors, FactorStatus};
use crate::app::App;
use crate::config::Config;
use crate::crypto::webauthn::encode;
use crate::domain::{BirthDate, EventKind, Timestamp, User, UserId};
use crate::store::{AccountPasskeys, Identity, StoredPasskey, StoredUser};

#[derive(Args)]
pub(super) struct ExportArguments {
    /// File to write; `-` or nothing is standard output. It is written atomically, and readable by
    /// its owner alone
    file: Option<PathBuf>,
    /// Include password hashes, so that `import` keeps the passwords
    #[arg(long)]
    with_password_hashes: bool,
    /// Include the secrets of authenticator apps and the passkeys, so that `import` keeps them.
    /// Recovery codes do not move
    #[arg(long)]
    with_secrets: bool,
}

/// An account for scripts; the keys are those that `import` reads.
#[derive(Serialize)]
pub(crate) struct UserRecord<'a> {
    id: UserId,
    /// The last confirmed address.
    email: &'a str,
    /// An address that is pending; not part of an export, because it cannot be imported.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_email: Option<Option<&'a str>>,
    first_name: &'a str,
    last_name: &'a str,
    phone: &'a str,
    address: &'a str,
    gender: &'a str,
    country: &'a str,
    birthday: Option<BirthDate>,
    is_active: bool,
    is_staff: bool,
    verified_at: Option<Timestamp>,
    last_login: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    language: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
    /// Its authenticator app, in an export with secrets.
    #[serde(flatten)]
    totp: Option<TotpRecord<'a>>,
    /// Its passkeys, in an export with secrets.
    #[serde(flatten)]
    passkeys: Option<PasskeysRecord<'a>>,
    /// Its identities at external providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    identities: Vec<IdentityRecord<'a>>,
    /// Its second factors; not part of an export.
    #[serde(skip_serializing_if = "Option::is_none")]
    mfa: Option<FactorRecord>,
}

/// An authenticator app, with the keys that `import` reads.
#[derive(Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "the fields are keys of the account's record"
)]
struct TotpRecord<'a> {
    totp_secret: &'a str,
    totp_created_at: Timestamp,
    totp_last_used_at: Option<Timestamp>,
}

/// The passkeys of an account, with the keys that `import` reads.
#[derive(Serialize)]
struct PasskeysRecord<'a> {
    passkey_user_handle: String,
    passkeys: Vec<PasskeyRecord<'a>>,
}

/// A passkey; bytes are base64url.
#[derive(Serialize)]
struct PasskeyRecord<'a> {
    credential_id: String,
    public_key: String,
    sign_count: u32,
    rp_id: &'a str,
    name: &'a str,
    transports: &'a [String],
    aaguid: String,
    backup_eligible: bool,
    backed_up: bool,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl<'a> From<&'a AccountPasskeys> for PasskeysRecord<'a> {
    fn from(exported: &'a AccountPasskeys) -> Self {
        Self {
            passkey_user_handle: encode(&exported.user_handle),
            passkeys: exported.passkeys.iter().map(PasskeyRecord::from).collect(),
        }
    }
}

impl<'a> From<&'a StoredPasskey> for PasskeyRecord<'a> {
    fn from(stored: &'a StoredPasskey) -> Self {
        let passkey = &stored.passkey;
        Self {
            credential_id: encode(&passkey.credential_id),
            public_key: encode(&stored.public_key),
            sign_count: stored.sign_count,
            rp_id: &passkey.rp_id,
            name: &passkey.name,
            transports: &passkey.transports,
            aaguid: encode(&stored.aaguid),
            backup_eligible: stored.is_backup_eligible,
            backed_up: passkey.is_backed_up,
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
        }
    }
}

/// An identity, with the keys that `import` reads.
#[derive(Serialize)]
struct IdentityRecord<'a> {
    provider: &'a str,
    issuer: &'a str,
    subject: &'a str,
    email: &'a str,
    name: &'a str,
    created_at: Timestamp,
    last_used_at: Option<Timestamp>,
}

impl<'a> From<&'a Identity> for IdentityRecord<'a> {
    fn from(identity: &'a Identity) -> Self {
        let proven = &identity.proven;
        Self {
            provider: &proven.provider,
            issuer: &proven.issuer,
            subject: &proven.subject,
            email: &proven.email,
            name: &proven.name,
            created_at: identity.created_at,
            last_used_at: identity.last_used_at,
        }
    }
}

/// The second factors of an account, with the keys of `mfa/status/`.
#[derive(Serialize)]
pub(crate) struct FactorRecord {
    methods: Vec<&'static str>,
    created_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    recovery_codes_left: u32,
    required: bool,
}

impl<'a> UserRecord<'a> {
    fn new(user: &'a User) -> Self {
        let profile = &user.profile;
        Self {
            id: user.id,
            email: &user.email,
            new_email: None,
            first_name: &profile.first_name,
            last_name: &profile.last_name,
            phone: &profile.phone,
            address: &profile.address,
            gender: &profile.gender,
            country: &profile.country,
            birthday: profile.birthday,
            is_active: user.is_active,
            is_staff: user.is_staff,
            verified_at: user.verified_at,
            last_login: user.last_login_at,
            created_at: user.created_at,
            updated_at: user.updated_at,
            language: "",
            external_id: user.external_id.as_deref(),
            password: None,
            totp: None,
            passkeys: None,
            identities: Vec::new(),
            mfa: None,
        }
    }

    /// The record in an export.
    pub(crate) fn exported(
        stored: &'a StoredUser,
        with_hashes: bool,
        factors: &'a ExportedFactors,
        identities: &'a [Identity],
    ) -> Self {
        Self {
            language: &stored.language,
            password: with_hashes.then_some(&stored.password_hash),
            totp: factors.totp.as_ref().map(|totp| TotpRecord {
                totp_secret: &totp.secret,
                totp_created_at: totp.created_at,
                totp_last_used_at: totp.last_used_at,
            }),
            passkeys: factors.passkeys.as_ref().map(PasskeysRecord::from),
            identities: identities.iter().map(IdentityRecord::from).collect(),
            ..Self::new(&stored.user)
        }
    }

    /// The record of `user list`.
    pub(super) fn shown(user: &'a User) -> Self {
        Self {
            new_email: Some(user.new_email.as_deref()),
            ..Self::new(user)
        }
    }

    /// The record of `user show`.
    pub(super) fn shown_with(
        user: &'a User,
        factors: &FactorStatus,
        identities: &'a [Identity],
    ) -> Self {
        Self {
            identities: identities.iter().map(IdentityRecord::from).collect(),
            mfa: Some(FactorRecord {
                methods: factors.methods.iter().map(|kind| kind.as_str()).collect(),
                created_at: factors.created_at,
                last_used_at: factors.last_used_at,
                recovery_codes_left: factors.recovery_codes_left,
                required: factors.is_required,
            }),
            ..Self::shown(user)
        }
    }

    /// Writes it as one line.
    pub(crate) fn write_line(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}

/// What an export has beside what staff can see.
#[derive(Clone, Copy)]
struct Contents {
    with_hashes: bool,
    with_secrets: bool,
}

impl Contents {
    /// The same in words, for the audit log.
    const fn described(self) -> &'static str {
        match (self.with_hashes, self.with_secrets) {
            (false, false) => "",
            (true, false) => "with password hashes",
            (false, true) => "with secrets of second factors",
            (true, true) => "with password hashes and secrets of second factors",
        }
    }
}

pub(super) fn run(arguments: ExportArguments, config: Config) -> CommandResult {
    let config = require_database(config)?;
    let contents = Contents {
        with_hashes: arguments.with_password_hashes,
        with_secrets: arguments.with_secrets,
    };
    let protected = ProtectedFiles::of(&config);
    let file = arguments.file.filter(|file| !is_dash(file));
    if file.is_none() {
        protected.check_stdout()?;
    }
    let output = file
        .map(|path| OutputFile::create(&path, Visibility::Private, &protected))
        .transpose()?;
    with_app(config, async |app| match output {
        None => write_all(&app, io::stdout(), contents).await,
        Some(mut file) => {
            write_all(&app, &mut file, contents).await?;
            file.finish()
        }
    })
}

/// Writes all accounts in the order of their numbers, a bounded number of them in memory at a time.
async fn write_all(app: &App, out: impl Write, contents: Contents) -> CommandResult {
    // Before anything is written: an administrator who interrupts the export has seen some output.
    accounts::record_command(app, EventKind::UsersExported, contents.described())
        .await
        .map_err(describe)?;
    let mut out = BufWriter::new(out);
    let mut after = 0;
    loop {
        let users = accounts::list_users_after(app, after, PAGE_SIZE)
            .await
            .map_err(describe)?;
        let Some(last) = users.last() else { break };
        after = last.user.id;
        for stored in &users {
            let factors = match contents.with_secrets {
                true => accounts::export_factors(app, &stored.user).await,
                false => Ok(ExportedFactors::default()),
            };
            let factors = factors.map_err(describe)?;
            let identities = accounts::list_user_identities(app, stored.user.id).await;
            let identities = identities.map_err(describe)?;
            UserRecord::exported(stored, contents.with_hashes, &factors, &identities)
                .write_line(&mut out)
                .map_err(cannot_write)?;
        }
    }
    out.flush().map_err(cannot_write)
}
