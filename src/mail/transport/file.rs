//! Mails as files in a folder.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::path::PathBuf;

use super::{Mail, MailError, Transport};

/// Puts each mail into a folder as a file of its own, `<time>-<message id>.eml`, which sort by time.
#[derive(Clone, Debug)]
pub struct FileMailTransport {
    dir: PathBuf,
}

impl FileMailTransport {
    /// A transport into `dir`, which is created with its parents when it is missing; a new one is its owner's alone,
    /// because the files hold codes.
    ///
    /// # Errors
    /// [`MailError::Setup`] when `dir` cannot be created or is no folder.
    pub fn new(dir: impl Into<PathBuf>) -> Result<Self, MailError> {
        let dir = dir.into();
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&dir) {
            Ok(()) => Ok(Self { dir }),
            Err(e) => Err(MailError::Setup {
                message: format!("cannot create the folder {}: {e}", dir.display()),
                source: Some(e.into()),
            }),
        }
    }

    /// Writes under a name that no reader of `*.eml` looks at and renames, so that nobody sees half a mail.
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
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&mail.raw())?;
            file.sync_all()?;
            fs::rename(&temporary, self.dir.join(&name))
        });
        if written.is_err() {
            // The first failure is the one to tell.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl Transport for FileMailTransport {
    fn deliver(&self, mail: &Mail, step: &mut dyn FnMut(&str)) -> Result<(), MailError> {
        // A full disk gets room and a lost folder comes back: each failure may pass, and it is none of this mail's.
        self.write(mail).map_err(|e| MailError::Unreachable {
            message: format!(
                "cannot write a mail to the folder {}: {e}",
                self.dir.display()
            ),
            source: Some(e.into()),
        })?;
        step(&format!("written to the folder {}", self.dir.display()));
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
    fn each_mail_becomes_one_sortable_file() {
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
