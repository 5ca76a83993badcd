//! Replies of a mail server (RFC 5321, section 4.2).
//!
//! Only the code decides. The text is for people and may be missing or in any encoding.

use std::fmt;

/// A reply of one or more lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
}

/// One line of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReplyLine {
    pub(super) code: u16,
    pub(super) is_last: bool,
    pub(super) text: String,
}

impl ReplyLine {
    /// Parses a line without its end; `None` when it is not one of a reply.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let (code, rest) = line.split_at_checked(3)?;
        let code = code.iter().try_fold(0, |code, byte| {
            byte.is_ascii_digit()
                .then(|| code * 10 + u16::from(byte - b'0'))
        })?;
        let is_last = match rest.first() {
            Some(b'-') => false,
            None | Some(b' ' | b'\t') => true,
            Some(_) => return None,
        };
        let text = String::from_utf8_lossy(rest.get(1..).unwrap_or_default());
        (200..600).contains(&code).then(|| Self {
            code,
            is_last,
            text: text.trim().to_owned(),
        })
    }
}

impl Reply {
    /// A reply of these lines; the code is that of the last one.
    pub(super) fn new(code: u16, lines: Vec<String>) -> Self {
        Self { code, lines }
    }

    pub(super) const fn code(&self) -> u16 {
        self.code
    }

    /// The first digit of the code.
    pub(super) const fn class(&self) -> u16 {
        self.code / 100
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Subject and detail of the enhanced status code (RFC 3463), such as (1, 1) for `5.1.1`.
    pub(super) fn enhanced(&self) -> Option<(u16, u16)> {
        self.lines.iter().find_map(|line| {
            let mut numbers = line.split_ascii_whitespace().next()?.split('.');
            let mut next = || -> Option<u16> { numbers.next()?.parse().ok() };
            let (class, subject, detail) = (next()?, next()?, next()?);
            (numbers.next().is_none() && class == self.class()).then_some((subject, detail))
        })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        for line in self.lines.iter().filter(|line| !line.is_empty()) {
            write!(f, " {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_alone_decides() {
        for (line, code, is_last, text) in [
            (&b"250 2.1.0 Ok"[..], 250, true, "2.1.0 Ok"),
            (b"250", 250, true, ""),
            (b"250 ", 250, true, ""),
            (b"250-SIZE 1000", 250, false, "SIZE 1000"),
            (b"250-", 250, false, ""),
            (b"250 Danke sch\xf6n", 250, true, "Danke sch\u{fffd}n"),
            (b"554\tno", 554, true, "no"),
        ] {
            let text = text.to_owned();
            let expected = ReplyLine {
                code,
                is_last,
                text,
            };
            assert_eq!(ReplyLine::parse(line), Some(expected), "{line:?}");
        }
        for line in [
            &b""[..],
            b"25",
            b"2500",
            b"250ok",
            b"abc ok",
            b"150 wait",
            b"600 what",
            b" 250 ok",
            b"\x16\x03\x01",
        ] {
            assert_eq!(ReplyLine::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn enhanced_codes_are_found_on_any_line() {
        let reply = |lines: &[&str]| Reply::new(550, lines.iter().map(|&l| l.to_owned()).collect());
        assert_eq!(reply(&["5.7.1 no"]).enhanced(), Some((7, 1)));
        assert_eq!(reply(&["no", "5.1.10 null MX"]).enhanced(), Some((1, 10)));
        for none in [
            &["no 5.7.1"][..],
            &["4.7.1 no"],
            &["5.7 no"],
            &["5.7.1.2"],
            &[""],
            &[],
        ] {
            assert_eq!(reply(none).enhanced(), None, "{none:?}");
        }
        assert_eq!(
            reply(&["5.7.1 no", "", "way"]).to_string(),
            "550 5.7.1 no way"
        );
    }
}
