//! TLS: the certificate and its key, and their reload while the server runs.
//!
//! Certificates are renewed every few weeks by another program, so the files are checked regularly.
//! New connections use the new pair; open ones keep theirs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{Error, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::config::TlsConfig;
use crate::domain::Timestamp;

/// Remaining validity that is worth a warning: the renewal is late by then.
const EXPIRY_WARNING: Duration = Duration::from_hours(24 * 14);

/// The offered protocols (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Modification time and size of a file, to detect changes.
type Stamp = Option<(SystemTime, u64)>;

/// The certificate of new connections.
pub(super) struct Tls {
    current: RwLock<Pair>,
    /// The stamps of the files at the last check. A reload holds the lock from before it reads them
    /// until after the change, so that an older check never brings old files back.
    seen: Mutex<[Stamp; 2]>,
}

/// A certificate with its key, ready for use.
#[derive(Clone)]
struct Pair {
    cert: PathBuf,
    key: PathBuf,
    config: Arc<ServerConfig>,
    expires_at: Timestamp,
}

impl Tls {
    /// Reads certificate and key; `None` without these settings.
    ///
    /// # Errors
    /// When they cannot be used; the text says why and what to do.
    pub(super) fn open(config: &TlsConfig, now: Timestamp) -> Result<Option<Self>, String> {
        let Some((cert, key)) = config.files() else {
            return Ok(None);
        };
        let (cert, key) = (cert.to_path_buf(), key.to_path_buf());
        // Stamped before reading: a change in between is noticed at the next check.
        let seen = [stamp(&cert), stamp(&key)];
        let pair = Pair::read(cert, key, now)?;
        pair.warn_if_expiring(now);
        Ok(Some(Self {
            current: RwLock::new(pair),
            seen: Mutex::new(seen),
        }))
    }

    /// The acceptor of new connections.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current().config))
    }

    /// When the certificate expires.
    pub(super) fn expires_at(&self) -> Timestamp {
        self.current().expires_at
    }

    /// Reads the certificate and key again, from the files of these settings.
    ///
    /// # Errors
    /// When they are unusable; the current ones stay in use.
    pub(super) fn reload(&self, config: &TlsConfig, now: Timestamp) -> Result<(), String> {
        let Some((cert, key)) = config.files() else {
            return Ok(());
        };
        let (cert, key) = (cert.to_path_buf(), key.to_path_buf());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = [stamp(&cert), stamp(&key)];
        let pair = Pair::read(cert, key, now)?;
        *seen = stamps;
        pair.warn_if_expiring(now);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair;
        Ok(())
    }

    /// Reloads changed files, and logs it.
    pub(super) fn reload_if_changed(&self, now: Timestamp) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Pair { cert, key, .. } = self.current();
        let stamps = [stamp(&cert), stamp(&key)];
        if *seen == stamps {
            return;
        }
        *seen = stamps;
        match Pair::read(cert, key, now) {
            Ok(pair) => {
                log::info!(
                    "certificate reloaded; it is valid until {}",
                    pair.expires_at
                );
                pair.warn_if_expiring(now);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair;
            }
            // The two files are not written at once, so often only the key is still missing.
            Err(e) => log::warn!("{e}; the previous certificate stays in use"),
        }
    }

    fn current(&self) -> Pair {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn stamp(path: &Path) -> Stamp {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

impl Pair {
    fn read(cert: PathBuf, key: PathBuf, now: Timestamp) -> Result<Self, String> {
        let chain = read_chain(&cert)?;
        let end = validity_of(&chain[0], &cert, now)?;
        let private_key = read_key(&key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS cannot be prepared: {e}"))?
            .with_no_client_auth()
            .with_single_cert(chain, private_key)
            .map_err(|e| match e {
                Error::InconsistentKeys(_) => format!(
                    "[tls] key {} does not belong to the certificate in {}: name the two files that were made \
                     together, the server's own certificate first in its file",
                    key.display(),
                    cert.display()
                ),
                e => format!(
                    "[tls] cert {} and key {} cannot be used: {e}",
                    cert.display(),
                    key.display()
                ),
            })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(Self {
            cert,
            key,
            config: Arc::new(config),
            expires_at: end,
        })
    }

    fn warn_if_expiring(&self, now: Timestamp) {
        if now.plus(EXPIRY_WARNING) > self.expires_at {
            log::warn!(
                "[tls] cert {} ends on {}: has it been renewed?",
                self.cert.display(),
                self.expires_at
            );
        }
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let text = fs::read(path).map_err(|e| format!("[tls] cert {shown}: {e}"))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|e| format!("[tls] cert {shown} is not a PEM file: {e}"))?;
    if chain.is_empty() {
        return Err(format!(
            "[tls] cert {shown} holds no certificate: it has to be a PEM file with `BEGIN CERTIFICATE` in it"
        ));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let shown = path.display();
    let text = fs::read(path).map_err(|e| format!("[tls] key {shown}: {e}"))?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|e| match e {
        pem::Error::NoItemsFound if is_encrypted(&text) => format!(
            "[tls] key {shown} is locked by a passphrase; take it off with: openssl pkey -in {shown} -out FILE"
        ),
        pem::Error::NoItemsFound => format!(
            "[tls] key {shown} holds no private key: it has to be a PEM file with `BEGIN PRIVATE KEY` in it"
        ),
        e => format!("[tls] key {shown} is not a PEM file: {e}"),
    })
}

fn is_encrypted(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).contains("ENCRYPTED")
}

/// When the certificate expires.
fn validity_of(
    cert: &CertificateDer<'_>,
    path: &Path,
    now: Timestamp,
) -> Result<Timestamp, String> {
    let shown = path.display();
    let cert = Certificate::from_der(cert)
        .map_err(|e| format!("[tls] cert {shown} holds no X.509 certificate: {e}"))?;
    let at = |time: x509_cert::time::Time| {
        let millis = i64::try_from(time.to_unix_duration().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_unix_millis(millis)
    };
    let validity = cert.tbs_certificate.validity;
    let (begin, end) = (at(validity.not_before), at(validity.not_after));
    if end <= now {
        return Err(format!(
            "[tls] cert {shown} ended on {end}: renew it (certbot renew, for example)"
        ));
    }
    if begin > now {
        return Err(format!(
            "[tls] cert {shown} begins only on {begin}: is the clock of this machine right?"
        ));
    }
    Ok(end)
}
