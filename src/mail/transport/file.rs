//! Writes mails as files into a directory.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use super::{Mail, MailError, Transport};

/// Writes each mail to a file `<time>-<message id>.eml`; the names sort by time.
#[derive(Clone, Debug)]
pub struct FileMailTransport {
    dir: PathBuf,
}

impl FileMailTransport {
    /// A transport into `dir`, which is created with its parents if it is missing.
    ///
    /// Directory and files are accessible to their owner only (0700, 0600), as the mails contain codes.
    ///
    /// # Errors
    /// [`MailError::Setup`] when `dir` cannot be created or is not a directory.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, MailError> {
        let dir = dir.into();
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&dir) {
            Ok(()) => Ok(Self { dir }),
            Err(e) => Err(MailError::Setup {
                message: format!("cannot create the directory {}: {e}", dir.display()),
                source: Some(e.into()),
            }),
        }
    }

    /// Writes to a hidden temporary file and renames it, so that no reader sees half a mail.
    fn write(&self, mail: &Mail) -> io::Result<()> {
        let name = format!(
            "{}.{:03}Z-{}.eml",
            mail.created_at
                .to_string()
                .trim_end_matches('Z')
                .replace(':', ""),
            mail.created_at.unix_millis().rem_euclid(1_000),
            mail.id
        );
        let temporary = self.dir.join(format!(".{name}.tmp"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // What a crash left keeps its permissions when it is opened again, so it goes first.
        let _ = fs::remove_file(&temporary);
        let written = options.open(&temporary).and_then(|mut file| {
            file.write_all(&mail.raw())?;
            file.sync_all()?;
            fs::rename(&temporary, self.dir.join(&name))
        });
        if written.is_err() {
            // The first failure is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl Transport for FileMailTransport {
    fn deliver(&self, mail: &Mail, step: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        // A full disk or a lost directory concerns every mail, and the operator can fix it.
        self.write(mail).map_err(|e| MailError::Unreachable {
            message: format!(
                "cannot write a mail to the directory {}: {e}",
                self.dir.display()
            ),
            advice: None,
            source: Some(e.into()),
        })?;
        step(&format!("written to the directory {}", self.dir.display()));
        Ok(())
    }

    fn name(&self) -> &'static str {
        "file"
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::mail_to;
    use super::*;

    #[test]
    fn each_mail_is_one_private_sortable_file() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("deep/mails");
        let mail = mail_to("ann@example.com");
        FileMailTransport::new(&dir)
            .unwrap()
            .deliver(&mail, &mut |_| {})
            .unwrap();
        FileMailTransport::new(&dir).unwrap();
        let names: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(
            names,
            ["2024-12-03T120000.123Z-apapapapapapapapapapapapapapapap.eml"]
        );
        assert_eq!(fs::read(dir.join(&names[0])).unwrap(), mail.raw());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;

            let mode =
                |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&dir), mode(&dir.join(&names[0]))), (0o700, 0o600));
            // Also in a directory of the operator's, over what a crash has left.
            let shared = root.path().join("shared");
            fs::create_dir(&shared).unwrap();
            fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
            let left = shared.join(format!(".{}.tmp", names[0]));
            fs::write(&left, "half a mail").unwrap();
            fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
            FileMailTransport::new(&shared)
                .unwrap()
                .deliver(&mail, &mut |_| {})
                .unwrap();
            assert_eq!(mode(&shared.join(&names[0])), 0o600);
            assert_eq!(fs::read(shared.join(&names[0])).unwrap(), mail.raw());
            assert!(!left.exists());
        }

        fs::remove_dir_all(&dir).unwrap();
        let error = FileMailTransport { dir }
            .deliver(&mail, &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, MailError::Unreachable { .. }), "{error}");
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = FileMailTransport::new(&file).unwrap_err();
        assert!(matches!(error, MailError::Setup { .. }), "{error}");
    }
}
