//! TLS to a real server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::cluster::{Cluster, give_to_owner};
use crate::support::{Running, folder, run};

/// An authority and its certificate as text.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: rcgen::Issuer::new(params, key),
            pem,
        }
    }

    /// Writes the certificate and the key of a server with this name.
    fn issue(&self, name: &str, folder: &Path) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        for (file, text) in [
            ("server.pem", certificate.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            let path = folder.join(file);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            give_to_owner(&path);
        }
    }
}

#[test]
fn certificate_of_the_server_is_verified() {
    let authority = Authority::new("right");
    let settings = "ssl = on\nssl_cert_file = '$folder/server.pem'\n\
                    ssl_key_file = '$folder/server.key'\n";
    let Some(cluster) = Cluster::start(settings, |folder| authority.issue("localhost", folder))
    else {
        return;
    };
    let dir = folder();
    fs::write(dir.path().join("ca.pem"), &authority.pem).unwrap();
    fs::write(dir.path().join("other.pem"), Authority::new("other").pem).unwrap();
    let port = cluster.port;
    let url = |host: &str, more: &str| {
        format!("postgres://postgres@{host}:{port}/postgres?sslmode=verify-full{more}")
    };
    let right = "&sslrootcert=ca.pem";
    for (url, expected) in [
        (url("localhost", ""), "UnknownIssuer"),
        (url("localhost", "&sslrootcert=other.pem"), "UnknownIssuer"),
        (url("127.0.0.1", right), "not valid for name \"127.0.0.1\""),
        (url("localhost", "&sslrootcert=absent.pem"), "absent.pem"),
    ] {
        let refused = run(dir.path(), &["--db", &url, "user", "list"]);
        refused.assert_refused(1, &[expected]);
        assert!(!refused.stderr.contains("trying for"), "{refused:?}");
    }

    let server = Running::start_with(dir.path(), &["--db", &url("localhost", right)]);
    assert_eq!(server.sign_up("ada@example.com").0, 201);
    let ours = "pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE application_name = 'accounts-server' AND state IS NOT NULL";
    let encrypted = cluster.count(&format!("SELECT count(*) FROM {ours} AND ssl"));
    let plain = cluster.count(&format!("SELECT count(*) FROM {ours} AND NOT ssl"));
    assert!(encrypted > 0 && plain == 0, "{encrypted} and {plain}");
    server.terminate();
}
