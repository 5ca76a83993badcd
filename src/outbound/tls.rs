//! Verification of the certificates of other servers: those of mail and of HTTPS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error as ThisError;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;

/// Why TLS cannot be set up.
#[derive(Debug, ThisError)]
pub enum TlsSetupError {
    /// The file with certificates is unusable.
    #[error(
        "cannot read certificates from {}; it has to be a PEM file with `BEGIN CERTIFICATE` in it",
        .path.display()
    )]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why; `None` for a file without certificates.
        source: Option<Source>,
    },
    /// The library refuses the settings.
    #[error("TLS cannot be set up")]
    Unusable(#[source] Source),
}

/// The error behind another one.
type Source = Box<dyn std::error::Error + Send + Sync>;

/// The settings of TLS: trusts public authorities and the certificates in `ca_file` (PEM).
///
/// # Errors
/// [`TlsSetupError`] when the file cannot be read or has no certificate.
pub(crate) fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let mut pinned = Vec::new();
    if let Some(path) = ca_file {
        pinned = read_certificates(path)?;
        // One that cannot be an authority still holds for the server that shows it.
        roots.add_parsable_certificates(pinned.iter().cloned());
    }
    let authorities =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|e| TlsSetupError::Unusable(e.into()))?;
    let config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| TlsSetupError::Unusable(e.into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier {
            authorities,
            pinned,
        }))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let unusable = |source| TlsSetupError::CaFile {
        path: path.to_owned(),
        source,
    };
    let pem = fs::read(path).map_err(|e| unusable(Some(e.into())))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|e| unusable(Some(e.into())))?;
    match certificates.is_empty() {
        true => Err(unusable(None)),
        false => Ok(certificates),
    }
}

/// Accepts certificates of the authorities, and those that the operator has named themselves.
///
/// `openssl req -x509` marks a self-signed certificate as one of an authority (CA:TRUE), which webpki never
/// accepts from a server. One that is in the operator's file, byte for byte, needs no authority; its name and
/// its dates have to be right all the same.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return verify_pinned(end_entity, server_name, now);
        }
        self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn verify_pinned(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let parsed = Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let validity = &parsed.tbs_certificate.validity;
    let now = now.as_secs();
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    let has_names = matches!(parsed.tbs_certificate.get::<SubjectAltName>(), Ok(Some(_)));
    // `openssl req -x509 -subj /CN=…` writes the name into the subject only.
    if has_names || !is_common_name(&parsed, &name.to_str()) {
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    }
    Ok(ServerCertVerified::assertion())
}

/// Whether the subject has this common name (2.5.4.3).
fn is_common_name(certificate: &Certificate, name: &str) -> bool {
    let subject = &certificate.tbs_certificate.subject;
    subject
        .0
        .iter()
        .flat_map(|names| names.0.iter())
        .filter(|attribute| attribute.oid.to_string() == "2.5.4.3")
        .any(|attribute| {
            attribute
                .value
                .value()
                .eq_ignore_ascii_case(name.as_bytes())
        })
}
